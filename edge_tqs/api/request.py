"""What is asked for, over the project file, over the defaults: the requests of the pipelines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypedDict

from edge_tqs.api.arguments import StrPath
from edge_tqs.building.choose import PlanRequest
from edge_tqs.building.request import ModelRequest, SeriesRequest
from edge_tqs.building.windows import training_of, windows_of
from edge_tqs.errors import UsageError
from edge_tqs.graph.graph import Centre, Scaling, Target
from edge_tqs.planning.divergence import default_root
from edge_tqs.planning.plan import Plan
from edge_tqs.planning.refine import RefineSettings
from edge_tqs.planning.score import DRAWS
from edge_tqs.project.budget import AskedPlan, parse_budget, parse_latency, parse_tolerance
from edge_tqs.project.file import (
    FILE,
    DataSettings,
    ForecastSettings,
    Project,
    ValidateSettings,
    read_data,
)
from edge_tqs.project.roles import Roles, said_of
from edge_tqs.project.scales import Method
from edge_tqs.project.series import AS_FOUND
from edge_tqs.project.series_format import SeriesFormat
from edge_tqs.quantization.quantize import AskedActivations
from edge_tqs.quantization.range_search import RangeMethod
from edge_tqs.system.reading import AskedKind

Recurrence = Literal["auto", "windowed", "stateful"]
#: Parts of the refinement that `without` leaves out.
REFINEMENTS = ("gram", "clip", "verify", "bias-correction", "candidates")


class PlanSettings(TypedDict, total=False):
    """The keywords of `plan_request`, for the functions that plan on the way."""

    budget: int | str | None
    bits: Literal[8, 4] | None
    mean_bits: float | None
    max_divergence: float | None
    tolerance: float | str | None
    pins: Mapping[str, int] | None
    refine: bool
    without: Sequence[str]
    rounding: Literal["compensated", "nearest"]
    latency: float | str | None


def model_request(
    model: Path | None,
    project: Project | None,
    *,
    data: StrPath | None = None,
    series_format: SeriesFormat = AS_FOUND,
    columns: Sequence[str] = (),
    scaling: Scaling | Method | None = None,
    output_scaling: Scaling | Method | None = None,
    horizon: int | None = None,
    window: int | None = None,
    recurrence: Recurrence | None = None,
    steps: int | None = None,
    output: str | None = None,
    target: Target | None = None,
    centre: Centre | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    seeds: Literal["zero-data", "data"] = "zero-data",
    kind: AskedKind | None = None,
    lead: int | None = None,
    labels: Literal["wide"] | None = None,
    targets: Sequence[str] = (),
    known_ahead: Sequence[str] = (),
    measured: Sequence[str] = (),
    static: Sequence[str] = (),
    workers: int = 1,
    cache: bool = True,
    activations: AskedActivations | None = None,
    ranges: RangeMethod | None = None,
    custom_objects: Sequence[str] = (),
) -> ModelRequest:
    """What to read and score. Raises UsageError when neither a model nor a project is given, or the data is bad."""
    data = None if data is None else Path(data)
    for name, given in (("horizon", horizon), ("window", window), ("steps", steps)):
        if given is not None and given < 1:
            raise UsageError(f"{name} = {given} are no samples", hint=f"Give {name} as 1 or more, or leave it out.")
    if project is None:
        if model is None:
            raise UsageError(
                f"no model was given and there is no {FILE} here",
                hint="Name a .keras or .tflite file, or write a project with `edge-tqs init MODEL --data CSV`.",
            )
        project = bare_project(model, data)
    if series_format != AS_FOUND:
        settings = project.data or (DataSettings(csv=(data,)) if data else None)
        if settings is None:
            raise UsageError("series_format says how data is read, and there is none", hint="Give data=CSV.")
        project = replace(project, data=replace(settings, series_format=series_format))
    if scaling is not None:
        project = replace(project, scaling=scaling)
    if output_scaling is not None:
        project = replace(project, output_scaling=output_scaling)
    if columns:
        settings = project.data or (DataSettings(csv=(data,)) if data else None)
        if settings is None:
            raise UsageError("columns are named, and there is no data to take them from", hint="Give data=CSV.")
        project = replace(
            project, data=DataSettings(csv=settings.csv, columns=tuple(columns), series_format=settings.series_format)
        )
    single = {"kind": kind, "lead": lead, "labels": labels, "steps": steps}
    named = _roles(project.roles, targets, known_ahead, measured, static, single)
    series = read_data(project, data, named)
    roles = named if series is None else replace(named, inputs=series.inputs)
    return ModelRequest(
        model=project.model,
        horizon=horizon or project.forecast.horizon,
        window=window or project.forecast.window,
        recurrence=recurrence or project.forecast.recurrence,
        output=output or project.forecast.output,
        target=target or project.forecast.target,
        centre=centre or project.forecast.centre,
        columns=roles.inputs,
        scaling=series.scaling if series else _given_scaling(project),
        output_scaling=series.output_scaling if series else None,
        windows=windows_of(series) if series else None,
        draws=draws,
        seed=seed,
        said=said_of(roles),
        roles=named,
        series=SeriesRequest(series, project.scaling, project.output_scaling) if series else None,
        training=training_of(series) if series else None,
        real_seeds=seeds == "data",
        workers=workers,
        cache=default_root() if cache else None,
        activations=activations or project.activations,
        ranges=ranges or project.ranges,
        custom_objects=tuple(custom_objects) or project.custom_objects,
        name=project.name,
        plan=project.plan,
    )


def plan_request(
    default: AskedPlan | None = None,
    *,
    budget: int | str | None = None,
    bits: Literal[8, 4] | None = None,
    plan: Plan | Path | None = None,
    mean_bits: float | None = None,
    max_divergence: float | None = None,
    tolerance: float | str | None = None,
    pins: Mapping[str, int] | None = None,
    refine: bool = True,
    without: Sequence[str] = (),
    rounding: Literal["compensated", "nearest"] = "compensated",
    latency: float | str | None = None,
) -> PlanRequest:
    """How wide the weights may be: what is asked for, else what ``default`` says, else what accuracy needs.

    Raises UsageError for options that exclude each other, and for a budget or a pin that cannot be read.
    """
    asked = {
        "--budget": budget,
        "--bits": bits,
        "--plan": plan,
        "--mean-bits": mean_bits,
        "--max-divergence": max_divergence,
        "--tolerance": tolerance,
    }
    given = [name for name, value in asked.items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other", hint="Give one of them.")
    if not given and default is not None:
        budget, tolerance, mean_bits = default.budget, default.tolerance, default.mean_bits
        bits, max_divergence = default.bits, default.max_divergence
    settled, settles = bits is not None or plan is not None, given[0] if given else "[plan] bits"
    if settled and pins:
        raise UsageError(f"{settles} says every width, there is nothing to --pin", hint="Give one of the two.")
    if without and (settled or not refine):
        reason = settles if settled else "--no-refine"
        raise UsageError(f"With {reason} nothing is refined, so --without has no meaning", hint="Leave it out.")
    if not refine and max_divergence is not None:
        raise UsageError("--max-divergence has to measure, --no-refine forbids it", hint="Give one of the two.")
    if max_divergence is not None and not 0 < max_divergence < math.inf:
        raise UsageError(f"--max-divergence {max_divergence:g} is no distance", hint="Give an RMSE above 0.")
    if isinstance(plan, Path) and not plan.is_file():
        raise UsageError(f"{plan}: there is no such plan file", hint="Name a file that `edge-tqs plan --out` wrote.")
    if unknown := set(without) - set(REFINEMENTS):
        raise UsageError(
            f"{min(unknown)} is no part of the refinement", hint=f"Leave out some of {', '.join(REFINEMENTS)}."
        )
    for name, width in (pins or {}).items():
        if width not in (4, 8):
            raise UsageError(f"a width of {width} bits for {name} cannot be had", hint="Pin it to 8 or to 4.")
    if bits not in (None, 4, 8):
        raise UsageError(f"weights of {bits} bits cannot be had", hint="Take 8 or 4.")
    settings = RefineSettings(**{part.replace("-", "_"): False for part in without})
    word = budget.strip().lower() if isinstance(budget, str) else ""
    fit_flash = word == "flash"
    if budget is not None and word not in ("flash", "none"):
        size: int | None = parse_budget(str(budget))
    else:
        size = None
    return PlanRequest(
        budget_bytes=size,
        fit_flash=fit_flash,
        bits=bits,
        plan=plan if isinstance(plan, Plan) else None,
        plan_file=plan if isinstance(plan, Path) else None,
        mean_bits=mean_bits,
        max_divergence=max_divergence,
        tolerance=None if tolerance is None else parse_tolerance(tolerance),
        pins=dict(pins or {}),
        refine=settings if refine else None,
        rounding=rounding,
        latency=parse_latency(latency) if latency is not None else default.latency if default else None,
    )


def bare_project(model: Path, data: Path | None) -> Project:
    """A project that says nothing but its model and, where given, its data."""
    return Project(
        path=model,
        model=model,
        forecast=ForecastSettings(),
        data=DataSettings(csv=(data,)) if data else None,
        scaling=None,
        plan=AskedPlan(),
        validate=ValidateSettings(),
    )


def _given_scaling(project: Project) -> Scaling | None:
    return project.scaling if isinstance(project.scaling, Scaling) else None


def _roles(
    said: Roles,
    targets: Sequence[str],
    known_ahead: Sequence[str],
    measured: Sequence[str],
    static: Sequence[str],
    single: dict[str, Any],
) -> Roles:
    """What the project ``said`` of inputs and outputs, and what is asked for over it; None asks for nothing."""
    if targets:
        said = replace(said, outputs=tuple(targets), predicted=(), label=None)
    # an input that is given another role is predicted no more
    given = {*known_ahead, *measured, *static}
    return replace(
        said,
        outputs=tuple(name for name in said.outputs if name not in given),
        known_ahead=(*said.known_ahead, *known_ahead),
        measured=(*said.measured, *measured),
        static=(*said.static, *static),
        **{name: value for name, value in single.items() if value is not None},
    )
