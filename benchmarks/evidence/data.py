"""The series that the zoo is trained on: three simulated, three measured.

Every series is cut once, in time: the first TRAIN of its samples train the models and scale all of it (mean
0, standard deviation 1), the rest judges them. A segment is a stretch without a gap; no window reaches over its end.
"""

from __future__ import annotations

import csv
import itertools
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from edge_tqs.graph.graph import Array

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build" / "evidence"
#: Of the samples, the share that models are trained on.
TRAIN = 0.6
SAMPLES = 6_000
PVLIB = "pvlib==0.16.1"


@dataclass(frozen=True, eq=False)
class Series:
    """A multivariate series in normalised units.

    values: (n, F) float32; the first ``outputs`` channels are predicted, the others are known ahead. segments: (begin,
    end) of stretches without a gap. train_end: the first row that is held out.
    """

    name: str
    values: Array
    outputs: int
    segments: tuple[tuple[int, int], ...]
    train_end: int

    @property
    def channels(self) -> int:
        return int(self.values.shape[1])

    @property
    def feedback(self) -> tuple[int | None, ...]:
        """For each channel the output that becomes it; None for one known ahead."""
        return tuple(channel if channel < self.outputs else None for channel in range(self.channels))

    def starts(self, length: int, *, held_out: bool) -> Array:
        """First rows of all stretches of ``length`` samples within the training part, or within the part held out."""
        low, high = (self.train_end, len(self.values)) if held_out else (0, self.train_end)
        found = [np.arange(max(begin, low), min(end, high) - length + 1) for begin, end in self.segments]
        return np.concatenate(found)

    def windows(self, window: int, horizon: int, count: int, *, held_out: bool) -> Array:
        """``count`` evenly spaced seeds for rollouts: (N, W, F), or (N, W + T, F) with channels known ahead."""
        starts = self.starts(window + horizon, held_out=held_out)
        chosen = starts[np.linspace(0, len(starts) - 1, count).astype(int)]
        length = window + (horizon if self.outputs < self.channels else 0)
        seeds: Array = self.values[chosen[:, None] + np.arange(length)]
        return seeds

    def truth(self, window: int, horizon: int, count: int, *, held_out: bool) -> Array:
        """What came after those windows, (N, T, outputs)."""
        starts = self.starts(window + horizon, held_out=held_out)
        chosen = starts[np.linspace(0, len(starts) - 1, count).astype(int)]
        after: Array = self.values[chosen[:, None] + window + np.arange(horizon)]
        return after[:, :, : self.outputs]


def load(name: str) -> Series:
    """One of SERIES. Raises OSError or CalledProcessError where a measured series cannot be had."""
    values, outputs, segments = SERIES[name]()
    train_end = int(TRAIN * len(values))
    mean, deviation = values[:train_end].mean(axis=0), values[:train_end].std(axis=0)
    return Series(name, ((values - mean) / deviation).astype(np.float32), outputs, segments, train_end)


Raw = tuple[Array, int, tuple[tuple[int, int], ...]]


def _lorenz96() -> Raw:
    """Six variables, F = 8, a sample every 0.05 time units (E. N. Lorenz, "Predictability", 1996)."""

    def slope(x: Array, _: float) -> Array:
        return (np.roll(x, -1) - np.roll(x, 2)) * np.roll(x, 1) - x + 8.0

    start = 8.0 + np.random.default_rng(96).standard_normal(6)
    return _whole(_integrate(slope, start, sample=0.05, inner=5, burn=400), 6)


def _mackey_glass() -> Raw:
    """x' = 0.2 x(t - 17) / (1 + x(t - 17)^10) - 0.1 x, a sample every 3 units (Mackey and Glass, Science 197, 1977)."""
    inner, delay, step = 30, 170, 0.1
    history = np.full(delay + (SAMPLES + 200) * inner, 1.2)
    for i in range(delay, len(history)):
        late = history[i - delay]
        history[i] = history[i - 1] + step * (0.2 * late / (1 + late**10) - 0.1 * history[i - 1])
    return _whole(history[delay::inner][-SAMPLES:, None], 1)


