"""Frames of the serial protocol: COBS, length and CRC, and their incremental reader. No input or output happens here.

firmware_templates/PROTOCOL.md specifies every byte. Framing is COBS (Cheshire and Baker, "Consistent Overhead Byte
Stuffing", IEEE/ACM Transactions on Networking 7(2), 1999) with CRC-32 (IEEE 802.3), little-endian throughout.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from cobs import cobs

from edge_tqs.errors import DeviceError

#: What the u16 length field can say. A device states its own, lower limit in its HELLO_REPLY.
MAX_PAYLOAD = 0xFFFF

_HEADER = struct.Struct("<BBH")
_CRC = struct.Struct("<I")


class WireError(DeviceError):
    """Bytes that are not a frame, or a payload that is not its message."""


@dataclass(frozen=True)
class Frame:
    """A frame whose CRC is right. ``type`` may be one that this version does not know."""

    type: int
    sequence: int
    payload: bytes


def encode_frame(frame: Frame) -> bytes:
    """The frame as sent, with its closing zero byte. ValueError for a field out of range."""
    if not (0 <= frame.type <= 0xFF and 0 <= frame.sequence <= 0xFF and len(frame.payload) <= MAX_PAYLOAD):
        raise ValueError(
            f"type {frame.type}, sequence {frame.sequence} or {len(frame.payload)} bytes do not fit a frame"
        )
    body = _HEADER.pack(frame.type, frame.sequence, len(frame.payload)) + frame.payload
    return bytes(cobs.encode(body + _CRC.pack(zlib.crc32(body)))) + b"\0"


def decode_frame(encoded: bytes) -> Frame:
    """The frame in ``encoded``, which has no closing zero byte. WireError when COBS, length or CRC is wrong."""
    try:
        raw = bytes(cobs.decode(encoded))
    except cobs.DecodeError as error:
        raise WireError(f"not a frame: {error}") from error
    if len(raw) < _HEADER.size + _CRC.size:
        raise WireError(f"not a frame: {len(raw)} bytes are fewer than a header and a CRC")
    body, (crc,) = raw[: -_CRC.size], _CRC.unpack(raw[-_CRC.size :])
    if crc != zlib.crc32(body):
        raise WireError("not a frame: wrong CRC")
    kind, sequence, length = _HEADER.unpack_from(body)
    if length != len(body) - _HEADER.size:
        raise WireError(f"not a frame: its length field says {length}, it carries {len(body) - _HEADER.size} bytes")
    return Frame(kind, sequence, body[_HEADER.size :])


class FrameReader:
    """Cuts a byte stream into frames; never raises, never holds more than one longest frame.

    Args:
        max_payload: Longer frames are dropped as they arrive.

    ``dropped`` counts the frames that were too long, or failed COBS, length or CRC. Empty frames are not frames.
    """

    def __init__(self, max_payload: int = MAX_PAYLOAD) -> None:
        self.dropped = 0
        self._max_payload = max_payload
        longest = _HEADER.size + max_payload + _CRC.size
        self._limit = longest + longest // 254 + 1  # COBS adds at most one byte per 254, and one
        self._buffer = bytearray()
        self._overlong = False

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that ``data`` completes, in order."""
        *ends, rest = data.split(b"\0")
        frames = []
        for piece in ends:
            self._hold(piece)
            frame = self._finish()
            if frame is not None:
                frames.append(frame)
        self._hold(rest)
        return frames

    def _hold(self, piece: bytes) -> None:
        if self._overlong or len(self._buffer) + len(piece) > self._limit:
            self._overlong = True
            self._buffer.clear()
        else:
            self._buffer += piece

    def _finish(self) -> Frame | None:
        encoded, overlong = bytes(self._buffer), self._overlong
        self._buffer.clear()
        self._overlong = False
        if not encoded and not overlong:
            return None
        try:
            frame = None if overlong else decode_frame(encoded)
        except WireError:
            frame = None
        if frame is None or len(frame.payload) > self._max_payload:
            self.dropped += 1
            return None
        return frame
