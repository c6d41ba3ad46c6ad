"""Times of rows as an even axis: their zone, their order, the period between them, and the holes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from edge_tqs.errors import UsageError
from edge_tqs.graph.graph import Array
from edge_tqs.project.series_format import UNITS, Offences, SeriesFormat, period_text
from edge_tqs.project.time_text import NO_OFFSET

Line = Callable[[int], str]

#: Part of a period by which a step may differ from it and still count as one.
JITTER = 0.25
#: Part of the steps that may be neither one period nor several.
_UNEVEN = 0.05
#: Part by which the period that is found may differ from the one that is given.
AGREES = 0.05
_HOUR = UNITS["h"]
_DAY_S = 86_400


@dataclass(frozen=True, eq=False)
class Axis:
    """Rows on a grid. slots (rows,) int64: a row's place on it; 2 and more to the next one is a hole. period:
    nanoseconds, None for a single row. facts, warnings: what was found, in sentences."""

    slots: Array
    period: int | None
    facts: tuple[str, ...]
    warnings: tuple[str, ...]


def stamp(nanoseconds: int) -> str:
    """A time as text, to the second where that says it all."""
    unit = "s" if nanoseconds % UNITS["s"] == 0 else "ms" if nanoseconds % UNITS["ms"] == 0 else "ns"
    text = str(np.datetime64(int(nanoseconds), "ns").astype(f"datetime64[{unit}]")).replace("T", " ")
    return text.removesuffix(":00") if unit == "s" else text


def to_utc(
    path: Path, name: str, times: Array, offsets: Array, how: SeriesFormat, line: Line
) -> tuple[Array, bool, list[str]]:
    """(nanoseconds since 1970, whether they are UTC, what was found out) of times as written and their offsets.

    Raises UsageError where some rows say an offset and others do not, for an unknown zone, and for local times that
    the zone's clocks skip.
    """
    said = offsets != NO_OFFSET
    if said.any():
        if not said.all():
            row = int(np.flatnonzero(said != said[0])[0])
            has, had = ("an offset from UTC", "none") if said[row] else ("no offset from UTC", "one")
            raise UsageError(
                f"{path}, {line(row)}, column {name}: {stamp(times[row])} has {has}, the rows above have {had}",
                hint="Write every time with its offset, or none, and name the zone: [data] time_zone.",
            )
        if how.time_zone is not None:
            raise UsageError(
                f"{path}: the times of {name!r} say their offset from UTC", hint="Leave [data] time_zone out."
            )
        found = np.unique(offsets)
        facts = []
        if len(found) > 1:
            shown = ", ".join(f"{o // 3600:+03d}:{o % 3600 // 60:02d}" for o in map(int, found))
            facts = [f"{path.name}: times with the offsets {shown} are one axis in UTC."]
        return times - offsets.astype(np.int64) * UNITS["s"], True, facts
    if how.time_zone is None:
        return times, False, []
    return _from_zone(path, name, times, how.time_zone, line, repeats=how.long is not None), True, []


def _from_zone(path: Path, name: str, local: Array, zone_name: str, line: Line, *, repeats: bool) -> Array:
    try:
        zone = ZoneInfo(zone_name)
    except (OSError, ValueError, KeyError):
        raise UsageError(
            f"[data] time_zone {zone_name!r} is not known here",
            hint='Write a name of the IANA data base: "Europe/Berlin". Where it is right: pip install tzdata.',
        ) from None
    starts, offsets = _offsets(zone, int(local.min() // UNITS["s"]), int(local.max() // UNITS["s"]))
    starts, offsets = starts * UNITS["s"], offsets * UNITS["s"]

    def at(utc: Array) -> Array:
        found: Array = offsets[np.searchsorted(starts, utc, "right") - 1]
        return found

    day = _DAY_S * UNITS["s"]
    before, after = at(local - day), at(local + day)
    early, late = at(local - before) == before, at(local - after) == after
    skipped = Offences()
    for row in np.flatnonzero(~early & ~late):
        skipped.add(int(row), f", column {name}: there was no {stamp(local[row])} in {zone_name}, clocks skip it")
    skipped.refuse(path, line, "The times are of another zone, or were never set forward: leave time_zone out.")
    second = late & ~early
    twice = early & late & (before != after)
    if twice.any():
        # Within an hour that clocks show twice, the second time begins where the rows start over.
        step = np.diff(local, prepend=local[0] - 1)
        over = (step < 0) | ((step == 0) & (not repeats))
        rows = np.flatnonzero(twice)
        for run in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1):
            second[run] = np.cumsum(over[run] & (np.arange(len(run)) > 0)) > 0
    return local - np.where(second, after, before)


def _offsets(zone: ZoneInfo, first: int, last: int) -> tuple[Array, Array]:
    """(seconds since 1970 from which, seconds of offset) of a zone around a span, by probing days and bisecting."""
    from datetime import UTC, datetime

    def offset(second: int) -> int:
        delta = datetime.fromtimestamp(second, UTC).astimezone(zone).utcoffset()
        return 0 if delta is None else round(delta.total_seconds())

    at = first - 3 * _DAY_S
    starts, offsets = [at], [offset(at)]
    while at < last + 3 * _DAY_S:
        following = at + _DAY_S
        now = offset(following)
        if now != offsets[-1]:
            low, high = at, following
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if offset(middle) != offsets[-1] else (middle, high)
            starts.append(high)
            offsets.append(now)
        at = following
    return np.array(starts, np.int64), np.array(offsets, np.int64)


def runs_backwards(times: Array) -> bool:
    """Whether the newest row comes first: most rows are earlier than the one above, though local clocks may jump."""
    return bool((np.diff(times) < 0).sum() * 2 > len(times))


def lay_out(path: Path, name: str, times: Array, how: SeriesFormat, line: Line, *, utc: bool, hint: str = "") -> Axis:
    """Put rows, oldest first, on an even grid.

    Raises UsageError for times that repeat or go back, with ``hint`` about what the file may be, for rows that are not
    evenly spaced, and where the period found is not the one given.
    """
    steps = np.diff(times)
    if not steps.size:
        return Axis(np.zeros(len(times), np.int64), how.period, (), ())
    _refuse_disorder(path, name, times, steps, line, hint)
    found = _usual(steps)
    period = how.period or found
    if abs(found - period) > AGREES * period:
        row = int(np.flatnonzero(np.abs(steps - found) <= AGREES * found)[0])
        raise UsageError(
            f"{path}, {line(row + 1)}, column {name}: rows are {period_text(found)} apart "
            f"({stamp(times[row])}, {stamp(times[row + 1])}), not the {period_text(period)} of [data] period",
            hint=f'Write period = "{period_text(found)}", or give a file that is sampled as the model needs it.',
        )
    count = np.maximum(1, np.round(steps / period)).astype(np.int64)
    off = np.abs(steps - count * period) > JITTER * period
    if off.mean() > _UNEVEN:
        row = int(np.flatnonzero(off)[0])
        raise UsageError(
            f"{path}, {line(row + 1)}, column {name}: rows are not evenly spaced: {off.sum():,} of "
            f"{len(steps):,} steps are no multiple of {period_text(period)}, the first from {stamp(times[row])} to "
            f"{stamp(times[row + 1])}",
            hint="Resample the file to one period. Or, where the model takes rows as they come: [data] time = false.",
        )
    slots = np.concatenate([[0], np.cumsum(np.where(off, np.maximum(count, 2), count))])
    facts, warnings = [], _holes(path, times, count, off, period, line)
    facts.append(
        f"{path.name}: {len(times):,} rows {period_text(period)} apart by column {name!r}, "
        f"{stamp(times[0])} to {stamp(times[-1])}" + (" UTC" if utc else "") + "."
    )
    jitter = int(np.abs(steps - period)[(count == 1) & ~off].max(initial=0))
    if jitter > 0.01 * period:
        facts.append(f"{path.name}: steps differ from that by up to {period_text(jitter)}, and are taken as even.")
    return Axis(slots, period, tuple(facts), tuple(warnings))


def _usual(steps: Array) -> int:
    """The step that most rows take; their median where there is none."""
    values, counts = np.unique(steps, return_counts=True)
    best = int(counts.argmax())
    return int(values[best]) if counts[best] * 2 > len(steps) else max(1, int(np.median(steps)))


def _holes(path: Path, times: Array, count: Array, off: Array, period: int, line: Line) -> list[str]:
    warnings = []
    holes = np.flatnonzero((count > 1) & ~off)
    if holes.size:
        row, missing = int(holes[0]), int((count[holes] - 1).sum())
        what = "1 hole" if holes.size == 1 else f"{holes.size:,} holes"
        first = "" if holes.size == 1 else "the first "
        hour = count[holes] * period == _HOUR + period
        summer = any(_clocks_change(times[at]) for at in holes[hour])
        warnings.append(
            f"{path.name} has {what} in its times ({missing:,} samples), {first}before {line(row + 1)}, from "
            f"{stamp(times[row])} to {stamp(times[row + 1])}: no window crosses a hole."
            + (" An hour is missing where local clocks are set forward: [data] time_zone joins that." if summer else "")
        )
    if off.any():
        row = int(np.flatnonzero(off)[0])
        warnings.append(
            f"{path.name}, {line(row + 1)}: {int(off.sum()):,} steps are no multiple of {period_text(period)}, "
            f"the first from {stamp(times[row])} to {stamp(times[row + 1])}: no window crosses them."
        )
    return warnings


def _clocks_change(time: int) -> bool:
    """Whether local clocks are set forward or back somewhere in that night."""
    _, month, rest = str(np.datetime64(int(time), "ns")).split("-")
    return month in ("03", "04", "09", "10", "11") and int(rest[3:5]) < 4


def _refuse_disorder(path: Path, name: str, times: Array, steps: Array, line: Line, hint: str) -> None:
    wrong = np.flatnonzero(steps <= 0)
    if not wrong.size:
        return
    row = int(wrong[0])
    same = steps[row] == 0
    usual = _usual(steps)
    set_back = all(_clocks_change(times[at]) for at in wrong[:100])
    set_back = set_back and bool((np.abs(steps[wrong] + _HOUR - usual) <= JITTER * usual).all())
    what = (
        f"column {name}: {stamp(times[row + 1])} comes again"
        if same
        else (f"column {name}: the time goes back, from {stamp(times[row])} to {stamp(times[row + 1])}")
    )
    if set_back:
        what += ", as local clocks do when summer time ends"
        hint = 'Name the zone of the times: [data] time_zone = "Europe/Berlin".'
    repeated, back = int((steps == 0).sum()), int((steps < 0).sum())
    counts = [f"{repeated:,} times repeat"] if repeated > 1 else []
    counts += [f"{back:,} times go back"] if back > 1 else []
    raise UsageError(
        f"{path}, {line(row + 1)}, {what}" + (f"; {', '.join(counts)} in all" if counts else ""),
        hint=hint or "Keep one row a time, the oldest first. Where rows are even anyway: [data] time = false.",
    )
