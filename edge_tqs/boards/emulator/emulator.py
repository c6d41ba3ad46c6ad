"""Emulated boards, and programs on this machine, behind a pseudo-terminal: what a cable is to a real board.

All are context managers. They give the path of a serial port and end the process, whatever happens: on an exception, on
Ctrl-C, at the interpreter's exit, and (through PR_SET_PDEATHSIG) when this process is killed.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from edge_tqs.boards.board import Board, Emulator
from edge_tqs.boards.bundle import AGENT, PROGRAM
from edge_tqs.boards.emulator import booted_linux, direct_boot
from edge_tqs.boards.flash import FlashResult, gdb, uf2
from edge_tqs.boards.flash._run import binary_of
from edge_tqs.boards.port import load_port
from edge_tqs.errors import DeviceError, ToolError, UsageError
from edge_tqs.needs import Need, program, python_package
from edge_tqs.templates import emulator_root

START_SECONDS = 20.0
BOOT_SECONDS = 90.0
#: From SIGTERM to SIGKILL.
END_SECONDS = 2.0
_PORT_LINE = re.compile(r"^(?:char device redirected to|pty) (/dev/\S+)", re.MULTILINE)
#: emulator.program -> Debian package
_PACKAGES = {
    "qemu-system-arm": "qemu-system-arm",
    "qemu-system-aarch64": "qemu-system-arm",
    "qemu-aarch64": "qemu-user",
    "qemu-arm": "qemu-user",
    "node": "nodejs",
}
_RUNNERS = Path(__file__).parent / "runners"
_RP2040JS = "node_modules/rp2040js"
_LABWIRED = "labwired==0.25.*"


@dataclass(frozen=True)
class Emulated:
    """A running board. port: the path to open; flashed: what was written to it, None for a program."""

    port: str
    flashed: FlashResult | None = None


@contextlib.contextmanager
def start_server(board: Board, build: Path, server: str = "program") -> Iterator[str]:
    """The serial port of what `edge-tqs build` wrote to ``build``, running here.

    Args:
        board: The board of the build.
        build: The directory.
        server: "program": the compiled image. "agent": the Python agent of a Linux board's bundle.

    Raises:
        UsageError: The board has no emulator or no agent, or the build no image.
        ToolError: The emulator is missing or does not start.
        DeviceError: It ended in mid-use, while the block raised a DeviceError.
    """
    bundle = build / "bundle"
    if server == "agent":
        if board.bare_metal:
            raise UsageError(
                f"{board.name} runs no Python: there is no agent for it", hint="Leave --server out, or build for rpi4."
            )
        with start_agent(board, bundle) as running:
            yield running.port
    else:
        image = build / "firmware" / "build" / "firmware.elf" if board.bare_metal else bundle / PROGRAM
        with start(board, image) as running:
            yield running.port


@contextlib.contextmanager
def start(board: Board, image: Path, *, flash: bool = True) -> Iterator[Emulated]:
    """Run ``image`` (ELF) on the board's emulator. Raises as `start_server`.

    A whole machine (qemu-system) starts empty and halted, and the image is loaded and verified through its gdb server
    as into a board; with ``flash=False`` QEMU's own loader takes it. rp2040js is given the UF2 file of the image, and
    labwired an ESP32-C3's or ESP32-S3's binary as its boot ROM maps it.
    """
    emulator = board.emulator
    if emulator is None:
        raise UsageError(
            f"{board.name} has no emulator",
            hint="Give --port with the port of a real board, or build for a qemu- board.",
        )
    if not image.is_file():
        raise UsageError(f"{image}: no such image", hint="Build it first: `edge-tqs build`.")
    if emulator.kind == "qemu-system":
        with _qemu_machine(board, emulator, image, flash) as running:
            yield running
        return
    if emulator.kind == "qemu-linux":
        with _booted(emulator, image) as port:
            yield Emulated(port)
        return
    if emulator.kind in ("rp2040js", "labwired"):
        with _runner(board, emulator, image) as port:
            yield Emulated(port)
        return
    prefix = [_find(emulator.program), *emulator.args] if emulator.program is not None else [*emulator.args]
    with _running([*prefix, str(image.resolve()), "--pty"]) as child:
        yield Emulated(child.wait_for_port())


@contextlib.contextmanager
def start_agent(board: Board, bundle: Path, python: str = sys.executable) -> Iterator[Emulated]:
    """Run the bundle's Python agent with the interpreter ``python``. Raises as `start_server`."""
    agent = bundle / AGENT
    if not agent.is_file():
        raise UsageError(
            f"{agent}: no such agent", hint="Build for a Linux board first: `edge-tqs build --board rpi4`."
        )
    with _running([_find(python), str(agent.resolve()), "--pty", "--board", board.name]) as child:
        yield Emulated(child.wait_for_port())


