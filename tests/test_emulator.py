"""Emulated boards: flashed through gdb, served over a PTY, and gone afterwards, whatever happened."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from bundles import write_bundle
from device.lossy_line import LossyLine
from graphs import quantized, quantized16, random_codes, random_graph

from edge_tqs.boards.board import Board, Emulator, list_boards, load_board
from edge_tqs.boards.emulator import emulator
from edge_tqs.boards.emulator.emulator import start, start_server
from edge_tqs.boards.firmware import assemble, compile_firmware
from edge_tqs.boards.flash import METHODS, flash, gdb
from edge_tqs.device.device import Device, SilentError, Times, open_port
from edge_tqs.device.rollout import run_rollout
from edge_tqs.emit_c.emit import emit
from edge_tqs.errors import DeviceError, ToolError, UsageError
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.graph.graph import Array, Graph
from edge_tqs.quantization import simulate

BOARDS = [board.name for board in list_boards() if board.emulator is not None]
MACHINES = [name for name in BOARDS if load_board(name).upload.method == "gdb"]
AN386 = load_board("qemu-mps2-an386")
HORIZON = 10


@dataclasses.dataclass(frozen=True)
class Build:
    """As `edge-tqs build` leaves it, as far as the emulator looks."""

    board: Board
    path: Path
    graph: Graph
    model_hash: str

    @property
    def image(self) -> Path:
        return self.path / "firmware" / "build" / "firmware.elf"


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Build]:
    rng = np.random.default_rng(12)
    graph = quantized(rng, random_graph(rng, "lstm"))
    model = tflite_model.write(graph, {"generator": "test", "plan": {}, "source_hash": "00" * 32})
    digest = tflite_model.model_hash(model)
    made = {}
    for name in BOARDS:
        board, path = load_board(name), tmp_path_factory.mktemp(name)
        generated = emit(graph, digest, graph.name, board.core)
        folder = assemble(board, generated.files, generated.kernels, path / "firmware")
        image = compile_firmware(folder)
        if not board.bare_metal:
            write_bundle(path / "bundle", model, image.elf, board)
        made[name] = Build(board, path, graph, digest)
    return made


def seeds_of(graph: Graph, count: int) -> Array:
    shape = (count, graph.forecast.window, graph.forecast.channels)
    return random_codes(np.random.default_rng(0), graph, shape)


def ends(process: int) -> bool:
    """Whether a process that is being killed is gone, or a zombie that init has not collected, within two seconds."""
    for _ in range(100):
        try:
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def children() -> set[int]:
    """Processes whose parent this one is, and that have not ended."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == os.getpid() and state != "Z":
            found.add(int(stat.parent.name))
    return found


@pytest.fixture(autouse=True)
def nothing_is_left_running() -> Iterator[None]:
    before = children()
    yield
    assert children() <= before


@pytest.mark.emulated
@pytest.mark.parametrize("name", BOARDS)
def test_every_board_computes_what_the_host_computes(builds: dict[str, Build], name: str) -> None:
    """The whole path: image flashed and compared, PTY, protocol, rollouts of the generated C, bit for bit."""
    build = builds[name]
    seeds = seeds_of(build.graph, 2)
    expected = simulate.integer_rollout(build.graph, seeds, HORIZON)
    assert expected.state_hashes is not None
    with start_server(build.board, build.path) as port, Device(open_port(port)) as device:
        assert device.require_model(build.model_hash).board == name
        for index, seed in enumerate(seeds):
            outputs, _, hashes = run_rollout(device, seed, HORIZON)
            np.testing.assert_array_equal(outputs, expected.outputs[index])
            np.testing.assert_array_equal(hashes, expected.state_hashes[index])


@pytest.mark.emulated
@pytest.mark.parametrize("name", ["host", "qemu-microbit", "qemu-mps2-an386", "bluepill", "rpi4"])
def test_int16_codes_go_through_a_whole_board(name: str, tmp_path: Path) -> None:
    """Samples, states and outputs of two bytes, both kinds of weights: from the wire to the kernels and back."""
    rng = np.random.default_rng(16)
    graph = quantized16(rng, random_graph(rng, "gru"))
    model = tflite_model.write(graph, {"generator": "test", "plan": {}, "source_hash": "00" * 32})
    digest, board = tflite_model.model_hash(model), load_board(name)
    generated = emit(graph, digest, graph.name, board.core)
    image = compile_firmware(assemble(board, generated.files, generated.kernels, tmp_path / "firmware"))
    if not board.bare_metal:
        write_bundle(tmp_path / "bundle", model, image.elf, board)
    seeds = seeds_of(graph, 2)
    expected = simulate.integer_rollout(graph, seeds, HORIZON)
    with start_server(board, tmp_path) as port, Device(open_port(port)) as device:
        assert device.require_model(digest).code_size == 2
        for index, seed in enumerate(seeds):
            outputs, _, hashes = run_rollout(device, seed, HORIZON)
            np.testing.assert_array_equal(outputs, expected.outputs[index])
            np.testing.assert_array_equal(hashes, expected.state_hashes[index])


