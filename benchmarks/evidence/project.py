"""A member of the zoo as its user has it: a folder with the model, its series as CSV, and edge-tqs.toml."""

from __future__ import annotations

import csv
from datetime import datetime, timedelta
from pathlib import Path

from benchmarks.evidence.zoo import HORIZON, Trained

BEGIN, PERIOD = datetime(2026, 1, 1), timedelta(minutes=1)
#: Between segments, so that no window is cut over their ends.
GAP = timedelta(hours=1)


def written(trained: Trained, folder: Path) -> None:
    """Write the folder. The series is in the model's units; what the zoo holds out are the CSV's test rows."""
    series = trained.series
    trained.model.save(folder / "model.keras")
    names = [f"c{channel}" for channel in range(series.channels)]
    rows = []
    for index, (begin, end) in enumerate(series.segments):
        for row in range(begin, end):
            time = BEGIN + row * PERIOD + index * GAP
            rows.append([time.isoformat(), *(f"{value:.7g}" for value in series.values[row])])
    with (folder / "series.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["time", *names], *rows])
    listed, predicted = (", ".join(f'"{name}"' for name in part) for part in (names, names[: series.outputs]))
    (folder / "edge-tqs.toml").write_text(
        f'[model]\npath = "model.keras"\n[forecast]\nhorizon = {HORIZON}\n[data]\ncsv = "series.csv"\n'
        f"inputs = [{listed}]\noutputs = [{predicted}]\ntest_rows = {len(series.values) - series.train_end}\n"
        '[scaling]\nmethod = "none"\n',
        encoding="utf-8",
    )
