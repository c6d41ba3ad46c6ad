"""QEMU's monitor (QMP): what is done to a running machine from outside, as with its reset button."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from types import TracebackType
from typing import Any, Self

#: QEMU answers within milliseconds.
PATIENCE_SECONDS = 10.0


class Monitor:
    """The monitor at the socket ``path`` (QEMU's ``-qmp unix:path,server=on,wait=off``), until the ``with`` block
    ends."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE_SECONDS)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rb")
        self._next()  # its greeting
        self._ask("qmp_capabilities", "return")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()
        self._socket.close()

    def reset(self) -> None:
        """Reset the machine as its button does; returns when that is done. Memory keeps what it holds."""
        self._ask("system_reset", "return", "RESET")

    def _ask(self, command: str, *awaited: str) -> None:
        """Give a command, and wait for its return and the events among ``awaited``, whichever comes first."""
        self._socket.sendall(json.dumps({"execute": command}).encode())
        missing = set(awaited)
        while missing:
            message = self._next()
            assert "error" not in message, message
            missing -= {message.get("event", "return")}

    def _next(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._lines.readline())
        return message