@pytest.mark.emulated
@pytest.mark.parametrize("name", MACHINES)
def test_the_image_is_flashed_and_compared(builds: dict[str, Build], name: str) -> None:
    """Also where the emulator has a ROM: its gdb server writes that as a debug probe writes a flash."""
    build = builds[name]
    listing = subprocess.run(
        ["arm-none-eabi-objdump", "-h", "-w", str(build.image)], capture_output=True, text=True, check=True
    ).stdout
    loaded = [line.split() for line in listing.splitlines() if re.search(r"\bLOAD\b", line)]
    with start(build.board, build.image) as running:
        assert running.flashed is not None
        assert running.flashed.bytes_written == sum(int(section[2], 16) for section in loaded)
        assert running.flashed.sections_compared == len([section for section in loaded if int(section[2], 16)])
        assert (running.flashed.board, running.flashed.method) == (name, "gdb")


@pytest.mark.emulated
def test_the_ticks_of_a_flashed_board_repeat_and_equal_those_of_a_booted_one(builds: dict[str, Build]) -> None:
    """Instructions are counted exactly, but when they start is the host's affair: a step in which SysTick wraps holds
    its interrupt too, 7 to 9 ticks, and which step that is differs from run to run."""
    build = builds[AN386.name]
    (seed,) = seeds_of(build.graph, 1)
    ticks = []
    for flashed in (True, True, False):
        with start(build.board, build.image, flash=flashed) as running, Device(open_port(running.port)) as device:
            ticks.append(run_rollout(device, seed, HORIZON)[1].astype(int))
    assert ticks[0].min() > 10
    for other in ticks[1:]:
        difference = np.abs(other - ticks[0])
        assert np.median(difference) <= 2
        assert difference.max() <= 12


@pytest.mark.emulated
def test_a_machine_starts_without_any_image(builds: dict[str, Build], monkeypatch: pytest.MonkeyPatch) -> None:
    """What answers was flashed: the same machine without the flashing stays silent."""
    build = builds[AN386.name]
    monkeypatch.setattr(gdb, "flash", lambda board, image, port: None)
    with (
        start(build.board, build.image) as running,
        Device(open_port(running.port)) as device,
        pytest.raises(SilentError),
    ):
        device.hello(timeout=1.5)


@pytest.mark.emulated
def test_an_image_that_does_not_fit_the_board_is_not_started(builds: dict[str, Build], tmp_path: Path) -> None:
    build = builds[AN386.name]
    broken = tmp_path / "broken.elf"
    broken.write_bytes(b"\x7fELF" + bytes(100))
    with pytest.raises(DeviceError, match=r"gdb could not load broken\.elf"), start(build.board, broken):
        pass


@pytest.mark.emulated
def test_a_crash_is_told_with_the_last_words_of_the_emulator(builds: dict[str, Build]) -> None:
    build = builds[AN386.name]

    def use_and_kill() -> None:
        with start(build.board, build.image) as running, Device(open_port(running.port), Times(answer=0.3)) as device:
            device.hello()
            (qemu,) = [pid for pid in children() if "qemu" in Path(f"/proc/{pid}/comm").read_text()]
            os.kill(qemu, signal.SIGTERM)
            for _ in range(50):
                device.status()
                time.sleep(0.05)

    with pytest.raises(DeviceError, match=r"(?s)qemu-system-arm ended with exit status 0.*terminating on signal 15"):
        use_and_kill()


def test_a_machine_that_the_emulator_does_not_know() -> None:
    unknown = Emulator("qemu-system", "qemu-system-arm", "no-such-machine")
    board = dataclasses.replace(AN386, emulator=unknown)
    said = r"(?s)qemu-system-arm ended with exit status 1.*unsupported machine type"
    with pytest.raises(ToolError, match=said) as caught, start(board, Path(sys.executable)):
        pass
    assert "-M no-such-machine" in caught.value.hint


def test_a_program_that_opens_no_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator, "START_SECONDS", 0.3)
    program = tmp_path / "mute"
    program.write_text("#!/bin/sh\necho thinking\nsleep 60\n")
    program.chmod(0o755)
    said = r"mute opened no pseudo-terminal within 0\.3 s; its last words:\n  thinking"
    with pytest.raises(ToolError, match=said), start(load_board("host"), program):
        pass


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
def test_children_end_with_the_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """Also those that ignore SIGTERM, and their children."""
    monkeypatch.setattr(emulator, "END_SECONDS", 0.2)
    program = tmp_path / "stubborn"
    program.write_text("#!/bin/sh\ntrap '' TERM\nsleep 61 &\necho $! >$0.child\necho pty /dev/null\nwait\n")
    program.chmod(0o755)

    def use_and_fail() -> None:
        with start(load_board("host"), program) as running:
            assert running.port == "/dev/null"
            raise error

    with pytest.raises(error):
        use_and_fail()
    assert ends(int((tmp_path / "stubborn.child").read_text()))


