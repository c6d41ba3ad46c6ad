"""Thin NAB's machine temperature out to half-hour means.

    python prepare.py machine_temperature_system_failure.csv

The source is https://github.com/numenta/NAB, data/realKnownCause/machine_temperature_system_failure.csv: 22,695 rows,
one every five minutes, oldest first. Six rows in file order make one mean, stamped with the first row's time. The
clock of the recorder went back by an hour on 2014-01-07, so that hour's stamps come twice; the samples go on. The
three rows that are left at the end are dropped. Nothing is cleaned: the shutdown and the failures are in there.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

ROWS = 6
TARGET = Path(__file__).with_name("machine_temperature.csv")


def main(source: str) -> None:
    with Path(source).open(newline="", encoding="utf-8") as file:
        rows = [(row["timestamp"], float(row["value"])) for row in csv.DictReader(file)]
    with TARGET.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("timestamp", "temperature"))
        for start in range(0, len(rows) - ROWS + 1, ROWS):
            group = rows[start : start + ROWS]
            writer.writerow((group[0][0], f"{sum(value for _, value in group) / ROWS:.3f}"))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
