"""Flashing an STM32 over its UART boot loader (ST AN3155) with stm32flash, which verifies by reading back.

The part's device id, which the boot loader says first, is compared with the board file's before anything is written.
"""

from __future__ import annotations

import re
from pathlib import Path

from edge_tqs.boards.board import Board
from edge_tqs.boards.flash import FlashResult
from edge_tqs.boards.flash._run import binary_of, run, tool
from edge_tqs.errors import DeviceError, UsageError
from edge_tqs.needs import Need, program

_NEED = program(("stm32flash",), "writes the image to the board", "stm32flash")
_BOOT_HINT = "Set BOOT0 to 1, reset the board, and see that nothing else uses the port."


def needs() -> tuple[Need, ...]:
    """The program."""
    return (_NEED,)


def flash(board: Board, image: Path, port: str | None) -> FlashResult:
    """Recognise the part, write, verify, start. port: the serial port of the boot loader."""
    if port is None or board.flash is None:
        raise UsageError(f"{board.name}: --port is missing: the serial port", hint="`edge-tqs ports` lists them.")
    binary = binary_of(image, board.name)
    begin = tool(_NEED)
    output = run([*begin, port], port)
    found = re.search(r"Device ID\s*:\s*0x([0-9a-fA-F]{4})", output.text)
    if found is None:
        raise DeviceError(f"{port}: no STM32 boot loader answers: {output.last}", hint=_BOOT_HINT)
    wanted = board.upload.target
    if wanted is not None and int(found[1], 16) != int(wanted, 16):
        raise DeviceError(
            f"{port}: the part there has the device id 0x{found[1]}, {board.name} has {wanted}: nothing was written",
            hint="Another board is plugged in: build for it, or give its port.",
        )
    origin = f"{board.flash.origin:#x}"
    output = run([*begin, "-w", str(binary), "-v", "-S", origin, "-g", origin, port], port)
    if output.code != 0 or "(100.00%) Done" not in output.text:
        raise DeviceError(f"{port}: stm32flash did not write {binary.name}: {output.last}", hint=_BOOT_HINT)
    return FlashResult(board.name, "stm32flash", port, binary.stat().st_size, 1)
