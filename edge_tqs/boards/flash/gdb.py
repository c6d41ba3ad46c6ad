"""Flashing through any gdb server: an emulator started with ``-gdb``, OpenOCD, pyOCD, J-Link.

``load`` writes each section to its load address, ``compare-sections`` has the server read it back; then the core starts
from the vector table as it does after a reset (Armv7-M Architecture Reference Manual, B1.5.5: SP from word 0, PC from
word 1).
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from edge_tqs.boards.board import Board
from edge_tqs.boards.flash import FlashResult
from edge_tqs.boards.flash._run import run, tool
from edge_tqs.errors import DeviceError, UsageError
from edge_tqs.needs import Need, program

#: gdb-multiarch is Debian's; Arm's toolchain brings the other. A gdb for the host alone would refuse the image.
PROGRAMS = ("gdb-multiarch", "arm-none-eabi-gdb")
TIMEOUT_SECONDS = 120
_DONE = "edge-tqs: started"
#: A socket's path or HOST:PORT. Anything else could be read by gdb as a command to run (`target remote | command`).
_TARGET = re.compile(r"/[^\s|'\"\\]+|[\w.\-\[\]:]*:\d+")


def flash(board: Board, image: Path, port: str) -> FlashResult:
    """Load ``image`` through the gdb server at ``port``, compare all sections, start it. Raises as `flash.flash`."""
    if board.flash is None:
        raise UsageError(f"{board.name} has no flash to load an image into", hint="Give its board file a `flash`.")
    if _TARGET.fullmatch(port) is None:
        raise UsageError(
            f"{port}: not the address of a gdb server",
            hint="Start OpenOCD, pyOCD or J-Link's server and give its address, for example --port localhost:3333.",
        )
    output = _gdb(image, _script(port, board.flash.origin), port)
    sections = re.findall(r"^Section (\S+), range .*: (matched|MIS-MATCHED!)\.?$", output, re.MULTILINE)
    differing = [name for name, verdict in sections if verdict != "matched"]
    if differing:
        raise DeviceError(
            f"{board.name} at {port}: {', '.join(differing)} read back differs from {image.name}",
            hint="The flash is worn, protected, or not where the board file says; erase it and try again.",
        )
    size = re.search(r"load size (\d+)", output)
    if _DONE not in output or size is None or not sections:
        raise DeviceError(
            f"{board.name} at {port}: gdb could not load {image.name}: {_last_words(output)}",
            hint="Is a gdb server running there, and is the board attached to it?",
        )
    return FlashResult(board.name, "gdb", port, int(size[1]), len(sections))


def _script(port: str, origin: int) -> str:
    return f"""\
set confirm off
set pagination off
set tcp connect-timeout 5
set tcp auto-retry off
set remotetimeout 10
target remote {port}
load
compare-sections
set $sp = {{unsigned int}}{origin:#x}
set $pc = {{unsigned int}}{origin + 4:#x} & ~1
echo {_DONE}\\n
detach
"""


def needs() -> tuple[Need, ...]:
    """The gdb."""
    return (program(PROGRAMS, "writes the image to the board", "gdb-multiarch"),)


def _gdb(image: Path, script: str, port: str) -> str:
    """All that gdb says. A script ends at its first failing command, so `_DONE` in it means that all went well."""
    with tempfile.NamedTemporaryFile("w", prefix="edge-tqs-", suffix=".gdb") as file:
        file.write(script)
        file.flush()
        return run([*tool(needs()[0]), "-nx", "--batch", "-x", file.name, str(image)], port, TIMEOUT_SECONDS).text


def _last_words(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