@contextlib.contextmanager
def _qemu_machine(board: Board, emulator: Emulator, image: Path, flash: bool) -> Iterator[Emulated]:
    assert emulator.program is not None
    assert emulator.machine is not None
    command = [_find(emulator.program), "-M", emulator.machine, *emulator.args]
    command += ["-display", "none", "-monitor", "none", "-serial", "pty"]
    if emulator.icount_shift is not None:
        # Virtual time then is a count of instructions, and waiting for input passes none of it.
        command += ["-icount", f"shift={emulator.icount_shift},sleep=off"]
    with tempfile.TemporaryDirectory(prefix="edge-tqs-") as folder:
        socket = Path(folder) / "gdb"
        command += ["-S", "-gdb", f"unix:{socket},server=on,wait=off"] if flash else ["-kernel", str(image)]
        with _running(command) as child:
            port = child.wait_for_port()
            if not flash:
                yield Emulated(port)
                return
            child.wait_until(socket.exists, "opened no gdb socket")
            yield Emulated(port, gdb.flash(board, image, str(socket)))


@contextlib.contextmanager
def _booted(emulator: Emulator, image: Path) -> Iterator[str]:
    """A machine that boots Linux, with the program as its init."""
    assert emulator.program is not None
    assert emulator.machine is not None
    _require(_kernel())
    command = [_find(emulator.program), "-M", emulator.machine, *emulator.args]
    command += ["-display", "none", "-monitor", "none", "-serial", "pty"]
    with tempfile.TemporaryDirectory(prefix="edge-tqs-") as folder:
        initrd = Path(folder) / "initrd"
        initrd.write_bytes(booted_linux.initrd_of(image.read_bytes()))
        with _running([*command, *booted_linux.arguments(str(initrd))]) as child:
            path = child.wait_for_port()
            port = os.open(path, os.O_RDWR | os.O_NOCTTY)
            try:
                tty.setraw(port)
                child.wait_until(lambda: booted_linux.answers(port), "did not boot", BOOT_SECONDS)
                yield path
            finally:
                os.close(port)


@contextlib.contextmanager
def _runner(board: Board, emulator: Emulator, image: Path) -> Iterator[str]:
    """A program of runners/ whose standard input and output are the UART: one end of a pseudo-terminal."""
    with tempfile.TemporaryDirectory(prefix="edge-tqs-") as folder:
        if emulator.kind == "rp2040js":
            library, copied = emulator_root() / _RP2040JS, Path(folder) / f"{board.name}.uf2"
            _require(_fetched(library, "rp2040js", "runs the board's image"))
            copied.write_bytes(uf2.image_of(board, image))
            command = [_find("node"), str(_RUNNERS / "rp2040js.cjs"), str(library), str(copied)]
        else:
            assert emulator.machine is not None
            loaded = image.resolve()
            if load_port(board.port).direct_boot:
                loaded = Path(folder) / f"{board.name}.elf"
                loaded.write_bytes(direct_boot.mapped(binary_of(image, board.name).read_bytes(), emulator.machine))
            command = [sys.executable, str(_RUNNERS / "labwired_chip.py"), emulator.machine, str(loaded)]
        stream, port = os.openpty()
        try:
            tty.setraw(port)
            with _running(command, stream) as child:
                child.wait_until(lambda: "running" in child.output(), "did not start the image")
                yield os.ttyname(port)
        finally:
            os.close(stream)
            os.close(port)


def _require(need: Need) -> None:
    if need.find() is None:
        raise ToolError(f"{need.name} is missing; it {need.purpose}", hint=need.command)


def needs(board: Board) -> tuple[Need, ...]:
    """What running the board's image here needs: the emulator, and in it the machine."""
    emulator = board.emulator
    if emulator is not None and emulator.kind == "labwired":
        return (python_package("labwired", "runs the board's image", _LABWIRED),)
    if emulator is not None and emulator.kind == "rp2040js":
        return (
            program(("node",), "runs the emulator of the board", _PACKAGES["node"]),
            program(("npm",), "fetches that emulator", "npm"),
            _fetched(emulator_root() / _RP2040JS, "rp2040js", "runs the board's image"),
        )
    if emulator is None or emulator.program is None:
        return ()
    name, machine = emulator.program, emulator.machine
    package = _PACKAGES.get(name, "")
    found = (program((name,), "runs the board's image", package),)
    if machine is None:
        return found
    has_machine = Need(
        f"{name} -M {machine}",
        "is the emulated board",
        lambda: f"{name} has it" if machine in _machines(shutil.which(name) or name) else None,
        package,
    )
    kernel = (_kernel(),) if emulator.kind == "qemu-linux" else ()
    return (*found, has_machine, *kernel)


