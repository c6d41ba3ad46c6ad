"""Make reactor.csv: six weeks of a stirred tank reactor, one row each ten minutes. Needs numpy.

    python simulate.py             # the same file again, byte for byte; --seed for another plant's weeks

A reactant A goes in, an exothermic first-order reaction A -> B uses part of it up, and a cooling jacket takes the heat
away. Symbols and units: volume V in l, feed F and coolant G in l/min, concentration c in mol/l, temperatures in K,
time in minutes.

    dc/dt  = F/V (c_feed - c) - k c                              k = a k0 exp(-E / T)
    dT/dt  = F/V (T_feed - T) + H k c - U (T - T_jacket) / V     H: heat of reaction / heat capacity, K l/mol
    dTj/dt = G/Vj (T_coolant - Tj) + U (T - Tj) / Vj             U: heat transfer / heat capacity, l/min

The equations are those of the textbooks' reactor (Seborg, Edgar, Mellichamp, Process Dynamics and Control), slowed
down. They are integrated with a step of 15 s. A PI controller holds T at its set point with the coolant's flow.

What changes: the load by shift and weekend, the set point by product (each is made for half a day to a day and a half,
the change takes two hours), the temperature of feed and coolant with the weather and the hour, the concentration of
the feed with each delivery (never measured), the catalyst's activity a (it loses 3 % in three weeks, then it is
renewed) and the heat transfer (fouling, cleaned every two weeks). Every sensor has noise and a resolution. The last
column is what a laboratory analyser would measure of c.
"""

from __future__ import annotations

import argparse
import csv
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

TARGET = Path(__file__).with_name("reactor.csv")
COLUMNS = ("feed_flow", "feed_temp", "reactor_temp", "jacket_temp", "coolant_flow", "coolant_temp", "concentration")
DECIMALS = (1, 1, 2, 1, 1, 1, 3)
NOISE = (0.5, 0.1, 0.05, 0.1, 0.6, 0.1, 0.005)  # standard deviation of each sensor, in its unit
START, WEEKS, PERIOD, STEP = datetime(2024, 1, 1), 6, 10, 0.25  # minutes
V, VJ, K0, E, H, U = 3000.0, 600.0, 5.0e9, 8750.0, 80.0, 700.0
RAMP = 12  # rows that a change of the set point takes
DAY, WEEK = 1440, 10080  # minutes


def wander(rng: np.random.Generator, count: int, minutes: float, deviation: float) -> np.ndarray:
    """(count,), a first-order process of this time constant, one value each PERIOD."""
    keep = np.exp(-PERIOD / minutes)
    values = np.empty(count)
    values[0] = rng.normal(0, deviation)
    for index in range(1, count):
        values[index] = keep * values[index - 1] + rng.normal(0, deviation * np.sqrt(1 - keep**2))
    return values


def levels(rng: np.random.Generator, count: int, days: tuple[float, float], choices: np.ndarray) -> np.ndarray:
    """(count,), one of ``choices`` held for a random time between ``days``, then another."""
    values, filled, last = np.empty(count), 0, -1
    while filled < count:
        held = int(rng.uniform(*days) * DAY / PERIOD)
        last = int(rng.choice([index for index in range(len(choices)) if index != last]))
        values[filled : filled + held] = choices[last]
        filled += held
    return values


def simulate(seed: int) -> np.ndarray:
    """(rows, 7): what the sensors of COLUMNS say."""
    rng = np.random.default_rng(seed)
    count = WEEKS * WEEK // PERIOD
    minutes = np.arange(count) * PERIOD
    hour, weekday = minutes % DAY / 60, minutes // DAY % 7
    shift = np.where(weekday >= 5, 78.0, np.where((hour >= 6) & (hour < 22), 112.0, 92.0))
    feed = shift + wander(rng, count, 240, 4.0)
    weather = 5 * np.sin(2 * np.pi * (hour - 9) / 24) + wander(rng, count, 2.5 * DAY, 4.0)
    feed_temp = 318 + 0.6 * weather + wander(rng, count, 90, 0.6)
    coolant_temp = 288 + 0.4 * weather + wander(rng, count, 120, 0.3)
    set_point = levels(rng, count, (0.5, 1.5), np.arange(334.0, 363.0, 4.0))
    set_point = np.convolve(np.pad(set_point, (RAMP - 1, 0), mode="edge"), np.full(RAMP, 1 / RAMP), mode="valid")
    delivered = levels(rng, count, (0.7, 2), rng.uniform(1.35, 1.75, 9)) + wander(rng, count, 300, 0.02)
    activity = 1 - 0.03 * (minutes % (3 * WEEK)) / (3 * WEEK)
    transfer = U * (1 - 0.2 * (minutes % (2 * WEEK)) / (2 * WEEK))

    c, temperature, jacket, coolant, integral = 0.5, 345.0, 320.0, 100.0, 0.0
    rows = np.empty((count, len(COLUMNS)))
    for index in range(count):
        for _ in range(int(PERIOD / STEP)):
            error = temperature - set_point[index]
            wanted = 120 + 9.0 * error + integral
            coolant += (min(max(wanted, 5.0), 400.0) - coolant) * STEP / 1.5  # the valve takes its time
            if 5 < wanted < 400:
                integral += 0.25 * error * STEP
            rate = activity[index] * K0 * np.exp(-E / temperature) * c
            exchanged = transfer[index] * (temperature - jacket)
            c += STEP * (feed[index] / V * (delivered[index] - c) - rate)
            jacket += STEP * (coolant / VJ * (coolant_temp[index] - jacket) + exchanged / VJ)
            temperature += STEP * (feed[index] / V * (feed_temp[index] - temperature) + H * rate - exchanged / V)
        rows[index] = feed[index], feed_temp[index], temperature, jacket, coolant, coolant_temp[index], c
    return rows + rng.normal(0, NOISE, rows.shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=TARGET)
    options = parser.parse_args()
    with options.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("time", *COLUMNS))
        for index, row in enumerate(simulate(options.seed)):
            stamp = START + timedelta(minutes=index * PERIOD)
            writer.writerow(
                (
                    f"{stamp:%Y-%m-%dT%H:%M}",
                    *(f"{value:.{digits}f}" for value, digits in zip(row, DECIMALS, strict=True)),
                )
            )


if __name__ == "__main__":
    main()
