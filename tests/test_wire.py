"""The wire: golden bytes, round trips, hostile streams, and agreement with the firmware's header."""

from __future__ import annotations

import re
import zlib
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest
from cobs import cobs
from hypothesis import given
from hypothesis import strategies as st

from edge_tqs.device import messages as wire
from edge_tqs.device.messages import Counter, Frame, FrameReader, MessageType, NakCode, WireError

TEMPLATES = Path(__file__).parents[1] / "firmware_templates"

u8, u16, u32 = st.integers(0, 0xFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
frames = st.builds(Frame, u8, u8, st.binary(max_size=700))

#: (message, sequence, every byte on the wire): what any other implementation of PROTOCOL.md must send.
GOLDEN: list[tuple[wire.Message, int, str]] = [
    (wire.Hello(), 1, "04 010101 06 03 458235db 00"),
    (wire.Reset(), 2, "03 0202 01 05 f9c3c988 00"),
    (wire.Push(2, bytes([0, 1, 0x80, 0xFF])), 3, "04 030305 02 02 08 0180ff be4eb06e 00"),
    (wire.ForecastRequest(0, 96), 4, "04 040404 01 01 02 60 05 31dc4beb 00"),
    (wire.ForecastRequest(8, 2, b"\x05\xfb\x00\x07"), 4, "04040408020802020305fb0607788ddb5500"),
    (wire.Ack(2), 3, "04 820304 02 02 01 01 05 cecd4c74 00"),
    (wire.StepReply(1, 0x01020304, 0, b"\x05\xfb"), 4, "04 84040c 02 01 05 04030201 01 01 01 07 05fb a01d77dc 00"),
    (wire.Done(96), 4, "04 850402 02 60 05 2421cbc5 00"),
    (wire.Status(), 5, "03 0505 01 05 c5ed5110 00"),
    (wire.StatusReply(2048, 512, wire.UNKNOWN_SIZE, 1, 99), 6,
     "04 860614 01 02 08 01 01 02 02 01 06 ffffffff01 01 01 02 63 01 01 05 d60bed86 00"),
    (wire.HelloReply(Counter.SYSTICK, 7, 24, 256, 25_000_000, "11" * 32, "qemu"), 1,
     "0481013804030207021801280140787d0" + 32 * "11" + "10107020101010a0471656d750778c4b400"),
    (wire.Probe(70_000), 7, "040607060470110107ffff16baa21c00"),
    (wire.Point(3, 2, 0x01020304, 8, 0xCBF43926), 7, "0487070e02030202060403020108092639f4cb6b11f65200"),
    (wire.Values(3, 242, b"\x05\xfb\x00"), 7, "04880709020302f201010305fb055a8a27c100"),
    (wire.Baud(460_800), 8, "0407080401030807057e1dcb8600"),
    (wire.BaudReply(462_962), 8, "0489080404721007054910791300"),
    (wire.Nak(NakCode.BAD_FRAME), 0, "02 ff 02 01 06 01306a837a 00"),
]  # fmt: skip


@pytest.mark.parametrize(("message", "sequence", "sent"), GOLDEN, ids=lambda value: type(value).__name__)
def test_every_byte_of_a_frame(message: wire.Message, sequence: int, sent: str) -> None:
    assert message.frame(sequence).hex() == sent.replace(" ", "")


@given(frames)
def test_a_frame_survives_encoding(frame: Frame) -> None:
    encoded = wire.encode_frame(frame)
    assert encoded.count(0) == 1
    assert encoded.endswith(b"\0")
    assert wire.decode_frame(encoded[:-1]) == frame


@given(st.lists(frames, max_size=8), st.data())
def test_a_stream_in_any_pieces_gives_its_frames(sent: list[Frame], data: st.DataObject) -> None:
    stream = b"\0".join(wire.encode_frame(frame) for frame in sent)  # with empty frames in between
    reader, got = FrameReader(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        got += reader.feed(stream[:size])
        stream = stream[size:]
    assert got == sent
    assert reader.dropped == 0


@given(st.lists(st.binary(max_size=400), max_size=20), frames.filter(lambda frame: len(frame.payload) <= 64))
def test_noise_neither_raises_nor_grows_nor_sticks(noise: list[bytes], frame: Frame) -> None:
    reader = FrameReader(max_payload=64)
    for piece in noise:
        for got in reader.feed(piece):
            assert len(got.payload) <= 64
        assert len(reader._buffer) <= 64 + 8 + 1
    assert reader.feed(b"\0" + wire.encode_frame(frame))[-1] == frame


@given(frames, st.data())
def test_one_damaged_byte_is_never_taken_for_another_frame(frame: Frame, data: st.DataObject) -> None:
    encoded = bytearray(wire.encode_frame(frame))
    at = data.draw(st.integers(0, len(encoded) - 2))
    encoded[at] ^= data.draw(st.integers(1, 0xFF))
    assert FrameReader().feed(bytes(encoded)) == []


def test_an_endless_frame_is_dropped_as_it_arrives() -> None:
    reader = FrameReader(max_payload=100)
    for _ in range(1000):
        assert reader.feed(b"\x55" * 1000) == []
        assert len(reader._buffer) == 0
    good = wire.Reset().frame(9)
    assert reader.feed(b"\0" + good) == [Frame(MessageType.RESET, 9, b"")]
    assert reader.dropped == 1


def test_a_payload_beyond_the_limit_is_dropped() -> None:
    # All zeros: COBS adds least here, so the encoded length alone would let one byte too many pass.
    for size, passes in ((100, True), (101, False)):
        reader = FrameReader(max_payload=100)
        assert bool(reader.feed(wire.encode_frame(Frame(3, 1, bytes(size))))) is passes
        assert reader.dropped == (not passes)


def encoded_of(payload: bytes) -> bytes:
    """A frame of ``payload`` whose CRC and sequence hold no zero byte, so that COBS adds as much as it can."""
    encoded = (wire.encode_frame(Frame(3, sequence, payload)) for sequence in range(1, 256))
    return next(frame for frame in encoded if 0 not in cobs.decode(frame[:-1])[-4:])


# The raw frame has 8 bytes more. Of 254 bytes COBS adds one, and one; where it adds fewer, a payload of one byte too
# many fits the buffer of the longest frame, and the reader must count its bytes.
@pytest.mark.parametrize("limit", [0, 1, 245, 246, 247, 0x0101, 500, 501, 0x0303, 1000])
@pytest.mark.parametrize("byte", [b"\0", b"\x55"])
@pytest.mark.parametrize("split", [False, True])
def test_the_longest_payload_passes_and_one_byte_more_does_not(limit: int, byte: bytes, split: bool) -> None:
    for size, passes in ((limit, True), (limit + 1, False), (limit + 2, False)):
        reader = FrameReader(max_payload=limit)
        stream = encoded_of(byte * size)
        pieces = [bytes([b]) for b in stream] if split else [stream]
        got = [frame.payload for piece in pieces for frame in reader.feed(piece)]
        assert got == ([byte * size] if passes else [])
        assert reader.dropped == (not passes)


def test_a_reader_takes_every_payload_that_can_be_said() -> None:
    reader = FrameReader()
    frame = Frame(0xFF, 0xFF, b"\x55" * 0xFFFF)
    assert reader.feed(wire.encode_frame(frame)) == [frame]


def test_each_frame_that_is_dropped_counts() -> None:
    reader = FrameReader(4)
    good = wire.encode_frame(Frame(1, 2, b"abcd"))
    longer = wire.encode_frame(Frame(1, 2, b"abcde"))
    assert reader.feed(longer + bytes([1] * 40) + b"\0" + good + good[:3] + b"\0") == [Frame(1, 2, b"abcd")]
    assert reader.dropped == 3


def test_empty_frames_are_no_frames() -> None:
    reader = FrameReader()
    assert reader.feed(bytes(50)) == []
    assert reader.dropped == 0


@pytest.mark.parametrize(
    ("frame", "reason"),
    [(b"", "fewer"), (b"\x03\x01", "COBS|enough"), (b"\x02\x01\x00\x01", "zero"), (b"\x09abcdefgh", "CRC")],
)
def test_decode_says_what_is_wrong(frame: bytes, reason: str) -> None:
    with pytest.raises(WireError, match="not a frame"):
        wire.decode_frame(frame)


def test_a_length_that_disagrees_with_its_payload_is_refused() -> None:
    body = b"\x02\x01\x05\x00abc"
    with pytest.raises(WireError, match="length field says 5, it carries 3"):
        wire.decode_frame(cobs.encode(body + zlib.crc32(body).to_bytes(4, "little")))


@pytest.mark.parametrize(
    "frame", [Frame(256, 0, b""), Frame(-1, 0, b""), Frame(1, 256, b""), Frame(1, -1, b""), Frame(1, 1, bytes(65536))]
)
def test_a_field_out_of_range_is_a_fault_of_the_caller(frame: Frame) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        wire.encode_frame(frame)


hellos = st.builds(
    wire.HelloReply,
    st.sampled_from(Counter),
    st.integers(1, 50),
    st.integers(1, 0xFFFF),
    st.integers(60, 0xFFFF),
    u32,
    st.binary(min_size=32, max_size=32).map(bytes.hex),
    st.from_regex(r"[a-z0-9][a-z0-9-]{0,39}(\+[a-z][a-z0-9-]{0,19})?", fullmatch=True),
)


@given(
    st.one_of(
        st.builds(wire.Hello, u8),
        st.just(wire.Reset()),
        st.builds(wire.ForecastRequest, u16, u16),
        st.just(wire.Status()),
        hellos,
        st.builds(wire.Ack, u32),
        st.builds(wire.Baud, u32),
        st.builds(wire.BaudReply, u32),
        st.builds(wire.Done, u16),
        st.builds(wire.StatusReply, u32, u32, u32, u32, u32),
        st.builds(wire.Nak, u8),
    ),
    u8,
)
def test_a_message_survives_its_frame_and_fits_it_exactly(message: wire.Message, sequence: int) -> None:
    (frame,) = FrameReader().feed(message.frame(sequence))
    assert (frame.type, frame.sequence) == (message.TYPE, sequence)
    kind: Any = type(message)
    assert kind.parse(frame.payload) == message
    for wrong in (frame.payload + b"\1", frame.payload[:-1]):
        if wrong != frame.payload:
            with pytest.raises(WireError, match=r"carries|speaks"):
                kind.parse(wrong)


@given(st.integers(1, 40), st.integers(0, 255), st.data())
def test_samples_and_steps_survive(channels: int, count: int, data: st.DataObject) -> None:
    codes = data.draw(st.binary(min_size=count * channels, max_size=count * channels))
    push = wire.Push(count, codes)
    assert wire.Push.parse(push.pack(), channels) == push
    step = wire.StepReply(7, 8, 9, bytes(channels))
    assert wire.StepReply.parse(step.pack(), channels) == step
    with pytest.raises(WireError, match="PUSH carries"):
        wire.Push.parse(push.pack() + b"x", channels)
    with pytest.raises(WireError, match="STEP carries"):
        wire.StepReply.parse(step.pack() + b"x", channels)


@given(st.binary(max_size=80))
def test_a_wrong_payload_is_a_wire_error_and_nothing_else(payload: bytes) -> None:
    for kind in (
        wire.Hello,
        wire.HelloReply,
        wire.ForecastRequest,
        wire.Ack,
        wire.Done,
        wire.StatusReply,
        wire.BaudReply,
        wire.Nak,
    ):
        with suppress(WireError):
            kind.parse(payload)
    for kind2 in (wire.Push, wire.StepReply):
        with suppress(WireError):
            kind2.parse(payload, 3)


@pytest.mark.parametrize("name", ["", "Pico", "pi co", "\x1b[2Jpico", "pico\n", "a+b+c", "+litert", "x" * 41])
def test_a_name_that_no_board_file_has_is_refused_and_shown_without_control_characters(name: str) -> None:
    payload = wire.HelloReply(Counter.SYSTICK, 7, 24, 256, 25_000_000, "11" * 32, name).pack()
    with pytest.raises(WireError, match="which is no name of a board") as caught:
        wire.HelloReply.parse(payload)
    assert caught.value.message.isprintable()


def test_another_protocol_version_is_named() -> None:
    with pytest.raises(WireError, match="version 4 of the protocol") as caught:
        wire.HelloReply.parse(b"\x04whatever the future brings")
    assert "flash" in caught.value.hint


def test_codes_may_have_two_bytes() -> None:
    reply = wire.HelloReply(Counter.SYSTICK, 3, 24, 256, 25_000_000, "11" * 32, "qemu", code_size=2)
    assert reply.sample_size == 6
    assert wire.HelloReply.parse(reply.pack()) == reply
    assert wire.Push.parse(b"\x02" + bytes(12), 6) == wire.Push(2, bytes(12))
    with pytest.raises(WireError, match="12 bytes of codes, not 6"):
        wire.StepReply.parse(wire.StepReply(0, 0, 0, bytes(12)).pack(), 6)
    with pytest.raises(WireError, match="3 channels of 3 bytes"):
        wire.HelloReply.parse(reply.pack().replace(b"\x11\x02", b"\x11\x03"))


def test_a_refusal_has_a_name() -> None:
    assert wire.Nak(5).reason == "NOT_READY"
    assert wire.Nak(77).reason == "code 77"


@pytest.mark.parametrize(
    ("enum", "prefix"), [(MessageType, "TQS_MSG_"), (NakCode, "TQS_NAK_"), (Counter, "TQS_COUNTER_")]
)
def test_the_firmware_has_the_same_numbers(enum: type[IntEnum], prefix: str) -> None:
    header = (TEMPLATES / "core" / "tqs_wire.h").read_text()
    in_c = {name: int(value, 0) for name, value in re.findall(rf"\b{prefix}(\w+)\s*=\s*(\w+)", header)}
    assert in_c == {member.name: member.value for member in enum}
    assert f"#define TQS_PROTOCOL_VERSION {wire.VERSION}u" in header


def test_the_specification_has_the_same_numbers() -> None:
    text = (TEMPLATES / "PROTOCOL.md").read_text()
    rows = re.findall(r"^\| (0x\w\w) \| (\w+) \|", text, re.M)
    assert {name: int(value, 16) for value, name in rows} == {member.name: member.value for member in MessageType}
    codes = re.search(r"NAK codes: (.*)\.", text)
    assert codes is not None
    assert dict(tuple(reversed(pair.split())) for pair in codes[1].split(", ")) == {
        c.name: str(c.value) for c in NakCode
    }
