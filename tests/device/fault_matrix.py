"""Faults injected between pyserial and a running emulated board, at seeded random points of a validation.

There are two outcomes: the run completes and every step is bit-exact, or it ends with one clear error, every step that
was received is in trace.jsonl, and the run goes on from there. Both are checked step by step against the host.
"""

from __future__ import annotations

import json
import random
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
from device.relay import BYTE_KINDS, CALL, GONE, RESTART, SWITCH, Fault, Relay, draw

from edge_tqs import build_dir, emulator, validate
from edge_tqs.boards import load_board
from edge_tqs.device import Times
from edge_tqs.errors import TqsError
from edge_tqs.rollout import Rollout
from edge_tqs.simulate import encode, integer_rollout
from edge_tqs.trace_file import TRACE, read_trace
from edge_tqs.validate import Expected, ValidateRequest

Array = npt.NDArray[Any]

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
#: Bytes from the host in the shortest run; faults on the way to the board are drawn among them.
TO_BOARD = 60
#: The counter's modulus, and how often it wraps while a run computes.
MODULUS, WRAPS = 1 << 32, 8
_EXPECTED: dict[tuple[str, str, bytes, int], Expected] = {}


@dataclass(frozen=True, eq=False)
class Setting:
    """A build, its expected rollout, and an undisturbed run: bytes from the board, ticks of each step."""

    build: Path
    steps: int
    expected: Rollout
    bytes_to_host: int
    ticks: tuple[int, ...]


@dataclass(frozen=True)
class Outcome:
    """How a run ended: "completed", or the message of the error. resumed: it was ended, and completed when resumed."""

    ended: str
    resumed: bool


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
    firmware = folder / "firmware"
    for port in firmware.rglob("port.o"):
        port.unlink()
    flag = f"CFLAGS_EXTRA=-D'TQS_TICKS(count)=({start}u + {speed}u * (count))'"
    subprocess.run(["make", "-C", str(firmware), flag], check=True, capture_output=True)
    return folder


@contextmanager
def running(build: Path) -> Iterator[str]:
    """A board that was just switched on."""
    with emulator.start_server(load_board(BOARD), build) as port:
        yield port


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
    assert line.passed[0] >= TO_BOARD
    return Setting(build, steps, expected, line.passed[1], ticks_of(build))


def ticks_of(build: Path) -> tuple[int, ...]:
    return tuple(step.ticks for step in read_trace(build / TRACE).steps)


class Matrix:
    """Runs with faults, each on the board at ``port`` unless its kind needs a fresh one."""

    def __init__(self, setting: Setting, port: str, other: str, times: Times, stall_seconds: float) -> None:
        self._setting = setting
        self._port = port
        self._other = other
        self._times = times
        self._stall_seconds = stall_seconds

    def run(self, kind: str, seed: int) -> Outcome:
        """Inject ``kind``, with all random choices from ``seed``. AssertionError for any third outcome."""
        setting, most = self._setting, self._setting.bytes_to_host * 9 // 10
        rng = random.Random(f"{kind} {seed}")
        if kind == "stall":
            way = rng.randrange(2)
            faults = [draw(kind, seed, 1, (TO_BOARD, most)[way]) if each == way else () for each in range(2)]
            return self._disturbed(seed, *faults)
        if kind in BYTE_KINDS:
            return self._disturbed(seed, draw(kind, seed, 1, TO_BOARD), draw(kind, seed, 3, most))
        at = (Fault({"reset": RESTART, "replace": SWITCH, "gone": GONE}.get(kind, CALL), rng.randrange(most)),)
        if kind == "reset":
            with running(setting.build) as fresh:
                outcome = self._disturbed(seed, (), at, spare=fresh)
            assert outcome.ended == "completed"
            return outcome
        if kind == "replace":
            outcome = self._disturbed(seed, (), at, spare=self._other)
            assert outcome.ended != "completed", "the other model was taken for this one"
            return outcome
        if kind == "gone":
            return self._disturbed(seed, (), at)
        if kind == "kill":
            return self._killed(seed, at)
        if kind == "disk":
            return self._full(rng)
        return self._wrapping(rng)

    def _disturbed(
        self, seed: int, to_board: tuple[Fault, ...], to_host: tuple[Fault, ...], spare: str | None = None
    ) -> Outcome:
        setting = self._setting
        with Relay(self._port, to_board, to_host, seed, spare=spare, stall_seconds=self._stall_seconds) as line:
            error, received = run(setting.build, line.path, setting.steps, self._times)
        assert line.happened, "no fault was reached"
        return self._judge(error, received)

    def _judge(self, error: TqsError | None, received: int) -> Outcome:
        """Every step that was received is in the trace; a run that was ended goes on from there on a quiet line."""
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
        self._resume(received)
        return Outcome(error.message, True)

    def _resume(self, received: int) -> None:
        setting = self._setting
        error, rest = run(setting.build, self._port, setting.steps, self._times, resume=True)
        assert error is None, error
        assert received + rest == setting.steps
        assert check_trace(setting.build, setting.expected) == setting.steps
        report = json.loads((setting.build / "validation.json").read_text())
        assert report["line"]["resumes"] == 1

    def _killed(self, seed: int, at: tuple[Fault, ...]) -> Outcome:
        setting = self._setting
        process: list[subprocess.Popen[bytes]] = []
        trace = setting.build / TRACE
        trace.unlink(missing_ok=True)

        def kill() -> None:
            process[0].kill()

        with Relay(self._port, (), at, seed, call=kill) as line:
            command = [sys.executable, "-m", "edge_tqs", "validate", setting.build, "--port", line.path]
            command += ["--rollouts", "1", "--horizon", setting.steps]
            process.append(subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL))
            assert process[0].wait() == -9
        if not trace.exists():  # killed before the run began: there is nothing to go on with
            error, received = run(setting.build, self._port, setting.steps, self._times)
            assert (error, received) == (None, setting.steps)
            return Outcome("completed", False)
        self._resume(check_trace(setting.build, setting.expected))
        return Outcome("completed", True)

    def _full(self, rng: random.Random) -> Outcome:
        """No file of this process may grow beyond a limit, which the trace meets. It is longer than 40 bytes a step."""
        setting = self._setting
        limit = rng.randrange(1, 40 * setting.steps)
        unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, unlimited[1]))
        try:
            error, received = run(setting.build, self._port, setting.steps, self._times)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        assert error is not None
        assert "takes no more" in error.message
        size = (setting.build / TRACE).stat().st_size
        assert size <= limit
        if size == 0:  # not even the header
            assert received == 0
            return Outcome(error.message, False)
        assert limit - size < 200  # a line, which did not fit
        return self._judge(error, received)

    def _wrapping(self, rng: random.Random) -> Outcome:
        """The counter wraps several times while steps are computed; none of them seems longer or shorter for it."""
        setting = self._setting
        folder = setting.build.with_name("wrapping")
        speed = WRAPS * MODULUS // sum(setting.ticks)
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            build = make_wrapping(setting.build, folder, rng.randrange(MODULUS), speed)
            port = stack.enter_context(running(build))
            error, received = run(build, port, setting.steps, self._times)
            assert (error, received) == (None, setting.steps)
            assert check_trace(build, setting.expected) == setting.steps
            ticks = ticks_of(build)
        assert sum(ticks) > (WRAPS - 1) * MODULUS
        assert all(
            0.5 * before * speed < now < 2 * before * speed for before, now in zip(setting.ticks, ticks, strict=True)
        )
        return Outcome("completed", False)
