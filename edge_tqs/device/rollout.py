"""A rollout on a board, fed its own predictions or what really followed; it survives restarts and absent ports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from edge_tqs.device.device import Codes, Device, Steps, as_arrays
from edge_tqs.device.messages import HelloReply, StepReply
from edge_tqs.errors import DeviceError, GoneError, RestartedError, SilentError, UsageError

#: What each fault is called in `Device.on_event`.
EVENTS: dict[type[DeviceError], str] = {RestartedError: "restart", SilentError: "silence", GoneError: "reconnect"}


def run_rollout(
    device: Device,
    seed: Codes,
    horizon: int,
    *,
    on_step: Callable[[StepReply], None] | None = None,
    restarts: int = 3,
    ahead: Codes | None = None,
    earlier: Sequence[StepReply] = (),
    truth: Codes | None = None,
) -> Steps:
    """Reset, push ``seed`` ((n, F), at least a window), forecast ``horizon`` steps; survive ``restarts`` faults.

    A fault is a restart of the board, a silence longer than all repeats, or a port that goes away (where the device can
    reopen it). After one the board is greeted anew, the seed is pushed again and the forecast runs again from its
    start; what was received before is kept, and what comes again must equal it (ticks excepted). ``on_step`` sees each
    step once. ``ahead``: (horizon, exogenous) codes of what is known ahead, where the model has such inputs.
    ``earlier``: the first steps, received by a run that was interrupted; they count as received before.
    ``truth``: (horizon, F) codes of the samples that really followed. With it each step is a forecast of one step, and
    the true sample is pushed after it.

    Raises:
        UsageError: The seed is shorter than the board's window.
        DeviceError: The board came back with other results or another model, or has too many faults.
    """
    info = device.info
    if len(seed) < info.window:
        raise UsageError(f"{device.name}: the seed has {len(seed)} samples; the model's window is {info.window}")
    received = list(earlier)

    def keep(step: StepReply) -> None:
        if step.step == len(received):
            received.append(step)
            if on_step is not None:
                on_step(step)
            return
        first = received[step.step]
        if (step.codes, step.state_hash) != (first.codes, first.state_hash):
            raise DeviceError(
                f"{device.name}: run again, the board computes another step {step.step} from the same samples",
                hint="Its memory or its supply is unsound, or its firmware is faulty: compare with the host's rollout.",
            )

    def roll() -> None:
        device.reset()
        device.push(seed)
        if truth is None:
            device.forecast(horizon, keep, ahead)
            return
        for number in range(horizon):
            known = None if ahead is None else ahead[number : number + 1]
            device.forecast(1, lambda step, number=number: keep(replace(step, step=number)), known)  # type: ignore[misc]
            device.push(truth[number : number + 1])

    survive(device, info, roll, restarts)
    return as_arrays(received, info)


def survive(device: Device, info: HelloReply, act: Callable[[], None], faults: int = 3) -> None:
    """Call ``act``; after a restart, a silence or the port's absence greet the board ``info`` again and call it anew.

    Raises DeviceError for the fault after ``faults`` of them, and for a board that came back as another one.
    """
    fault: DeviceError | None = None
    for left in range(faults, -1, -1):
        try:
            if fault is not None:
                _recover(device, info, fault)
            act()
            return
        except (RestartedError, SilentError, GoneError) as error:
            if left == 0:
                raise
            fault = error


def _recover(device: Device, info: HelloReply, fault: DeviceError) -> None:
    """Whoever answers now must be the board that the first steps came from, or its like."""
    if isinstance(fault, GoneError) and not device.reconnect():
        raise DeviceError(fault.message, hint=fault.hint) from fault
    device.on_event(EVENTS[type(fault)])
    now = device.hello()
    device.require_model(info.model_hash)
    if (now.board, now.counter, now.counter_hz) != (info.board, info.counter, info.counter_hz):
        raise DeviceError(
            f"{device.name}: a {now.board} answers now, the run began on a {info.board}",
            hint="Connect the first board again; runs on different boards are runs of their own.",
        )
