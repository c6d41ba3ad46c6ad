"""What is asked for before a model is opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edge_tqs.building.windows import Windows
from edge_tqs.graph.graph import Array, Centre, Forecast, Scaling, Target
from edge_tqs.project.budget import AskedPlan
from edge_tqs.project.roles import Roles
from edge_tqs.project.rollouts import ProjectData
from edge_tqs.project.scales import Method
from edge_tqs.quantization.quantize import Activations, AskedActivations
from edge_tqs.quantization.range_search import RangeMethod
from edge_tqs.system.reading import Said


@dataclass(frozen=True, eq=False)
class SeriesRequest:
    """A series, and what was said of its scaling; None: it is to be found out."""

    data: ProjectData
    scaling: Scaling | Method | None
    output_scaling: Scaling | Method | None


@dataclass(frozen=True)
class Asked:
    """What was said before anything was found: of inputs and outputs, and of their scaling."""

    roles: Roles
    scaling: Scaling | Method | None = None
    output_scaling: Scaling | Method | None = None


@dataclass(frozen=True)
class ModelRequest:
    """What is needed to read and score a model.

    said: what was said of the model's inputs and outputs. windows: called with (forecast, horizon) once the model is
    read; None when there is no data. training: called with (forecast, horizon, count), seeds of the training part,
    (count, W + T, F). scaling, output_scaling: physical units of inputs, and of the values of a predicted sample;
    None: those of the inputs that they speak of. real_seeds: score from these instead of zero-data seeds. workers:
    processes that score. cache: folder where scores are kept; None keeps nothing. activations: None takes the board's,
    and DEFAULT_ACTIVATIONS where there is no board. custom_objects: module:name of each class or function of the user's
    own in the model. name: of what is built; None: the model file's. ranges: how those of activations are chosen;
    None: "measured" where there is data. output: which of the model's outputs is the forecast, where it has several.
    target, centre: what the model predicts, and what is taken off its window (passes/level.py).
    plan: how wide weights may be, where a plan is asked for that says nothing of its own.
    roles: what was named; ``said`` was made of it, all columns being inputs where none is named. series: the data, and
    what was said of its scaling. findings: what was found out from it, in sentences. doubts: what in it contradicts
    what was said, likewise; refuted: those of them by which the model is another thing than was said. asked: what was
    said, once the model is opened; None before.
    ends_taken: the model is without its affine ends, and both scalings say what they did (passes/affine_ends.py).
    """

    model: Path
    horizon: int = 96
    window: int | None = None
    recurrence: Literal["auto", "windowed", "stateful"] = "auto"
    columns: tuple[str, ...] = ()
    scaling: Scaling | None = None
    output_scaling: Scaling | None = None
    windows: Callable[[Forecast, int], Windows] | None = None
    draws: int = 16
    seed: int = 0
    said: Said = field(default_factory=Said)
    training: Callable[[Forecast, int, int], Array] | None = None
    real_seeds: bool = False
    workers: int = 1
    cache: Path | None = None
    activations: AskedActivations | None = None
    ranges: RangeMethod | None = None
    custom_objects: tuple[str, ...] = ()
    name: str | None = None
    output: str | None = None
    target: Target = "level"
    centre: Centre = "none"
    plan: AskedPlan = field(default_factory=AskedPlan)
    roles: Roles = field(default_factory=Roles)
    series: SeriesRequest | None = None
    findings: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    refuted: tuple[str, ...] = ()
    asked: Asked | None = None
    ends_taken: bool = False

    @property
    def measures_ranges(self) -> bool:
        """Whether ranges of activations are measured: on data unless said otherwise. int16 codes reach beyond any."""
        wanted = self.ranges == "measured" or (self.ranges is None and self.windows is not None)
        return wanted and self.activations != "int16"

    @property
    def variant(self) -> str:
        """What makes another system of the same file; empty where all of it is left to the model."""
        said = self.said
        chosen: dict[str, Any] = {
            "output": self.output,
            "feedback": said.feedback,
            "steps": said.steps,
            "kind": said.kind,
            "held": said.held or None,
            "known ahead": said.known_ahead or None,
            "last": said.last_only or None,
            "predicted": said.predicted or None,
        }
        if self.recurrence != "auto":
            chosen["recurrence"] = self.recurrence
        if self.target != "level":
            chosen["target"] = self.target
        if self.centre != "none":
            chosen["centre"] = self.centre
        if self.ends_taken:
            chosen["ends"] = "taken"
        return ", ".join(f"{key} {value}" for key, value in chosen.items() if value is not None)


#: Where neither the user nor a board says otherwise.
DEFAULT_ACTIVATIONS: Activations = "int8"
