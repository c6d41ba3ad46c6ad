"""Options over the project file over the defaults: what the commands ask the pipelines for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from edge_tqs.building.choose import PlanRequest
from edge_tqs.building.prepare import CALIBRATION_WINDOWS, EVALUATION_WINDOWS, ModelRequest, Windows
from edge_tqs.device.device import Times
from edge_tqs.errors import UsageError
from edge_tqs.graph.graph import Array, Centre, Scaling, Target
from edge_tqs.planning.divergence import default_root
from edge_tqs.planning.refine import RefineSettings
from edge_tqs.project.budget import parse_budget
from edge_tqs.project.file import (
    FILE,
    DataSettings,
    ForecastSettings,
    Project,
    ProjectData,
    ValidateSettings,
    load_project,
    read_data,
)
from edge_tqs.project.series import windows as cut_windows
from edge_tqs.quantization.quantize import Activations
from edge_tqs.validation.validate import ValidateRequest

Recurrence = Literal["auto", "windowed", "stateful"]


def find_project(folder: Path, model: Path | None = None) -> Project | None:
    """The project in ``folder``, if any; None for a ``model`` that is not its own: its settings belong to its model."""
    if not (folder / FILE).is_file():
        return None
    project = load_project(folder / FILE)
    return None if model is not None and model.resolve() != project.model.resolve() else project


def model_request(
    model: Path | None,
    project: Project | None,
    *,
    data: Path | None,
    horizon: int | None,
    window: int | None,
    recurrence: Recurrence | None,
    steps: int | None = None,
    output: str | None = None,
    target: Target | None = None,
    centre: Centre | None = None,
    draws: int,
    seed: int,
    seeds: Literal["zero-data", "data"] = "zero-data",
    exogenous: tuple[str, ...] = (),
    workers: int = 1,
    cache: bool = True,
    activations: Activations | None = None,
    custom_objects: tuple[str, ...] = (),
) -> ModelRequest:
    """What to read and score. Raises UsageError when neither a model nor a project is given, or the data is bad."""
    if project is None:
        if model is None:
            raise UsageError(
                f"no model was given and there is no {FILE} here",
                hint="Name a .keras or .tflite file, or write a project with `edge-tqs init MODEL --data CSV`.",
            )
        project = _bare_project(model, data)
    series = read_data(project, data)
    return ModelRequest(
        model=project.model,
        horizon=horizon or project.forecast.horizon,
        window=window or project.forecast.window,
        recurrence=recurrence or project.forecast.recurrence,
        steps=steps or project.forecast.steps,
        output=output or project.forecast.output,
        target=target or project.forecast.target,
        centre=centre or project.forecast.centre,
        columns=_columns(project, series),
        scaling=series.scaling if series else _given_scaling(project),
        windows=_windows(series) if series else None,
        draws=draws,
        seed=seed,
        feedback=_feedback(project, _columns(project, series), exogenous),
        training=_training(series) if series else None,
        real_seeds=seeds == "data",
        workers=workers,
        cache=default_root() if cache else None,
        activations=activations or project.activations,
        custom_objects=custom_objects or project.custom_objects,
    )


def plan_request(
    project: Project | None,
    *,
    budget: str | None = None,
    bits: str | None = None,
    plan_file: Path | None = None,
    mean_bits: float | None = None,
    max_divergence: float | None = None,
    pin: tuple[str, ...] = (),
    refine: bool = True,
    without: tuple[str, ...] = (),
) -> PlanRequest:
    """How wide the weights may be: an option, else the project's budget, else the default.

    Raises UsageError for options that exclude each other, and for a budget or a pin that cannot be read.
    """
    asked = {
        "--budget": budget,
        "--bits": bits,
        "--plan": plan_file,
        "--mean-bits": mean_bits,
        "--max-divergence": max_divergence,
    }
    given = [name for name, value in asked.items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other", hint="Give one of them.")
    settled = bits is not None or plan_file is not None
    if settled and pin:
        raise UsageError(f"{given[0]} says every width, there is nothing to --pin", hint="Give one of the two.")
    if without and (settled or not refine):
        reason = given[0] if settled else "--no-refine"
        raise UsageError(f"With {reason} nothing is refined, so --without has no meaning", hint="Leave it out.")
    if not refine and max_divergence is not None:
        raise UsageError("--max-divergence has to measure, --no-refine forbids it", hint="Give one of the two.")
    settings = RefineSettings(**{part.replace("-", "_"): False for part in without})
    fit_flash = budget is not None and budget.strip().lower() == "flash"
    if budget is not None and not fit_flash:
        size: int | None = parse_budget(budget)
    else:
        size = project.budget_bytes if project and not given else None
    return PlanRequest(
        budget_bytes=size,
        fit_flash=fit_flash,
        bits=None if bits is None else int(bits),
        plan_file=plan_file,
        mean_bits=mean_bits,
        max_divergence=max_divergence,
        pins=dict(map(_pin, pin)),
        refine=settings if refine else None,
    )


def _pin(text: str) -> tuple[str, int]:
    name, _, width = text.rpartition("=")
    if not name or width not in ("4", "8"):
        raise UsageError(
            f"--pin {text} is not a weight and a width", hint="Write --pin NAME=8 or NAME=4; `score` lists the names."
        )
    return name, int(width)


def validate_request(
    build: Path,
    project: Project | None,
    *,
    port: str | None,
    baud: int | None,
    max_baud: int | None = None,
    reset: bool,
    step_timeout: float | None,
    rollouts: int | None,
    horizon: int | None,
    data: Path | None,
    resume: bool,
    server: str,
    teacher_forced: bool = False,
) -> ValidateRequest:
    """What to run on the board; the project's [validate] counts for builds inside its folder."""
    inside = project is not None and build.resolve().is_relative_to(project.path.resolve().parent)
    settings = project.validate if project is not None and inside else ValidateSettings()
    return ValidateRequest(
        build=build,
        port=port,
        baud=baud,
        max_baud=max_baud,
        reset=reset,
        times=Times() if step_timeout is None else Times.slow(step_timeout),
        rollouts=rollouts or settings.rollouts,
        horizon=horizon or settings.horizon,
        data=data,
        resume=resume,
        server=server,
        max_rmse_vs_float=settings.max_rmse_vs_float,
        mode="teacher-forced" if teacher_forced else "free-running",
    )


