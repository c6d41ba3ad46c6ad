"""An Arm image for labwired 0.25, which has no SSAT: each becomes a branch to instructions that do the same.

Nothing else of the image changes. Encodings: Armv7-M Architecture Reference Manual, A7.7; ELF: System V ABI, 4, and ELF
for the Arm Architecture, 5.5.5, whose mapping symbols say what of a section is code.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import pairwise

_SECTION, _SYMBOL, _SEGMENT = struct.Struct("<10I"), struct.Struct("<IIIBBH"), struct.Struct("<8I")
_MOV, _EOR = 0xEA4F, 0xEA80
_LSL, _LSR, _ASR = 0, 1, 2
_PROGBITS, _SYMTAB, _EXECUTABLE, _LOAD, _READ_EXECUTE = 1, 2, 4, 1, 5


def without_ssat(elf: bytes) -> bytes:
    """The ELF file with each SSAT replaced, and what replaces them behind the image; ``elf`` itself without one.

    The replacement changes no condition flags, as SSAT changes none; it takes up to ten instructions more, and eight
    bytes of the stack.
    """
    image, added = bytearray(elf), bytearray()
    (segments_at,) = struct.unpack_from("<I", elf, 28)
    (count,) = struct.unpack_from("<H", elf, 44)
    segments = [_SEGMENT.unpack_from(elf, segments_at + _SEGMENT.size * i) for i in range(count)]
    start = max(at + size for kind, _, _, at, size, *_ in segments if kind == _LOAD and size > 0) + 3 & ~3
    for address, offset in _instructions(elf):
        first, second = struct.unpack_from("<2H", elf, offset)
        is_ssat16 = first & 0x20 != 0 and second & 0x70C0 == 0
        if first & 0xFFD0 == 0xF300 and second & 0x8020 == 0 and not is_ssat16:
            image[offset : offset + 4] = _branch(address, start + len(added))
            added += _replacement(first, second)
            added += _branch(start + len(added), address + 4)
    if not added:
        return elf
    image += bytes(-len(image) % 4)
    segments.append((_LOAD, len(image), start, start, len(added), len(added), _READ_EXECUTE, 4))
    image += added
    struct.pack_into("<I", image, 28, len(image))
    struct.pack_into("<H", image, 44, len(segments))
    return bytes(image) + b"".join(_SEGMENT.pack(*segment) for segment in segments)


def _instructions(elf: bytes) -> Iterator[tuple[int, int]]:
    """Address and offset in the file of each Thumb instruction of four bytes."""
    (table,) = struct.unpack_from("<I", elf, 32)
    (count,) = struct.unpack_from("<H", elf, 48)
    sections = [_SECTION.unpack_from(elf, table + _SECTION.size * i) for i in range(count)]
    marks = sorted(_marks(elf, sections))
    for number, (_, kind, flags, address, offset, size, *_) in enumerate(sections):
        if kind != _PROGBITS or not flags & _EXECUTABLE:
            continue
        own = [(at, is_code) for section, at, is_code in marks if section == number]
        for (start, is_code), (end, _) in pairwise([*own, (address + size, False)]):
            at = start
            while is_code and at < end:
                where = offset + at - address
                long = struct.unpack_from("<H", elf, where)[0] >> 11 >= 0x1D
                if long:
                    yield at, where
                at += 4 if long else 2


def _marks(elf: bytes, sections: list[tuple[int, ...]]) -> Iterator[tuple[int, int, bool]]:
    """Section, address and whether Thumb code begins there (or else data), of each mapping symbol."""
    for _, kind, _, _, offset, size, link, *_ in sections:
        if kind == _SYMTAB:
            for name, value, _, _, _, section in _SYMBOL.iter_unpack(elf[offset : offset + size]):
                mark = elf[sections[link][4] + name :][:2]
                if mark in (b"$t", b"$d"):
                    yield section, value, mark == b"$t"


def _replacement(first: int, second: int) -> bytes:
    """What SSAT target, #bits, source, LSL or ASR #shift computes, with a register that is saved around it.

    bits: 2 to 32. A value that does not fit has other bits than its sign among those from the result's sign on.
    """
    target, source, shift = second >> 8 & 0xF, first & 0xF, (second >> 10 & 0x1C) | (second >> 6 & 3)
    spare, last = 1 if target == 0 else 0, second & 0x1F  # last: bits - 1
    return b"".join(
        (
            _shifted(_MOV, target, source, _ASR if first & 0x20 else _LSL, shift),
            struct.pack("<2H", 0xF84D, spare << 12 | 0x0D08),  # STR spare, [SP, #-8]!
            _shifted(_MOV, spare, target, _ASR, last),
            _shifted(_EOR | spare, spare, target, _ASR, 31),
            struct.pack("<H", 0xB128 | spare),  # CBZ spare, over the next three: it fits
            _shifted(_MOV, target, target, _ASR, 31),
            struct.pack("<2H", 0xF06F, spare << 8),  # MVN spare, #0
            _shifted(_EOR | target, target, spare, _LSR, 32 - last & 31),
            struct.pack("<2H", 0xF85D, spare << 12 | 0x0B08),  # LDR spare, [SP], #8
        )
    )


def _shifted(operation: int, target: int, source: int, kind: int, shift: int) -> bytes:
    """MOV.W target, source, shifted; or EOR.W with one more operand in ``operation``. The flags stay."""
    return struct.pack("<2H", operation, (shift >> 2) << 12 | target << 8 | (shift & 3) << 6 | kind << 4 | source)


def _branch(source: int, target: int) -> bytes:
    """B.W at the address ``source``."""
    distance = target - (source + 4)
    sign = distance >> 24 & 1
    first, second = (~(distance >> bit ^ sign) & 1 for bit in (23, 22))
    return struct.pack(
        "<2H",
        0xF000 | sign << 10 | (distance >> 12 & 0x3FF),
        0x9000 | first << 13 | second << 11 | (distance >> 1 & 0x7FF),
    )
