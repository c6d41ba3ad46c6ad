"""What gateways in the field say of themselves: edge-tqs-forecastd's messages that an MQTT broker keeps."""

from __future__ import annotations

import json
import queue
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from edge_tqs.delivery.config import PREFIX, parse_broker
from edge_tqs.errors import DeviceError, ToolError, UsageError
from edge_tqs.needs import Need, python_package

PAHO = python_package("paho", "speaks to an MQTT broker", "paho-mqtt>=1.6")
CONNECT_SECONDS = 10.0
PATIENCE = 3
#: What a gateway publishes under its topic.
_KINDS = ("about", "report", "problem", "online")


@dataclass(frozen=True)
class BrokerLogin:
    """How a broker is reached: HOST[:PORT], and what it asks for."""

    address: str
    user: str = ""
    password: str = ""
    tls: bool = False


@dataclass(frozen=True)
class ErrorOfOutput:
    """Rolling mean absolute error of an output over all leads, physical units; naive: of repeating the last value;
    promised: of the build's validation. None where it is not known. truths: that it is the mean of."""

    label: str
    truths: int
    error: float | None
    naive: float | None
    promised: float | None


@dataclass(frozen=True)
class Gateway:
    """One model on one gateway. topic: its messages' beginning; host: its machine's name. model_hash, host and time
    (ISO 8601, of the last sample) are "" where it did not say. problems: in sentences, now."""

    topic: str
    model: str
    model_hash: str
    host: str
    online: bool
    time: str
    errors: tuple[ErrorOfOutput, ...]
    problems: tuple[str, ...]


def listen(login: BrokerLogin, *, prefix: str = PREFIX, wait: float = 2.0) -> tuple[Gateway, ...]:
    """The gateways below ``prefix``, by topic: what the broker kept of them, or they say within ``wait`` seconds of the
    last new topic; PATIENCE times that while something of a gateway is missing.

    Raises ToolError without paho-mqtt, UsageError for an address or a prefix that is none, DeviceError where the broker
    cannot be reached or refuses.
    """
    host, port = parse_broker(login.address)
    if not prefix or set("+#") & set(prefix):
        raise UsageError(f"{prefix!r} is no prefix of topics", hint=f"As forecastd.json has it: {PREFIX}.")
    try:
        import paho.mqtt.client as paho
    except ImportError as error:
        raise ToolError(
            "paho-mqtt is missing: it speaks to an MQTT broker", hint="Install it: `pip install paho-mqtt`."
        ) from error
    said: queue.Queue[tuple[str, bytes] | str | None] = queue.Queue()  # a message, a refusal, or that it begins
    version: Any = getattr(paho, "CallbackAPIVersion", None)
    client: Any = paho.Client() if version is None else paho.Client(version.VERSION2)
    if login.user:
        client.username_pw_set(login.user, login.password or None)
    if login.tls:
        client.tls_set()

    def on_connect(client: Any, data: Any, flags: Any, code: Any, *rest: Any) -> None:
        if code != 0:
            said.put(f"it refuses: {code}")
        else:
            client.subscribe(f"{prefix}/#", qos=1)

    client.on_connect = on_connect
    client.on_subscribe = lambda *about: said.put(None)
    client.on_message = lambda client, data, told: said.put((str(told.topic), bytes(told.payload)))
    try:
        client.connect(host, port or (8883 if login.tls else 1883), keepalive=30)
    except (OSError, ValueError) as error:
        raise DeviceError(
            f"{login.address}: the broker cannot be reached: {error}", hint="Is it on, and is this its port?"
        ) from error
    client.loop_start()
    try:
        return gateways(_collected(said, login.address, wait))
    finally:
        client.disconnect()
        client.loop_stop()


def _collected(said: queue.Queue[tuple[str, bytes] | str | None], address: str, wait: float) -> Mapping[str, bytes]:
    """The last payload of each topic, once no new topic came for ``wait`` seconds after the broker let us listen.

    PATIENCE times as long where a gateway was heard of which something is missing: a busy broker sends what it kept
    with pauses.
    """
    found: dict[str, bytes] = {}
    until, begun = time.monotonic() + CONNECT_SECONDS, False
    while (left := until - time.monotonic()) > 0:
        try:
            message = said.get(timeout=left)
        except queue.Empty:
            break
        if isinstance(message, str):
            raise DeviceError(f"{address}: {message}", hint="Give --user, and the password in EDGE_TQS_MQTT_PASSWORD.")
        begun = True
        new = message is None or message[0] not in found
        if message is not None:
            found[message[0]] = message[1]
        if new:
            until = time.monotonic() + wait * (1 if _whole(found) else PATIENCE)
    if not begun:
        raise DeviceError(f"{address}: nothing answers as an MQTT broker does", hint="Is this its port?")
    return found


def _whole(topics: Iterable[str]) -> bool:
    """Whether all of each gateway was heard of which anything was."""
    kinds: dict[str, set[str]] = {}
    for topic in topics:
        base, _, kind = topic.rpartition("/")
        if kind in _KINDS and base:
            kinds.setdefault(base, set()).add(kind)
    return all(heard == set(_KINDS) for heard in kinds.values())


def gateways(messages: Mapping[str, bytes]) -> tuple[Gateway, ...]:
    """Payloads by topic, as gateways; what is not a gateway's is left out, and so is what cannot be read."""
    by_topic: dict[str, dict[str, Any]] = {}
    for topic, payload in messages.items():
        base, _, kind = topic.rpartition("/")
        if kind in _KINDS and base:
            by_topic.setdefault(base, {})[kind] = _read(kind, payload)
    made = (_gateway(topic, told) for topic, told in sorted(by_topic.items(), key=_natural) if "online" in told)
    return tuple(made)


def _natural(item: tuple[str, Any]) -> list[tuple[int, str]]:
    """By a topic, its numbers as numbers: bay-2 before bay-10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", item[0])]


def _read(kind: str, payload: bytes) -> Any:
    text = payload.decode(errors="replace")
    if kind == "online":
        return text == "online"
    try:
        told = json.loads(text)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _gateway(topic: str, told: Mapping[str, Any]) -> Gateway:
    about, report, problem = (told.get(kind, {}) for kind in ("about", "report", "problem"))
    card = report.get("card")
    return Gateway(
        topic=topic,
        model=topic.rpartition("/")[2],
        model_hash=_text(about.get("model_hash")),
        host=_text(about.get("host")),
        online=told["online"],
        time=_text(report.get("time")),
        errors=tuple(_errors(card.items() if isinstance(card, dict) else ())),
        problems=tuple(map(str, problem["problems"])) if isinstance(problem.get("problems"), list) else (),
    )


def _errors(card: Iterable[tuple[str, Any]]) -> Iterable[ErrorOfOutput]:
    for label, row in card:
        if isinstance(row, dict):
            truths = row.get("truths")
            figures = (_number(row.get(name)) for name in ("mae", "naive", "promised"))
            yield ErrorOfOutput(label, truths if isinstance(truths, int) else 0, *figures)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def needs() -> tuple[Need, ...]:
    """The package."""
    return (PAHO,)
