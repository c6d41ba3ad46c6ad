"""What the host reads from the wire and from files, under hostile input: seeded mutations of good and once bad inputs.

A target takes bytes and may raise TqsError alone. It is not to hang (MOST_SECONDS an input) or to take memory without
bound (MOST_GROWTH over all inputs).
"""

from __future__ import annotations

import hashlib
import math
import random
import resource
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType

import numpy as np
import tflite_by_hand
from graphs import METADATA, quantized, random_graph

from edge_tqs.boards.board import load_board
from edge_tqs.device import messages as wire
from edge_tqs.device.frames import Frame, FrameReader, encode_frame
from edge_tqs.errors import TqsError
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.flatbuffer import tables as tflite_file
from edge_tqs.read.tflite import model as tflite_import
from edge_tqs.read.tflite import system as tflite_system
from edge_tqs.read.tflite import weights as tflite_weights
from edge_tqs.templates import boards_root

CORPUS = Path(__file__).parent / "corpus"
MOST_SECONDS = 20
MOST_GROWTH = 300 << 20
#: what a mutation writes into a file of words: nothing, all, the limits of int32
WORDS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\1\0\0\0")
#: what a mutation writes into a board file
TOKENS = (
    *(b"-1", b"1e999", b"nan", b"99999999999999999999", b'""', b"[]", b"{}", b"true", b"[[", b"]]", b'"""', b"\n["),
    *(b"\xff", b"\0", b"1979-05-27", b"0x", b"name", b"[uart]\n", b"emulator", b"'", b"\\u0000", b"= 7", b"[" * 3000),
)


class FindingError(Exception):
    """An input that the target does not stand: its bytes, and what came out of it."""

    def __init__(self, data: bytes, what: str) -> None:
        super().__init__(f"{what}, from {data.hex()}")
        self.data = data
        self.what = what


def damage(draw: random.Random, data: bytes, pieces: tuple[bytes, ...]) -> bytes:
    """``data`` with one to four pieces flipped, overwritten, left out, doubled or cut off."""
    made = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        if not made:
            return draw.randbytes(draw.randrange(40))
        place, kind = draw.randrange(len(made)), draw.randrange(8)
        if kind <= 1:
            made[place] ^= 1 << draw.randrange(8)
        elif kind == 2:
            made[place] = draw.randrange(256)
        elif kind == 3:
            del made[place : place + draw.choice((1, 2, 4, 60))]
        elif kind == 4:
            made[place:place] = made[place : place + draw.randrange(1, 40)]
        elif kind == 5 and draw.random() < 0.2:
            del made[place:]
        else:
            piece = draw.choice(pieces)
            place -= place % 4 if len(piece) == 4 else 0
            made[place : place + (len(piece) if draw.random() < 0.7 else 0)] = piece
    return bytes(made)


