# SPDX-License-Identifier: Apache-2.0
"""What the model of the bundle is, from model.json, and what it was trained on, from gateway.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forecastd.clock import parse_period

MODEL_JSON, GATEWAY_JSON = "model.json", "gateway.json"
#: Statistics of a forecast that are one number for what will be measured.
POINTS = ("value", "mean")


class ModelError(Exception):
    """The bundle's files are missing or damaged, or hold a model that is not served."""


@dataclass(frozen=True)
class Target:
    """One number of a forecast. lead: samples after the newest one. column: what is measured then; None: nothing is.

    label: what people call it. point: whether its error is to be judged.
    """

    lead: int
    label: str
    column: str | None
    point: bool


@dataclass(frozen=True)
class Model:
    """window: samples that a forecast needs. columns: of a sample, in its order. kind: "closed loop", "direct",
    "reconstruction" or "classes". outputs, steps: as model.json has them. ahead: columns that
    must be known at each time that a closed loop predicts, in their order."""

    model_hash: str
    window: int
    columns: tuple[str, ...]
    kind: str
    outputs: int
    steps: int
    feedback: tuple[int | None, ...]
    predicted: tuple[Mapping[str, Any], ...]
    ahead: tuple[str, ...] = ()

    def targets(self, horizon: int) -> tuple[Target, ...]:
        """The numbers of a forecast, in the order in which the engine gives them; none of a reconstruction."""
        if self.kind == "reconstruction":
            return ()
        said = [self._said(output) for output in range(self.outputs)]
        if self.kind != "closed loop":
            return tuple(target for _, target in said)
        return tuple(
            Target(step + 1, target.label, target.column, target.point) for step in range(horizon) for _, target in said
        )

    def _said(self, output: int) -> tuple[int, Target]:
        if self.predicted:
            about = self.predicted[output]
            name, statistic = str(about["name"]), str(about.get("statistic", "value"))
            level = about.get("level")
            label = name if statistic in ("value", "class") else f"{name} {statistic}"
            label += f" {level:g}" if level is not None else ""
            point = statistic in POINTS or level == 0.5
            measured = None if statistic == "class" else name
            return output, Target(int(about.get("lead", 1)), label, measured, point and measured is not None)
        fed = [channel for channel, source in enumerate(self.feedback) if source == output]
        column = self.columns[fed[0] if fed else output] if self.kind == "closed loop" else None
        return output, Target(1, column or f"output {output}", column, column is not None)


@dataclass(frozen=True)
class Range:
    """What a column was in training, physical units. longest: samples in a row without a change. means: least and
    greatest mean of `Training.rolling` samples in a row."""

    least: float
    greatest: float
    mean: float
    std: float
    longest: int
    means: tuple[float, float] | None


@dataclass(frozen=True)
class Training:
    """What gateway.json says.

    name: of the model, as it can stand in paths. period: of training, nanoseconds; None where it is not known.
    rolling: samples of a rolling mean. promised: (label, lead) -> mean absolute error on held-out data, physical
    units; naive: the same of repeating the last sample.
    """

    name: str
    period: int | None
    columns: Mapping[str, Range]
    rolling: int
    promised: Mapping[tuple[str, int], float]
    naive: Mapping[tuple[str, int], float]


#: Where nothing is known of it.
UNKNOWN = Training("model", None, {}, 0, {}, {})


def read_model(folder: Path) -> Model:
    """The model of the bundle. Raises ModelError for what is missing, damaged, or not served here."""
    path = folder / MODEL_JSON
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        feedback = tuple(about["feedback"])
        held, task = tuple(about.get("held", ())), about.get("task", "forecast")
        channels = int(about["channels"])
        driven = all(source is None for source in feedback)
        columns = tuple(about.get("columns") or [f"channel {channel}" for channel in range(channels)])
        free = [name for n, (name, source) in enumerate(zip(columns, feedback)) if source is None and n not in held]
        return Model(
            model_hash=str(about["model_hash"]),
            window=int(about["window"]),
            columns=columns,
            kind=task if task != "forecast" else "direct" if driven else "closed loop",
            outputs=int(about.get("outputs", channels)),
            steps=int(about.get("steps", 1)),
            feedback=feedback,
            predicted=tuple(about.get("predicted", ())),
            ahead=() if driven else tuple(free),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} cannot be read: {error}. Copy the bundle again.") from error


def read_training(folder: Path) -> Training:
    """What the model was trained on; of a build without data there is only the name. Raises ModelError."""
    path = folder / GATEWAY_JSON
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        columns = {
            name: Range(
                float(said["least"]),
                float(said["greatest"]),
                float(said["mean"]),
                float(said["std"]),
                int(said["longest"]),
                (float(said["means"][0]), float(said["means"][1])) if said["means"] else None,
            )
            for name, said in about["columns"].items()
        }
        errors = about["errors"]
        return Training(
            name=str(about["name"]),
            period=parse_period(about["period"]) if about["period"] else None,
            columns=columns,
            rolling=int(about["rolling"]),
            promised={(row["label"], int(row["lead"])): float(row["mae"]) for row in errors},
            naive={(row["label"], int(row["lead"])): float(row["naive"]) for row in errors if row["naive"] is not None},
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise ModelError(f"{path} cannot be read: {error!r}. Copy the bundle again.") from error
