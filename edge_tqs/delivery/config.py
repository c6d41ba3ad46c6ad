"""forecastd.json as a host is to have it: the build's, a file of the user's, or one broker's address."""

from __future__ import annotations

import json
import re
from typing import Any

from edge_tqs.errors import UsageError

#: Of topics: no wildcard, no level of its own, nothing that a shell or a table would trip over.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_BROKER = re.compile(r"(?P<host>[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:]+\])(?::(?P<port>\d{1,5}))?")
PREFIX = "edge-tqs"


def parse_broker(text: str) -> tuple[str, int | None]:
    """(host, port or None) of HOST[:PORT]. Raises UsageError for anything else."""
    parts = _BROKER.fullmatch(text)
    if parts is None or int(parts["port"] or 1) not in range(1, 65_536):
        raise UsageError(f"{text or 'nothing'} is no address of a broker", hint="Write HOST or HOST:1883.")
    return parts["host"].strip("[]"), None if parts["port"] is None else int(parts["port"])


def kinds_of(config: bytes) -> frozenset[str]:
    """The kinds of source and sinks in forecastd.json; none of what is no configuration."""
    try:
        table: Any = json.loads(config)
    except ValueError:
        return frozenset()
    if not isinstance(table, dict):
        return frozenset()
    sinks = table.get("sinks")
    ends = [table.get("source"), *(sinks if isinstance(sinks, list) else [])]
    return frozenset(str(end.get("kind")) for end in ends if isinstance(end, dict))


def with_broker(config: bytes, model: str, broker: str, gateway: str | None = None) -> bytes:
    """``config`` with an MQTT broker in place of its source and sinks, as forecastd's --broker has it.

    Args:
        config: forecastd.json.
        model: unit_name of it.
        broker: HOST[:PORT].
        gateway: A name for the host, by which several with one model tell their topics apart: readings come from
            GATEWAY/COLUMN, not MODEL/COLUMN, and forecasts go to edge-tqs/GATEWAY/MODEL, not edge-tqs/MODEL.

    Raises UsageError for an address or a name that is none, and for a configuration that is no table.
    """
    host, port = parse_broker(broker)
    if gateway is not None and _NAME.fullmatch(gateway) is None:
        raise UsageError(f"{gateway!r} cannot stand in a topic", hint="Take letters, digits and . _ -: greenhouse-3.")
    try:
        table: Any = json.loads(config)
    except ValueError as error:
        raise UsageError(
            f"forecastd.json is not JSON: {error}", hint="Correct the file that --config names."
        ) from error
    if not isinstance(table, dict):
        raise UsageError("forecastd.json is no table", hint="It begins with { and ends with }.")
    reached: dict[str, Any] = {"kind": "mqtt", "broker": host, **({} if port is None else {"port": port})}
    topic = f"{gateway or model}/{{column}}"
    sink = reached | ({} if gateway is None else {"prefix": f"{PREFIX}/{gateway}"})
    made = table | {"source": {**reached, "topic": topic}, "sinks": [sink, {"kind": "page"}]}
    return (json.dumps(made, indent=2, ensure_ascii=False) + "\n").encode()