def _bare_project(model: Path, data: Path | None) -> Project:
    """A project that says nothing but its model and, where given, its data."""
    return Project(
        path=model,
        model=model,
        forecast=ForecastSettings(),
        data=DataSettings(csv=data) if data else None,
        scaling="standard",
        budget_bytes=None,
        validate=ValidateSettings(),
    )


def _columns(project: Project, series: ProjectData | None) -> tuple[str, ...]:
    if series is not None:
        return series.series.columns
    return project.data.columns if project.data else ()


def _given_scaling(project: Project) -> Scaling | None:
    return project.scaling if isinstance(project.scaling, Scaling) else None


def _feedback(project: Project, columns: tuple[str, ...], exogenous: tuple[str, ...]) -> tuple[int | None, ...] | None:
    """By input column: the output that becomes it, None for those known ahead; None altogether where nothing is said.

    The outputs are the other columns, in their order. Raises UsageError for a name that is no column.
    """
    known = set(project.data.exogenous if project.data else ())
    for name in exogenous:
        if name.isdecimal() and int(name) < (len(columns) or int(name) + 1):
            known.add(columns[int(name)] if columns else name)
        elif name in columns:
            known.add(name)
        else:
            listed = ", ".join(columns) or "0, 1, ..."
            raise UsageError(f"--exogenous {name} is no input column", hint=f"The columns are {listed}.")
    if not known:
        return None
    if not columns:
        raise UsageError(
            "--exogenous needs to know the input columns", hint="Give a CSV with --data, or a project with inputs."
        )
    outputs = [name for name in columns if name not in known]
    return tuple(outputs.index(name) if name in outputs else None for name in columns)


def _training(data: ProjectData) -> Callable[[int, int, int], Array]:
    def cut(window: int, horizon: int, count: int) -> Array:
        parts = cut_windows(
            data.series, window, horizon, count, part="train", rows=data.train_rows, scaling=data.scaling
        )
        return np.concatenate(parts, axis=1)

    return cut


def _windows(data: ProjectData) -> Callable[[int, int], Windows]:
    def cut(window: int, horizon: int) -> Windows:
        series, rows, scaling = data.series, data.train_rows, data.scaling
        count = min(CALIBRATION_WINDOWS, max(1, rows - horizon - window + 1))
        calibration = cut_windows(series, window, horizon, count, part="train", rows=rows, scaling=scaling)
        evaluation = cut_windows(series, window, horizon, EVALUATION_WINDOWS, part="test", rows=rows, scaling=scaling)
        return Windows(np.concatenate(calibration, axis=1), np.concatenate(evaluation, axis=1))

    return cut
