"""Faults injected between pyserial and a running emulated board, at seeded random points of a validation.

There are two outcomes: the run completes and every step is bit-exact, or it ends with one clear error, every step that
was received is in trace.jsonl, and the run goes on from there. Both are checked step by step against the host.
"""

from __future__ import annotations

import errno
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import numpy as np
from device.monitor import Monitor
from device.relay import BYTE_KINDS, CALL, GONE, SWITCH, Fault, Relay, draw
from device.small_disk import leave_room, small_disk

from edge_tqs.boards.board import load_board
from edge_tqs.boards.emulator import emulator
from edge_tqs.building.folder import directory as build_dir
from edge_tqs.device.device import Times
from edge_tqs.device.trace_file import TRACE, read_trace
from edge_tqs.errors import TqsError
from edge_tqs.graph.graph import Array
from edge_tqs.graph.rollout import Rollout
from edge_tqs.quantization.simulate import encode, integer_rollout
from edge_tqs.validation import validate
from edge_tqs.validation.validate import Expected, ValidateRequest

BOARD = "mps2-an385"
#: Every kind of fault, and what it is called in the table.
KINDS = {
    "flip": "byte flipped",
    "drop": "byte dropped",
    "duplicate": "byte duplicated",
    "burst": "burst of garbage",
    "stall": "stall",
    "reset": "board reset",
    "replace": "board replaced by one with another model",
    "gone": "port gone and back",
    "kill": "host process killed (SIGKILL) and resumed",
    "disk": "disk full",
    "wrap": "clock counter wraps",
}
#: The small disk, which a build without its firmware and the files of a run have room on; and what a run writes last.
DISK = 1 << 20
WRITTEN = ("validation.json", "report.html")
#: The counter's modulus, and how often it wraps while a run computes.
MODULUS, WRAPS = 1 << 32, 8
_EXPECTED: dict[tuple[str, str, bytes, int], Expected] = {}


@dataclass(frozen=True, eq=False)
class Setting:
    """A build, its expected rollout, and an undisturbed run: bytes to the board, from it and in the trace, ticks of
    each step."""

    build: Path
    steps: int
    expected: Rollout
    bytes_to_board: int
    bytes_to_host: int
    trace_bytes: int
    ticks: tuple[int, ...]


@dataclass(frozen=True)
class Outcome:
    """How a run ended: "completed", or the message of the error. resumed: it was ended, and completed when resumed.
    means: how the fault was made, where that depends on what this user may do."""

    ended: str
    resumed: bool
    means: str = ""


