"""Flashing with pyOCD through a CMSIS-DAP, ST-Link or J-Link probe, then read back and compared.

pyOCD checks by CRC only to leave out sectors that are right already; what it wrote is read back here.
"""

from __future__ import annotations

from pathlib import Path

from edge_tqs.boards.board import Board
from edge_tqs.boards.flash import FlashResult
from edge_tqs.boards.flash._run import binary_of, compare, folder, run, tool
from edge_tqs.errors import DeviceError, UsageError
from edge_tqs.needs import Need, python_package

_NEED = python_package("pyocd", "writes the image to the board", "pyocd>=0.36")


def needs() -> tuple[Need, ...]:
    """The Python package."""
    return (_NEED,)


def flash(board: Board, image: Path, port: str | None) -> FlashResult:
    """Load, read back, compare, reset. port: the probe's unique id, needed where several are plugged in."""
    target = board.upload.target
    if target is None or board.flash is None:
        raise UsageError(
            f"{board.name}: its board file names no target for pyOCD",
            hint='Give it: target = "nrf52840" under [upload]; `pyocd list --targets` has the names.',
        )
    binary = binary_of(image, board.name)
    probe = ["--target", target, "--no-wait", *(("--probe", port) if port else ())]
    begin = [*tool(_NEED)]
    output = run([*begin, "load", *probe, "--format", "elf", str(image)], board.name)
    if output.code != 0:
        raise DeviceError(
            f"{board.name}: pyOCD did not write {image.name}: {output.last}",
            hint="Is the probe plugged in (`pyocd list`), and the board powered?",
        )
    with folder() as place:
        read = Path(place) / "read.bin"
        size = binary.stat().st_size
        command = f"savemem {board.flash.origin:#x} {size} {read}"
        output = run([*begin, "commander", *probe, "--command", command], board.name)
        if output.code != 0 or not read.is_file():
            raise DeviceError(
                f"{board.name}: pyOCD could not read the flash back: {output.last}",
                hint="Reset the board and try again.",
            )
        compare(binary, read, board.name, port or target)
    run([*begin, "reset", *probe], board.name)
    return FlashResult(board.name, "pyocd", port or target, size, 1)