def _forced_oscillator() -> Raw:
    """A Duffing oscillator (position, velocity) under a random force, which is known ahead; a sample every 0.25 s."""
    rng = np.random.default_rng(7)
    rates, phases = rng.uniform(0.2, 1.6, 8), rng.uniform(0, 2 * np.pi, 8)

    def force(t: float) -> float:
        return float(0.35 * np.sin(rates * t + phases).sum())

    def slope(x: Array, t: float) -> Array:
        return np.array([x[1], force(t) - 0.4 * x[1] + x[0] - x[0] ** 3])

    states = _integrate(slope, np.array([0.1, 0.0]), sample=0.25, inner=5, burn=200)
    # The force of row i acts from sample i on: what the model needs to predict row i + 1.
    forces = np.array([force(0.25 * i) for i in range(200, 200 + SAMPLES)])
    return _whole(np.column_stack([states, forces]), 2)


def _integrate(slope: Callable[[Array, float], Array], x: Array, *, sample: float, inner: int, burn: int) -> Array:
    """Runge and Kutta's fourth order; SAMPLES rows after ``burn`` of them."""
    step, rows = sample / inner, []
    for i in range(burn + SAMPLES):
        rows.append(x)
        for j in range(inner):
            t = i * sample + j * step
            a = slope(x, t)
            b = slope(x + step / 2 * a, t + step / 2)
            c = slope(x + step / 2 * b, t + step / 2)
            d = slope(x + step * c, t + step)
            x = x + step / 6 * (a + 2 * b + 2 * c + d)
    return np.array(rows[burn:])


def _machine_temperature() -> Raw:
    """NAB, half-hour means; it is in the repository for a recurrent model."""
    return _timed(_rows(ROOT / "benchmarks" / "machine_temperature" / "machine_temperature.csv"), timedelta(minutes=30))


def _ambient_temperature() -> Raw:
    """NAB, hourly."""
    return _timed(_rows(HERE / "series" / "ambient_temperature.csv"), timedelta(hours=1))


def _greensboro() -> Raw:
    """TMY3 weather of Greensboro, from the package pvlib: temperature, dew point, pressure; the sun is known ahead.

    A typical year is put together of months of different years, so a month is a segment.
    """
    file = BUILD / "723170TYA.CSV"
    if not file.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        command = ["download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(BUILD), PVLIB]
        subprocess.run([sys.executable, "-m", "pip", *command], check=True)
        (wheel,) = BUILD.glob("pvlib-*.whl")
        with zipfile.ZipFile(wheel) as package:
            file.write_bytes(package.read("pvlib/data/723170TYA.CSV"))
        wheel.unlink()
    with file.open(newline="") as lines:
        next(lines)
        rows = list(csv.DictReader(lines))
    names = ("Dry-bulb (C)", "Dew-point (C)", "Pressure (mbar)", "ETR (W/m^2)")
    values = np.array([[float(row[name]) for name in names] for row in rows])
    # The sun of row i is that of the hour that row i + 1 ends, which is what its temperature depends on.
    values[:-1, 3] = values[1:, 3]
    months = [row["Date (MM/DD/YYYY)"][:2] for row in rows]
    return values, 3, _segments(a == b for a, b in itertools.pairwise(months))


def _rows(file: Path) -> list[tuple[datetime, float]]:
    with file.open(newline="") as lines:
        next(lines)
        return [(datetime.fromisoformat(time), float(value)) for time, value in csv.reader(lines)]


def _timed(rows: list[tuple[datetime, float]], period: timedelta) -> Raw:
    times = [time for time, _ in rows]
    values = np.array([[value] for _, value in rows])
    return values, 1, _segments(b - a == period for a, b in itertools.pairwise(times))


def _segments(joined: Iterable[bool]) -> tuple[tuple[int, int], ...]:
    """Stretches of rows, given for each row but the last whether the next one follows it without a gap."""
    flags = list(joined)
    ends = [i + 1 for i, follows in enumerate(flags) if not follows] + [len(flags) + 1]
    return tuple(zip([0, *ends[:-1]], ends, strict=True))


def _whole(values: Array, outputs: int) -> Raw:
    return values, outputs, ((0, len(values)),)


SERIES: dict[str, Callable[[], Raw]] = {
    "lorenz96": _lorenz96,
    "mackey-glass": _mackey_glass,
    "oscillator": _forced_oscillator,
    "machine-temperature": _machine_temperature,
    "ambient-temperature": _ambient_temperature,
    "greensboro": _greensboro,
}
