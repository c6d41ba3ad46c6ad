"""A device's port as a way for frames: what was heard on it and which kind of silence that is, waits, the rate."""

from __future__ import annotations

import termios
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Self

import serial

from edge_tqs.device.frames import Frame, FrameReader
from edge_tqs.device.serial_port import SerialPort, has_rate
from edge_tqs.errors import GoneError, SilentError

#: Seconds from a change of the host's rate to the first byte: the device changes once its last bit left, and a serial
#: converter takes some milliseconds.
SETTLE_SECONDS = 0.02
#: So many repeated requests within so many good frames are a storm.
MOST_RETRIES, STORM_FRAMES = 8, 128


@dataclass(frozen=True)
class Times:
    """Waits, in seconds. ``step`` is the longest that one step of a forecast may take; ``attempts`` bounds repeats."""

    hello: float = 5.0
    hello_repeat: float = 0.25
    answer: float = 2.0
    step: float = 10.0
    attempts: int = 3

    @classmethod
    def slow(cls, step: float) -> Self:
        """For a board whose step takes up to ``step`` seconds: one that is busy answers nothing else meanwhile."""
        return cls(hello=max(cls.hello, step), answer=max(cls.answer, step), step=step)


@dataclass
class Received:
    """What came since the port was opened. pending: the good frames that nobody took yet."""

    reader: FrameReader = field(default_factory=FrameReader)
    received_bytes: int = 0
    frames: int = 0
    pending: deque[Frame] = field(default_factory=deque)

    def feed(self, data: bytes) -> None:
        frames = self.reader.feed(data)
        self.received_bytes += len(data)
        self.frames += len(frames)
        self.pending.extend(frames)

    def silence(self) -> str:
        """What is wrong when no answer comes."""
        if self.frames:
            return "the board has stopped answering"
        if self.received_bytes:
            return f"{self.received_bytes} bytes came, none of them a frame of this protocol,"
        return "no answer"

    def silence_hint(self) -> str:
        """What to try then."""
        if self.frames:
            return "Reset the board; if it stays silent, flash it again with `edge-tqs flash BUILD`."
        if self.received_bytes:
            return "Another program may run on the board, or at another baud rate: check the rate, then flash it."
        return (
            "Check that this is the board's port and baud rate, that it has power, that TX and RX are crossed, "
            "and that it is flashed (`edge-tqs flash BUILD`)."
        )


class Link:
    """An open port. first_baud: the rate that it was opened at; has_rate: whether it is one with a rate at all.

    Reading and writing raise GoneError when the port goes away, writing SilentError where the far end takes nothing.
    """

    def __init__(self, port: SerialPort) -> None:
        self.port = port
        self.name = str(port.port)
        self.received = Received()
        self.first_baud = port.baudrate
        self.has_rate = has_rate(port)
        self._retries: deque[int] = deque(maxlen=MOST_RETRIES)  # frames that had come when something was asked again

    @property
    def raised(self) -> bool:
        """Whether the rate is not the one that the port was opened at."""
        return self.port.baudrate != self.first_baud

    def set_baud(self, baud: int) -> bool:
        """Change the host's rate. False where the port does not take it."""
        try:
            self.port.baudrate = baud
        except (OSError, ValueError, termios.error):  # ValueError: a serial server refuses
            return False
        time.sleep(SETTLE_SECONDS)
        return True

    def is_storm(self) -> bool:
        """Something is asked for again: whether that happens too often."""
        self._retries.append(self.received.frames)
        return len(self._retries) == MOST_RETRIES and self._retries[-1] - self._retries[0] < STORM_FRAMES

    def next_frame(self, end: float) -> Frame | None:
        """The next good frame, or None when it is past ``end``."""
        while not self.received.pending:
            if time.monotonic() >= end:
                return None
            self.received.feed(self._read())
        return self.received.pending.popleft()

    def write(self, data: bytes) -> None:
        try:
            self.port.write(data)
        except serial.SerialTimeoutException as error:
            raise SilentError(f"{self.name}: the far end takes no bytes", hint=self.received.silence_hint()) from error
        except OSError as error:
            raise self._gone(error) from error

    def _read(self) -> bytes:
        try:
            data = bytes(self.port.read(1))
            return data + bytes(self.port.read(self.port.in_waiting)) if data else data
        except OSError as error:  # SerialException is one
            raise self._gone(error) from error

    def _gone(self, error: OSError) -> GoneError:
        return GoneError(
            f"{self.name}: the port went away: {error}",
            hint="Was the board unplugged, or did the emulator or serial server end? Connect it and try again.",
        )
