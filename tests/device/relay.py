"""A bad line byte by byte: a PTY in front of a board's port that harms what passes at points drawn from a seed."""

from __future__ import annotations

import os
import random
import select
import tempfile
import threading
import time
import tty
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import serial

from edge_tqs.device.messages import Hello

#: What may happen to the byte at a point: it is changed, lost, or comes twice; a burst of other bytes comes before it;
#: nothing passes for `Relay.stall_seconds`.
BYTE_KINDS = ("flip", "drop", "duplicate", "burst", "stall")
#: What may happen to the line there: GONE: the port vanishes and comes back. SWITCH: in its place or, at random, after
#: having vanished, the spare board answers. CALL: `Relay.call` is called. CUT: nothing passes any more, either way.
GONE, SWITCH, CALL, CUT = "gone", "switch", "call", "cut"
LONGEST_BURST = 300
LONGEST_ABSENCE = 1.0
#: QEMU looks once a second whether its pseudo-terminal is open; what is sent before it has looked is lost.
CONNECT_SECONDS = 20.0
QUIET_SECONDS = 0.1


@dataclass(frozen=True)
class Fault:
    """kind: as above; at: the number of the byte, in its direction, that it befalls."""

    kind: str
    at: int


def draw(kind: str, seed: int, count: int, among: int) -> tuple[Fault, ...]:
    """``count`` faults at different bytes of the first ``among``; the same for the same arguments."""
    rng = random.Random(f"{kind} {seed} {among}")
    return tuple(Fault(kind, at) for at in sorted(rng.sample(range(among), count)))


def _connected(port: str) -> serial.Serial:
    """The open port of a board that answers: faults are to befall a run, not the wait for it."""
    board = serial.Serial(port, timeout=QUIET_SECONDS)
    end = time.monotonic() + CONNECT_SECONDS
    while not board.read(1):
        assert time.monotonic() < end, f"{port} does not answer"
        board.write(b"\0" + Hello().frame(0))
    while board.read(4096):
        pass
    board.timeout = 0
    return board


class Relay:
    """``path`` is the host's end; ``port`` the board's, ``spare`` another board's. Works until the ``with`` block ends.

    passed: bytes that came from the host and from the board. happened: the faults that were reached.
    """

    def __init__(
        self,
        port: str,
        to_board: Iterable[Fault],
        to_host: Iterable[Fault],
        seed: int,
        *,
        spare: str | None = None,
        stall_seconds: float = 1.2,
        call: Callable[[], None] = lambda: None,
    ) -> None:
        self._ports = [port] if spare is None else [port, spare]
        self._due = [list(to_board), list(to_host)]
        self._random = random.Random(seed)
        self._stall_seconds = stall_seconds
        self._call = call
        self.passed = [0, 0]
        self.happened: list[Fault] = []

    def __enter__(self) -> Relay:
        self._folder = tempfile.TemporaryDirectory(prefix="edge-tqs-relay-")
        self.path = str(Path(self._folder.name) / "port")
        self._boards = [_connected(port) for port in self._ports]
        self._plug_in()
        self._stop_read, self._stop_write = os.pipe()
        self._thread = threading.Thread(target=self._relay, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.write(self._stop_write, b"x")
        self._thread.join(self._stall_seconds + 5)
        assert not self._thread.is_alive()
        self._unplug()
        for board in self._boards:
            board.close()
        for descriptor in (self._stop_read, self._stop_write):
            os.close(descriptor)
        self._folder.cleanup()

    def _plug_in(self) -> None:
        self._near, self._far = os.openpty()
        tty.setraw(self._far)
        os.symlink(os.ttyname(self._far), self.path)

    def _unplug(self) -> None:
        os.unlink(self.path)
        os.close(self._far)
        os.close(self._near)

    def _relay(self) -> None:
        while True:
            board = self._boards[0].fileno()
            targets = {self._near: (0, board), board: (1, self._near)}
            ready, _, _ = select.select([*targets, self._stop_read], [], [])
            if self._stop_read in ready:
                return
            for source in ready:
                way, target = targets[source]
                data = os.read(source, 4096)
                harmed, fault = self._harm(way, data)
                if not self._send(target, harmed):
                    return
                if fault is not None:  # what was on its way is lost, and the line another one
                    self._befall_line(fault)
                    break

    def _send(self, target: int, data: bytes) -> bool:
        """Whether all was taken: a host that has gone takes nothing, and then the test ends."""
        while data:
            ready, _, _ = select.select([self._stop_read], [target], [])
            if ready:
                return False
            data = data[os.write(target, data[:256]) :]
        return True

    def _harm(self, way: int, data: bytes) -> tuple[bytes, str | None]:
        """What arrives of ``data``, and what befalls the line then."""
        first, harmed = self.passed[way], bytearray()
        self.passed[way] += len(data)
        for number, byte in enumerate(data, first):
            if any(fault.kind == CUT for fault in self.happened):
                break
            if self._due[way] and self._due[way][0].at == number:
                fault = self._due[way].pop(0)
                self.happened.append(fault)
                if fault.kind not in (*BYTE_KINDS, CUT):
                    self.passed[way] = number + 1
                    return bytes(harmed), fault.kind
                harmed += self._befall(fault.kind, byte)
            else:
                harmed.append(byte)
        return bytes(harmed), None

    def _befall(self, kind: str, byte: int) -> bytes:
        if kind == "flip":
            return bytes([byte ^ (1 << self._random.randrange(8))])
        if kind in ("drop", CUT):
            return b""
        if kind == "duplicate":
            return bytes([byte, byte])
        if kind == "burst":
            return self._random.randbytes(self._random.randint(1, LONGEST_BURST)) + bytes([byte])
        time.sleep(self._stall_seconds)
        return bytes([byte])

    def _befall_line(self, kind: str) -> None:
        if kind == CALL:
            self._call()
            return
        absent = kind == GONE or (kind == SWITCH and self._random.random() < 0.5)
        if absent:
            self._unplug()
            time.sleep(self._random.uniform(0, LONGEST_ABSENCE))
        if kind == SWITCH:
            self._boards.reverse()
        self._boards[0].reset_input_buffer()  # nobody listened
        if absent:
            self._plug_in()
