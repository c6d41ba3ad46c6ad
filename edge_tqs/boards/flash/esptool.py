"""Flashing an ESP32 part over its ROM boot loader with esptool, which compares the MD5 of what it wrote.

The chip says what it is first: esptool refuses another one than the board file names before it writes.
"""

from __future__ import annotations

from pathlib import Path

from edge_tqs.boards.board import Board
from edge_tqs.boards.flash import FlashResult
from edge_tqs.boards.flash._run import binary_of, run, tool
from edge_tqs.errors import DeviceError, UsageError
from edge_tqs.needs import Need, python_package

_NEED = python_package("esptool", "writes the image to the board", "esptool>=5")
_VERIFIED = "Hash of data verified"


def needs() -> tuple[Need, ...]:
    """The Python package."""
    return (_NEED,)


def flash(board: Board, image: Path, port: str | None) -> FlashResult:
    """Recognise the chip, write at the start of its flash, verify, reset. port: its serial port.

    ``upload.target`` is the chip as esptool names it. The ROM alone is used: its stub is not downloaded.
    """
    chip = board.upload.target
    if chip is None:
        raise UsageError(
            f"{board.name}: its board file names no chip for esptool", hint='Give it: target = "esp32c3" in [upload].'
        )
    if port is None:
        raise UsageError(f"{board.name}: --port is missing: the serial port", hint="`edge-tqs ports` lists them.")
    binary = binary_of(image, board.name)
    command = [
        *tool(_NEED),
        "--chip",
        chip,
        "--port",
        port,
        "--no-stub",
        "write-flash",
        "--no-progress",
        "--no-compress",
    ]
    output = run([*command, "0x0", str(binary)], port)
    if output.code != 0 or _VERIFIED not in output.text:
        raise DeviceError(
            f"{port}: esptool did not write {binary.name}: {output.last}",
            hint="Hold BOOT while the board is reset, and see that nothing else uses the port.",
        )
    return FlashResult(board.name, "esptool", port, binary.stat().st_size, 1)
