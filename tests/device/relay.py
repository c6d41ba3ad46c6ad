"""A bad line byte by byte: a PTY in front of a board's port that harms what passes at points drawn from a seed."""

from __future__ import annotations

import os
import random
import select
import threading
import time
import tty
from collections.abc import Iterable
from dataclasses import dataclass

import serial

#: What may happen to the byte at a point: it is changed, lost, or comes twice; a burst of other bytes comes before it;
#: nothing passes for STALL_SECONDS. CUT: nothing passes any more, either way.
KINDS = ("flip", "drop", "duplicate", "burst", "stall")
CUT = "cut"
STALL_SECONDS = 1.2
LONGEST_BURST = 300


@dataclass(frozen=True)
class Fault:
    """kind: one of KINDS, or CUT; at: the number of the byte, in its direction, that it befalls."""

    kind: str
    at: int


def draw(kind: str, seed: int, count: int, among: int) -> tuple[Fault, ...]:
    """``count`` faults at different bytes of the first ``among``; the same for the same arguments."""
    rng = random.Random(f"{kind} {seed} {among}")
    return tuple(Fault(kind, at) for at in sorted(rng.sample(range(among), count)))


class Relay:
    """``path`` is the host's end; ``port`` the board's. Works until the ``with`` block ends.

    passed: bytes that came from the host and from the board. happened: the faults that were reached.
    """

    def __init__(self, port: str, to_board: Iterable[Fault], to_host: Iterable[Fault], seed: int) -> None:
        self._port = port
        self._due = [list(to_board), list(to_host)]
        self._random = random.Random(seed)
        self.passed = [0, 0]
        self.happened: list[Fault] = []

    def __enter__(self) -> Relay:
        self._board = serial.Serial(self._port, timeout=0)
        self._near, self._far = os.openpty()
        tty.setraw(self._far)
        self.path = os.ttyname(self._far)
        self._stop_read, self._stop_write = os.pipe()
        self._thread = threading.Thread(target=self._relay, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.write(self._stop_write, b"x")
        self._thread.join(5)
        assert not self._thread.is_alive()
        self._board.close()
        for descriptor in (self._near, self._far, self._stop_read, self._stop_write):
            os.close(descriptor)

    def _relay(self) -> None:
        board = self._board.fileno()
        targets = {self._near: (0, board), board: (1, self._near)}
        while True:
            ready, _, _ = select.select([*targets, self._stop_read], [], [])
            if self._stop_read in ready:
                return
            for source in ready:
                way, target = targets[source]
                data = os.read(source, 4096)
                if not self._send(target, self._harm(way, data)):
                    return

    def _send(self, target: int, data: bytes) -> bool:
        """Whether all was taken: a host that has gone takes nothing, and then the test ends."""
        while data:
            ready, _, _ = select.select([self._stop_read], [target], [])
            if ready:
                return False
            data = data[os.write(target, data[:256]) :]
        return True

    def _harm(self, way: int, data: bytes) -> bytes:
        first, harmed = self.passed[way], bytearray()
        self.passed[way] += len(data)
        for number, byte in enumerate(data, first):
            if any(fault.kind == CUT for fault in self.happened):
                break
            if self._due[way] and self._due[way][0].at == number:
                fault = self._due[way].pop(0)
                self.happened.append(fault)
                harmed += self._befall(fault.kind, byte)
            else:
                harmed.append(byte)
        return bytes(harmed)

    def _befall(self, kind: str, byte: int) -> bytes:
        if kind == "flip":
            return bytes([byte ^ (1 << self._random.randrange(8))])
        if kind in ("drop", CUT):
            return b""
        if kind == "duplicate":
            return bytes([byte, byte])
        if kind == "burst":
            return self._random.randbytes(self._random.randint(1, LONGEST_BURST)) + bytes([byte])
        time.sleep(STALL_SECONDS)
        return bytes([byte])
