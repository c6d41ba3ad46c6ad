"""Where a board diverges first and what of it is at fault, as far as its firmware can tell."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edge_tqs.device.device import Device
from edge_tqs.errors import DeviceError, UnknownRequestError
from edge_tqs.graph.graph import Array, Graph
from edge_tqs.graph.rollout import Rollout
from edge_tqs.report.validation_report import FirstDivergence, Mode, OperatorDivergence
from edge_tqs.validation.diagnosis import diagnose, wrong_codes
from edge_tqs.validation.operator_probe import OperatorProbe, OperatorTicks, ProbedEvaluation


@dataclass(frozen=True)
class Findings:
    """diverged, diagnosis: None where all steps agree. times: of each operator; None unless it is a probe build."""

    diverged: FirstDivergence | None
    diagnosis: str | None = None
    times: tuple[OperatorTicks, ...] | None = None


def probe_findings(
    device: Device, graph: Graph, seeds: Array, expected: Rollout, measured: Rollout, engine: str, mode: Mode
) -> Findings:
    """Compare the rollouts from ``seeds`` (codes, as `measure` takes them), and ask the board about its operators where
    it can tell.

    engine: only the generated C ("c") has operators to ask for. Raises DeviceError when the board fails meanwhile.
    """
    diverged = first_divergence(expected, measured)
    if engine != "c":
        return Findings(diverged)
    try:
        times = OperatorProbe(device, graph, seeds).times()
    except UnknownRequestError:
        return Findings(diverged, None if diverged is None else diagnose(graph, expected, measured, None))
    if diverged is None:
        return Findings(None, None, times)
    try:
        probed = _locate(device, graph, seeds, diverged, mode)
    except DeviceError as error:  # the rollouts are worth their report all the same
        return Findings(diverged, f"not known, for the probe failed: {error.message}", times)
    diagnosis = diagnose(graph, expected, measured, probed)
    return Findings(replace(diverged, operator=_operator(probed)), diagnosis, times)


def _locate(device: Device, graph: Graph, seeds: Array, diverged: FirstDivergence, mode: Mode) -> ProbedEvaluation:
    """A step of a teacher-forced run is looked at as the first one of a rollout from the true samples before it."""
    if mode == "free-running":
        return OperatorProbe(device, graph, seeds).locate(diverged.rollout, diverged.step)
    forecast = graph.forecast
    end = forecast.window + diverged.step
    if forecast.recurrence == "stateful":  # the state has seen all of them
        forecast = replace(forecast, window=end)
    history = seeds[:, end - forecast.window : end - forecast.window + forecast.seed_length(1)]
    return OperatorProbe(device, replace(graph, forecast=forecast), history).locate(diverged.rollout, 0)


def first_divergence(expected: Rollout, measured: Rollout) -> FirstDivergence | None:
    """The earliest step (then rollout, then channel) at which outputs or state hashes differ; None if none does."""
    wrong = expected.outputs != measured.outputs
    hashes = np.zeros(wrong.shape[:2], bool)
    if expected.state_hashes is not None and measured.state_hashes is not None:
        hashes = expected.state_hashes != measured.state_hashes
    bad = wrong.any(axis=2) | hashes
    if not bad.any():
        return None
    step = int(np.argmax(bad.any(axis=0)))
    index = int(np.argmax(bad[:, step]))
    if wrong[index, step].any():
        channel = int(np.argmax(wrong[index, step]))
        want, got = expected.outputs[index, step, channel], measured.outputs[index, step, channel]
        return FirstDivergence(index, step, channel, int(want), int(got))
    assert expected.state_hashes is not None
    assert measured.state_hashes is not None
    return FirstDivergence(
        index, step, None, int(expected.state_hashes[index, step]), int(measured.state_hashes[index, step])
    )


def _operator(probed: ProbedEvaluation) -> OperatorDivergence | None:
    if not probed.wrong:
        return None
    first = probed.wrong[0]
    sample = first.samples[0]
    wrong = wrong_codes(sample)
    place = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
    return OperatorDivergence(
        evaluation=probed.evaluation,
        operator=None if first.op is None else first.op.kind,
        tensor=first.tensor,
        channel=int(place[-1]),
        expected=int(sample.expected[place]),
        got=int(sample.measured[place]),
        wrong=int(wrong.sum()),
        codes=wrong.size,
    )
