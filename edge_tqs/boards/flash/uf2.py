"""Flashing by copying a UF2 file to the drive that a boot loader shows (Raspberry Pi Pico, many Arduino boards).

The format: https://github.com/microsoft/uf2, README.md. The drive says in INFO_UF2.TXT which board it is, which is
compared before anything is copied. It cannot be read back: the boot loader takes whole blocks alone, checks the family,
and restarts the board when it has the last one; `edge-tqs validate` then sees by the model's hash what runs.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterable
from pathlib import Path

from edge_tqs.boards.board import Board
from edge_tqs.boards.flash import FlashResult
from edge_tqs.boards.flash._run import binary_of
from edge_tqs.errors import DeviceError, UsageError
from edge_tqs.needs import Need

INFO = "INFO_UF2.TXT"
#: Where Linux desktops, and macOS, mount drives.
MOUNTS = ("/media", "/run/media", "/mnt", "/Volumes")
PAYLOAD = 256
_MAGIC = (0x0A324655, 0x9E5D5157, 0x0AB16F30)
_FAMILY_PRESENT = 0x2000


def needs() -> tuple[Need, ...]:
    """Nothing but the drive."""
    return ()


def flash(board: Board, image: Path, port: str | None) -> FlashResult:
    """Convert and copy. port: the folder of the drive; None looks for one below MOUNTS.

    ``upload.target``: the Board-ID that the drive must say. ``upload.family``: the part's UF2 family.
    """
    blocks = image_of(board, image)
    drive = _drive(board, port)
    target = drive / f"{board.name}.uf2"
    try:
        with target.open("wb") as file:
            file.write(blocks)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise DeviceError(
            f"{drive}: {target.name} could not be copied: {error.strerror}",
            hint="Reset the board into its boot loader (on a Pico: hold BOOTSEL) and try again.",
        ) from error
    return FlashResult(board.name, "uf2", str(drive), binary_of(image, board.name).stat().st_size, 0)


def image_of(board: Board, image: Path) -> bytes:
    """The UF2 file of ``image``, the built ELF. UsageError: the board file names no family, or there is no binary."""
    family = board.upload.family
    if family is None or board.flash is None:
        raise UsageError(
            f"{board.name}: its board file names no UF2 family", hint="Give it: family = 0xe48bff56 in [upload]."
        )
    return convert(binary_of(image, board.name).read_bytes(), board.flash.origin, family)


def convert(binary: bytes, origin: int, family: int) -> bytes:
    """``binary``, which lies at the address ``origin``, as UF2 blocks of 512 bytes with 256 of it each."""
    pieces = [binary[at : at + PAYLOAD].ljust(PAYLOAD, b"\0") for at in range(0, len(binary), PAYLOAD)]
    head = struct.Struct("<8I")
    return b"".join(
        head.pack(*_MAGIC[:2], _FAMILY_PRESENT, origin + n * PAYLOAD, PAYLOAD, n, len(pieces), family)
        + piece.ljust(476, b"\0")
        + struct.pack("<I", _MAGIC[2])
        for n, piece in enumerate(pieces)
    )


def _drive(board: Board, port: str | None) -> Path:
    """The one drive that says it is this board."""
    wanted = board.upload.target
    found = {place: _board_id(place) for place in ([Path(port)] if port is not None else _mounted())}
    matching = [place for place, name in found.items() if name is not None and (wanted is None or name == wanted)]
    if len(matching) == 1:
        return matching[0]
    others = [f"{place} says {name}" for place, name in found.items() if name is not None and place not in matching]
    if others and not matching:
        raise DeviceError(
            f"{board.name} is {wanted}, but {', '.join(others)}: nothing was written",
            hint="Another board is plugged in: build for it, or give the folder of the right drive with --port.",
        )
    if matching:
        raise UsageError(
            f"{len(matching)} drives could be {board.name}: {', '.join(map(str, matching))}",
            hint="Say which with --port.",
        )
    raise DeviceError(
        f"{port or 'no drive'}: no {INFO} of a UF2 boot loader",
        hint="Reset the board into its boot loader (on a Pico: hold BOOTSEL while plugging it in), mount its drive, "
        "and give the folder with --port.",
    )


def _mounted() -> Iterable[Path]:
    for mount in map(Path, MOUNTS):
        for pattern in (INFO, f"*/{INFO}", f"*/*/{INFO}"):
            yield from (path.parent for path in sorted(mount.glob(pattern)))


def _board_id(place: Path) -> str | None:
    """What the drive says of itself; None where it is none."""
    try:
        text = (place / INFO).read_text(encoding="ascii", errors="replace")[:4096]
    except OSError:
        return None
    said = re.search(r"^Board-ID:\s*(\S+)", text, re.MULTILINE)
    return said[1] if said else ""
