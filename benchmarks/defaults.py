"""What a build without options costs: mean square error over that of float, on windows that nothing was fitted to.

    python benchmarks/defaults.py                 about an hour on one core
    python benchmarks/defaults.py --only tcn      models with that in their names

Fourteen closed loops of benchmarks/evidence and eight recipes of benchmarks/recipes, trained here on their series. For
each of BOARDS the widths and activations are chosen as `edge-tqs build` chooses them, and the integer graphs, which are
what the board computes bit for bit, are rolled out over the windows that a report shows. Beside it: half of the bytes
between all-int4 and all-int8, with int8 activations, which was the default before; and the best of what was measured.
Models and projects are kept in build/defaults.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import geometric_mean, median

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


from benchmarks.evidence import zoo
from benchmarks.recipes import elsewhere, keras_examples, tutorial
from benchmarks.recipes.project import written
from benchmarks.recipes.recipe import Recipe, train
from edge_tqs.api.arguments import silent
from edge_tqs.api.request import model_request
from edge_tqs.boards.board import load_board
from edge_tqs.building.choose import PlanRequest
from edge_tqs.building.evaluate import mse, point_outputs
from edge_tqs.building.opened import opened_model
from edge_tqs.building.scored import score_model
from edge_tqs.building.selection.candidate import Candidate
from edge_tqs.building.selection.prepared import Prepared, prepare
from edge_tqs.building.selection.search import select
from edge_tqs.graph.graph import Graph
from edge_tqs.passes.interpret import float_rollout
from edge_tqs.project.file import load_project
from edge_tqs.quantization.simulate import decode, encode, integer_rollout
from edge_tqs.text_table import table

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "defaults"
BOARDS = ("pico", "rpi4", "qemu-microbit")
#: Series that are in the repository or simulated, so that nothing is downloaded.
SERIES = {
    "greensboro": "oscillator",
}
TRAINING_STEPS = 600
#: Of the scores, which the plan before is refined from: fewer than those of a build.
DRAWS = 4
HORIZON = 48
RECIPES = (
    "tutorial: dense",
    "tutorial: CNN",
    "Keras: traffic, GRU",
    "Keras: anomalies, Conv1DTranspose",
    "Keras: classes, convolutions",
    "multivariate LSTM, among the inputs",
    "min-max LSTM",
    "N-HiTS",
)
#: What is asked of it: the median, and the worst wherever something that fits can reach that.
MEDIAN, WORST = 1.03, 1.10


@dataclass(frozen=True)
class Row:
    """Mean square errors over float's, of one model for one board. best: of all that was measured and fits."""

    model: str
    board: str
    chosen: str
    before: float
    now: float
    best: float


def folders(only: str) -> Iterator[tuple[str, Path]]:
    """Each model's name and project, trained now or before."""
    for architecture, (_, name) in zoo.PAIRS.items():
        if only in architecture:
            yield architecture, _closed_loop(architecture, SERIES.get(name, name))
    known = {recipe.name: recipe for family in (tutorial, keras_examples, elsewhere) for recipe in family.RECIPES}
    for name in RECIPES:
        if only in name:
            yield name, _recipe(known[name])


def _closed_loop(architecture: str, series_name: str) -> Path:
    folder = BUILD / architecture
    if (folder / "edge-tqs.toml").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    trained = zoo.trained(zoo.Member(architecture, series_name, 0, chooses=False, steps=TRAINING_STEPS))
    series = trained.series
    trained.model.save(folder / "model.keras")
    names = [f"c{channel}" for channel in range(series.channels)]
    begin, end = max(series.segments, key=lambda segment: segment[1] - segment[0])
    with (folder / "series.csv").open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(names)
        out.writerows([[f"{value:.7g}" for value in row] for row in series.values[begin:end]])
    held_out = max(end - series.train_end, (end - begin) // 4)
    listed, predicted = (", ".join(f'"{name}"' for name in part) for part in (names, names[: series.outputs]))
    (folder / "edge-tqs.toml").write_text(
        f'[model]\npath = "model.keras"\n[forecast]\nhorizon = {HORIZON}\n[data]\ncsv = "series.csv"\n'
        f'inputs = [{listed}]\noutputs = [{predicted}]\ntest_rows = {held_out}\n[scaling]\nmethod = "none"\n',
        encoding="utf-8",
    )
    return folder


def _recipe(recipe: Recipe) -> Path:
    folder = BUILD / re.sub(r"[^A-Za-z0-9]+", "-", recipe.name)
    if not (folder / "edge-tqs.toml").exists():
        written(train(recipe, 0), folder)
    return folder


def measure(name: str, folder: Path) -> list[Row]:
    """One row a board."""
    project = load_project(folder / "edge-tqs.toml")
    request = replace(model_request(None, project, horizon=HORIZON, draws=DRAWS), cache=BUILD / "scores")
    prepared = prepare(score_model(opened_model(request, silent), silent))
    before = prepared.integer(prepared.chooser(PlanRequest(), silent, "int8").halfway(), "int8", silent)
    rows, known, was = [], dict[tuple[str, str], float](), over_float(prepared, before)

    def measured(item: Candidate) -> float:
        key = item.activations, item.plan.assignment
        if key not in known:
            known[key] = over_float(prepared, item.integer)
        return known[key]

    for board in BOARDS:
        selection = select(prepared, PlanRequest(), load_board(board), silent)
        chosen = selection.chosen
        best = min(measured(item) for item in (chosen, *selection.others) if item.fits)
        narrow = f", {chosen.narrow} of {len(chosen.plan.tensors)} int4" if chosen.narrow else ""
        rows.append(Row(name, board, chosen.activations + narrow, was, measured(chosen), best))
    return rows


def over_float(prepared: Prepared, integer: Graph) -> float:
    """Mean square error of ``integer`` against what followed the held-out windows, over that of float."""
    seeds, truth = prepared.windows.evaluation, prepared.windows.truth
    assert truth is not None
    points = point_outputs(prepared.graph.forecast)
    of_float = float_rollout(prepared.graph, seeds, HORIZON).outputs
    outputs = decode(integer, integer_rollout(integer, encode(integer, seeds), HORIZON).outputs)
    return mse(outputs[..., points], truth[..., points]) / mse(of_float[..., points], truth[..., points])


def summary(rows: list[Row]) -> str:
    """A table, then the median and the worst of each board."""
    cells = [[row.model, row.board, row.chosen, *(f"{v:.3f}" for v in (row.before, row.now, row.best))] for row in rows]
    lines = [table(["model", "board", "activations", "before", "now", "best measured"], cells), ""]
    for board in BOARDS:
        of_board = [row for row in rows if row.board == board]
        before, now = ([getattr(row, name) for row in of_board] for name in ("before", "now"))
        missed = [row.model for row in of_board if row.now > WORST and row.best <= WORST]
        lines.append(
            f"{board}: median {median(before):.3f} before, {median(now):.3f} now (at most {MEDIAN}); geometric mean "
            f"{geometric_mean(before):.3f} and {geometric_mean(now):.3f}; worst {max(before):.3f} and {max(now):.3f}; "
            f"beyond {WORST} though another fits: {', '.join(missed) or 'none'}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="models with this in the name")
    rows: list[Row] = []
    for name, folder in folders(parser.parse_args().only):
        begun = time.monotonic()
        found = measure(name, folder)
        rows += found
        print(
            f"{name}: {found[0].before:.3f} before, {found[0].now:.3f} now, {time.monotonic() - begun:.0f} s",
            flush=True,
        )
    print(summary(rows))


if __name__ == "__main__":
    main()
