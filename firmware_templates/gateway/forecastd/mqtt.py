# SPDX-License-Identifier: Apache-2.0
"""A connection to an MQTT broker by paho-mqtt, 1.x or 2.x, that comes back by itself when the broker does."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from forecastd.trouble import Trouble

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

    of: "source" or "sink", for what is told of it. connected: called each time, in that thread; what it publishes goes
    through however many wait. message: (topic, payload, whether it was kept by the broker from before). will: (topic,
    payload) that the broker publishes, kept, once the connection is lost.
    """

    def __init__(
        self,
        broker: Broker,
        of: str,
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
        self._client.max_queued_messages_set(0)  # no bound: it is here, since what `connected` says must get through
        # What is published while there is no connection waits here. paho may keep for good what it is given between the
        # connection and the broker's answer, and it sends what was under way before after `connected`: what is newer
        # would be overtaken by it. paho calls `on_publish` with a lock of its own: none is held where paho is called,
        # but in its thread.
        self._early: deque[tuple[str, str]] = deque()
        self._up, self._under_way, self._turn = False, 0, threading.RLock()
        self._client.reconnect_delay_set(1, 10)
        if broker.user:
            self._client.username_pw_set(broker.user, broker.password or None)
        if broker.tls:
            self._client.tls_set()
        if will is not None:
            self._client.will_set(*will, qos=1, retain=True)
        place = f"the broker at {broker.broker}:{broker.port}"
        trouble = Trouble(f"{of} mqtt")

        def on_connect(client: Any, data: Any, flags: Any, code: Any, *rest: Any) -> None:
            if code != 0:  # it is tried again
                word = code if version is not None else paho.connack_string(code)
                trouble.said(f'{place} refuses: {word}: write "user" and "password" beside "broker"')
                return
            trouble.over()
            for topic in subscribe:
                client.subscribe(topic, qos=1)
            if connected is None:
                self._flush()
            else:  # its first message that arrives is behind all that was under way
                connected(self)  # whoever made this may not have it yet

        def on_disconnect(*told: Any) -> None:
            with self._turn:
                self._up = False

        def on_message(client: Any, data: Any, told: Any) -> None:
            if message is not None:
                message(str(told.topic), bytes(told.payload), bool(told.retain))

        def on_connect_fail(client: Any, data: Any) -> None:
            # paho calls this where it caught what it does not give on.
            trouble.said(f"{place} is not reached: {sys.exc_info()[1] or 'no answer'}: is it there, and its port open?")

        def on_subscribe(client: Any, data: Any, number: Any, codes: Any, *rest: Any) -> None:
            if any(getattr(code, "value", code) >= 0x80 for code in codes):
                trouble.once(f"{place} does not let {broker.user or 'everybody'} read {', '.join(subscribe)}")

        def on_publish(*told: Any) -> None:
            with self._turn:
                self._under_way -= 1
                self._flush()

        self._client.on_connect, self._client.on_message = on_connect, on_message
        self._client.on_connect_fail, self._client.on_subscribe = on_connect_fail, on_subscribe
        self._client.on_publish, self._client.on_disconnect = on_publish, on_disconnect
        self._client.connect_async(broker.broker, broker.port, keepalive=30)
        self._client.loop_start()

    def publish(self, topic: str, payload: str) -> bool:
        """Publish, kept by the broker; it waits while that is away. False where too many wait already."""
        with self._turn:
            if len(self._early) + self._under_way >= WAITING:
                return False
            if not self._up:
                self._early.append((topic, payload))
                return True
        return self._send(topic, payload)

    def send(self, topic: str, payload: str) -> None:
        """The same within ``connected``: at once, and however many wait."""
        self._send(topic, payload)

    def _flush(self) -> None:
        """In paho's thread: send what waited."""
        with self._turn:
            while self._early:
                self._send(*self._early.popleft())
            self._up = True

    def _send(self, topic: str, payload: str) -> bool:
        with self._turn:
            self._under_way += 1
        waits = bool(self._client.publish(topic, payload, qos=1, retain=True).rc in (0, 4))  # 4: not connected
        if not waits:
            with self._turn:
                self._under_way -= 1
        return waits

    def close(self, last: tuple[str, str] | None = None) -> None:
        """Publish ``last``, wait a second or two at most for what is under way, and part."""
        until = time.monotonic() + 1.0
        while self._early and time.monotonic() < until:
            time.sleep(0.01)
        if last is not None and self._client.is_connected():
            with suppress(ValueError, RuntimeError):  # paho says so where the connection went at this moment
                self._client.publish(*last, qos=1, retain=True).wait_for_publish(1.0)
        self._client.disconnect()
        self._client.loop_stop()
