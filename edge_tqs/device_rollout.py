"""A rollout on a board that survives the board's restarts."""

from __future__ import annotations

from collections.abc import Callable

from edge_tqs.device import Codes, Device, RestartedError, SilentError, Steps, as_arrays
from edge_tqs.errors import DeviceError, UsageError
from edge_tqs.wire import Step


def run_rollout(
    device: Device,
    seed: Codes,
    horizon: int,
    *,
    on_step: Callable[[Step], None] | None = None,
    restarts: int = 3,
    ahead: Codes | None = None,
) -> Steps:
    """Reset, push ``seed`` ((n, F), at least a window), forecast ``horizon`` steps; survive ``restarts`` restarts.

    After a restart the seed is pushed again and the forecast runs again from its start; what was received before is
    kept, and what comes again must equal it (ticks excepted). ``on_step`` sees each step once. ``ahead``: (horizon,
    exogenous) codes of what is known ahead, where the model has such inputs.

    Raises:
        UsageError: The seed is shorter than the board's window.
        DeviceError: The board came back with other results or another model, or restarts too often.
    """
    info = device.info
    if len(seed) < info.window:
        raise UsageError(f"{device.name}: the seed has {len(seed)} samples; the model's window is {info.window}")
    received: list[Step] = []

    def keep(step: Step) -> None:
        if step.step == len(received):
            received.append(step)
            if on_step is not None:
                on_step(step)
            return
        first = received[step.step]
        if (step.codes, step.state_hash) != (first.codes, first.state_hash):
            raise DeviceError(
                f"{device.name}: after a restart the board computes another step {step.step} from the same samples",
                hint="Its memory or its supply is unsound, or its firmware is faulty: compare with the host's rollout.",
            )

    for left in range(restarts, -1, -1):
        try:
            device.reset()
            device.push(seed)
            device.forecast(horizon, keep, ahead)
            break
        except (RestartedError, SilentError):
            if left == 0:
                raise
            # Whoever answers now must run the model that the first steps came from.
            device.hello()
            device.require_model(info.model_hash)
    return as_arrays(received, info)
