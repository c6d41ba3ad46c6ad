"""Make greenhouse.csv: 28 weeks of a greenhouse, one row each half hour. Needs numpy.

    python simulate.py             # the same file again, byte for byte; --seed for another greenhouse's weeks

One well-mixed volume of air with a heating pipe, vents and a crop. Temperatures in degC, water vapour x in g/m3, CO2 in
ppm, radiation I in W/m2, time in hours; the equations are integrated with a step of one minute:

    dT/dt  = a I + p (Tp - T) - (u + v g) (T - To)        g: how far the vents are open, 0 to 1
    dTp/dt = h q - r (Tp - T)                             q: heat, 0 to 1
    dx/dt  = e1 I + e2 (xs(T) - x) - (l + m g) (x - xo) - w max(0, x - xs(To + (T - To) / 3))    the glass sweats
    dC/dt  = d - f I C / (C + 400) + b - (l + m g) (C - 400)      d: dosing of CO2, b: respiration of crop and soil

What the controls do: heat holds 17 degC at night and 20 degC by day, the change takes two hours; the vents open in
proportion above 24 degC or 85 % relative humidity; CO2 is dosed to 800 ppm while there is light and the vents are less
than a fifth open. A door stands open while people work: four hours on workdays, so CO2 and humidity know the week.

The weather: a day's course of radiation and temperature; spells of clear, mixed and overcast sky that last a third of a
day to a day and a half; passing clouds; outdoor temperature and vapour that wander over days. Every sensor has noise
and a resolution.
"""

from __future__ import annotations

import argparse
import csv
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

TARGET = Path(__file__).with_name("greenhouse.csv")
COLUMNS = ("air_temp", "humidity", "co2", "pipe_temp", "radiation")  # degC, %, ppm, degC, W/m2
DECIMALS = (2, 1, 0, 1, 0)
NOISE = (0.2, 1.0, 12.0, 0.6, 5.0)
START, WEEKS, DAY = datetime(2024, 3, 4), 28, 48  # rows
MINUTES = 30  # steps of integration a row


def wander(rng: np.random.Generator, count: int, hours: float, deviation: float) -> np.ndarray:
    """(count,), a first-order process of this time constant, one value a row."""
    keep = np.exp(-0.5 / hours)
    values = np.empty(count)
    values[0] = rng.normal(0, deviation)
    for index in range(1, count):
        values[index] = keep * values[index - 1] + rng.normal(0, deviation * np.sqrt(1 - keep**2))
    return values


def saturation(temperature: float) -> float:
    """Saturated water vapour over water, g/m3 (Magnus)."""
    return 216.7 * 6.112 * np.exp(17.62 * temperature / (243.12 + temperature)) / (273.15 + temperature)


def simulate(seed: int) -> np.ndarray:
    """(rows, 5): what the sensors of COLUMNS say."""
    rng = np.random.default_rng(seed)
    count = WEEKS * 7 * DAY
    rows = np.arange(count)
    hour, workday = rows % DAY / 2, rows // DAY % 7 < 5
    clearness = np.empty(count)
    begin = 0
    while begin < count:
        length = int(rng.uniform(0.3, 1.5) * DAY)
        clearness[begin : begin + length] = rng.choice([0.95, 0.6, 0.3], p=[0.35, 0.35, 0.3])
        begin += length
    clouds = np.clip(clearness * (1 + wander(rng, count, 1.5, 0.12)), 0.08, 1.05)
    radiation = 760 * np.maximum(0, np.cos(2 * np.pi * (hour - 12.5) / 24) * 0.9 + 0.1) * clouds
    day_swing = 2.0 + 4.0 * clearness
    outside = 9 + day_swing * np.cos(2 * np.pi * (hour - 15) / 24) + wander(rng, count, 24, 2.5) + 2 * clearness
    vapour = 6.5 + wander(rng, count, 24, 1.0)
    light = (hour >= 6.5) & (hour < 18.5)
    set_point = np.interp(hour, [0, 5, 7, 18, 20, 24], [17, 17, 20, 20, 17, 17])
    door = workday & (((hour >= 8) & (hour < 10)) | ((hour >= 13) & (hour < 15)))

    air, pipe, water, co2, heat = 18.0, 35.0, 12.0, 600.0, 0.3
    found = np.empty((count, len(COLUMNS)))
    step = 1 / 60
    for index in range(count):
        sun, outdoors = radiation[index], outside[index]
        for _ in range(MINUTES):
            relative = water / saturation(air)
            vents = min(max((air - 24) / 5, (relative - 0.85) / 0.1, 0), 1)
            leak = 0.5 + 0.5 * door[index] + 9 * vents
            heat += (min(max(0.35 * (set_point[index] - air) + 0.3, 0), 1) - heat) * step / 0.2
            dosing = 450.0 if light[index] and vents < 0.2 and co2 < 800 else 0.0
            glass = saturation(outdoors + (air - outdoors) / 3)
            change_air = 0.02 * sun + 0.22 * (pipe - air) - (0.7 + 0.4 * leak) * (air - outdoors)
            change_pipe = 90 * heat - 1.6 * (pipe - air)
            change_water = 0.012 * sun + 0.5 * (saturation(air) - water) - leak * (water - vapour[index])
            change_water -= 1.5 * max(water - glass, 0)
            change_co2 = dosing - 0.9 * sun * co2 / (co2 + 400) + 45 - leak * (co2 - 400)
            air, pipe = air + step * change_air, pipe + step * change_pipe
            water, co2 = water + step * change_water, co2 + step * change_co2
        found[index] = air, 100 * water / saturation(air), co2, pipe, sun
    found += rng.normal(0, NOISE, found.shape)
    return np.clip(found, 0, [60, 100, 5000, 120, 2000])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=TARGET)
    options = parser.parse_args()
    with options.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("time", *COLUMNS))
        for index, row in enumerate(simulate(options.seed)):
            stamp = START + timedelta(minutes=30 * index)
            cells = (f"{value:.{digits}f}" for value, digits in zip(row, DECIMALS, strict=True))
            writer.writerow((f"{stamp:%Y-%m-%dT%H:%M}", *cells))


if __name__ == "__main__":
    main()
