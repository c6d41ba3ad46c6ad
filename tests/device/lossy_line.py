"""A bad cable: a PTY in front of a board's port, whose traffic is altered frame by frame on the way."""

from __future__ import annotations

import os
import select
import threading
import tty
from collections.abc import Callable

import serial

#: (number of the frame on its way, its bytes with the closing zero) -> the pieces that arrive
Disturbance = Callable[[int, bytes], list[bytes]]


class LossyLine:
    """``path`` is the host's end; ``port`` the board's. Works until the ``with`` block ends."""

    def __init__(self, port: str, to_board: Disturbance, to_host: Disturbance) -> None:
        self._port = port
        self._disturb = (to_board, to_host)
        self.frames = [0, 0]

    def __enter__(self) -> LossyLine:
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
        self._board.close()
        for descriptor in (self._near, self._far, self._stop_read, self._stop_write):
            os.close(descriptor)

    def _relay(self) -> None:
        board = self._board.fileno()
        ways = {self._near: (0, board), board: (1, self._near)}
        held = {self._near: b"", board: b""}
        while True:
            ready, _, _ = select.select([*ways, self._stop_read], [], [])
            if self._stop_read in ready:
                return
            for source in ready:
                way, target = ways[source]
                *frames, held[source] = (held[source] + os.read(source, 4096)).split(b"\0")
                for frame in frames:
                    pieces = self._disturb[way](self.frames[way], frame + b"\0") if frame else [b"\0"]
                    self.frames[way] += bool(frame)
                    for piece in pieces:
                        os.write(target, piece)
