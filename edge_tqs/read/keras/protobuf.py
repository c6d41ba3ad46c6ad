"""Fields of a protocol-buffer message by their numbers, for reading a SavedModel without TensorFlow."""

from __future__ import annotations

#: Bytes of a field by its wire type: 64-bit and 32-bit numbers.
_FIXED = {1: 8, 5: 4}
_VARINT, _BYTES = 0, 2


def bytes_fields(message: bytes, number: int) -> list[bytes]:
    """Each value of the length-delimited field ``number``. Raises ValueError for what is no message."""
    found, at = [], 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == _VARINT:
            _, at = _varint(message, at)
        elif kind == _BYTES:
            size, at = _varint(message, at)
            if at + size > len(message):
                raise ValueError("a field ends beyond the message")
            if tag >> 3 == number:
                found.append(message[at : at + size])
            at += size
        elif kind in _FIXED:
            at += _FIXED[kind]
        else:
            raise ValueError(f"wire type {kind}")
    if at != len(message):
        raise ValueError("a field ends beyond the message")
    return found


def text_field(message: bytes, number: int) -> str:
    """The last value of a text field, "" where there is none. Raises ValueError for what is no message."""
    values = bytes_fields(message, number)
    return values[-1].decode() if values else ""


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """(value, where it ends)."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        value |= (message[at] & 0x7F) << shift
        at += 1
        if not message[at - 1] & 0x80:
            return value, at
    raise ValueError("a number is cut off")
