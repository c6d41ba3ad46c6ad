"""Make demand.csv from the series `taylor` of the PyPI package pmdarima (MIT).

    pip install pmdarima
    python prepare.py

Half-hourly electricity demand in England and Wales, in MW, from Monday, 5 June 2000 to Sunday, 27 August 2000: 4,032
rows, as they are. The package has no time stamps; they are counted from the first half hour, British clock time.
"""

from __future__ import annotations

import csv
from datetime import datetime, timedelta
from pathlib import Path

TARGET = Path(__file__).with_name("demand.csv")
START, PERIOD = datetime(2000, 6, 5), timedelta(minutes=30)


def main() -> None:
    from pmdarima.datasets import load_taylor

    with TARGET.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("time", "demand"))
        for index, value in enumerate(load_taylor()):
            writer.writerow((f"{START + index * PERIOD:%Y-%m-%dT%H:%M}", f"{value:.0f}"))


if __name__ == "__main__":
    main()
