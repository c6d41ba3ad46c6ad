"""What each part of a model's reading rests on: it was said, it was found out from data, or it is assumed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge_tqs.building.finding.scaling import WORDS
from edge_tqs.building.request import Asked, ModelRequest
from edge_tqs.building.units import forecast_of
from edge_tqs.graph.graph import Forecast
from edge_tqs.project.roles import Roles
from edge_tqs.system.system import System

How = Literal["said", "found", "assumed", "read off"]
#: Outputs that are named one by one.
MOST_LABELS = 8
#: What a kind does.
MEANING = {
    "closed loop": "outputs become inputs",
    "direct": "nothing is fed back",
    "reconstruction": "the window again",
    "classes": "evidence for each class",
}


@dataclass(frozen=True)
class Basis:
    """One part. how: "read off" the model's shapes, which allow nothing else. text: what it is, and why."""

    what: str
    how: How
    text: str


def bases(request: ModelRequest, system: System) -> tuple[Basis, ...]:
    """Of kind, columns, outputs, their time and scaling, as far as they are anything for this model.

    request: as it is once the model is opened.
    """
    asked, forecast = request.asked or Asked(request.roles), forecast_of(system, request)
    found = request.roles != asked.roles and bool(request.findings)
    return (
        _kind(forecast, request, found),
        *_columns(request, asked.roles),
        *_outputs(forecast, request, found),
        *_time(forecast, request, found),
        *_fed_back(forecast, request),
        *_scaling(request, asked),
        *_units(forecast),
    )


def _kind(forecast: Forecast, request: ModelRequest, found: bool) -> Basis:
    roles, said = (request.asked or Asked(request.roles)).roles, request.said
    kind = forecast.task if forecast.task != "forecast" else "direct" if forecast.driven else "closed loop"
    text = f"{kind}, {MEANING[kind]}"
    if found:
        return Basis("kind", "found", text)
    if roles.lead not in (None, 1) and not roles.kind:
        return Basis("kind", "said", f"{text}, by lead = {roles.lead}")
    if roles.kind or roles.label or said.kind:
        return Basis("kind", "said", text)
    if kind == "classes":
        return Basis("kind", "assumed", f"{text}: it ends in a softmax")
    if roles.predicted_columns:
        which = "no inputs" if forecast.driven else "inputs"
        return Basis("kind", "said", f"{text}, by outputs that are {which}")
    if said.feedback or said.steps or said.known_ahead or said.last_only:
        by = 'labels = "wide"' if said.last_only else f"steps = {said.steps}" if said.steps else "what is fed back"
        return Basis("kind", "said", f"{text}, by {by}")
    return Basis("kind", "assumed", f"{text}: its samples have as many values as its channels")


def _columns(request: ModelRequest, roles: Roles) -> list[Basis]:
    if request.series is None:
        return []
    if roles.inputs:
        return [Basis("columns", "said", "inputs names them in the model's order")]
    return [Basis("columns", "assumed", f"in the order of {request.series.data.series.path.name}")]


def _outputs(forecast: Forecast, request: ModelRequest, found: bool) -> list[Basis]:
    if forecast.task != "forecast":
        return []
    roles = (request.asked or Asked(request.roles)).roles
    labels = dict.fromkeys(forecast.output_names)
    if len(labels) > MOST_LABELS:
        columns = dict.fromkeys(output.name for output in forecast.predicted) or labels
        names = f"{forecast.outputs} values of {', '.join(columns)}"
    else:
        names = ", ".join(labels)
    how: How = "found" if found else "said" if roles.predicted_columns or request.said.feedback else "assumed"
    if how == "assumed" and not forecast.driven:
        return [Basis("outputs", how, "the predicted inputs, in their order")]
    return [Basis("outputs", how, names)]


def _time(forecast: Forecast, request: ModelRequest, found: bool) -> list[Basis]:
    if forecast.task != "forecast" or not forecast.driven or not forecast.predicted:
        return []
    leads = sorted(set(forecast.leads))
    text = f"lead {leads[0]}" if len(leads) == 1 else f"leads {leads[0]} to {leads[-1]}"
    text += ", of the newest sample itself" if leads == [0] else ", the next sample" if leads == [1] else ""
    roles = (request.asked or Asked(request.roles)).roles
    said = roles.lead is not None or any(output.lead is not None for output in roles.predicted)
    return [Basis("time", "said" if said else "found" if found else "assumed", text)]


def _fed_back(forecast: Forecast, request: ModelRequest) -> list[Basis]:
    """Of a closed loop: what the inputs are that no output becomes."""
    if forecast.driven:
        return []
    roles, rows = (request.asked or Asked(request.roles)).roles, []
    names = request.columns or tuple(map(str, range(forecast.channels)))
    if ahead := [names[channel] for channel in forecast.exogenous]:
        how: How = "said" if roles.known_ahead or request.said.known_ahead else "assumed"
        reason = "" if how == "said" else ": no other role is said"
        rows.append(Basis("feedback", how, f"{', '.join(ahead)} known ahead{reason}"))
    if forecast.held:
        how = "said" if roles.measured or roles.static or request.said.held else "read off"
        rows.append(Basis("feedback", how, f"{', '.join(names[channel] for channel in forecast.held)} held"))
    return rows


def _scaling(request: ModelRequest, asked: Asked) -> list[Basis]:
    own = request.series.output_scaling if request.series else None
    now = request.series.scaling if request.series else asked.scaling
    how: How = "said" if asked.scaling is not None else "found" if request.series else "assumed"
    method = WORDS[now] if isinstance(now, str) else "none" if now is None else "as given"
    rows = [Basis("scaling", how, f"{method}: {_numbers(request)}")]
    if own is not None:
        words = WORDS[own] if isinstance(own, str) else "as given"
        rows.append(Basis("targets", "found" if asked.output_scaling is None else "said", words))
    return rows


def _numbers(request: ModelRequest) -> str:
    scaling = request.scaling
    if scaling is None:
        return "samples are pushed, and forecasts come out, in the units that the model was trained in"
    names = request.columns or tuple(map(str, range(len(scaling.mean))))
    listed = "; ".join(
        f"{name}: mean {mean:g}, std {std:g}" for name, mean, std in zip(names, scaling.mean, scaling.std, strict=True)
    )
    return f"physical units in and out, (value - mean) / std for the model: {listed}"


def _units(forecast: Forecast) -> list[Basis]:
    """Of each output, unless all are in those of the input that they become."""
    if forecast.task != "forecast" or not forecast.predicted:
        return []
    units = forecast.scaling_of_outputs()
    rows = {}
    for at, channel in enumerate(forecast.output_channels):
        name, statistic = forecast.predicted[at].name, forecast.predicted[at].statistic
        about = f" {statistic}" if statistic in ("deviation", "quantile") else ""
        if channel is not None and forecast.output_scaling is None:
            text = "those of the input"
        elif (units.mean[at], units.std[at]) == (0, 1):
            text = "as the model gives them"
        else:
            text = f"{units.std[at]:.6g} x value + {units.mean[at]:.6g}"
        rows[f"{name}{about}"] = text
    how: How = "read off"
    return [Basis("units", how, "; ".join(f"{name}: {text}" for name, text in rows.items()))]
