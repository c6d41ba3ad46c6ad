# SPDX-License-Identifier: Apache-2.0
"""What systemd is told (sd_notify(3)): that the program serves, what it does, and that it is not stuck."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

#: Seconds between two texts of what is done.
_STATUS_S = 5.0


class Notifier:
    """Says nothing where no systemd asked for it: environment NOTIFY_SOCKET, and WATCHDOG_USEC for signs of life."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # A name that begins with @ is in the abstract namespace: its first byte is 0 (unix(7)).
        self._address = "\0" + address[1:] if address.startswith("@") else address
        watchdog = environment.get("WATCHDOG_USEC", "")
        self._alive_s = int(watchdog) / 1e6 / 4 if watchdog.isdigit() else None
        self._alive_at = self._status_at = float("-inf")
        self._status = ""

    def ready(self) -> None:
        """Source, engine and sinks are open."""
        self._say("READY=1")

    def stopping(self) -> None:
        """The loop has ended."""
        self._say("STOPPING=1")

    def turn(self, status: str) -> None:
        """Of each turn of the loop, a second apart at most: a sign of life where it is due, and what is done."""
        now = time.monotonic()
        if self._alive_s is not None and now - self._alive_at >= self._alive_s:
            self._say("WATCHDOG=1")
            self._alive_at = now
        if status != self._status and now - self._status_at >= _STATUS_S:
            self._say(f"STATUS={status}")
            self._status, self._status_at = status, now

    def _say(self, line: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
                to.sendto(line.encode(), self._address)
        except OSError:
            pass  # who asked is gone: forecasts go on
