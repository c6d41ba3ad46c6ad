"""The messages of the serial protocol as bytes. firmware_templates/PROTOCOL.md specifies every byte."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Self

from edge_tqs.device.frames import MAX_PAYLOAD, Frame, FrameReader, WireError, decode_frame, encode_frame

__all__ = [
    "MAX_PAYLOAD", "UNKNOWN_SIZE", "VERSION", "Ack", "Baud", "BaudReply", "Counter", "Done", "ForecastRequest", "Frame",
    "FrameReader", "Hello", "HelloReply", "Message", "MessageType", "Nak", "NakCode", "Point", "Probe", "Push", "Reset",
    "Status", "StatusReply", "StepReply", "Values", "WireError", "decode_frame", "encode_frame",
]  # fmt: skip

VERSION = 3
#: In StatusReply: the port cannot know this figure.
UNKNOWN_SIZE = 0xFFFFFFFF
#: What a board may call itself, and the runtime that it computes with: it goes to terminals and reports.
_BOARD = re.compile(rb"[a-z0-9][a-z0-9-]{0,39}(?:\+[a-z][a-z0-9-]{0,19})?")


class MessageType(IntEnum):
    """Request types are below 0x80; each answer has the top bit set."""

    HELLO = 0x01
    RESET = 0x02
    PUSH = 0x03
    FORECAST = 0x04
    STATUS = 0x05
    PROBE = 0x06
    BAUD = 0x07
    HELLO_REPLY = 0x81
    ACK = 0x82
    STEP = 0x84
    DONE = 0x85
    STATUS_REPLY = 0x86
    POINT = 0x87
    VALUES = 0x88
    BAUD_REPLY = 0x89
    NAK = 0xFF


class NakCode(IntEnum):
    """Why a device refused a request."""

    BAD_FRAME = 1
    UNKNOWN_TYPE = 2
    BAD_LENGTH = 3
    BAD_VERSION = 4
    NOT_READY = 5
    OUT_OF_ORDER = 6


class Counter(IntEnum):
    """What a device counts ``ticks`` with; the rate is HelloReply.counter_hz."""

    NONE = 0
    CYCCNT = 1
    SYSTICK = 2
    MONOTONIC = 3
    MPCCR = 4
    CCOUNT = 5


def _unpack(layout: struct.Struct, payload: bytes, name: str) -> tuple[int, ...]:
    """Unpack a payload of exactly the layout's size."""
    if len(payload) != layout.size:
        raise WireError(f"{name} carries {len(payload)} bytes; {layout.size} are right")
    return layout.unpack(payload)


class Message:
    """What messages share: ``TYPE``, ``pack`` to a payload, ``parse`` from one (WireError unless it fits exactly)."""

    TYPE: ClassVar[MessageType]

    def pack(self) -> bytes:
        return b""

    def frame(self, sequence: int) -> bytes:
        """The message as sent."""
        return encode_frame(Frame(self.TYPE, sequence, self.pack()))


class _Numbers(Message):
    """A message whose fields are the numbers of ``_LAYOUT``, in order."""

    _LAYOUT: ClassVar[struct.Struct] = struct.Struct("<")

    def pack(self) -> bytes:
        return self._LAYOUT.pack(*vars(self).values())

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        return cls(*_unpack(cls._LAYOUT, payload, cls.TYPE.name))


class _NumbersThenCodes(Message):
    """A message whose fields are the numbers of ``_LAYOUT``, in order, and then codes as bytes, little-endian."""

    _LAYOUT: ClassVar[struct.Struct]

    def pack(self) -> bytes:
        *numbers, codes = vars(self).values()
        return self._LAYOUT.pack(*numbers) + bytes(codes)

    @classmethod
    def _parse(cls, payload: bytes, size_of: Callable[..., int] | None = None) -> Self:
        """``size_of`` takes the numbers, and returns how many bytes of codes are right; None where any are."""
        head = cls._LAYOUT.size
        numbers, codes = _unpack(cls._LAYOUT, payload[:head], f"{cls.TYPE.name}'s head"), payload[head:]
        if size_of and len(codes) != size_of(*numbers):
            raise WireError(f"{cls.TYPE.name} carries {len(codes)} bytes of codes, not {size_of(*numbers)}")
        fields: tuple[int | bytes, ...] = (*numbers, codes)
        return cls(*fields)


