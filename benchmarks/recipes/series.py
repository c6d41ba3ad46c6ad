"""What the recipes are trained on: series as sensors give them, simulated in physical units, every one from a seed.

Each simulator states its equations in its docstring. The last TEST of the rows are never trained on.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
TEST = 0.2
START = datetime(2024, 1, 1)


@dataclass(frozen=True, eq=False)
class Series:
    """values (rows, columns), physical units; minutes: the period of the rows, 0 where they have no times."""

    name: str
    columns: tuple[str, ...]
    values: Array
    minutes: int = 60

    @property
    def train_rows(self) -> int:
        return len(self.values) - round(len(self.values) * TEST)

    def of(self, names: tuple[str, ...]) -> Array:
        """The columns of those names, in that order."""
        return self.values[:, [self.columns.index(name) for name in names]]

    def write(self, path: Path, names: tuple[str, ...]) -> None:
        """A CSV of those columns, six significant digits, with times where the series has them."""
        with path.open("w", newline="", encoding="utf-8") as file:
            out = csv.writer(file)
            out.writerow([*["time"] * bool(self.minutes), *names])
            for number, row in enumerate(self.of(names)):
                when = (START + timedelta(minutes=self.minutes * number)).isoformat(sep=" ")
                out.writerow([*[when] * bool(self.minutes), *(f"{value:.6g}" for value in row)])


def _drift(rng: np.random.Generator, rows: int, hours: float, deviation: float) -> Array:
    """An Ornstein-Uhlenbeck process of two poles with the same time constant: smooth, of that standard deviation."""
    keep = np.exp(-1 / hours)
    first = second = 0.0
    found = np.empty(rows)
    for row, kick in enumerate(rng.normal(0, 1, rows)):
        first = keep * first + kick
        second = keep * second + (1 - keep) * first
        found[row] = second
    found -= found.mean()
    found *= deviation / found.std()
    return found


def weather(seed: int) -> Series:
    """Hourly weather: pressure in hPa, temperature in deg C, humidity in %, wind as two components in m/s, and the day.

    Fronts drift (Ornstein-Uhlenbeck, 40 h) and move the pressure; temperature = 12 + 4 sin(day) + its own drift of 30 h
    - 0.25 of the pressure's; humidity falls as it gets warmer; wind turns with the fronts. The sensors have noise.
    """
    rng, rows = np.random.default_rng(seed), 4_000
    day = 2 * np.pi * np.arange(rows) / 24
    front = _drift(rng, rows, 40, 8)
    temperature = 12 + 4 * np.sin(day - 2.2) - 0.25 * front + _drift(rng, rows, 30, 2)
    humidity = np.clip(70 - 2.2 * (temperature - 12) - 0.5 * front + _drift(rng, rows, 10, 4), 15, 100)
    speed, direction = 3 + 0.15 * abs(front) + abs(_drift(rng, rows, 8, 1)), front / 6 + _drift(rng, rows, 20, 0.6)
    columns = {
        "pressure": 1013 + front + rng.normal(0, 0.1, rows),
        "temperature": temperature + rng.normal(0, 0.2, rows),
        "humidity": humidity + rng.normal(0, 0.8, rows),
        "wind_x": speed * np.cos(direction) + rng.normal(0, 0.2, rows),
        "wind_y": speed * np.sin(direction) + rng.normal(0, 0.2, rows),
        "day_sin": np.sin(day),
        "day_cos": np.cos(day),
    }
    return Series("weather", tuple(columns), np.stack(list(columns.values()), axis=1))


def pollution(seed: int) -> Series:
    """Hourly particles in a city, ug/m3, beside dew point, temperature, pressure, wind speed and hours of rain.

    Emissions follow the hour of the day and drift (60 h); wind and rain take particles away: the level moves to
    emission / (0.4 + wind / 4) by a tenth an hour, and loses a quarter in an hour with rain.
    """
    rng, rows = np.random.default_rng(seed), 4_000
    day = 2 * np.pi * np.arange(rows) / 24
    front = _drift(rng, rows, 40, 8)
    temperature = 13 + 5 * np.sin(day - 2.2) - 0.3 * front + _drift(rng, rows, 60, 3)
    wind = np.maximum(0.3, 2.5 + 0.2 * front + _drift(rng, rows, 8, 1.2))
    rain = np.maximum(0, -front - 10 + _drift(rng, rows, 4, 3)) / 3
    emission = 90 + 25 * np.sin(2 * day) + 10 * np.sin(day) + _drift(rng, rows, 60, 20)
    level, levels = 90.0, np.empty(rows)
    for row in range(rows):
        level += 0.1 * (emission[row] / (0.4 + wind[row] / 4) - level)
        level *= 0.75 if rain[row] > 0 else 1
        levels[row] = level
    columns = {
        "particles": levels + rng.normal(0, 2, rows),
        "dew_point": temperature - 6 - 0.4 * front + _drift(rng, rows, 20, 1.5),
        "temperature": temperature + rng.normal(0, 0.2, rows),
        "pressure": 1013 + front + rng.normal(0, 0.1, rows),
        "wind_speed": wind + abs(rng.normal(0, 0.1, rows)),
        "rain": rain,
    }
    return Series("pollution", tuple(columns), np.stack(list(columns.values()), axis=1))


def traffic(seed: int) -> Series:
    """Mean speed in km/h at ten places of a road, every 10 minutes.

    Two rush hours a day slow each place, later the further down it is; a jam begins at random at one place, spreads to
    the one above it with a delay of 20 minutes and dissolves.
    """
    rng, rows, nodes = np.random.default_rng(seed), 4_000, 10
    hour = np.arange(rows) / 6 % 24
    free = 70 + 15 * rng.random(nodes)
    jam = np.zeros((rows, nodes))
    for start in rng.choice(rows - 40, 120, replace=False):
        place, strength, length = int(rng.integers(nodes)), rng.uniform(10, 30), int(rng.integers(6, 24))
        for up in range(min(4, place + 1)):
            begin = start + 2 * up
            span = np.arange(min(length, rows - begin))
            jam[begin : begin + len(span), place - up] += strength * 0.7**up * np.sin(np.pi * span / length)
    rush = np.stack(
        [
            22 * np.exp(-(((hour - 8 - node / 20) / 1.3) ** 2)) + 26 * np.exp(-(((hour - 17 - node / 20) / 1.6) ** 2))
            for node in range(nodes)
        ],
        axis=1,
    )
    slow = np.stack([_drift(rng, rows, 30, 2) for _ in range(nodes)], axis=1)
    values = np.maximum(5, free - rush - jam + slow + rng.normal(0, 1, (rows, nodes)))
    return Series("traffic", tuple(f"speed_{node}" for node in range(nodes)), values, 10)


def engine(seed: int) -> Series:
    """Temperature of an engine under a daily program, deg C, every 30 minutes, without a fault.

    A warm-up, a plateau and a cool-down a day, the plateau drifting (40 h), with noise.
    """
    rng, rows = np.random.default_rng(seed), 4_000
    hour = np.arange(rows) / 2 % 24
    level = 1 / (1 + np.exp(-(hour - 7) * 2)) - 1 / (1 + np.exp(-(hour - 18.5) * 1.5))
    values = 25 + level * (55 + _drift(rng, rows, 40, 3)) + _drift(rng, rows, 10, 1) + rng.normal(0, 0.4, rows)
    return Series("engine", ("engine_temp",), values[:, None], 30)


def vibration(seed: int) -> Series:
    """Acceleration at a bearing, 2 kHz, and its state: 0 healthy, 1 outer race, 2 inner race, 3 ball.

    A turning shaft (27 to 29 Hz) with its harmonics; each fault strikes at its own rate and rings at its own frequency
    with its own damping, the inner race's strikes swelling with the turns. States change every 500 samples. The
    acceleration comes with mean 0 and deviation 1, as archives of such series have it.
    """
    rng, stretch, stretches = np.random.default_rng(seed), 500, 80
    faults = {1: (95.0, 420.0, 90.0), 2: (148.0, 560.0, 120.0), 3: (66.0, 310.0, 70.0)}
    time = np.arange(stretch) / 2_000
    order = np.concatenate([rng.permutation(4) for _ in range(stretches // 4)])
    rows = []
    for state in order:
        turn = rng.uniform(27, 29)
        shaft = sum(a * np.sin(2 * np.pi * turn * n * time + rng.uniform(0, 7)) for n, a in ((1, 0.6), (2, 0.25)))
        signal = shaft + rng.normal(0, 0.25, stretch)
        if state:
            rate, ring, damping = faults[int(state)]
            for strike in np.arange(rng.uniform(-0.01, 0.01), time[-1], 1 / (rate * turn / 28)):
                after = np.maximum(0, time - strike)
                swell = 1 + 0.6 * np.sin(2 * np.pi * turn * strike) if state == 2 else 1.0
                hit = np.where(time >= strike, np.exp(-damping * after) * np.sin(2 * np.pi * ring * after), 0)
                signal += rng.uniform(0.8, 1.2) * swell * 1.5 * hit
        rows.append(np.stack([signal, np.full(stretch, float(state))], axis=1))
    values = np.concatenate(rows)
    values[:, 0] = (values[:, 0] - values[:, 0].mean()) / values[:, 0].std()
    return Series("vibration", ("acceleration", "state"), values, 0)


SIMULATORS: dict[str, Callable[[int], Series]] = {
    simulator.__name__: simulator for simulator in (weather, pollution, traffic, engine, vibration)
}
