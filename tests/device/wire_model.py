"""A wire between a host's port and a board's, whose ends may differ in rate: bytes arrive as their bits are read."""

from __future__ import annotations

import itertools
import json
import os
import select
import socket
import termios
import threading
import tty
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

#: termios' constants of rates to bits a second
RATES = {getattr(termios, f"B{rate}"): rate for rate in (115_200, 230_400, 460_800, 921_600)}


def received(data: bytes, sent_at: float, read_at: float, *, by_level: bool = False) -> bytes:
    """What a receiver of ``read_at`` bits a second takes ``data`` for, sent back to back at ``sent_at``, 8N1.

    The line is idle before and after. A start bit is a falling edge, or with ``by_level`` any low level; data bits are
    read in their middle, one that has no stop bit is kept, and the line must go high then (without ``by_level``).
    """
    bits = [1, *itertools.chain.from_iterable((0, *(byte >> k & 1 for k in range(8)), 1) for byte in data)]

    def level(time: float) -> int:
        index = int(time * sent_at)
        return bits[index] if index < len(bits) else 1

    def next_level(time: float, wanted: int) -> float | None:
        """When the line is at ``wanted`` from ``time`` on; None: never."""
        if level(time) == wanted:
            return time
        index = int(time * sent_at) + 1
        while index < len(bits) and bits[index] != wanted:
            index += 1
        return (index + 1e-6) / sent_at if index < len(bits) or wanted == 1 else None

    taken, time = bytearray(), 0.0
    while (start := next_level(time, 0)) is not None:
        middle = [start + (k + 0.5) / read_at for k in range(10)]
        if level(middle[0]):  # a glitch
            time = middle[0]
            continue
        taken.append(sum(level(middle[k + 1]) << k for k in range(8)))
        time = middle[9]
        if not by_level:
            high = next_level(time, 1)
            assert high is not None
            time = high
    return bytes(taken)


class Wire:
    """``path`` is the host's end; ``port`` the board's, a path or an open descriptor, whose rate ``board_baud`` says.

    The host's rate is the one that its end is set to. The board answers at the rate that it was asked at: an emulator
    has sent all, and changed its rate, before anybody looks. What it says before the host has opened its end, and so
    set a rate, is lost, as at a closed port. ``limit``: what is sent at more than this arrives harmed. rates: of both
    ends, each time something passed and they were new.
    """

    def __init__(self, port: str | int, board_baud: Callable[[], float], limit: float = 10e6) -> None:
        self._port, self._board_baud, self.limit = port, board_baud, limit
        self.rates: list[tuple[int, int]] = []

    def __enter__(self) -> Self:
        self._board = (
            os.dup(self._port) if isinstance(self._port, int) else os.open(self._port, os.O_RDWR | os.O_NOCTTY)
        )
        if not isinstance(self._port, int):
            tty.setraw(self._board)
        self._near, self._far = os.openpty()
        tty.setraw(self._far)
        self.path = os.ttyname(self._far)
        self._stop_read, self._stop_write = os.pipe()
        self._thread = threading.Thread(target=self._relay, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.write(self._stop_write, b"x")
        self._thread.join(5)
        assert not self._thread.is_alive()
        for descriptor in (self._board, self._near, self._far, self._stop_read, self._stop_write):
            os.close(descriptor)

    def _relay(self) -> None:
        board, board_baud = self._board, self._board_baud()
        while True:
            ready, _, _ = select.select([self._near, board, self._stop_read], [], [])
            if ready == [self._stop_read]:
                return  # and not before what was on its way has passed
            for source in set(ready) - {self._stop_read}:
                data = os.read(source, 4096)
                host_baud = RATES.get(termios.tcgetattr(self._near)[5])
                if host_baud is None:
                    continue
                if source == self._near:
                    board_baud = self._board_baud()
                ends = (float(host_baud), board_baud)
                rounded = (round(ends[0]), round(ends[1]))
                if not self.rates or self.rates[-1] != rounded:
                    self.rates.append(rounded)
                sent_at, read_at = ends if source == self._near else ends[::-1]
                if sent_at > self.limit:
                    data = bytes(byte ^ 0x55 for byte in data)
                os.write(board if source == self._near else self._near, received(data, sent_at, read_at))


class Monitor:
    """QEMU's monitor at a socket (QMP), until the block ends: ``arguments`` are QEMU's that open it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "qmp"
        self._lines: TextIO | None = None
        self._lock = threading.Lock()
        self.arguments = ("-qmp", f"unix:{self._path},server=on,wait=off")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lines is not None:
            self._lines.close()

    def word(self, address: int) -> int:
        """The 32 bits at a physical address, a device's register as well as memory."""
        text = self.ask("human-monitor-command", **{"command-line": f"xp /1wx {address:#x}"})
        return int(text.split(":")[1], 16)

    def ask(self, command: str, **arguments: Any) -> Any:
        """What QEMU returns for a command."""
        with self._lock:
            if self._lines is None:
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.connect(str(self._path))
                    self._lines = connection.makefile("rw")  # which keeps it open
                self._lines.readline()  # its greeting
                self._send(self._lines, "qmp_capabilities")
            return self._send(self._lines, command, **arguments)

    @staticmethod
    def _send(lines: TextIO, command: str, **arguments: Any) -> Any:
        lines.write(json.dumps({"execute": command, "arguments": arguments}))
        lines.flush()
        reply = next(message for line in lines if "event" not in (message := json.loads(line)))
        assert "return" in reply, reply
        return reply["return"]
