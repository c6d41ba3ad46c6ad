"""Options over the project file over the defaults: what the commands ask the pipeline for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from edge_tqs.build import CALIBRATION_WINDOWS, EVALUATION_WINDOWS, ModelRequest, PlanRequest, Windows
from edge_tqs.errors import UsageError
from edge_tqs.graph import Scaling
from edge_tqs.plan import parse_budget
from edge_tqs.project import FILE, DataSettings, ForecastSettings, Project, ProjectData, read_data
from edge_tqs.project import ValidateSettings as _ValidateSettings
from edge_tqs.series import windows as cut_windows

Recurrence = Literal["auto", "windowed", "stateful"]


def model_request(
    model: Path | None,
    project: Project | None,
    *,
    data: Path | None,
    horizon: int | None,
    window: int | None,
    recurrence: Recurrence | None,
    draws: int,
    seed: int,
) -> ModelRequest:
    """What to read and score. Raises UsageError when neither a model nor a project is given, or the data is bad.

    A model argument that is not the project's leaves the project's data and scaling out: they belong to its model.
    """
    if model is None and project is None:
        raise UsageError(
            f"no model was given and there is no {FILE} here",
            hint="Name a .keras file, or write a project with `edge-tqs init MODEL --data CSV`.",
        )
    if project is not None and model is not None and model.resolve() != project.model.resolve():
        project = None
    forecast = project.forecast if project else ForecastSettings()
    series = _series(project, model, data)
    return ModelRequest(
        model=project.model if project else _given(model),
        horizon=horizon or forecast.horizon,
        window=window or forecast.window,
        recurrence=recurrence or forecast.recurrence,
        columns=series.series.columns if series else _columns(project),
        scaling=series.scaling if series else _scaling(project),
        windows=_windows(series) if series else None,
        draws=draws,
        seed=seed,
    )


def plan_request(project: Project | None, budget: str | None, bits: str | None, plan_file: Path | None) -> PlanRequest:
    """How wide the weights may be: an option, else the project's budget, else the default."""
    if bits is not None:
        return PlanRequest(bits=int(bits))
    if plan_file is not None:
        return PlanRequest(plan_file=plan_file)
    if budget is not None:
        return PlanRequest(budget_bytes=parse_budget(budget))
    return PlanRequest(budget_bytes=project.budget_bytes if project else None)


def _given(model: Path | None) -> Path:
    assert model is not None
    return model


def _series(project: Project | None, model: Path | None, data: Path | None) -> ProjectData | None:
    if project is not None:
        return read_data(project, data)
    if data is None:
        return None
    bare = Project(
        path=data,
        model=_given(model),
        forecast=ForecastSettings(),
        data=DataSettings(csv=data),
        scaling="standard",
        budget_bytes=None,
        validate=_ValidateSettings(),
    )
    return read_data(bare)


def _columns(project: Project | None) -> tuple[str, ...]:
    return project.data.columns if project and project.data else ()


def _scaling(project: Project | None) -> Scaling | None:
    return project.scaling if project and isinstance(project.scaling, Scaling) else None


def _windows(data: ProjectData) -> Callable[[int, int], Windows]:
    def cut(window: int, horizon: int) -> Windows:
        series, rows, scaling = data.series, data.train_rows, data.scaling
        calibration, _ = cut_windows(
            series, window, horizon, CALIBRATION_WINDOWS, part="train", rows=rows, scaling=scaling
        )
        evaluation, truth = cut_windows(
            series, window, horizon, EVALUATION_WINDOWS, part="test", rows=rows, scaling=scaling
        )
        return Windows(calibration, evaluation, truth)

    return cut
