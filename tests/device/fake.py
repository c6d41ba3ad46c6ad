"""A device on a PTY that misbehaves on purpose.

It serves PROTOCOL.md with an arithmetic of its own (see `FakeModel`). What goes wrong is a pair of functions over the
stream: ``hear`` alters what reaches the device, ``say`` what leaves it, both a frame at a time and numbered from 0.
"""

from __future__ import annotations

import os
import select
import threading
import tty
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edge_tqs.device import messages as wire
from edge_tqs.device.messages import MessageType, NakCode

Codes = npt.NDArray[np.signedinteger]


@dataclass(frozen=True)
class FakeModel:
    """A forecaster that any lost, doubled or reordered sample would change: each output mixes the whole window."""

    window: int = 4
    channels: int = 3
    code_size: int = 1

    @property
    def code_type(self) -> np.dtype:
        return np.dtype(f"<i{self.code_size}")

    def step(self, history: Codes) -> Codes:
        weights = np.arange(3, 3 + self.window)[:, None]
        return (
            ((history.astype(np.int64) * weights).sum(axis=0) * 7 + 11)
            .astype(f"<u{self.code_size}")
            .view(self.code_type)
        )

    def rollout(self, samples: Codes, horizon: int) -> tuple[Codes, npt.NDArray[np.uint32]]:
        history, outputs, hashes = samples[-self.window :], [], []
        for _ in range(horizon):
            y = self.step(history)
            history = np.concatenate([history[1:], y[None]])
            outputs.append(y)
            hashes.append(zlib.crc32(history.tobytes()))
        return np.array(outputs), np.array(hashes, np.uint32)


def unaltered(number: int, data: bytes) -> list[bytes]:
    """What an undisturbed line makes of a frame."""
    return [data]


@dataclass
class FakeDevice:
    """Serves until the ``with`` block ends; ``path`` is the host's end of the PTY.

    hear, say: (number of the frame, its bytes) -> the pieces that arrive; [] loses it.
    restart_before_step: numbers of steps, counted over all forecasts, before which the device restarts: it forgets
    everything and what it was about to say. ``unsound``: after a restart it computes something else.
    spoils: (the device, a request for a forecast) -> whether it answers that one with other codes than it should.
    silent: it takes everything and answers nothing. greeting: what it says unasked, once, when first spoken to.
    """

    model: FakeModel = field(default_factory=FakeModel)
    model_hash: str = "ab" * 32
    hash_after_restart: str = ""
    board: str = "fake"
    max_payload: int = 64
    hear: Callable[[int, bytes], list[bytes]] = unaltered
    say: Callable[[int, bytes], list[bytes]] = unaltered
    restart_before_step: frozenset[int] = frozenset()
    unsound: bool = False
    spoils: Callable[[FakeDevice, wire.ForecastRequest], bool] = lambda device, request: False
    silent: bool = False
    greeting: bytes = b""

    def __enter__(self) -> FakeDevice:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self._stop_read, self._stop_write = os.pipe()
        self.requests: list[wire.Frame] = []
        self.pushes_carried_out = 0
        self.restarts = self._heard = self._said = self._steps = 0
        self._restart()
        self.restarts = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.write(self._stop_write, b"x")
        self._thread.join(5)
        for descriptor in (self._master, self._slave, self._stop_read, self._stop_write):
            os.close(descriptor)

    def _restart(self) -> None:
        self.restarts += 1
        self._reader = wire.FrameReader(self.max_payload)
        self._samples = np.empty((0, self.model.channels), self.model.code_type)
        self._last: tuple[int, int] | None = None

    def _serve(self) -> None:
        line, greeting = b"", self.greeting
        while True:
            ready, _, _ = select.select([self._master, self._stop_read], [], [])
            if self._stop_read in ready:
                return
            *frames, line = (line + os.read(self._master, 4096)).split(b"\0")
            os.write(self._master, greeting)  # now: opening a port throws away what came before
            greeting = b""
            for frame in frames:
                if not frame:
                    continue
                for piece in self.hear(self._heard, frame + b"\0"):
                    self._take(piece)
                self._heard += 1

    def _take(self, data: bytes) -> None:
        dropped = self._reader.dropped
        frames = self._reader.feed(data)
        for _ in range(self._reader.dropped - dropped):
            self._send(wire.Nak(NakCode.BAD_FRAME), 0)
        for frame in frames:
            self.requests.append(frame)
            self._answer(frame)

    def _send(self, message: wire.Message, sequence: int) -> None:
        if self.silent:
            return
        for piece in self.say(self._said, message.frame(sequence)):
            os.write(self._master, piece)
        self._said += 1

    def _answer(self, frame: wire.Frame) -> None:
        sequence, channels = frame.sequence, self.model.channels
        repeated = self._last == (frame.type, sequence)
        if frame.type == MessageType.HELLO:
            self._last = None
            digest = self.hash_after_restart if self.restarts and self.hash_after_restart else self.model_hash
            counter, size = wire.Counter.MONOTONIC, self.model.code_size
            self._send(
                wire.HelloReply(
                    counter, channels, self.model.window, self.max_payload, 10**9, digest, self.board, size
                ),
                sequence,
            )
            return
        self._last = (frame.type, sequence)
        if frame.type == MessageType.RESET:
            self._samples = self._samples if repeated else self._samples[:0]
            self._send(wire.Ack(len(self._samples)), sequence)
        elif frame.type == MessageType.PUSH:
            if not repeated:
                push = wire.Push.parse(frame.payload, channels * self.model.code_size)
                self.pushes_carried_out += 1
                codes = np.frombuffer(push.codes, self.model.code_type).reshape(-1, channels)
                self._samples = np.concatenate([self._samples, codes])
            self._send(wire.Ack(len(self._samples)), sequence)
        elif frame.type == MessageType.FORECAST:
            self._forecast(wire.ForecastRequest.parse(frame.payload), sequence)
        elif frame.type == MessageType.STATUS:
            unknown = wire.UNKNOWN_SIZE
            self._send(wire.StatusReply(unknown, unknown, unknown, self._reader.dropped, 12345), sequence)
        else:
            self._send(wire.Nak(NakCode.UNKNOWN_TYPE), sequence)

    def _forecast(self, request: wire.ForecastRequest, sequence: int) -> None:
        if len(self._samples) < self.model.window:
            self._send(wire.Nak(NakCode.NOT_READY), sequence)
            return
        outputs, hashes = self.model.rollout(self._samples, request.first + request.steps)
        sent = 0
        for step in range(request.first, request.first + request.steps):
            if self._steps in self.restart_before_step:
                self._steps += 1
                self._restart()
                return
            self._steps += 1
            wrong = (self.unsound and self.restarts) or self.spoils(self, request)
            codes = outputs[step] ^ self.model.code_type.type(1) if wrong else outputs[step]
            self._send(wire.StepReply(step, 1000 + step, int(hashes[step]), codes.tobytes()), sequence)
            sent += 1
            if select.select([self._master], [], [], 0)[0]:
                break
        self._send(wire.Done(sent), sequence)
