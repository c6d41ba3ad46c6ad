"""Whether a quantised model is still the model: how far it is from float beside how much the float forecast moves.

A quantised forecaster that is further from the float one than that one's own spread says no more than a constant would;
one whose codes are at the end of their range, where float's are not, no longer sees or says what is beyond it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_tqs.building.evaluate import VARIANTS, Evaluation
from edge_tqs.errors import CheckError
from edge_tqs.graph.graph import Array, Forecast, Graph, same_units
from edge_tqs.quantization.simulate import decode
from edge_tqs.report.host_report import OutputDistance, Sanity
from edge_tqs.text_table import table

#: RMSE from float over the float forecast's standard deviation.
MOST_DISTANCE = 1.0
#: Part of the codes of x, or of y, that are at an end of their range without reason.
MOST_SATURATED = 0.03
#: Outputs that a sentence names.
NAMED = 4
#: Rows of the table that ends a build.
MOST_ROWS = 24


def examine(graph: Graph, seeds: Array, floats: Array, codes: Array, *, real: bool) -> Sanity:
    """How an integer ``graph`` does in rollouts of ``seeds``.

    seeds: (N, W, F) or (N, W + T, F), model's units. floats: the float graph's outputs (N, T, outputs), model's units.
    codes: those of ``graph``, likewise. real: whether the seeds were measured; what is made up may lie anywhere, and
    codes of x that are saturated say nothing then.
    """
    measured = distances(graph.forecast, decode(graph, codes), floats)
    saturated_x = saturated_inputs(graph, seeds) if real else None
    saturated_y = saturated_outputs(graph, codes, floats)
    failures = [*too_far(measured), *_saturated("x", saturated_x or 0.0), *_saturated("y", saturated_y)]
    if saturated_x is not None and saturated_x > MOST_SATURATED:
        failures.append(_drift(graph, seeds))
    return Sanity(measured, saturated_x, saturated_y, tuple(failures))


def distances(forecast: Forecast, outputs: Array, floats: Array) -> tuple[OutputDistance, ...]:
    """RMSE of ``outputs`` from ``floats``, both (N, T, outputs), and the standard deviation of the latter.

    Of each output; of a reconstruction, of each channel over the window; of classes, of all together: that of a class
    which hardly ever comes says nothing. A standard deviation that is predicted is measured by its own size, and so is
    an output that never moves.
    """
    found = []
    with np.errstate(over="ignore", invalid="ignore"):
        error, of_float = outputs.astype(np.float64) - floats, floats.astype(np.float64)
        for name, members in judged(forecast):
            part = of_float[:, :, members]
            size = float(np.sqrt(np.square(part).mean()))
            spread = float(np.sqrt(part.reshape(-1, len(members)).var(axis=0).mean()))
            predicted = forecast.predicted[members[0]].statistic if forecast.predicted else "value"
            if predicted == "deviation" or spread <= 1e-6 * size:
                spread = size
            found.append(OutputDistance(name, float(np.sqrt(np.square(error[:, :, members]).mean())), spread))
    return tuple(found)


def judged(forecast: Forecast) -> list[tuple[str, list[int]]]:
    """What is judged by itself: (name, numbers of the outputs)."""
    if forecast.task == "classes":
        return [("the classes", list(range(forecast.outputs)))]
    if forecast.task == "reconstruction":
        names = forecast.columns or tuple(f"channel {channel}" for channel in range(forecast.channels))
        return [(name, list(range(at, forecast.outputs, forecast.channels))) for at, name in enumerate(names)]
    return [(name, [output]) for output, name in enumerate(forecast.output_names)]


def too_far(measured: Sequence[OutputDistance]) -> list[str]:
    """A sentence on the outputs whose error is not finite, and one on those that are beyond MOST_DISTANCE."""
    lost = [item.name for item in measured if item.rmse_vs_float is None or not np.isfinite(item.rmse_vs_float)]
    far = sorted((item for item in measured if item.name not in lost and item.ratio > MOST_DISTANCE), key=_by_ratio)
    said = [f"The error of {_listed(lost)} from float is not finite."] if lost else []
    if far:
        each = [
            f"{item.name} is {item.ratio:.3g} of the float forecast's standard deviations from float (RMSE "
            f"{item.rmse_vs_float:.4g}, deviation {item.spread:.4g}, model's units)"
            for item in far
        ]
        said.append(f"{_listed(each, '; ')}.")
    return said


def _by_ratio(item: OutputDistance) -> float:
    return -item.ratio


def _listed(names: Sequence[str], between: str = ", ") -> str:
    more = f"{between}and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return between.join(names[:NAMED]) + more


def _saturated(name: str, part: float) -> list[str]:
    if part <= MOST_SATURATED:
        return []
    return [
        f"{part:.1%} of the codes of {name} are at an end of their range and should not be; {MOST_SATURATED:.0%} may."
    ]


def _drift(graph: Graph, seeds: Array) -> str:
    """Which channels leave what x can hold, and how far, in physical units."""
    forecast, reach = graph.forecast, _reach(graph, graph.input)
    scaling = forecast.scaling or same_units(forecast.channels)
    names = forecast.columns or tuple(f"channel {channel}" for channel in range(forecast.channels))
    flat = seeds.reshape(-1, forecast.channels)
    beyond = np.mean((flat > reach[1]) | (flat < reach[0]), axis=0)
    each = []
    for channel in sorted(np.flatnonzero(beyond), key=lambda channel: -beyond[channel]):
        mean, std = scaling.mean[channel], scaling.std[channel]
        low, high, least, most = (
            value * std + mean for value in (*reach, float(flat[:, channel].min()), float(flat[:, channel].max()))
        )
        each.append(f"{names[channel]} runs from {least:.4g} to {most:.4g}, its codes from {low:.4g} to {high:.4g}")
    return f"The test part leaves the range of the training part: {_listed(each, '; ')}."


def saturated_inputs(graph: Graph, seeds: Array) -> float:
    """Part of the samples' values that lie more than a code beyond what x can hold."""
    least, most = _reach(graph, graph.input)
    step = float(graph.quant(graph.input).scale[0])
    return float(np.mean((seeds > most + step) | (seeds < least - step)))


