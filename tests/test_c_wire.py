"""The firmware's frames, compiled with sanitizers, against Python's cobs and zlib."""

from __future__ import annotations

import random
import struct
import subprocess
import zlib
from collections.abc import Iterable
from pathlib import Path

import pytest
from cobs import cobs

from edge_tqs.templates import template_root

MAX_PAYLOAD = 300  # beyond 254, so that blocks of COBS fill up
MAX_ENCODED = MAX_PAYLOAD + 8 + (MAX_PAYLOAD + 8) // 254 + 1
BAD_FRAME = b"\xff\x00\x01\x00\x01"
WARNINGS = ["-Wall", "-Wextra", "-pedantic", "-Wconversion", "-Wshadow", "-Wmissing-prototypes", "-Werror"]
FLAGS = ["-std=c99", "-O1", "-g", *WARNINGS]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wire")
    (folder / "board.h").write_text(f"#define TQS_MAX_PAYLOAD {MAX_PAYLOAD}u\n")
    core = template_root() / "core"
    sources = [Path(__file__).parent / "device" / "wire_echo.c", core / "tqs_wire.c", core / "tqs_crc32.c"]
    program = folder / "wire_echo"
    subprocess.run(["gcc", *FLAGS, *SANITIZERS, f"-I{folder}", f"-I{core}", *sources, "-o", program], check=True)
    return program


def frame(kind: int, sequence: int, payload: bytes) -> bytes:
    """Everything before COBS."""
    body = struct.pack("<BBH", kind, sequence, len(payload)) + payload
    return body + struct.pack("<I", zlib.crc32(body))


def encode(raw: bytes) -> bytes:
    return bytes(cobs.encode(raw)) + b"\0"


def expected(chunk: bytes) -> bytes | None:
    """What the firmware must answer, before COBS and without the CRC, to the bytes between two zeros."""
    if not chunk:
        return None
    try:
        raw = bytes(cobs.decode(chunk))
    except cobs.DecodeError:
        return BAD_FRAME
    intact = len(raw) >= 8 and zlib.crc32(raw[:-4]) == struct.unpack("<I", raw[-4:])[0]
    fits = len(chunk) <= MAX_ENCODED and len(raw) - 8 <= MAX_PAYLOAD
    if intact and fits and len(raw) - 8 == struct.unpack_from("<H", raw, 2)[0]:
        return raw[:-4]
    return BAD_FRAME


def check(program: Path, stream: bytes) -> int:
    """Compare every answer to ``stream``, which ends with a zero; the number of good frames."""
    done = subprocess.run([program], input=stream, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.endswith(b"\0")
    answers = [bytes(cobs.decode(answer)) for answer in done.stdout[:-1].split(b"\0")]
    assert all(zlib.crc32(raw[:-4]) == struct.unpack("<I", raw[-4:])[0] for raw in answers)
    bodies = [raw[:-4] for raw in answers]
    wanted = [answer for chunk in stream.split(b"\0") if (answer := expected(chunk)) is not None]
    dropped = sum(answer == BAD_FRAME for answer in wanted)
    assert bodies[:-1] == wanted
    assert bodies[-1] == b"\0\0\4\0" + struct.pack("<I", dropped)
    # Not only the same content: the same bytes as Python's encoder.
    assert done.stdout == b"".join(encode(raw) for raw in answers)
    return len(wanted) - dropped


def test_all_payload_lengths_round_trip(echo: Path) -> None:
    payloads: Iterable[bytes] = [
        bytes(filler)
        for n in range(MAX_PAYLOAD + 1)
        for filler in (b"\0" * n, b"\1" * n, bytes(i % 256 for i in range(n)))
    ]
    frames = [encode(frame(3, index % 256, payload)) for index, payload in enumerate(payloads)]
    assert check(echo, b"".join(frames)) == len(frames)


def test_all_types_and_sequences_round_trip(echo: Path) -> None:
    frames = [encode(frame(value, 255 - value, bytes([value]))) for value in range(256)]
    assert check(echo, b"".join(frames)) == 256


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(b"\5ab", id="block cut short"),
        pytest.param(cobs.encode(frame(1, 1, b"x")[:-1]), id="last byte missing"),
        pytest.param(cobs.encode(frame(1, 1, b"x") + b"y"), id="a byte too many"),
        pytest.param(cobs.encode(b"\1\1\2\0x" + struct.pack("<I", zlib.crc32(b"\1\1\2\0x"))), id="length field"),
        pytest.param(cobs.encode(struct.pack("<I", zlib.crc32(b""))), id="nothing but a CRC"),
        pytest.param(cobs.encode(frame(1, 1, b"x")[:-1] + b"\x55"), id="CRC"),
        pytest.param(cobs.encode(frame(1, 1, b"\1" * (MAX_PAYLOAD + 1))), id="a byte over max_payload"),
        pytest.param(cobs.encode(frame(1, 1, b"\0" * (MAX_PAYLOAD + 1))), id="zeros over max_payload"),
        pytest.param(b"\1" * 5000, id="far too long"),
    ],
)
def test_a_broken_frame_is_dropped_and_the_next_is_read(echo: Path, broken: bytes) -> None:
    assert check(echo, bytes(broken) + b"\0" + encode(frame(5, 9, b""))) == 1


def test_empty_frames_are_ignored(echo: Path) -> None:
    assert check(echo, b"\0\0\0" + encode(frame(5, 9, b"")) + b"\0\0") == 1


def test_noise_never_leaves_the_buffer(echo: Path) -> None:
    """20,000 inputs: noise, frames with damage, frames run together, lengths around the limit."""
    draw = random.Random(20240711)
    stream = bytearray()
    for _ in range(20_000):
        length = draw.choice((0, 1, 7, 40, MAX_PAYLOAD - 1, MAX_PAYLOAD, MAX_PAYLOAD + 1, 2 * MAX_PAYLOAD))
        payload = draw.choice((draw.randbytes(length), b"\0" * length, b"\xff" * length))
        kind = draw.randrange(5)
        if kind == 0:
            stream += draw.randbytes(draw.randrange(40))
        elif kind == 1:
            stream += encode(frame(draw.randrange(256), draw.randrange(256), payload))
        else:
            damaged = bytearray(encode(frame(draw.randrange(256), draw.randrange(256), payload)))
            where = draw.randrange(len(damaged))
            if kind == 2:
                damaged[where] ^= 1 << draw.randrange(8)
            elif kind == 3:
                del damaged[where]
            else:
                damaged[where:where] = draw.randbytes(1)
            stream += damaged
    good = check(echo, bytes(stream) + b"\0")
    assert 1000 < good < 20_000