@dataclass(frozen=True)
class Hello(_Numbers):
    """Who are you? Ends what the device was doing and forgets the last sequence number."""

    TYPE = MessageType.HELLO
    _LAYOUT = struct.Struct("<B")
    version: int = VERSION


@dataclass(frozen=True)
class Reset(_Numbers):
    """Make history and states as after power-up."""

    TYPE = MessageType.RESET


@dataclass(frozen=True)
class Push(_NumbersThenCodes):
    """Append ``count`` samples; ``codes`` are count x channels codes, oldest sample first."""

    TYPE = MessageType.PUSH
    _LAYOUT = struct.Struct("<B")
    count: int
    codes: bytes

    @classmethod
    def parse(cls, payload: bytes, sample_size: int) -> Self:
        return cls._parse(payload, lambda count: count * sample_size)


@dataclass(frozen=True)
class ForecastRequest(_NumbersThenCodes):
    """Roll forward; send the steps ``first`` to ``first + steps - 1``.

    ahead: where inputs are known ahead, their codes at the time of each of these steps; else empty.
    """

    TYPE = MessageType.FORECAST
    _LAYOUT = struct.Struct("<HH")
    first: int
    steps: int
    ahead: bytes = b""

    @classmethod
    def parse(cls, payload: bytes, ahead_size: int = 0) -> Self:
        return cls._parse(payload, lambda first, steps: steps * ahead_size)


@dataclass(frozen=True)
class Status(_Numbers):
    """How much memory, how many bad frames?"""

    TYPE = MessageType.STATUS


@dataclass(frozen=True)
class Probe(_Numbers):
    """Tell of evaluation ``evaluation`` of the graph, counted from now: of all its points, or the codes of one."""

    TYPE = MessageType.PROBE
    _LAYOUT = struct.Struct("<IH")
    ALL_POINTS: ClassVar[int] = 0xFFFF
    evaluation: int
    point: int = ALL_POINTS


@dataclass(frozen=True)
class Baud(_Numbers):
    """Change the rate of the wire to ``rate`` bits a second, once this is answered."""

    TYPE = MessageType.BAUD
    _LAYOUT = struct.Struct("<I")
    rate: int


@dataclass(frozen=True)
class HelloReply(Message):
    """What answers HELLO.

    counter_hz: ticks a second. model_hash: 64 lower-case hex digits. board: ASCII, at most 255 characters. outputs:
    values in a predicted sample (0 stands for as many as there are channels). steps: samples that an evaluation
    predicts. exogenous: channels that are known ahead.
    """

    TYPE = MessageType.HELLO_REPLY
    _LAYOUT: ClassVar[struct.Struct] = struct.Struct("<BBHHHI32sBHHHB")
    counter: Counter
    channels: int
    window: int
    max_payload: int
    counter_hz: int
    model_hash: str
    board: str
    code_size: int = 1
    version: int = VERSION
    outputs: int = 0
    steps: int = 1
    exogenous: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "outputs", self.outputs or self.channels)

    @property
    def sample_size(self) -> int:
        """Bytes of a sample in PUSH."""
        return self.channels * self.code_size

    @property
    def output_size(self) -> int:
        """Bytes of the outputs in STEP."""
        return self.outputs * self.code_size

    @property
    def ahead_size(self) -> int:
        """Bytes of what is known ahead of one step, in FORECAST."""
        return self.exogenous * self.code_size

    def pack(self) -> bytes:
        board = self.board.encode("ascii")
        fixed = (self.version, self.counter, self.channels, self.window, self.max_payload, self.counter_hz)
        block = (self.outputs, self.steps, self.exogenous)
        return self._LAYOUT.pack(*fixed, bytes.fromhex(self.model_hash), self.code_size, *block, len(board)) + board

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        if payload and payload[0] != VERSION:
            raise WireError(
                f"the device speaks version {payload[0]} of the protocol, this edge-tqs speaks {VERSION}",
                hint="Build and flash again with this edge-tqs, or use the edge-tqs that built the firmware.",
            )
        size = cls._LAYOUT.size
        if len(payload) < size or len(payload) != size + payload[size - 1]:
            raise WireError(f"HELLO_REPLY carries {len(payload)} bytes, not {size} and a board name")
        version, counter, channels, window, max_payload, hz, digest, code_size, *block, _ = cls._LAYOUT.unpack_from(
            payload
        )
        outputs, steps, exogenous = block
        possible = channels > 0 and window > 0 and code_size in (1, 2) and max_payload > channels * code_size
        if not (possible and outputs > 0 and steps > 0 and exogenous <= channels):
            raise WireError(
                f"HELLO_REPLY is impossible: {channels} channels of {code_size} bytes, window {window}, "
                f"payload {max_payload}, {steps} samples of {outputs}, {exogenous} known ahead"
            )
        name = payload[size:]
        if _BOARD.fullmatch(name) is None:
            shown = name.decode("ascii", "backslashreplace").encode("unicode_escape").decode("ascii")
            raise WireError(
                f"the device calls itself '{shown[:80]}', which is no name of a board",
                hint="Small letters, digits and dashes, as board files have it, and perhaps + and a runtime.",
            )
        try:
            return cls(
                Counter(counter),
                channels,
                window,
                max_payload,
                hz,
                digest.hex(),
                name.decode("ascii"),
                code_size,
                version,
                outputs,
                steps,
                exogenous,
            )
        except ValueError as error:
            raise WireError(f"HELLO_REPLY is impossible: {error}") from error


