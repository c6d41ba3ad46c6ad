"""forecastd's samples and states: readings at any time, holes, clocks that jump, sensors that stop."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import gateways
import pytest
from forecastd.clock import iso, parse_period, period_text, reader
from forecastd.model import Range
from forecastd.resample import Gap, Grid, Reading, Resampler, Sample
from forecastd.states import Sensors, Watch

MINUTE = parse_period("1min")
COLUMNS = gateways.COLUMNS
START = 1_700_000_000 // 600 * 10 * MINUTE  # a multiple of ten minutes


def at(minutes: float, **values: float) -> Reading:
    return Reading(START + round(minutes * MINUTE), values)


def made(readings: Sequence[Reading], ticks: Sequence[float] = (), **grid: Any) -> tuple[Resampler, list[Any]]:
    """(minute, values) of samples, (minute, missing) of gaps; periods are ten minutes."""
    resampler = Resampler(COLUMNS, Grid(10 * MINUTE, **grid))
    steps = [step for reading in readings for step in resampler.take(reading)]
    steps += [step for minute in ticks for step in resampler.tick(START + round(minute * MINUTE))]
    return resampler, [
        ((step.time - START) / MINUTE, step.values if isinstance(step, Sample) else step.missing) for step in steps
    ]


def test_a_sample_holds_the_last_reading_up_to_its_time_or_their_mean() -> None:
    readings = [
        at(1, flow=1, load=5),
        at(9, flow=2),
        at(10, flow=6, load=7),
        at(11, flow=9, load=9),
        at(21, flow=0, load=0),
    ]
    assert made(readings)[1] == [(10, (6, 7)), (20, (9, 9))]
    assert made(readings, how="mean")[1] == [(10, (3, 6)), (20, (9, 9))]
    # Readings may come in any order within a sample.
    assert made([readings[0], readings[1], at(8, flow=3), *readings[2:]])[1] == [(10, (6, 7)), (20, (9, 9))]
    assert made([at(1, flow=1, load=1), at(6, flow=2, load=2)], phase=5 * MINUTE)[1] == [(5, (1, 1))]


def test_times_of_no_calendar_are_strays_however_many_there_are() -> None:
    resampler = Resampler(COLUMNS, Grid(MINUTE))
    for time in (START, START * 10**9, START * 10**9 + 1, -START, -START + 1, 1 << 62):
        assert resampler.take(Reading(time, {"flow": 1.0})) == []
    assert resampler.strays == 5


def test_a_sample_is_closed_once_nothing_can_be_added() -> None:
    assert made([at(10, flow=1, load=2)])[1] == [(10, (1, 2))]  # all columns were read at its very time
    assert made([at(9, flow=1, load=2)])[1] == []
    assert made([at(9, flow=1, load=2)], ticks=[19.9])[1] == []
    assert made([at(9, flow=1, load=2)], ticks=[20])[1] == [(10, (1, 2))]
    assert made([at(9, flow=1, load=2), at(15, flow=3), at(16, load=4)])[1] == [(10, (1, 2))]


@pytest.mark.parametrize("missing", [1, 2, 3, 4])
def test_holes_up_to_most_are_held_and_longer_ones_end_the_window(missing: int) -> None:
    after = 20 + 10 * missing
    readings = [at(10, flow=1, load=2), at(after, flow=3, load=4), at(after + 10, flow=5, load=6)]
    found = made(readings, most=2)[1]
    if missing <= 2:
        assert found == [
            (10, (1, 2)),
            *((20 + 10 * n, (1, 2)) for n in range(missing)),
            (after, (3, 4)),
            (after + 10, (5, 6)),
        ]
    else:
        held = [(20, (1, 2)), (30, (1, 2))]
        assert found[:3] == [(10, (1, 2)), *held]
        assert found[3] == (40, COLUMNS)
        assert [step for step in found if step[0] >= after] == [(after, (3, 4)), (after + 10, (5, 6))]


def test_a_column_that_stops_is_named_and_fills_nothing_when_it_comes_back() -> None:
    readings = [at(10 * n, flow=n, load=n) if n not in (3, 4) else at(10 * n, flow=n) for n in range(1, 8)]
    resampler = Resampler(COLUMNS, Grid(10 * MINUTE, most=1))
    steps: list[Any] = [step for reading in readings for step in resampler.take(reading)]
    kinds = [(type(step).__name__, step.measured if isinstance(step, Sample) else step.missing) for step in steps]
    assert kinds == [
        ("Sample", (True, True)),
        ("Sample", (True, True)),
        ("Sample", (True, False)),
        ("Gap", ("load",)),
        *[("Sample", (True, True))] * 3,
    ]
    assert steps[2].values == (3, 2)
    assert steps[3].why == f"no value of load since {iso(START + 30 * MINUTE)}: the window begins anew"


def test_linear_filling_waits_for_the_next_value() -> None:
    grid: dict[str, Any] = {"most": 2, "by": "linear"}
    readings = [at(10, flow=1, load=10), at(20, flow=2), at(30, flow=3), at(40, flow=4, load=40)]
    assert made(readings[:3], **grid)[1] == [(10, (1, 10))]
    assert made(readings, **grid)[1] == [(10, (1, 10)), (20, (2, 20)), (30, (3, 30)), (40, (4, 40))]
    found = made([*readings[:3], at(40, flow=4), at(50, flow=5), at(60, flow=6, load=6)], **grid)[1]
    assert found == [(10, (1, 10)), (40, ("load",)), (50, ("load",)), (60, (6, 6))]


def test_values_that_are_not_finite_are_not_read() -> None:
    assert made([at(10, flow=1, load=1), at(20, flow=math.nan, load=2), at(20, flow=3)])[1][-1] == (20, (3, 2))


def test_the_clock_goes_back() -> None:
    before = [at(10 * n, flow=n, load=n) for n in range(10, 15)]
    resampler, found = made([*before, at(10, flow=7, load=7), *before[:0], at(150, flow=15, load=15)])
    assert [minute for minute, _ in found] == [100, 110, 120, 130, 140, 150]  # one odd reading changes nothing
    assert resampler.strays == 1
    resampler = Resampler(COLUMNS, Grid(10 * MINUTE))
    steps = [s for r in [*before, at(10, flow=7, load=7), at(20, flow=8, load=8)] for s in resampler.take(r)]
    gap = next(step for step in steps if isinstance(step, Gap))
    assert gap.back
    assert gap.why.startswith(f"the clock went back from {iso(before[-1].time)} to {iso(at(10).time)}")
    assert [(s.time - START) // MINUTE for s in steps[steps.index(gap) + 1 :]] == [10, 20]
    # A reading of the sample that was closed last is late, and no jump.
    resampler, found = made([*before, at(139, flow=0, load=0), at(138, flow=0, load=0)])
    assert (len(found), resampler.late, resampler.strays) == (5, 2, 0)


def test_one_time_far_ahead_is_not_believed_and_years_without_readings_cost_nothing() -> None:
    far = 10 * 365 * 24 * 60.0
    steady = [at(10 * n, flow=n, load=n) for n in range(1, 4)]
    resampler, found = made([*steady[:2], at(far, flow=9, load=9), steady[2]])
    assert ([minute for minute, _ in found], resampler.strays) == ([10, 20, 30], 1)
    resampler, found = made([*steady, at(far, flow=1, load=1), at(far + 10, flow=2, load=2)])
    assert [step for step in found if step[0] != 40] == [
        *((10 * n, (n, n)) for n in (1, 2, 3)),
        (far, (1, 1)),
        (far + 10, (2, 2)),
    ]
    assert made(steady, ticks=[far, far + 10])[1][3:] == [(40, COLUMNS)]


@pytest.mark.parametrize("seed", range(40))
def test_whatever_comes_samples_are_in_order_and_none_is_made_twice(seed: int) -> None:
    rng = random.Random(seed)
    grid = Grid(10 * MINUTE, 0, rng.choice(["last", "mean"]), rng.randrange(4), rng.choice(["hold", "linear"]))
    resampler, clock, last = Resampler(COLUMNS, grid), START, -1
    for _ in range(400):
        clock += rng.choice([0, 1, 3, 10, 10, 25, 90]) * MINUTE
        if rng.random() < 0.02:
            clock += rng.choice([-1, 1]) * rng.randrange(5000) * MINUTE
        read = {name: rng.choice([rng.random(), math.nan]) for name in COLUMNS if rng.random() < 0.8}
        steps = resampler.take(Reading(clock, read)) if rng.random() < 0.8 else resampler.tick(clock)
        for step in steps:
            assert step.time % grid.period == 0
            assert step.time > last or (isinstance(step, Gap) and step.back)
            assert not isinstance(step, Sample) or all(math.isfinite(value) for value in step.values)
            last = step.time - (isinstance(step, Gap) and step.back)


def test_states_of_sensors() -> None:
    training = {"flow": Range(0, 10, 5, 1, 3, None), "load": Range(4, 4, 4, 0, 900, None)}
    sensors = Sensors(COLUMNS, training, Watch(margin=0.1))

    def states(*values: float, measured: tuple[bool, bool] = (True, True)) -> list[str]:
        return list(sensors.of_sample(Sample(0, (values[0], values[1]), measured)).values())

    assert states(11, 4) == ["ok", "ok"]
    assert states(11.01, 4.01) == ["out of range", "out of range"]
    assert [states(5, 4)[0] for _ in range(7)] == ["ok"] * 5 + [
        "stuck"
    ] * 2  # twice the longest of training, from six on
    assert [states(5, 4)[1] for _ in range(30)] == ["ok"] * 30  # it never changed in training
    assert states(5, 4, measured=(False, True)) == ["filled", "ok"]
    assert states(6, 4) == ["ok", "ok"]
    assert sensors.of_gap(("load",)) == {"flow": "ok", "load": "missing"}
    assert Sensors(COLUMNS, {}, Watch()).of_sample(Sample(0, (1e9, 0), (True, True))) == {"flow": "ok", "load": "ok"}
    always = Sensors(COLUMNS, {}, Watch(stuck=2))
    assert [always.of_sample(Sample(0, (1, n), (True, True)))["flow"] for n in range(2)] == ["ok", "stuck"]


def test_times() -> None:
    from zoneinfo import ZoneInfo

    read = reader(None, None)
    assert iso(read("2024-01-31T23:50:00+02:00")) == "2024-01-31T21:50:00Z"
    assert iso(read("2024-01-31 23:50:00.125Z")) == "2024-01-31T23:50:00.125Z"
    assert reader("ms", None)("1714521600123") == 1_714_521_600_123_000_000
    assert reader("s", None)("1714521600.5") == 1_714_521_600_500_000_000
    assert iso(reader("%d.%m.%Y %H:%M %z", None)("01.02.2024 10:00 +0100")) == "2024-02-01T09:00:00Z"
    berlin = reader(None, ZoneInfo("Europe/Berlin"))
    twice = ["2024-10-27T02:30", "2024-10-27T02:59", "2024-10-27T02:30", "2024-10-27T03:00"]
    assert [iso(berlin(text))[11:16] for text in twice] == ["00:30", "00:59", "01:30", "02:00"]
    for function, text in (
        (read, "2024-01-31T23:50"),
        (read, "31.01.2024 23:50Z"),
        (read, "2024-13-01T00:00Z"),
        (read, "1960-01-01T00:00Z"),
        (berlin, "2024-03-31T02:30"),
        (reader("s", None), "yesterday"),
        (reader("s", None), "9" * 30),
    ):
        with pytest.raises(ValueError, match=r"."):
            function(text)
    assert [period_text(parse_period(text)) for text in ("30min", "90s", "1 d", "250ms")] == [
        "30min",
        "90s",
        "1d",
        "250ms",
    ]