def _kernel() -> Need:
    return _fetched(booted_linux.kernel_file(), "kernel", "boots on the board")


def _fetched(path: Path, what: str, purpose: str) -> Need:
    """A file that runners/fetch.sh gets."""
    command = shlex.join([str(_RUNNERS / "fetch.sh"), what, str(emulator_root())])
    return Need(str(path), purpose, lambda: str(path) if path.exists() else None, command=command)


@functools.cache
def _machines(program: str) -> frozenset[str]:
    """The first words of the lines that ``-machine help`` prints; none when the program does not run."""
    try:
        listed = subprocess.run([program, "-machine", "help"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return frozenset()
    return frozenset(line.split()[0] for line in listed.splitlines() if line.strip())


def _find(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        package = _PACKAGES.get(program)
        raise ToolError(
            f"{program} is missing: it runs the board's image",
            hint=f"Install it: `sudo apt install {package}`." if package else f"Install {program}, or put it in PATH.",
        )
    return path


class _Child:
    """A process of its own session whose output goes to a file, which a pipe that nobody reads would not allow.

    stream: a descriptor that is its standard input and output instead; what it says then is its standard error.
    """

    def __init__(self, command: Sequence[str], log: IO[bytes], stream: int | None) -> None:
        self.command = command
        self.log = log
        guard = shutil.which("setpriv")  # of util-linux: the kernel kills the child when its parent dies
        guarded = [guard, "--pdeathsig", "KILL", "--", *command] if guard is not None else command
        self.process = subprocess.Popen(
            guarded,
            stdin=subprocess.DEVNULL if stream is None else stream,
            stdout=self.log if stream is None else stream,
            stderr=self.log,
            start_new_session=True,
        )

    def output(self) -> str:
        size = os.fstat(self.log.fileno()).st_size
        return os.pread(self.log.fileno(), size, 0).decode(errors="replace")

    def wait_for_port(self) -> str:
        self.wait_until(lambda: _PORT_LINE.search(self.output()) is not None, "opened no pseudo-terminal")
        found = _PORT_LINE.search(self.output())
        assert found is not None
        return found[1]

    def wait_until(self, ready: Callable[[], bool], failure: str, seconds: float | None = None) -> None:
        patience = START_SECONDS if seconds is None else seconds
        end = time.monotonic() + patience
        while not ready():
            if self.process.poll() is not None:
                raise ToolError(self.obituary(), hint=f"Try it by hand: {shlex.join(self.command)}")
            if time.monotonic() > end:
                raise ToolError(
                    f"{self.name} {failure} within {patience:g} s{self._last_lines()}",
                    hint=f"Try it by hand: {shlex.join(self.command)}",
                )
            time.sleep(0.01)

    @property
    def name(self) -> str:
        return Path(self.command[0]).name

    def is_dying(self) -> bool:
        """Whether it has ended or is about to: its pseudo-terminal goes first."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=0.5)
        return self.process.returncode is not None

    def obituary(self) -> str:
        status = self.process.returncode
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"
        return f"{self.name} {how}{self._last_lines()}"

    def _last_lines(self) -> str:
        lines = [line for line in self.output().splitlines() if line.strip() and _PORT_LINE.match(line) is None]
        return "; its last words:\n  " + "\n  ".join(lines[-5:]) if lines else ", and said nothing"

    def end(self) -> None:
        for deadly in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, deadly)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=END_SECONDS)
                break


@contextlib.contextmanager
def _running(command: Sequence[str], stream: int | None = None) -> Iterator[_Child]:
    with tempfile.TemporaryFile(prefix="edge-tqs-") as log:
        child = _Child(command, log, stream)
        atexit.register(child.end)
        try:
            yield child
        except DeviceError as error:
            if not child.is_dying():
                raise
            raise DeviceError(
                f"{error.message}: {child.obituary()}", hint="The firmware may have crashed: its last words say where."
            ) from error
        finally:
            atexit.unregister(child.end)
            child.end()
