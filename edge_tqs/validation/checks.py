"""Whether a board does what its protocol says: reset, persistence, and the same in pieces as at once.

A short prelude of a validation. Each claim is checked against the board itself, not the host: a board that computes
something else than the host may keep them all, and one that breaks them may still pass a single rollout.
"""

from __future__ import annotations

import time

import numpy as np

from edge_tqs.device.device import Codes, Device, Steps
from edge_tqs.graph.graph import Forecast
from edge_tqs.report.validation_report import Check

#: Steps of each of the five forecasts, and the fewest of a slow board. That in pieces costs it 1 + 2 + ... of them: 68.
STEPS, FEWEST_STEPS = 8, 2
#: What the four forecasts after the first may take, by its pace; a board that needs longer is asked for fewer steps.
SECONDS = 30.0


def check_protocol(device: Device, forecast: Forecast, codes: Codes) -> tuple[Check, ...]:
    """Check the board with the first steps of a rollout from ``codes``, a row of what `measure` takes.

    Raises what Device raises. The board is greeted anew at the end, so that one exchanged meanwhile is noticed.
    """
    window, following = np.split(codes, [forecast.window])
    ahead = following[:STEPS, forecast.exogenous] if forecast.exogenous else None
    steps = STEPS if ahead is None else len(ahead)

    def forecast_again(at_once: int = STEPS) -> Steps:
        return device.forecast(steps, ahead=None if ahead is None else ahead[:steps], at_once=at_once)

    device.reset()
    device.push(window)
    came: list[float] = []
    first = device.forecast(steps, lambda _: came.append(time.monotonic()), ahead)
    steps = affordable_steps(steps, min(np.diff(came), default=0.0))
    first = (first[0][:steps], first[1][:steps], first[2][:steps])
    again = forecast_again()
    one_by_one = forecast_again(1)
    device.push(window[::-1])
    device.reset()
    for sample in window:
        device.push(sample[None])
    pushed_one_by_one = forecast_again()
    device.push(window[::-1])
    device.reset()
    device.push(window)
    after_reset = forecast_again()
    model = device.info.model_hash
    device.hello()
    device.require_model(model)
    return (
        _check("reset", "after RESET and the same samples the forecast", first, after_reset),
        _check("persistence", "the same FORECAST a second time", first, again),
        _check("forecast in pieces", f"a forecast of {steps} steps, a request each,", first, one_by_one),
        _check("push in pieces", f"the forecast after {len(window)} samples, a PUSH each,", first, pushed_one_by_one),
    )


def affordable_steps(steps: int, pace: float) -> int:
    """As many of ``steps`` as SECONDS allow, FEWEST_STEPS at least. pace: seconds a step.

    Two show what the checks are about, a step and one that follows from it; more are for the same in other codes.
    """
    while steps > FEWEST_STEPS and pace * (3 * steps + steps * (steps + 1) / 2) > SECONDS:
        steps -= 1
    return steps


def _check(name: str, what: str, first: Steps, other: Steps) -> Check:
    """Outputs and hashes of the states must be equal; ticks are time."""
    differs = (first[0] != other[0]).any(axis=1) | (first[2] != other[2])
    if not differs.any():
        return Check(name, True, f"{what} is the same in all {len(differs)} steps")
    return Check(name, False, f"{what} differs from step {int(np.argmax(differs))} on")