def make_build(folder: Path, steps: int) -> Path:
    """A small forecaster with a state, built for an emulated microcontroller."""
    import keras

    keras.utils.set_random_seed(3)
    lively = keras.initializers.RandomNormal(stddev=2.0, seed=3)  # a rollout that soon stood still would hide mix-ups
    layers = [keras.layers.GRU(6, recurrent_initializer=lively), keras.layers.Dense(2, kernel_initializer=lively)]
    keras.Sequential([keras.Input((4, 2)), *layers]).save(folder / "model.keras")
    command = [sys.executable, "-m", "edge_tqs", "build", folder / "model.keras", "--board", BOARD]
    command += ["--bits", "8", "--horizon", str(steps), "--draws", "2", "--out", folder / "build"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "build"


def make_other(build: Path, folder: Path) -> Path:
    """The same firmware under another model's hash: nothing but the hash can tell."""
    shutil.copytree(build, folder)
    (folder / "manifest.json").unlink()  # it is no longer what was built
    source = folder / "firmware" / "model.c"
    text = source.read_text()
    found = re.search(r"tqs_model_hash\[32\] = \{\s*(0x[0-9a-f]{2})", text)
    assert found is not None
    source.write_text(text[: found.start(1)] + f"0x{int(found[1], 16) ^ 0xFF:02x}" + text[found.end(1) :])
    subprocess.run(["make", "-C", str(folder / "firmware")], check=True, capture_output=True)
    return folder


def make_wrapping(build: Path, folder: Path, start: int, speed: int) -> Path:
    """The same firmware, whose counter begins at ``start`` and runs ``speed`` times as fast."""
    shutil.copytree(build, folder)
    (folder / "manifest.json").unlink()  # it is no longer what was built
    firmware = folder / "firmware"
    for port in firmware.rglob("port.o"):
        port.unlink()
    flag = f"CFLAGS_EXTRA=-D'TQS_TICKS(count)=({start}u + {speed}u * (count))'"
    subprocess.run(["make", "-C", str(firmware), flag], check=True, capture_output=True)
    return folder


@dataclass(frozen=True)
class Running:
    """A board that was just switched on: its port, and its reset button."""

    port: str
    reset: Callable[[], None]


@contextmanager
def running(build: Path) -> Iterator[Running]:
    """The board of a build, until the block ends."""
    board = load_board(BOARD)
    assert board.emulator is not None
    with tempfile.TemporaryDirectory(prefix="edge-tqs-") as folder:
        path = Path(folder) / "monitor"
        args = (*board.emulator.args, "-qmp", f"unix:{path},server=on,wait=off")
        watched = replace(board, emulator=replace(board.emulator, args=args))
        with emulator.start_server(watched, build) as port, Monitor(path) as monitor:
            yield Running(port, monitor.reset)


@contextmanager
def expecting_once() -> Iterator[None]:
    """What the host expects is computed in the first of many runs of one build: it takes longer than the run."""

    def expect(built: build_dir.BuildDir, engine: str, seeds: Array, truth: Array | None, horizon: int) -> Expected:
        key = (built.model_hash, engine, seeds.tobytes(), horizon)
        if key not in _EXPECTED:
            _EXPECTED[key] = original(built, engine, seeds, truth, horizon)
        return _EXPECTED[key]

    original = validate._expect
    with mock.patch.object(validate, "_expect", expect):
        yield


def run(build: Path, port: str, steps: int, times: Times, *, resume: bool = False) -> tuple[TqsError | None, int]:
    """(the error that ended the validation, steps that were received in it)"""
    received = 0

    def count(stage: str, done: int, total: int) -> None:
        nonlocal received
        received += stage == "rollouts on the board"

    if not resume:
        (build / TRACE).unlink(missing_ok=True)
    request = ValidateRequest(build, port=port, times=times, rollouts=1, horizon=steps, resume=resume)
    with expecting_once():
        try:
            report = validate.validate(request, count)
        except TqsError as error:
            return error, received
    assert report.passed
    assert report.bit_exact
    return None, received


def check_trace(build: Path, expected: Rollout) -> int:
    """The trace holds steps in order, each once, as the host computes them. Their number."""
    assert expected.state_hashes is not None
    steps = read_trace(build / TRACE).steps
    assert [step.step for step in steps] == list(range(len(steps)))
    codes = np.array([step.codes for step in steps]).reshape(len(steps), expected.outputs.shape[2])
    np.testing.assert_array_equal(codes, expected.outputs[0, : len(steps)])
    assert [step.state for step in steps] == expected.state_hashes[0, : len(steps)].tolist()
    return len(steps)


def check_error(error: TqsError) -> None:
    """One sentence or two that say what and where, and what to try."""
    assert error.message
    assert error.hint
    assert "trace.jsonl" in error.message
    assert "--resume" in error.hint


def survey(build: Path, port: str, steps: int, times: Times) -> Setting:
    """An undisturbed run through the relay."""
    built = build_dir.load(build)
    expected = integer_rollout(built.graph, encode(built.graph, built.seeds[:1]), steps)
    with Relay(port, (), (), 0) as line:
        error, received = run(build, line.path, steps, times)
    assert (error, received) == (None, steps)
    assert check_trace(build, expected) == steps
    to_board, to_host = line.passed
    return Setting(build, steps, expected, to_board, to_host, (build / TRACE).stat().st_size, ticks_of(build))


def ticks_of(build: Path) -> tuple[int, ...]:
    return tuple(step.ticks for step in read_trace(build / TRACE).steps)


class Matrix:
    """Runs with faults, each on ``board`` unless its kind needs another one. ``other``: the port of the other model."""

    def __init__(self, setting: Setting, board: Running, other: str, times: Times, stall_seconds: float) -> None:
        self._setting = setting
        self._board = board
        self._port = board.port
        self._other = other
        self._times = times
        self._stall_seconds = stall_seconds

    def run(self, kind: str, seed: int) -> Outcome:
        """Inject ``kind``, with all random choices from ``seed``. AssertionError for any third outcome."""
        to_board, most = (count * 9 // 10 for count in (self._setting.bytes_to_board, self._setting.bytes_to_host))
        rng = random.Random(f"{kind} {seed}")
        if kind == "stall":
            way = rng.randrange(2)
            faults = draw(kind, seed, 1, (to_board, most)[way])
            return self._disturbed(seed, *((faults, ()) if way == 0 else ((), faults)))
        if kind in BYTE_KINDS:
            return self._disturbed(seed, draw(kind, seed, 1, to_board), draw(kind, seed, 3, most))
        at = (Fault({"replace": SWITCH, "gone": GONE}.get(kind, CALL), rng.randrange(most)),)
        if kind == "reset":
            outcome = self._disturbed(seed, (), at)
            assert outcome.ended == "completed"
            return outcome
        if kind == "replace":
            outcome = self._disturbed(seed, (), at, spare=self._other)
            assert outcome.ended != "completed", "the other model was taken for this one"
            return outcome
        if kind == "gone":
            outcome = self._disturbed(seed, (), at)
            assert outcome.ended != "completed" or self._events()["reconnect"] == 1
            return outcome
        if kind == "kill":
            return self._killed(seed, at)
        if kind == "disk":
            return self._full(rng)
        return self._wrapping(rng)

    def _disturbed(
        self, seed: int, to_board: tuple[Fault, ...], to_host: tuple[Fault, ...], spare: str | None = None
    ) -> Outcome:
        setting, stall = self._setting, self._stall_seconds
        with Relay(
            self._port, to_board, to_host, seed, spare=spare, stall_seconds=stall, call=self._board.reset
        ) as line:
            error, received = run(setting.build, line.path, setting.steps, self._times)
        assert line.happened, "no fault was reached"
        return self._judge(error, received)

    def _judge(self, error: TqsError | None, received: int, make_room: Callable[[], None] = lambda: None) -> Outcome:
        """Every step that was received is in the trace; a run that was ended goes on from there on a quiet line, once
        ``make_room`` was called."""
        setting = self._setting
        if error is not None and not (setting.build / TRACE).exists():  # before the first request of the run
            assert received == 0
            assert error.hint
            return Outcome(error.message, False)
        assert check_trace(setting.build, setting.expected) == received
        if error is None:
            assert received == setting.steps
            return Outcome("completed", False)
        check_error(error)
        assert not (setting.build / "validation.json").exists()  # that of an earlier run would belong to another trace
        make_room()
        failure, rest = run(setting.build, self._port, setting.steps, self._times, resume=True)
        assert failure is None, failure
        assert received + rest == setting.steps
        self._check_resumed()
        return Outcome(error.message, True)

    def _check_resumed(self) -> None:
        setting = self._setting
        assert check_trace(setting.build, setting.expected) == setting.steps
        report = json.loads((setting.build / "validation.json").read_text())
        assert report["bit_exact"]
        assert report["line"]["resumes"] == 1

    def _events(self) -> Mapping[str, int]:
        return read_trace(self._setting.build / TRACE).events

    def _killed(self, seed: int, at: tuple[Fault, ...]) -> Outcome:
        """The command, killed, and the command again, with --resume where it had begun."""
        setting = self._setting
        process: list[subprocess.Popen[bytes]] = []
        trace = setting.build / TRACE
        trace.unlink(missing_ok=True)

        def command(port: str, *more: str) -> list[str]:
            line = [sys.executable, "-m", "edge_tqs", "validate", str(setting.build), "--port", port]
            return [*line, "--rollouts", "1", "--horizon", str(setting.steps), *more]

        def kill() -> None:
            process[0].kill()

        with Relay(self._port, (), at, seed, call=kill) as line:
            process.append(subprocess.Popen(command(line.path), stderr=subprocess.DEVNULL))
            assert process[0].wait() == -signal.SIGKILL
        begun = trace.exists() and b"\n" in trace.read_bytes()
        if begun:
            check_trace(setting.build, setting.expected)
        done = subprocess.run(
            command(self._port, *(["--resume"] if begun else [])), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        if begun:
            self._check_resumed()
        return Outcome("completed", begun)

    def _full(self, rng: random.Random) -> Outcome:
        """A disk with room for a part of the trace, or for all of it and not for the report."""
        room = rng.randrange(int(1.25 * self._setting.trace_bytes))
        with small_disk(DISK) as disk:
            if disk is None:
                return replace(self._limited(room), means="file limit, EFBIG")
            build = disk / "build"
            shutil.copytree(
                self._setting.build, build, ignore=lambda *_: (TRACE, "firmware", "manifest.json", *WRITTEN)
            )
            ballast, left = leave_room(disk, room)
            full = Matrix(replace(self._setting, build=build), self._board, self._other, self._times, 0)
            return replace(full._fill(errno.ENOSPC, left, ballast.unlink), means="tmpfs, ENOSPC")

    def _fill(self, why: int, room: int, make_room: Callable[[], None]) -> Outcome:
        """A run that ends for ``why`` when ``room`` bytes are taken, and goes on from there."""
        setting = self._setting
        error, received = run(setting.build, self._port, setting.steps, self._times)
        assert error is not None
        assert os.strerror(why) in error.message
        size = (setting.build / TRACE).stat().st_size
        if "takes no more" in error.message:
            assert 0 <= room - size < 200  # a line, which did not fit
        else:
            assert received == setting.steps
            assert "report cannot be written" in error.message
        if size == 0:  # not even the header
            assert received == 0
            assert error.hint
            return Outcome(error.message, False)
        return self._judge(error, received, make_room)

    def _limited(self, room: int) -> Outcome:
        """No file of this process may grow beyond a limit, which the trace meets: it is all that can be had where no
        file system may be mounted."""
        unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)

        def lift() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)

        resource.setrlimit(resource.RLIMIT_FSIZE, (room, unlimited[1]))
        try:
            return self._fill(errno.EFBIG, room, lift)
        finally:
            lift()

    def _wrapping(self, rng: random.Random) -> Outcome:
        """The counter wraps several times while steps are computed; none of them seems longer or shorter for it."""
        setting = self._setting
        folder = setting.build.with_name("wrapping")
        speed = WRAPS * MODULUS // sum(setting.ticks)
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            build = make_wrapping(setting.build, folder, rng.randrange(MODULUS), speed)
            port = stack.enter_context(running(build)).port
            error, received = run(build, port, setting.steps, self._times)
            assert (error, received) == (None, setting.steps)
            assert check_trace(build, setting.expected) == setting.steps
            ticks = ticks_of(build)
        assert sum(ticks) > (WRAPS - 1) * MODULUS
        assert all(
            0.5 * before * speed < now < 2 * before * speed for before, now in zip(setting.ticks, ticks, strict=True)
        )
        return Outcome("completed", False)