def read_frames(data: bytes) -> None:
    """The reader, fed in two pieces, whose buffer never exceeds a longest frame; each message's parser, on the frames
    and, since a damaged frame has a wrong CRC, on the bytes as they are.
    """
    reader = FrameReader(300)
    frames = (*reader.feed(data[: len(data) // 3]), *reader.feed(data[len(data) // 3 :]))
    for payload in (*(frame.payload for frame in frames), data):
        for message in (
            wire.HelloReply, wire.Ack, wire.Done, wire.StatusReply, wire.BaudReply, wire.Nak, wire.Hello, wire.Reset,
        ):  # fmt: skip
            _refused(message.parse, payload)
        for sized in (wire.StepReply, wire.Push, wire.ForecastRequest):
            _refused(sized.parse, payload, 2)
    if len(reader._buffer) > 310:
        raise AssertionError(f"the reader holds {len(reader._buffer)} bytes")


def _refused(parse: Callable[..., object], *arguments: object) -> None:
    try:
        parse(*arguments)
    except TqsError:
        return


@cache
def _file() -> Path:
    return Path(tempfile.mkdtemp()) / "board.toml"


def read_board(data: bytes) -> None:
    """A board file."""
    _file().write_bytes(data)
    load_board(_file())


def read_tflite(data: bytes) -> None:
    """A file as each reader sees it: what this tool wrote itself, its hash believed; then the tables, the outputs, the
    weights and the float graph.
    """
    _refused(tflite_model.read, data)
    _refused(tflite_model._read, data)
    parsed = tflite_file.parse(data)
    for output in ("0", "1"):
        _refused(tflite_file.with_output, parsed, output)
    chosen = tflite_file.with_output(parsed, None if len(parsed.graphs[0].outputs) == 1 else "0")
    tflite_weights.check_float(chosen)
    tflite_system._input(chosen)
    tflite_weights.find_weights(chosen)
    tflite_weights.find_output_bias(chosen)
    forecast = chosen.graphs[0].tensors[chosen.graphs[0].outputs[0]]
    imported, last = tflite_import._import_graph(chosen, math.prod(forecast.shape))
    imported.needed_operators(last)


def good_frames() -> tuple[bytes, ...]:
    """Answers of a board, one of each kind, and their payloads alone."""
    hello = wire.HelloReply(wire.Counter.CYCCNT, 2, 3, 300, 1_000_000, "0f" * 32, "fuzz")
    answers = (
        hello,
        wire.Ack(7),
        wire.StepReply(3, 9, 5, b"ab"),
        wire.Done(4),
        wire.StatusReply(1, 2, 3, 4, 5),
        wire.BaudReply(921_600),
        wire.Nak(3),
    )
    each = tuple(message.frame(n) for n, message in enumerate(answers))
    payloads = (message.pack() for message in answers)
    return (
        *each,
        *payloads,
        b"".join(each),
        encode_frame(Frame(0x84, 1, bytes(300))),
        encode_frame(Frame(0x55, 1, b"\xff" * 301)),
    )


def good_boards() -> tuple[bytes, ...]:
    return tuple(path.read_bytes() for path in sorted(boards_root().glob("*.toml")))


def good_tflite() -> tuple[bytes, ...]:
    """Float files by hand and integer ones of this tool."""
    rng = np.random.default_rng(3)
    own = (tflite_model.write(quantized(rng, random_graph(rng, kind)), METADATA) for kind in ("mlp", "lstm", "tcn"))
    by_hand = (tflite_by_hand.dense_model(), tflite_by_hand.lstm_model(), tflite_by_hand.product_model())
    return (*by_hand, tflite_by_hand.upsampling_model(), tflite_by_hand.dense_model(outputs=2), *own)


@dataclass(frozen=True)
class Target:
    """read: what takes the bytes. good: inputs to damage. pieces: what a mutation writes. full: inputs of make fuzz."""

    read: Callable[[bytes], None]
    good: Callable[[], tuple[bytes, ...]]
    pieces: tuple[bytes, ...]
    full: int


TARGETS = {
    "frames": Target(read_frames, good_frames, (b"\0", b"\xff", b"\1", *WORDS), 1_000_000),
    "boards": Target(read_board, good_boards, TOKENS, 100_000),
    "tflite": Target(read_tflite, good_tflite, WORDS, 100_000),
}


def inputs(name: str, seed: int, count: int) -> Iterator[bytes]:
    """The corpus as it is, then ``count`` damaged inputs drawn from ``seed``."""
    target, corpus = TARGETS[name], [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]
    yield from corpus
    draw, good = random.Random(seed), (*target.good(), *corpus)
    for _ in range(count):
        yield damage(draw, draw.choice(good), target.pieces)


@contextmanager
def _alarm() -> Iterator[None]:
    def late(_signal: int, _frame: FrameType | None) -> None:
        raise AssertionError(f"more than {MOST_SECONDS} s for one input")

    before = signal.signal(signal.SIGALRM, late)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run(name: str, seed: int, count: int) -> dict[str, int]:
    """Feed the target; how many inputs were taken and refused. Raises FindingError."""
    target, outcome = TARGETS[name], {"taken": 0, "refused": 0}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with _alarm():
        for data in inputs(name, seed, count):
            signal.alarm(MOST_SECONDS)
            try:
                target.read(data)
                outcome["taken"] += 1
            except TqsError:
                outcome["refused"] += 1
            except Exception as error:
                raise FindingError(data, f"{type(error).__name__}: {error}") from error
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            if grown * 1024 > MOST_GROWTH:
                raise FindingError(data, f"memory grew by {grown} KiB")
    return outcome


def keep(finding: FindingError, name: str) -> Path:
    """Put the input of a finding into the corpus, so that the tests replay it."""
    path = CORPUS / name / hashlib.sha256(finding.data).hexdigest()[:12]
    path.write_bytes(finding.data)
    return path
