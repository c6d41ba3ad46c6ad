"""A budget, a tolerance, and a latency, as people write them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from edge_tqs.errors import UsageError

#: Beyond all memories: a slip of the keyboard.
_MOST = 2.0**63


@dataclass(frozen=True)
class AskedPlan:
    """How wide the weights may be where a command says nothing of it; one of these at most. budget: bytes; tolerance:
    a share of float's error; bits: of all weights; mean_bits: of a weight; max_divergence: RMSE, model's units. And,
    beside them, latency: milliseconds that an evaluation may be modelled to take."""

    budget: int | None = None
    tolerance: float | None = None
    bits: Literal[8, 4] | None = None
    mean_bits: float | None = None
    max_divergence: float | None = None
    latency: float | None = None


def parse_budget(text: str) -> int:
    """Bytes from "24576", "24KB", "24 KiB", "1.5MB". As in linker scripts KB and KiB are 1024 bytes, MB and MiB 1024^2.

    Raises UsageError for anything else, zero and negative numbers among it.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:(k|m)(?:i?b)?|b|bytes)?\s*", text, re.IGNORECASE)
    scale = {None: 1, "k": 1024, "m": 1024**2}[match[2].lower() if match and match[2] else None]
    value = float(match[1]) * scale if match else 0.0
    size = int(value) if value < _MOST else 0
    if size < 1:
        raise UsageError(
            f"{text!r} is not a number of bytes",
            hint="Write 24576, 24KB (KB = 1024 bytes), 1.5MB, flash for what the board has room for, or none.",
        )
    return size


def parse_tolerance(given: float | str) -> float:
    """A share: .02 of 0.02, "0.02" and "2%". Raises UsageError for what is none, or not above 0."""
    text = str(given).strip()
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = float("nan")
    if not 0 < share < float("inf"):
        raise UsageError(f"{given!r} is no share of an error", hint="Write 2% or 0.02: a fiftieth of float's error.")
    return share


def parse_latency(given: float | str) -> float:
    """Milliseconds of "5ms", "0.005 s" and "800us"; a number is one. Raises UsageError for what is none or not above 0,
    and for text without a unit, which may be of seconds too."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(us|ms|s)?\s*", str(given))
    time = float(match[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[match[2] or "ms"] if match else 0.0
    if not 0 < time < float("inf"):
        raise UsageError(f"{given!r} is no time", hint="Write 5ms, 0.005s or 800us: the longest evaluation.")
    if isinstance(given, str) and match and not match[2]:
        number = match[1]
        raise UsageError(f"{given!r} has no unit", hint=f"Write {number}ms, {number}s or {number}us.")
    return time
