"""What a run says of the board's time and memory, from its ticks and its own words."""

from __future__ import annotations

import numpy as np

from edge_tqs.boards.board import Board
from edge_tqs.building.folder.directory import BuildDir
from edge_tqs.device.messages import UNKNOWN_SIZE, Counter, HelloReply, StatusReply
from edge_tqs.graph.graph import Forecast
from edge_tqs.graph.rollout import Rollout
from edge_tqs.report.modelled_time import ModelledTime
from edge_tqs.report.validation_report import Latency, MemoryReport, OperatorTime
from edge_tqs.validation.findings import Findings


def latency(
    board: Board,
    hello: HelloReply,
    measured: Rollout,
    forecast: Forecast,
    *,
    emulated: bool,
    modelled: ModelledTime | None = None,
) -> Latency:
    """Computing time a step; in guest instructions too where the emulator makes its clock count them. modelled: of the
    build, where it is of what was measured."""
    known = None if emulated or hello.board != board.name else modelled
    assert measured.ticks is not None
    ticks = measured.ticks.reshape(-1).astype(np.float64)
    p50, p95, p99 = (float(v) for v in np.percentile(ticks, (50, 95, 99), method="nearest"))
    evaluation = None
    if forecast.steps > 1 and forecast.recurrence != "stateful":  # a stateful model is evaluated at every step
        evaluation = float(np.percentile(measured.ticks[:, :: forecast.steps], 50, method="nearest"))
    units = {
        Counter.CYCCNT: "cycles",
        Counter.SYSTICK: "ticks",
        Counter.MONOTONIC: "ns",
        Counter.MPCCR: "cycles",
        Counter.CCOUNT: "cycles",
        Counter.NONE: "none",
    }
    return Latency(
        counter="clock_monotonic" if hello.counter == Counter.MONOTONIC else hello.counter.name.lower(),
        unit=units[hello.counter],
        hz=hello.counter_hz,
        p50=p50,
        p95=p95,
        max=float(ticks.max()),
        instructions=_instructions(board, hello, p50, emulated=emulated),
        emulated=emulated,
        mean=float(ticks.mean()),
        p99=p99,
        evaluation=evaluation,
        evaluation_instructions=None
        if evaluation is None
        else _instructions(board, hello, evaluation, emulated=emulated),
        modelled=None if known is None else known.milliseconds,
        band=None if known is None else known.band,
    )


def _instructions(board: Board, hello: HelloReply, ticks: float, *, emulated: bool) -> int | None:
    """Guest instructions, where an emulator of ours makes the counter follow them."""
    if not emulated or board.emulator is None or board.emulator.icount_shift is None or not hello.counter_hz:
        return None
    nanoseconds = ticks / hello.counter_hz * 1e9
    return round(nanoseconds / (1 << board.emulator.icount_shift))


def operators(
    board: Board, hello: HelloReply, findings: Findings, *, emulated: bool
) -> tuple[OperatorTime, ...] | None:
    """What each operator of a probe build took; None of any other."""
    if findings.times is None:
        return None
    return tuple(
        OperatorTime(time.tensor, time.kind, time.ticks, _instructions(board, hello, time.ticks, emulated=emulated))
        for time in findings.times
    )


def memory(built: BuildDir, hello: HelloReply, engine: str, status: StatusReply) -> MemoryReport:
    """Flash from the build's image, where it is the one that runs; RAM and stack from the board itself; None where it
    cannot know."""
    image = built.report.image if (hello.board, engine) == (built.board.name, "c") else None
    return MemoryReport(
        flash=image.text + image.rodata + image.data if image is not None else None,
        ram=None if status.ram_static == UNKNOWN_SIZE else status.ram_static,
        stack_peak=None if status.stack_peak == UNKNOWN_SIZE else status.stack_peak,
    )
