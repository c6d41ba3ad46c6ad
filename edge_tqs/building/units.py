"""Units of a model's inputs and outputs: as a graph holds them, and in words."""

from __future__ import annotations

from edge_tqs.building.request import ModelRequest
from edge_tqs.graph.graph import Forecast, Scaling
from edge_tqs.system.system import System


def forecast_of(system: System, request: ModelRequest) -> Forecast:
    """How a system's rollouts are fed, in the units that were asked for: what seeds are cut by."""
    reading = system.reading
    return Forecast(
        system.window,
        system.channels,
        "none",
        reading.feedback,
        request.columns,
        request.scaling,
        reading.steps,
        reading.outputs,
        reading.held,
        reading.predicted,
        units_of_outputs(request.output_scaling, reading.outputs),
        reading.task,
        system.whole,
    )


def units_of_outputs(of_sample: Scaling | None, outputs: int) -> Scaling | None:
    """The scaling of each of ``outputs`` values, from that of each value of a sample: a block holds several samples."""
    if of_sample is None:
        return None
    samples = outputs // len(of_sample.mean)
    return Scaling(of_sample.mean * samples, of_sample.std * samples)


def in_words(names: tuple[str, ...], units: Scaling) -> str:
    """(name - mean) / std for each that is scaled at all."""
    of = zip(names, units.mean, units.std, strict=True)
    return ", ".join(f"({name} - {mean:.6g}) / {std:.6g}" for name, mean, std in of if (mean, std) != (0, 1))
