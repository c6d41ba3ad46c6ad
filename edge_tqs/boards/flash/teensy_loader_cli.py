"""Flashing a Teensy with PJRC's teensy_loader_cli over its boot loader's USB.

Every Teensy's loader has the same USB ids and it gives nothing back: which board it is, and what it holds, cannot be
asked. `edge-tqs validate` then sees by the model's hash what runs.
"""

from __future__ import annotations

from pathlib import Path

from edge_tqs.boards.board import Board
from edge_tqs.boards.flash import FlashResult
from edge_tqs.boards.flash._run import binary_of, run, tool
from edge_tqs.errors import DeviceError, UsageError
from edge_tqs.needs import Need, program

_NEED = program(("teensy_loader_cli",), "writes the image to the board", "teensy-loader-cli")
_DONE = "Booting"


def needs() -> tuple[Need, ...]:
    """The program."""
    return (_NEED,)


def flash(board: Board, image: Path, port: str | None) -> FlashResult:
    """Write the .hex beside the image, start it. port: None, as the tool takes the first loader that it finds.

    ``upload.target``: the tool's name of the board, as ``TEENSY41``.
    """
    if board.upload.target is None:
        raise UsageError(
            f"{board.name}: its board file does not say what teensy_loader_cli calls it",
            hint='Give it: target = "TEENSY41" under [upload].',
        )
    begin = tool(_NEED)
    if port is not None:
        raise UsageError(
            f"{board.name}: teensy_loader_cli cannot be told which board to take, as {port}",
            hint="Leave --port out, and plug in one board in its boot loader.",
        )
    binary = binary_of(image, board.name)
    output = run([*begin, f"--mcu={board.upload.target}", "-v", str(image.with_suffix(".hex"))], board.name)
    if output.code != 0 or _DONE not in output.text:
        raise DeviceError(
            f"{board.name}: teensy_loader_cli did not write {image.stem}.hex: {output.last}",
            hint="Press the button on the board, which starts its boot loader, and try again.",
        )
    return FlashResult(board.name, "teensy-loader-cli", "USB", binary.stat().st_size, 0)
