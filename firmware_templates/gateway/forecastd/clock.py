# SPDX-License-Identifier: Apache-2.0
"""Times as whole nanoseconds since 1970, UTC: no rounding, no zones inside."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Callable

UNITS = {
    "d": 86_400_000_000_000,
    "h": 3_600_000_000_000,
    "min": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
    "us": 1_000,
    "ns": 1,
}
SECOND = UNITS["s"]
#: What a `time_format` may be in place of strptime's directives: the unit of numbers since 1970.
NUMBERS = ("s", "ms", "us", "ns")

_PERIOD = re.compile(r"(\d+)\s*(d|h|min|s|ms|us|ns)")
_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?\s?(Z|[+-]\d\d(?::?\d\d)?)?", re.ASCII
)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
#: Times are from 1970 to 2116: no sum of two of them overflows 64 bits.
EARLIEST, LATEST = 0, 1 << 62


def parse_period(text: str) -> int:
    """Nanoseconds of "30min". Raises ValueError."""
    match = _PERIOD.fullmatch(text.strip())
    if match is None or int(match[1]) == 0:
        raise ValueError('a whole number with a unit: "30min"; units are ' + ", ".join(UNITS))
    return int(match[1]) * UNITS[match[2]]


def period_text(period: int) -> str:
    """The same the other way: "30min"."""
    for unit, size in UNITS.items():
        if period % size == 0:
            return f"{period // size}{unit}"
    return f"{period}ns"


def iso(time: int) -> str:
    """``time`` as 2024-01-31T23:50:00Z, with as many digits of a second as it has."""
    seconds, rest = divmod(time, SECOND)
    text = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    return text + (f".{rest:09d}".rstrip("0") if rest else "") + "Z"


def reader(time_format: str | None, zone: tzinfo | None) -> Callable[[str], int]:
    """What reads a time as text.

    time_format: None for ISO 8601, one of NUMBERS, or strptime's directives. zone: of times that say no offset; of an
    hour that clocks show twice, the reading that follows the time read before. The function raises ValueError.
    """
    if time_format in NUMBERS:
        return _numbers(time_format or "")
    before = EARLIEST

    def read(text: str) -> int:
        nonlocal before
        fraction = 0
        if time_format is None:
            match = _ISO.fullmatch(text.strip())
            if match is None:
                raise ValueError(f'{text!r} is no time like "2024-01-31T23:50:00Z"')
            digits = [int(part or 0) for part in match.groups()[:6]]
            local = datetime(*digits, tzinfo=_offset(match[8]))  # type: ignore[arg-type, misc]
            fraction = int((match[7] or "0").ljust(9, "0"))
        else:
            local = datetime.strptime(text.strip(), time_format)
            fraction = local.microsecond * 1000
        if local.tzinfo is None:
            if zone is None:
                raise ValueError(f'{text!r} says no offset from UTC, and no "time_zone" is given')
            found = _in_zone(local.replace(microsecond=0), zone, before)
        else:
            found = _nanoseconds(local.replace(microsecond=0))
        if not EARLIEST <= found < LATEST:
            raise ValueError(f"{text!r} is before 1970")
        before = found
        return found + fraction

    return read


def _numbers(unit: str) -> Callable[[str], int]:
    size = UNITS[unit]

    def read(text: str) -> int:
        whole, _, part = text.strip().partition(".")
        if not whole.isascii() or not whole.isdigit() or not ((part.isascii() and part.isdigit()) or not part):
            raise ValueError(f"{text!r} is no number of {unit} since 1970")
        digits = len(str(size)) - 1
        found = int(whole) * size + (int(part[:digits].ljust(digits, "0")) if digits and part else 0)
        if found >= LATEST:
            raise ValueError(f"{text!r} {unit} since 1970 is beyond the year 2116")
        return found

    return read


def _offset(text: str | None) -> tzinfo | None:
    if text is None:
        return None
    if text == "Z":
        return timezone.utc
    digits = text[1:].replace(":", "")
    away = timedelta(hours=int(digits[:2]), minutes=int(digits[2:] or 0))
    return timezone(-away if text[0] == "-" else away)


def _nanoseconds(moment: datetime) -> int:
    away = moment - _EPOCH
    return (away.days * 86_400 + away.seconds) * SECOND


def _in_zone(local: datetime, zone: tzinfo, before: int) -> int:
    first = _nanoseconds(local.replace(tzinfo=zone, fold=0))
    second = _nanoseconds(local.replace(tzinfo=zone, fold=1))
    if second < first:  # clocks went past this time
        raise ValueError(f"{local.isoformat()} is skipped by the clocks of that zone")
    return first if first >= before else second
