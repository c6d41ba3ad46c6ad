"""The directory that `edge-tqs build` writes and that `flash`, `validate` and `report` read.

model.tflite, float.graph (the float model without Keras), seeds.npz (windows kept for validation), score.json,
plan.json, training.json (how the columns moved in training), board.toml (a copy: the directory stands alone),
manifest.json (digests of these), report.json, report.html, firmware/ and, for a Linux board, bundle/.
"""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edge_tqs.boards.board import Board, load_board
from edge_tqs.building.folder.manifest import check_manifest
from edge_tqs.errors import UsageError
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.graph.file import load_graph, save_graph
from edge_tqs.graph.graph import Array, Forecast, Graph
from edge_tqs.project.later import with_later
from edge_tqs.project.rollouts import ProjectData, cut, seeds_of
from edge_tqs.project.series import read_columns, read_series, train_rows
from edge_tqs.project.series_format import SeriesFormat
from edge_tqs.report.build_report import BuildReport
from edge_tqs.report.format import REPORT_JSON

MODEL, FLOAT, SEEDS, BOARD = "model.tflite", "float.graph", "seeds.npz", "board.toml"
SCORE, PLAN, TRAINING = "score.json", "plan.json", "training.json"
FIRMWARE, BUNDLE = "firmware", "bundle"
IMAGE = Path(FIRMWARE) / "build" / "firmware.elf"


@dataclass(frozen=True, eq=False, repr=False)
class BuildDir:
    """A build, read back. graph: the integer graph; seeds (N, W, F), or (N, W + T, F)
    with inputs known ahead, and truth (N, T, outputs) or None, in the model's units. training: training.json, as
    gateway.facts has it."""

    path: Path
    board: Board
    report: BuildReport
    model: bytes
    graph: Graph
    float_graph: Graph
    seeds: Array
    truth: Array | None
    training: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<BuildDir {self.path}: {self.report.model.name} for {self.board.name}>"

    @property
    def model_hash(self) -> str:
        return self.report.model.hash


def save(
    path: Path,
    *,
    board: Board,
    model: bytes,
    float_graph: Graph,
    seeds: Array,
    truth: Array | None,
    score: str,
    plan: str,
    training: Mapping[str, Any],
) -> None:
    """Write all but the reports and the firmware into ``path``, which exists."""
    (path / MODEL).write_bytes(model)
    save_graph(float_graph, path / FLOAT)
    arrays = {"seeds": seeds} if truth is None else {"seeds": seeds, "truth": truth}
    with zipfile.ZipFile(path / SEEDS, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, values in arrays.items():
            buffer = io.BytesIO()
            np.save(buffer, values, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), buffer.getvalue())
    (path / SCORE).write_text(score, encoding="utf-8")
    (path / PLAN).write_text(plan, encoding="utf-8")
    (path / TRAINING).write_text(json.dumps(training, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if board.path.resolve() != (path / BOARD).resolve():
        shutil.copyfile(board.path, path / BOARD)


def load(path: Path) -> BuildDir:
    """Read a build back. Raises UsageError when ``path`` is no complete build, ModelError when a part is damaged."""
    again = "Run `edge-tqs build` again."
    if not path.is_dir():
        raise UsageError(f"{path} is not a directory", hint="Name the directory that `edge-tqs build` wrote.")
    missing = [name for name in (REPORT_JSON, MODEL, FLOAT, SEEDS, BOARD) if not (path / name).is_file()]
    if missing:
        raise UsageError(f"{path} is not a complete build: {', '.join(missing)} missing", hint=again)
    check_manifest(path)
    described = BuildReport.from_json((path / REPORT_JSON).read_text(encoding="utf-8"), str(path / REPORT_JSON))
    model = (path / MODEL).read_bytes()
    graph, _ = tflite_model.read(model)
    if tflite_model.model_hash(model) != described.model.hash:
        raise UsageError(f"{path / MODEL} is not the model that {REPORT_JSON} describes", hint=again)
    try:
        with np.load(path / SEEDS, allow_pickle=False) as arrays:
            seeds, truth = arrays["seeds"], arrays.get("truth")
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path / SEEDS} is damaged: {error}", hint=again) from error
    try:
        training = json.loads((path / TRAINING).read_text(encoding="utf-8")) if (path / TRAINING).is_file() else {}
    except (OSError, ValueError) as error:
        raise UsageError(f"{path / TRAINING} is damaged: {error}", hint=again) from error
    float_graph = load_graph(path / FLOAT)
    return BuildDir(path, load_board(str(path / BOARD)), described, model, graph, float_graph, seeds, truth, training)


def image_of(path: Path) -> tuple[Board, Path]:
    """(board, image) of a build, for flashing. Raises UsageError as ``load`` does."""
    built = load(path)
    return built.board, path / IMAGE


def windows_of(
    csv: Path, forecast: Forecast, count: int, horizon: int, series_format: SeriesFormat
) -> tuple[Array, Array | None]:
    """(seeds, as BuildDir has them, truth (N, T, outputs)) of the last part of ``csv``, scaled as the build was.

    Of classes truth is None unless the file has one column beside the inputs: the label.
    """
    inputs = forecast.columns or read_columns(csv, series_format)
    targets = [output.name for output in forecast.predicted if output.statistic != "class"]
    if forecast.task == "classes":
        targets = [name for name in read_columns(csv, series_format) if name not in inputs]
        if len(targets) != 1:
            targets = []
    names = tuple(dict.fromkeys([*inputs, *targets]))
    series = with_later(names, lambda columns: read_series(csv, columns, series_format))
    if len(inputs) != forecast.channels:
        raise UsageError(
            f"{csv} has {len(inputs)} columns of numbers, the model takes {forecast.channels}",
            hint="Leave the other columns out, or build with the project file that names them.",
        )
    data = ProjectData(series, train_rows(series), forecast.scaling, inputs)
    if forecast.task == "classes" and not targets:
        return seeds_of(data, forecast, horizon, count, "test")[:, : forecast.seed_length(horizon)], None
    seeds, truth = cut(data, forecast, horizon, count, "test")
    return seeds[:, : forecast.seed_length(horizon)], truth
