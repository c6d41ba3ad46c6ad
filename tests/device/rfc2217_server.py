"""A serial server on this machine: pyserial's own server side of RFC 2217 in front of a port, one client at a time."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Any, Self, cast

import serial
from serial.rfc2217 import PortManager


class RecordingSerial(serial.Serial):
    """A port that notes what its lines are set to: a PTY has none."""

    _dtr_state: bool
    _rts_state: bool

    def __init__(self, path: str) -> None:
        self.levels: list[tuple[str, bool]] = []
        super().__init__(path, timeout=0.02)

    def _update_dtr_state(self) -> None:
        self.levels.append(("dtr", self._dtr_state))

    def _update_rts_state(self) -> None:
        self.levels.append(("rts", self._rts_state))

    # A PTY has no modem lines to be read either.
    cts = dsr = ri = cd = property(lambda self: False)


class Rfc2217Server:
    """Serves the port ``path`` at ``url`` until the ``with`` block ends.

    levels: what the client set DTR and RTS to, in order.
    """

    _dtr_state: bool
    _rts_state: bool

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> Self:
        self.serial = RecordingSerial(self._path)
        self.serial.levels.clear()  # what opening it here did
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"rfc2217://127.0.0.1:{self._server.getsockname()[1]}"
        self._client: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown(socket.SHUT_RDWR)  # ends a wait for a client that never came
        self._server.close()
        for _ in range(50):
            self.hang_up()  # again: a client may be accepted just now
            self._thread.join(0.1)
        assert not self._thread.is_alive()
        self.serial.close()

    @property
    def levels(self) -> list[tuple[str, bool]]:
        return list(self.serial.levels)

    def hang_up(self) -> None:
        """Cut the client off, as a server that is switched off does."""
        if self._client is not None:
            with contextlib.suppress(OSError):  # it has left
                self._client.shutdown(socket.SHUT_RDWR)

    def write(self, data: bytes) -> None:
        """What the PortManager has to say to the client."""
        assert self._client is not None
        with self._sending:
            self._client.sendall(data)

    def _serve(self) -> None:
        try:
            self._client, _ = self._server.accept()
        except OSError:
            return  # closed before anybody came
        self._sending = threading.Lock()
        manager: Any = PortManager(cast(Any, self.serial), cast(Any, self))
        done = threading.Event()

        def to_client() -> None:
            while not done.is_set():
                if data := self.serial.read(self.serial.in_waiting or 1):
                    try:
                        self.write(b"".join(manager.escape(data)))
                    except OSError:
                        return

        sender = threading.Thread(target=to_client, daemon=True)
        sender.start()
        with self._client, contextlib.suppress(OSError):
            while data := self._client.recv(1024):
                self.serial.write(b"".join(manager.filter(data)))
        done.set()
        sender.join(5)