@dataclass(frozen=True)
class Ack(_Numbers):
    """Done; ``pushed`` samples were pushed since RESET."""

    TYPE = MessageType.ACK
    _LAYOUT = struct.Struct("<I")
    pushed: int


@dataclass(frozen=True)
class StepReply(_NumbersThenCodes):
    """One step of a forecast.

    step: counted from 0. ticks: the counter over the step's computation, modulo 2^32. state_hash: CRC-32 of the states.
    codes: the outputs.
    """

    TYPE = MessageType.STEP
    _LAYOUT = struct.Struct("<HII")
    step: int
    ticks: int
    state_hash: int
    codes: bytes

    @classmethod
    def parse(cls, payload: bytes, output_size: int) -> Self:
        return cls._parse(payload, lambda *head: output_size)


@dataclass(frozen=True)
class Done(_Numbers):
    """The forecast is over; ``steps`` were sent."""

    TYPE = MessageType.DONE
    _LAYOUT = struct.Struct("<H")
    steps: int


@dataclass(frozen=True)
class StatusReply(_Numbers):
    """Memory in bytes (UNKNOWN_SIZE where the port cannot know it), frames dropped, counter ticks since start."""

    TYPE = MessageType.STATUS_REPLY
    _LAYOUT = struct.Struct("<IIIII")
    stack_size: int
    stack_peak: int
    ram_static: int
    frames_dropped: int
    uptime_ticks: int


@dataclass(frozen=True)
class Point(_Numbers):
    """What an evaluation holds at a point: ``count`` codes with the CRC-32 ``crc``; ``ticks`` since the last point.

    number: how many points of the evaluation were told of before.
    """

    TYPE = MessageType.POINT
    _LAYOUT = struct.Struct("<HHIHI")
    point: int
    number: int
    ticks: int
    count: int
    crc: int


@dataclass(frozen=True)
class Values(_NumbersThenCodes):
    """The codes of a point from byte ``offset`` on."""

    TYPE = MessageType.VALUES
    _LAYOUT = struct.Struct("<HI")
    point: int
    offset: int
    codes: bytes

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        return cls._parse(payload)


@dataclass(frozen=True)
class BaudReply(_Numbers):
    """The rate that the device's end has from now on; 0: it cannot have the one asked for, and nothing changes."""

    TYPE = MessageType.BAUD_REPLY
    _LAYOUT = struct.Struct("<I")
    rate: int


@dataclass(frozen=True)
class Nak(_Numbers):
    """Refused. ``code`` may be one that this version does not know."""

    TYPE = MessageType.NAK
    _LAYOUT = struct.Struct("<B")
    code: int

    @property
    def reason(self) -> str:
        """The code's name, or its number."""
        return NakCode(self.code).name if self.code in NakCode.__members__.values() else f"code {self.code}"