def saturated_outputs(graph: Graph, codes: Array, floats: Array) -> float:
    """Part of the ``codes`` of y that are at an end of their range, while the float output is more than a code from it:
    a ReLU's zero may be there."""
    ends = np.iinfo(codes.dtype)
    at_end = (codes == ends.min) | (codes == ends.max) | (codes == -ends.max if codes.dtype.itemsize > 1 else False)
    step = float(graph.quant(graph.output).scale[0])
    return float(np.mean(at_end & (np.abs(decode(graph, codes) - floats) > step)))


def _reach(graph: Graph, tensor: str) -> tuple[float, float]:
    quant, kind = graph.quant(tensor), np.iinfo(graph.tensors[tensor].dtype)
    scale = float(quant.scale[0])
    return scale * (kind.min - quant.zero_point), scale * (kind.max - quant.zero_point)


def insane(graph: Graph, found: Sanity, evaluation: Evaluation) -> CheckError:
    """The error that ends a build, with the figures of every variant beside the spread of the float forecast."""
    floats = evaluation.outputs["float"]
    shown = [name for name in VARIANTS if name in evaluation.outputs]
    measured = [distances(graph.forecast, evaluation.outputs[name], floats) for name in shown]
    rows = [
        [item.name, _figure(item.spread), *(_figure(each[at].rmse_vs_float) for each in measured)]
        for at, item in enumerate(found.outputs)
    ]
    head = ["output", "deviation of float", *(f"RMSE of {name}" for name in shown)]
    wider = "" if graph.activations == "int16" else "--activations int16, "
    more = f"\n... {len(rows) - MOST_ROWS} more" if len(rows) > MOST_ROWS else ""
    data = "a training part that holds all values that come"
    data = data if found.saturated > MOST_SATURATED else "real windows (--data CSV)"
    return CheckError(
        f"{graph.name}: quantised, it is no longer the float model. {' '.join(found.failures)}",
        hint=f"Try {wider}more bits (--bits 8), {data} or a shorter --horizon; --force builds it.",
        figures=table(head, rows[:MOST_ROWS]) + more,
    )


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
