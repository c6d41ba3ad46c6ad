"""What a validation measures: every rollout from the board, each step in trace.jsonl before the next is awaited."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from edge_tqs.device.device import CODE_TYPE_BY_SIZE, Device, as_arrays, ignore
from edge_tqs.device.messages import HelloReply, StatusReply, StepReply
from edge_tqs.device.rollout import run_rollout, survive
from edge_tqs.device.trace_file import TRACE, TraceFile, TraceHeader, TraceStep
from edge_tqs.errors import DeviceError, StorageError, TqsError
from edge_tqs.graph.graph import Array, Forecast
from edge_tqs.graph.rollout import Rollout
from edge_tqs.progress import Progress
from edge_tqs.report.board_runs import numbered
from edge_tqs.report.format import VALIDATION_JSON
from edge_tqs.report.validation_report import Check, LineReport, Mode
from edge_tqs.validation.checks import check_protocol

T = TypeVar("T")
#: What progress calls the rollouts.
STAGE = "rollouts on the board"


@dataclass(frozen=True, eq=False)
class MeasuredRun:
    """What the board did: its rollouts in codes, how it kept its protocol (`check_protocol`), its memory at the end,
    and what was mended on the way."""

    rollout: Rollout
    checks: tuple[Check, ...]
    status: StatusReply
    line: LineReport


def measure(
    build: Path,
    device: Device,
    forecast: Forecast,
    codes: Array,
    horizon: int,
    *,
    mode: Mode,
    number: int | None = None,
    resume: bool,
    progress: Progress,
) -> MeasuredRun:
    """Roll out each of ``codes`` (N, W, F), or (N, W + T, F) with inputs known ahead, by ``horizon`` steps.

    ``number``: of the board, where several are measured at once; its files are `numbered` then.
    A teacher-forced run takes (N, W + T, F): after the window, the samples that really followed (`true_samples`).
    With ``resume`` the steps that ``build``'s trace holds already are taken from there, after the board has computed
    the ones of the rollout in hand again and alike.

    Raises:
        UsageError: ``resume``, and the trace is not of this run or damaged.
        DeviceError, StorageError: The board or the disk failed; the steps received so far are in the trace.
    """
    hello, path, count = device.info, build / numbered(TRACE, number), len(codes)
    code_type = CODE_TYPE_BY_SIZE[hello.code_size]
    header = TraceHeader(
        model_hash=hello.model_hash,
        board=hello.board,
        counter=hello.counter.name.lower(),
        counter_hz=hello.counter_hz,
        seeds=hashlib.sha256(codes.astype(code_type).tobytes()).hexdigest(),
        rollouts=count,
        horizon=horizon,
        mode=mode,
    )
    with TraceFile(path, header, resume=resume) as trace:
        finished = build / numbered(VALIDATION_JSON, number)
        finished.unlink(missing_ok=True)  # a run is finished when it is there
        device.on_event = trace.event
        received = [_steps_of(index, trace.earlier, code_type) for index in range(count)]
        complete = 0
        try:
            progress("checking the board's protocol", 0, 1)
            checks = _survived(device, hello, lambda: check_protocol(device, forecast, codes[0]))
            for index, steps in enumerate(received):
                if len(steps) < horizon:

                    def on_step(step: StepReply, index: int = index, steps: list[StepReply] = steps) -> None:
                        values = tuple(np.frombuffer(step.codes, code_type).tolist())
                        trace.step(TraceStep(index, step.step, values, step.ticks, step.state_hash))
                        steps.append(step)
                        progress(STAGE, index * horizon + step.step + 1, count * horizon)

                    seed, following = np.split(codes[index], [forecast.window])
                    run_rollout(
                        device,
                        seed,
                        horizon,
                        on_step=on_step,
                        ahead=following[:, forecast.exogenous] if forecast.exogenous else None,
                        earlier=tuple(steps),
                        truth=following if mode == "teacher-forced" else None,
                    )
                    trace.sync()
                complete += 1
            status = _survived(device, hello, device.status)
        except TqsError as error:
            kind = StorageError if isinstance(error, StorageError) else DeviceError
            raise kind(
                f"{error.message.rstrip('.')}. {complete} of {count} rollouts were complete; every step received is in "
                f"{path}.",
                hint=f"{error.hint} Then `edge-tqs validate {build} --resume` goes on from there.".lstrip(),
            ) from error
        finally:
            device.on_event = ignore
        line = _line(device, trace, status)
    return MeasuredRun(_rollout(received, hello), checks, status, line)


def _survived(device: Device, hello: HelloReply, ask: Callable[[], T]) -> T:
    """What ``ask`` gives once no fault comes between."""
    answers: list[T] = []
    survive(device, hello, lambda: answers.append(ask()))
    return answers[0]


def _steps_of(rollout: int, steps: Iterable[TraceStep], code_type: np.dtype[Any]) -> list[StepReply]:
    return [
        StepReply(step.step, step.ticks, step.state, np.array(step.codes, code_type).tobytes())
        for step in steps
        if step.rollout == rollout
    ]


def _rollout(received: list[list[StepReply]], hello: HelloReply) -> Rollout:
    outputs, ticks, hashes = (
        np.stack(part) for part in zip(*(as_arrays(steps, hello) for steps in received), strict=True)
    )
    return Rollout(f"device:{hello.board}", outputs, ticks, hashes)


def _line(device: Device, trace: TraceFile, status: StatusReply) -> LineReport:
    events = trace.events
    return LineReport(
        baud=device.baud,
        slowdowns=events["slowdown"],
        resumes=events["resume"],
        restarts=events["restart"],
        silences=events["silence"],
        reconnects=events["reconnect"],
        retries=events["retry"],
        damaged=events["damaged"],
        frames_dropped=status.frames_dropped,
    )
