"""Writing an image to a board: one module a tool, named as the board files' ``upload.method`` with _ for -.

Such a module has ``flash(board, image, port) -> FlashResult`` and ``needs() -> tuple[Need, ...]``; adding one touches
nothing else. Boards without a method refuse, and say what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from edge_tqs.boards.board import Board
from edge_tqs.errors import UsageError
from edge_tqs.needs import Need

#: upload.method of a board file -> its module
METHODS = {
    path.stem.replace("_", "-"): f"edge_tqs.boards.flash.{path.stem}"
    for path in sorted(Path(__file__).parent.glob("[a-z]*.py"))
}

#: upload.method -> why there is nothing to flash, what to do
_NOTHING_TO_FLASH = {
    "bundle": (
        "runs a program under Linux, it has no image to flash",
        "Copy the bundle to it (`edge-tqs flash BUILD --tool ssh --port pi@HOST`) and run `sudo ./install.sh` there.",
    ),
    "none": ("is this machine, it has nothing to flash", "`edge-tqs validate BUILD` starts the program by itself."),
}


@dataclass(frozen=True)
class FlashResult:
    """What was written and verified. ``port`` is where; ``sections_compared`` were read back and equal the image's:
    sections of the ELF, the whole binary (1), or files; 0 where the board cannot be read."""

    board: str
    method: str
    port: str
    bytes_written: int
    sections_compared: int


def needs(board: Board) -> tuple[Need, ...]:
    """What writing an image to the board needs."""
    method = board.upload.method
    if method not in METHODS:
        return ()
    wanted: tuple[Need, ...] = import_module(METHODS[method]).needs()
    return wanted


def flash(board: Board, image: Path, *, port: str | None = None, method: str | None = None) -> FlashResult:
    """Write ``image`` (ELF) to the board at ``port``, verify it there, and start it.

    Args:
        board: Its ``upload.method`` chooses the tool, unless ``method`` names another.
        image: The ELF file.
        port: Where the tool finds the board. gdb: the address of a gdb server, HOST:PORT or a socket's path. esptool,
            stm32flash: a serial port. uf2: the drive's folder. ssh: [USER@]HOST[:PORT]. openocd, pyocd, dfu-util: the
            probe's or device's serial number, where there are several. teensy-loader-cli: None.

    Raises:
        UsageError: The board has nothing to flash, or ``port`` is missing or no address.
        ToolError: The tool is missing.
        DeviceError: The board does not answer, or what was read back differs.
    """
    chosen, method = method, method or board.upload.method
    if chosen is not None and chosen not in METHODS:
        raise UsageError(f"there is no flash tool {chosen}", hint=f"There is: {', '.join(METHODS)}.")
    if method not in METHODS:
        reason, hint = _NOTHING_TO_FLASH[method]
        raise UsageError(f"{board.name} {reason}", hint=hint)
    if not image.is_file():
        raise UsageError(f"{image}: no such image", hint="Build it first: `edge-tqs build`.")
    if port is None and method == "gdb":
        raise UsageError(
            f"{board.name}: --port is missing: the gdb server that the board is reached by",
            hint="`edge-tqs validate BUILD` starts and flashes the emulator by itself."
            if board.emulator
            else "Start OpenOCD, pyOCD or J-Link's server and give its address, for example --port localhost:3333.",
        )
    result: FlashResult = import_module(METHODS[method]).flash(board, image, port)
    return result
