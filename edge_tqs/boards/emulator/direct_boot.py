"""What the boot ROM of an ESP32-C3 or -S3 makes of a flash without Espressif's headers: its bytes at two addresses.

"Direct boot" (Espressif, esp32c3-direct-boot-example): the words 0xAEDB041D 0xAEDB041D in the flash, which the ROM maps
to 0x42000000 for instructions and to 0x3C000000 for data; it jumps to what follows them. firmware_templates/ports/esp32
says where each chip looks for them, and how that is known.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from edge_tqs.errors import UsageError

MAGIC = struct.pack("<2I", 0xAEDB041D, 0xAEDB041D)
#: bus -> where the flash begins on it
INSTRUCTIONS, DATA = 0x4200_0000, 0x3C00_0000
#: ELF (System V ABI, 4): 32-bit, little-endian, an executable; headers of 52 and 32 bytes; segments to load
_HEADER = struct.Struct("<16sHHIIIIIHHHHHH")
_SEGMENT = struct.Struct("<8I")
_IDENT = b"\x7fELF\x01\x01\x01"
_EXECUTABLE, _LOAD, _READ_EXECUTE = 2, 1, 5


@dataclass(frozen=True)
class _Chip:
    """name: for people; machine: of its ELF files; magic: where in the flash its ROM looks for the words."""

    name: str
    machine: int
    magic: int


#: by labwired's name
_CHIPS = {"esp32c3": _Chip("ESP32-C3", 243, 0), "esp32s3": _Chip("ESP32-S3", 94, 0x400)}


def mapped(binary: bytes, chip: str) -> bytes:
    """The ELF file of the memory that the ROM leaves to ``binary``, the flash from address 0 on, and of its entry.

    chip: labwired's name of it.

    Raises:
        UsageError: The chip is not known, or the binary has not the words that its ROM looks for.
    """
    if chip not in _CHIPS:
        raise UsageError(
            f"emulator.machine is {chip!r}, of which direct boot is not known",
            hint=f"One of {', '.join(_CHIPS)} runs images of the port esp32.",
        )
    known = _CHIPS[chip]
    if not binary.startswith(MAGIC, known.magic):
        raise UsageError(
            f"the image does not begin as the {known.name}'s boot ROM wants it for direct boot",
            hint="Build again: `edge-tqs build`.",
        )
    buses = (INSTRUCTIONS, DATA)
    start = _HEADER.size + _SEGMENT.size * len(buses)
    segments = b"".join(
        _SEGMENT.pack(_LOAD, start, bus, bus, len(binary), len(binary), _READ_EXECUTE, 4) for bus in buses
    )
    entry = INSTRUCTIONS + known.magic + len(MAGIC)
    about = (_IDENT, _EXECUTABLE, known.machine, 1, entry)
    header = _HEADER.pack(*about, _HEADER.size, 0, 0, _HEADER.size, _SEGMENT.size, len(buses), 0, 0, 0)
    return header + segments + binary
