"""Flashing with OpenOCD and the probe that its configuration names; it verifies by reading back.

OpenOCD may leave with 0 although it failed (its dummy adapter does), so its words count, not its exit code.
"""

from __future__ import annotations

from pathlib import Path

from edge_tqs.boards.board import Board
from edge_tqs.boards.flash import FlashResult
from edge_tqs.boards.flash._run import run, tool
from edge_tqs.errors import DeviceError, UsageError
from edge_tqs.needs import Need, program

_NEED = program(("openocd",), "writes the image to the board", "openocd")
_VERIFIED = "** Verified OK **"


def needs() -> tuple[Need, ...]:
    """The program."""
    return (_NEED,)


def flash(board: Board, image: Path, port: str | None) -> FlashResult:
    """Program and verify the ELF, reset. port: the probe's serial number, needed where several are plugged in."""
    configs = board.upload.configs
    if not configs:
        raise UsageError(
            f"{board.name}: its board file names no OpenOCD configuration",
            hint='Give it: configs = ["interface/stlink.cfg", "target/stm32f4x.cfg"] under [upload].',
        )
    command = [*tool(_NEED), *(word for config in configs for word in ("-f", config))]
    if port is not None:
        command += ["-c", f"adapter serial {port}"]
    output = run([*command, "-c", f"program {{{image}}} verify reset exit"], board.name)
    if _VERIFIED not in output.text:
        raise DeviceError(
            f"{board.name}: OpenOCD did not write {image.name}: {output.last}",
            hint="Is the probe plugged in, the board powered, and nothing else using the probe?",
        )
    return FlashResult(board.name, "openocd", port or configs[0], image.with_suffix(".bin").stat().st_size, 1)