def test_children_end_when_this_process_is_killed(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho $$ >$0.pid\necho pty /dev/null\nexec sleep 62\n")
    program.chmod(0o755)
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from edge_tqs.boards.board import load_board; from edge_tqs.boards.emulator.emulator import start\n"
        "with start(load_board('host'), Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(program)], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert ends(int((tmp_path / "program.pid").read_text()))


@pytest.mark.parametrize(
    ("missing", "package"),
    [("qemu-system-arm", "qemu-system-arm"), ("qemu-aarch64", "qemu-user"), ("gdb-multiarch", "gdb-multiarch")],
)
def test_a_missing_tool_brings_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str, package: str
) -> None:
    def which(program: str) -> str | None:
        return None if program in (missing, "arm-none-eabi-gdb") else f"/usr/bin/{program}"

    monkeypatch.setattr(shutil, "which", which)
    image = tmp_path / "image.elf"
    image.write_bytes(b"")

    def use() -> None:
        if missing.startswith("gdb"):
            flash(AN386, image, port="localhost:1")
        else:
            with start(AN386 if "system" in missing else load_board("rpi4"), image):
                pass

    with pytest.raises(ToolError, match=f"{missing} is missing") as caught:
        use()
    assert f"sudo apt install {package}" in caught.value.hint


def test_what_cannot_be_started(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such image"), start(AN386, tmp_path / "none.elf"):
        pass
    bare = dataclasses.replace(AN386, emulator=None)
    with pytest.raises(UsageError, match="has no emulator"), start(bare, tmp_path):
        pass
    with pytest.raises(UsageError, match="runs no Python"), start_server(AN386, tmp_path, "agent"):
        pass


# Flashing


def test_every_method_is_a_module_or_a_reason(tmp_path: Path) -> None:
    for board in list_boards():
        if board.upload.method in METHODS:
            continue
        with pytest.raises(UsageError, match=board.name) as caught:
            flash(board, tmp_path / "image")
        assert caught.value.hint


def test_flashing_needs_an_image_and_a_port(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such image"):
        flash(AN386, tmp_path / "none.elf", port="localhost:3333")
    image = tmp_path / "image.elf"
    image.write_bytes(b"")
    with pytest.raises(UsageError, match="--port is missing") as caught:
        flash(AN386, image)
    assert "edge-tqs validate" in caught.value.hint


@pytest.mark.parametrize("port", ["| sh -c true", "/dev/tty X", "localhost", "a:1\nshell true", ""])
def test_gdb_is_given_addresses_only(tmp_path: Path, port: str) -> None:
    image = tmp_path / "image.elf"
    image.write_bytes(b"")
    with pytest.raises(UsageError, match="not the address of a gdb server"):
        flash(AN386, image, port=port)


@pytest.mark.emulated
def test_no_gdb_server_there(builds: dict[str, Build]) -> None:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = f"127.0.0.1:{probe.getsockname()[1]}"
        with pytest.raises(DeviceError, match=r"gdb could not load firmware\.elf: .*(refused|timed out)") as caught:
            flash(AN386, builds[AN386.name].image, port=port)
    assert "gdb server" in caught.value.hint


def test_sections_that_differ_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worn flash, played by what gdb says of one."""
    said = (
        "Start address 0x00000044, load size 1476\n"
        "Section .text, range 0x0 -- 0x5c4: MIS-MATCHED!\n"
        "Section .data, range 0x5c4 -- 0x5d4: matched.\n"
        "warning: One or more sections of the target image does not match\nthe loaded file\n\nedge-tqs: started\n"
    )
    monkeypatch.setattr(gdb, "_gdb", lambda image, script, port: said)
    image = tmp_path / "image.elf"
    image.write_bytes(b"")
    with pytest.raises(DeviceError, match=r"\.text read back differs from image\.elf"):
        flash(AN386, image, port="localhost:3333")


# What a line can do to a frame.
FAULTS: dict[str, Callable[[bytes], list[bytes]]] = {
    "lost": lambda frame: [],
    "flipped": lambda frame: [bytes([frame[0] ^ 0x40]) + frame[1:]],
    "run into the next": lambda frame: [frame[:-1]],
    "doubled": lambda frame: [frame, frame],
}


@pytest.mark.emulated
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("server", ["program", "agent"])
def test_both_servers_survive_a_bad_cable(builds: dict[str, Build], server: str, fault: str) -> None:
    """Of the frames both ways a quarter is disturbed, by a seeded draw: the steps still arrive, each once, unharmed."""
    build, rng = builds["host"], np.random.default_rng(4)

    disturbed: list[int] = []

    def disturb(number: int, frame: bytes) -> list[bytes]:
        if rng.random() > 0.25:
            return [frame]
        disturbed.append(number)
        return FAULTS[fault](frame)

    (seed,) = seeds_of(build.graph, 1)
    patient = Times(hello_repeat=0.1, answer=0.2, step=0.2, attempts=10)
    with start_server(build.board, build.path, server) as port:
        with Device(open_port(port)) as device:
            expected, _, hashes = run_rollout(device, seed, 40)
        with LossyLine(port, disturb, disturb) as line, Device(open_port(line.path), patient) as device:
            outputs, _, disturbed_hashes = run_rollout(device, seed, 40)
    assert len(disturbed) > 2
    np.testing.assert_array_equal(outputs, expected)
    np.testing.assert_array_equal(disturbed_hashes, hashes)
