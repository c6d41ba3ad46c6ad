"""What the boot ROM of an ESP32-C3 makes of a flash without Espressif's headers: the same bytes at two addresses.

"Direct boot" (Espressif, esp32c3-direct-boot-example): the words 0xAEDB041D 0xAEDB041D at the start of the flash, which
the ROM maps to 0x42000000 for instructions and to 0x3C000000 for data, and whose third word it jumps to.
"""

from __future__ import annotations

import struct

from edge_tqs.errors import UsageError

MAGIC = struct.pack("<2I", 0xAEDB041D, 0xAEDB041D)
#: bus -> where the flash begins on it
INSTRUCTIONS, DATA = 0x4200_0000, 0x3C00_0000
#: ELF (System V ABI, 4): 32-bit, little-endian, an executable for RISC-V; headers of 52 and 32 bytes; segments to load
_HEADER = struct.Struct("<16sHHIIIIIHHHHHH")
_SEGMENT = struct.Struct("<8I")
_IDENT = b"\x7fELF\x01\x01\x01"
_EXECUTABLE, _RISCV, _LOAD, _READ_EXECUTE = 2, 243, 1, 5


def mapped(binary: bytes) -> bytes:
    """The ELF file of the memory that the ROM leaves to ``binary``, the flash from address 0 on, and of its entry.

    Raises:
        UsageError: It does not begin with the words that the ROM looks for.
    """
    if not binary.startswith(MAGIC):
        raise UsageError(
            "the image does not begin as the ESP32-C3's boot ROM wants it for direct boot",
            hint="Build again: `edge-tqs build`.",
        )
    buses = (INSTRUCTIONS, DATA)
    start = _HEADER.size + _SEGMENT.size * len(buses)
    segments = b"".join(
        _SEGMENT.pack(_LOAD, start, bus, bus, len(binary), len(binary), _READ_EXECUTE, 4) for bus in buses
    )
    entry = INSTRUCTIONS + len(MAGIC)
    header = _HEADER.pack(
        _IDENT, _EXECUTABLE, _RISCV, 1, entry, _HEADER.size, 0, 0, _HEADER.size, _SEGMENT.size, len(buses), 0, 0, 0
    )
    return header + segments + binary
