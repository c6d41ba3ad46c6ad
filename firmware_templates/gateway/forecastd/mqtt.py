# SPDX-License-Identifier: Apache-2.0
"""A connection to an MQTT broker by paho-mqtt, 1.x or 2.x, that comes back by itself when the broker does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

#: Messages that wait while the broker is away; then the newest are lost.
WAITING = 200


class PackageError(Exception):
    """paho-mqtt is missing."""


class Broker(Protocol):
    """How a broker is reached: settings of the source and of the sink have these."""

    @property
    def broker(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def user(self) -> str: ...
    @property
    def password(self) -> str: ...
    @property
    def tls(self) -> bool: ...


class Connection:
    """Connects in its own thread, now and whenever the broker is there again; ``subscribe`` is said each time.

    connected: called each time, in that thread. message: (topic, payload, whether it was kept by the broker from
    before). will: (topic, payload) that the broker publishes, kept, once the connection is lost.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        subscribe: Sequence[str] = (),
        message: Callable[[str, bytes, bool], None] | None = None,
        connected: Callable[[Connection], None] | None = None,
        will: tuple[str, str] | None = None,
    ) -> None:
        try:
            import paho.mqtt.client as paho
        except ImportError as error:
            raise PackageError(
                f"MQTT needs paho-mqtt: {error}. Try: sudo apt install python3-paho-mqtt, or pip install paho-mqtt"
            ) from error
        version = getattr(paho, "CallbackAPIVersion", None)
        self._client: Any = paho.Client() if version is None else paho.Client(version.VERSION2)
        self._client.max_queued_messages_set(WAITING)
        self._client.reconnect_delay_set(1, 10)
        if broker.user:
            self._client.username_pw_set(broker.user, broker.password or None)
        if broker.tls:
            self._client.tls_set()
        if will is not None:
            self._client.will_set(*will, qos=1, retain=True)
        self.connects = 0
        # What is published before the first connection waits here: paho may keep for good what it is given between
        # the connection and the broker's answer.
        self._early: list[tuple[str, str]] = []
        self._up, self._turn = False, threading.RLock()

        def on_connect(client: Any, data: Any, flags: Any, code: Any, *rest: Any) -> None:
            if code != 0:
                return  # refused; it is tried again
            self.connects += 1
            for topic in subscribe:
                client.subscribe(topic, qos=1)
            with self._turn:
                self._up = True
                if connected is not None:
                    connected(self)  # whoever made this may not have it yet
                for topic, payload in self._early:
                    self.publish(topic, payload)
                self._early.clear()

        def on_message(client: Any, data: Any, told: Any) -> None:
            if message is not None:
                message(str(told.topic), bytes(told.payload), bool(told.retain))

        self._client.on_connect, self._client.on_message = on_connect, on_message
        self._client.connect_async(broker.broker, broker.port, keepalive=30)
        self._client.loop_start()

    def publish(self, topic: str, payload: str) -> bool:
        """Publish, kept by the broker; it waits while that is away. False where too many wait already."""
        with self._turn:
            if not self._up:
                self._early += [(topic, payload)] if (room := len(self._early) < WAITING) else []
                return room
        return bool(self._client.publish(topic, payload, qos=1, retain=True).rc in (0, 4))  # 4: not connected, it waits

    def close(self, last: tuple[str, str] | None = None) -> None:
        """Publish ``last``, wait a second or two at most for what is under way, and part."""
        until = time.monotonic() + 1.0
        while self._early and time.monotonic() < until:
            time.sleep(0.01)
        if last is not None and self._client.is_connected():
            with suppress(ValueError, RuntimeError):  # paho says so where too many wait already
                self._client.publish(*last, qos=1, retain=True).wait_for_publish(1.0)
        self._client.disconnect()
        self._client.loop_stop()
