"""Make pump.csv: nine weeks of a centrifugal pump, one row each 15 minutes, with faults in the last four. Needs numpy.

    python simulate.py             # the same file again, byte for byte; --seed for another pump's weeks

A pump with variable speed feeds a town's network. Relative speed n, flow Q in m3/h, head in bar:

    head of the pump     P(Q) = A n^2 - B Q^2
    head of the network  P(Q) = S + R Q^2                S: static, R: resistance
    electric current     I = I0 + I1 (P + p0) Q / e(Q, n)      e: efficiency, a parabola of Q / n
    bearing temperature  follows ambient + T1 n^2 + friction with a time constant of two hours
    vibration            grows with n, has a resonance at n = 0.8, and is noisy by nature (lognormal)

The speed follows the demand: two peaks a day, flatter and later at the weekend. The network has two regimes, a branch
that is open or closed for a third of a day to a day and a half. Demand, ambient and resistance wander. Every sensor has
noise and a resolution.

Fault codes in the last column, each growing from nothing over a third of its duration: 1 bearing wear (friction heats
the bearing, vibration grows), 2 cavitation (head and flow fall, vibration bursts), 3 clogged strainer (the pump's
curve falls with Q), 4 drift of the pressure sensor, 5 leak between pump and flow meter.
"""

from __future__ import annotations

import argparse
import csv
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

TARGET = Path(__file__).with_name("pump.csv")
COLUMNS = ("speed", "flow", "pressure", "current", "bearing_temp", "vibration")  # %, m3/h, bar, A, degC, mm/s
DECIMALS = (1, 1, 2, 1, 1, 2)
NOISE = (0.2, 1.0, 0.02, 0.25, 0.15, 0.0)
START, PERIOD, DAY = datetime(2024, 3, 4), 15, 96  # minutes, rows
WEEK, WEEKS, CLEAN_WEEKS = 7 * DAY, 9, 5
FAULTS = ("none", "bearing wear", "cavitation", "clogged strainer", "pressure drift", "leak")
EVENTS = 3  # of each fault
SHORTEST, LONGEST = 24, 72  # rows that an event lasts: 6 to 18 hours


def wander(rng: np.random.Generator, count: int, hours: float, deviation: float) -> np.ndarray:
    """(count,), a first-order process of this time constant, one value a row."""
    keep = np.exp(-PERIOD / 60 / hours)
    values = np.empty(count)
    values[0] = rng.normal(0, deviation)
    for index in range(1, count):
        values[index] = keep * values[index - 1] + rng.normal(0, deviation * np.sqrt(1 - keep**2))
    return values


def demand(rng: np.random.Generator, hour: np.ndarray, weekend: np.ndarray) -> np.ndarray:
    """Relative speed that the controller asks for: the mean of the last hour's demand."""

    def peak(at: float, width: float) -> np.ndarray:
        return np.exp(-(((hour - at + 12) % 24 - 12) ** 2) / (2 * width**2))

    working = 0.62 + 0.22 * peak(7.5, 1.6) + 0.17 * peak(19, 2.4) + 0.08 * peak(13, 3)
    resting = 0.62 + 0.15 * peak(10, 2.5) + 0.15 * peak(19.5, 2.8) + 0.05 * peak(14, 3)
    wanted = np.where(weekend, resting, working) + wander(rng, len(hour), 6, 0.035)
    ramp = np.convolve(np.pad(wanted, (3, 0), mode="edge"), np.full(4, 0.25), mode="valid")
    return np.clip(ramp, 0.55, 1.0)


def planted(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Fault code (count,) and its severity, 0 to 1.2 (count,): EVENTS of each fault, spread over the last weeks."""
    codes, severity = np.zeros(count, int), np.zeros(count)
    kinds = rng.permutation(np.repeat(np.arange(1, len(FAULTS)), EVENTS))
    first, room = CLEAN_WEEKS * WEEK, (count - CLEAN_WEEKS * WEEK) // len(kinds)
    for index, kind in enumerate(kinds):
        length = int(rng.integers(SHORTEST, LONGEST + 1))
        begin = first + index * room + int(rng.integers(0, room - length))
        codes[begin : begin + length] = kind
        severity[begin : begin + length] = np.minimum(1, np.arange(1, length + 1) / (length / 3))
    return codes, severity * rng.uniform(0.8, 1.2)


def simulate(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What the sensors of COLUMNS say (rows, 6), and the fault code of each row (rows,)."""
    rng = np.random.default_rng(seed)
    count = WEEKS * WEEK
    rows = np.arange(count)
    hour, weekend = rows % DAY / 4, rows // DAY % 7 >= 5
    speed = demand(rng, hour, weekend)
    branch = np.empty(count)
    begin, open_ = 0, True
    while begin < count:
        length = int(rng.uniform(0.3, 1.5) * DAY)
        branch[begin : begin + length] = 1.0 if open_ else 1.45
        begin, open_ = begin + length, not open_
    branch = np.convolve(np.pad(branch, (5, 0), mode="edge"), np.full(6, 1 / 6), mode="valid")  # a slow valve
    ambient = 18 + 4 * np.sin(2 * np.pi * (hour - 9) / 24) + wander(rng, count, 60, 3.0)
    codes, severity = planted(rng, count)
    fault = {name: np.where(codes == code, severity, 0.0) for code, name in enumerate(FAULTS)}

    resistance = 9.0e-5 * branch * (1 + wander(rng, count, 8, 0.04))
    shut_off = 6.5 * speed**2 * (1 - 0.07 * fault["cavitation"])
    fall = 6.0e-5 * (1 + 0.9 * fault["clogged strainer"])
    flow = np.sqrt(np.maximum(shut_off - 1.2, 0.05) / (resistance + fall))
    pressure = 1.2 + resistance * flow**2
    efficiency = 0.78 - 0.9 * ((flow / speed - 185) / 400) ** 2
    current = 6.0 + 0.05 * (pressure + 0.5) * flow / efficiency
    flow = flow - 28 * fault["leak"]
    pressure = pressure + 0.6 * fault["pressure drift"]

    warmth = 8 + 26 * speed**2 + 7 * fault["bearing wear"]
    bearing = np.empty(count)
    keep, state = np.exp(-PERIOD / 120), ambient[0] + warmth[0]
    for index in range(count):
        state = keep * state + (1 - keep) * (ambient[index] + warmth[index])
        bearing[index] = state
    vibration = 0.8 + 1.6 * speed**2 + 0.6 * np.exp(-(((speed - 0.8) / 0.07) ** 2)) + 0.9 * fault["bearing wear"]
    bursts = (rng.random(count) < 0.5) * rng.exponential(1.0, count)
    vibration = (vibration + bursts * fault["cavitation"]) * np.exp(rng.normal(0, 0.04, count))

    sensors = np.stack([100 * speed, flow, pressure, current, bearing, vibration], axis=1)
    return sensors + rng.normal(0, 1, sensors.shape) * NOISE, codes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=TARGET)
    options = parser.parse_args()
    with options.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("time", *COLUMNS, "fault"))
        for index, (row, code) in enumerate(zip(*simulate(options.seed), strict=True)):
            stamp = START + timedelta(minutes=index * PERIOD)
            cells = (f"{value:.{digits}f}" for value, digits in zip(row, DECIMALS, strict=True))
            writer.writerow((f"{stamp:%Y-%m-%dT%H:%M}", *cells, code))


if __name__ == "__main__":
    main()
