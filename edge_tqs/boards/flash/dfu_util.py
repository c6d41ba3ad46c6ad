"""Flashing with dfu-util: the USB boot loader of STM32 parts ("DfuSe"), then read back and compared."""

from __future__ import annotations

from pathlib import Path

from edge_tqs.boards.board import Board
from edge_tqs.boards.flash import FlashResult
from edge_tqs.boards.flash._run import binary_of, compare, folder, run, tool
from edge_tqs.errors import DeviceError, UsageError
from edge_tqs.needs import Need, program

_NEED = program(("dfu-util",), "writes the image to the board", "dfu-util")


def needs() -> tuple[Need, ...]:
    """The program."""
    return (_NEED,)


def flash(board: Board, image: Path, port: str | None) -> FlashResult:
    """Download, upload, compare, leave the boot loader. port: the device's serial number, where several are there.

    The board is recognised by the USB ids in its file (``upload.target``, as ``0483:df11``) before anything is written.
    """
    ids = board.upload.target
    if ids is None or board.flash is None:
        raise UsageError(
            f"{board.name}: its board file does not say which USB ids its boot loader has",
            hint='Give it: target = "0483:df11" under [upload].',
        )
    binary = binary_of(image, board.name)
    size, origin = binary.stat().st_size, board.flash.origin
    device = [*tool(_NEED), "-d", ids, "-a", "0", *(("-S", port) if port else ())]
    output = run([*device, "-s", f"{origin:#010x}", "-D", str(binary)], board.name)
    if output.code != 0:
        raise DeviceError(
            f"{board.name}: dfu-util did not write {binary.name}: {output.last}",
            hint="Hold BOOT0 while the board is reset, so that its boot loader answers; `dfu-util -l` lists it.",
        )
    with folder() as place:
        read = Path(place) / "read.bin"
        output = run([*device, "-s", f"{origin:#010x}:{size}", "-U", str(read)], board.name)
        if output.code != 0 or not read.is_file():
            raise DeviceError(
                f"{board.name}: dfu-util could not read the flash back: {output.last}",
                hint="Is the flash protected against reading?",
            )
        compare(binary, read, board.name, port or ids)
    run([*device, "-s", f"{origin:#010x}:leave", "-Z", "0"], board.name)
    return FlashResult(board.name, "dfu-util", port or ids, size, 1)
