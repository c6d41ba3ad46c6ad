"""`edge-tqs validate`: rollouts on the board, closed-loop or teacher-forced, step by step against the host."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from edge_tqs.boards import labgrid
from edge_tqs.boards.board import Board, list_boards, load_board
from edge_tqs.building import evaluate, sanity
from edge_tqs.building.folder import directory as build_dir
from edge_tqs.building.folder.directory import BuildDir
from edge_tqs.device.baud import raise_baud
from edge_tqs.device.device import Device, Times
from edge_tqs.device.messages import HelloReply
from edge_tqs.device.serial_port import DEFAULT_BAUD, SerialPort, open_port, pulse_reset, reopen_port, usb_device
from edge_tqs.device.trace_file import TRACE
from edge_tqs.errors import DeviceError, StorageError, TqsError, UsageError
from edge_tqs.graph.graph import Array, Graph
from edge_tqs.graph.rollout import Rollout, true_samples
from edge_tqs.passes.interpret import float_rollout
from edge_tqs.progress import Progress
from edge_tqs.project.series import AS_FOUND
from edge_tqs.project.series_format import SeriesFormat
from edge_tqs.quantization.simulate import decode, encode, integer_rollout
from edge_tqs.report.board_runs import numbered
from edge_tqs.report.drift import measure_drift
from edge_tqs.report.files import write_report
from edge_tqs.report.format import VALIDATION_JSON, VALIDATIONS_JSON
from edge_tqs.report.validation_report import MOST_POINTS, ClosedLoop, DeviceCurves, Mode, ValidationReport
from edge_tqs.validation import figures as board_figures
from edge_tqs.validation.findings import Findings, probe_findings
from edge_tqs.validation.measure import MeasuredRun, measure

#: A server that computes with another runtime than the generated C is compared by error: its RMSE against the float
#: rollout may exceed the host's by this factor, plus one code (tflite.md: runtimes differ by one code a layer).
OTHER_ENGINE_TOLERANCE = 1.25
_ANY_LINUX = "linux"


@dataclass(frozen=True)
class ValidateRequest:
    """build: a directory that `edge-tqs build` wrote. port: None starts the board's emulator.

    baud: the rate to begin with; None takes the board's. max_baud: up to which it is then raised; None takes the
    board's, 0 is not at all. reset: pulse the line of the port that resets the board, first.
    times: how long the board is waited for.
    resume: go on with the run that was interrupted in the directory.
    server: "program" (the compiled image) or "agent" (the Python agent of a Linux bundle), when the port is ours.
    data: a CSV whose latest windows are the seeds; None takes the seeds that the build saved, evenly spread.
    series_format: how that CSV is read.
    max_rmse_vs_float: fail above this RMSE against the float model, in the model's units; None: no limit.
    mode: "teacher-forced" feeds what really followed instead of the predictions.
    number: of the board, where several are validated at once (`validate_boards`).
    """

    build: Path
    port: str | None = None
    baud: int | None = None
    max_baud: int | None = None
    reset: bool = False
    times: Times = field(default_factory=Times)
    rollouts: int = 8
    horizon: int | None = None
    data: Path | None = None
    series_format: SeriesFormat = AS_FOUND
    resume: bool = False
    server: str = "program"
    max_rmse_vs_float: float | None = None
    mode: Mode = "free-running"
    number: int | None = None


@dataclass(frozen=True, eq=False)
class Expected:
    """What the host says of the same seeds: truth in the model's units, the codes that the board is sent (as `measure`
    takes them), the integer rollout, the float outputs, and how far the closed loop is off in a teacher-forced run."""

    truth: Array | None
    codes: Array
    rollout: Rollout
    floats: Array
    closed_loop: ClosedLoop | None


#: What the host expects, by the runtime behind the board.
Expect = Callable[[str], Expected]


def validate(request: ValidateRequest, progress: Progress) -> ValidationReport:
    """Run the rollouts and return the report; also writes validation.json, trace.jsonl and report.html.

    Raises:
        UsageError: no such build, port or data; a horizon or a number of rollouts below one.
        DeviceError, StorageError: the board is silent, runs another model or fails; the disk takes no more. The steps
            received so far are in trace.jsonl.
    """
    built, expect = open_build(request)
    if request.resume and (request.build / VALIDATION_JSON).exists():
        raise UsageError(
            f"the last run in {request.build} is finished: there is nothing to resume",
            hint="Leave --resume out to run again.",
        )
    result = validate_on(built, request, expect, progress)
    try:
        (request.build / VALIDATIONS_JSON).unlink(missing_ok=True)  # the page shows the last run
        write_report(request.build)
    except OSError as error:
        raise _unwritten(error, request) from error
    return result


def open_build(request: ValidateRequest) -> tuple[BuildDir, Expect]:
    """The build, and how to compute what the host expects of a runtime; no board is looked for yet.

    Raises UsageError.
    """
    built = build_dir.load(request.build)
    horizon = request.horizon or built.report.host.horizon
    if request.rollouts < 1 or horizon < 1:
        raise UsageError("--rollouts and --horizon must be at least 1")
    if request.mode == "teacher-forced" and built.graph.forecast.driven:
        raise UsageError(
            f"{built.path}: nothing of this model is fed back, each step sees measured samples in any case",
            hint="Leave --teacher-forced out: the run is the same.",
        )
    seeds, truth = _seeds(built, request, horizon)
    expect = _expect if request.mode == "free-running" else _expect_forced
    return built, lambda engine: expect(built, engine, seeds, truth, horizon)


def validate_on(built: BuildDir, request: ValidateRequest, expect: Expect, progress: Progress) -> ValidationReport:
    """Run the rollouts on one board and write its trace and validation.json. Raises as `validate`."""
    with connect(built, request, progress) as device:
        port, hello = device.name, device.info
        engine = _engine(hello)
        progress("computing the expected rollouts on the host", 0, 1)
        expected = expect(engine)
        measured = measure(
            request.build,
            device,
            built.graph.forecast,
            expected.codes,
            expected.floats.shape[1],
            mode=request.mode,
            number=request.number,
            resume=request.resume,
            progress=progress,
        )
        findings = probe_findings(
            device, built.graph, expected.codes, expected.rollout, measured.rollout, engine, request.mode
        )
    result = _validation_report(built, request, port, hello, engine, expected, measured, findings)
    path = request.build / numbered(VALIDATION_JSON, request.number)
    try:
        part = path.with_suffix(".part")
        part.write_text(result.to_json(), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise _unwritten(error, request) from error
    return result


def _unwritten(error: OSError, request: ValidateRequest) -> StorageError:
    """The message. Without validation.json the run can be resumed."""
    build = request.build
    path = build / numbered(VALIDATION_JSON, request.number)
    for file in (path.with_suffix(".part"), path):
        file.unlink(missing_ok=True)
    trace = build / numbered(TRACE, request.number)
    return StorageError(
        f"the report cannot be written to {build}: {error.strerror}. Every step received is in {trace}.",
        hint=f"Make room on its disk. Then `edge-tqs validate {build} --resume` writes the report.",
    )


def _seeds(built: BuildDir, request: ValidateRequest, horizon: int) -> tuple[Array, Array | None]:
    """(seeds, truth) for this run: of the given CSV, else those saved by the build. A teacher-forced run has truth."""
    if request.data is not None:
        return build_dir.windows_of(
            request.data, built.graph.forecast, request.rollouts, horizon, request.series_format
        )
    if request.rollouts > len(built.seeds):
        raise UsageError(
            f"the build saved {len(built.seeds)} seed windows, --rollouts asks for {request.rollouts}",
            hint=f"Ask for at most {len(built.seeds)}, or give a CSV with --data.",
        )
    forecast = built.graph.forecast
    length = forecast.seed_length(horizon)
    if built.seeds.shape[1] < length:
        raise UsageError(
            f"the build saved {'the samples of' if forecast.driven else 'what is known ahead for'} "
            f"{built.seeds.shape[1] - forecast.window} steps, --horizon asks for {horizon}",
            hint="Ask for no more steps, or give a CSV with --data.",
        )
    truth = built.truth
    if truth is not None and truth.shape[1] < horizon:
        truth = None
    if truth is None and request.mode == "teacher-forced":
        there = "no data" if built.truth is None else f"{built.truth.shape[1]} steps of what followed"
        raise UsageError(
            f"--teacher-forced feeds what really followed for {horizon} steps, and {built.path} was built with {there}",
            hint="Give a CSV with --data" + (", or a shorter --horizon." if built.truth is not None else "."),
        )
    chosen = np.linspace(0, len(built.seeds) - 1, request.rollouts).round().astype(int)
    return built.seeds[chosen, :length], None if truth is None else truth[chosen, :horizon]


@contextmanager
def connect(built: BuildDir, request: ValidateRequest, progress: Progress) -> Iterator[Device]:
    """The board at the request's port, else an emulated one; greeted, and known to run the build's model.

    Raises as `validate`.
    """
    with _port(built, request) as port, _connect(built.board, port, request, progress) as device:
        progress(f"waiting for {built.board.name} at {port}", 0, 1)
        hello = device.require_model(built.model_hash)
        # Of several boards some may be of other kinds, known ones: the model's hash is what makes them alike.
        name = hello.board.partition("+")[0]
        several = request.number is not None and name in [board.name for board in list_boards()]
        _require_board(hello, load_board(name) if several else built.board)
        uart, most = built.board.uart, request.max_baud
        if most is None and uart is not None:
            most = uart.max_baud
        if most and device.baud is not None:
            raise_baud(device, most)
        yield device


@contextmanager
def _port(built: BuildDir, request: ValidateRequest) -> Iterator[str]:
    if request.port is not None and request.port.startswith(labgrid.SCHEME):
        with labgrid.port_of_place(request.port.removeprefix(labgrid.SCHEME)) as port:
            yield port
        return
    if request.port is not None:
        yield request.port
        return
    from edge_tqs.boards.emulator import emulator

    with emulator.start_server(built.board, built.path, request.server) as port:
        yield port


@contextmanager
def _connect(board: Board, url: str, request: ValidateRequest, progress: Progress) -> Iterator[Device]:
    """The device at ``url``. A port that goes away is waited for, unless it is that of an emulator of ours."""
    port = _open(board, url, request)
    usb, baud = usb_device(url), port.baudrate

    def reopen() -> SerialPort:
        progress(f"{url} went away; waiting for it", 0, 1)
        return reopen_port(url, baud, board.lines, usb)

    with Device(port, request.times, reopen=None if request.port is None else reopen) as device:
        yield device


def _open(board: Board, url: str, request: ValidateRequest) -> SerialPort:
    baud = request.baud or (board.uart.baud if board.uart is not None else DEFAULT_BAUD)
    port = open_port(url, baud, board.lines)
    if request.reset:
        try:
            pulse_reset(port, board.lines)
        except TqsError:
            port.close()
            raise
    return port


def _require_board(hello: HelloReply, board: Board) -> None:
    """Raise DeviceError unless the device is what the build is for: by what runtime it computes is what passes."""
    name, _, runtime = hello.board.partition("+")
    # An agent that is started by hand without --board calls itself linux.
    if name != board.name and (board.bare_metal or name != _ANY_LINUX):
        raise DeviceError(
            f"the board calls itself {name}, and this build is for {board.name}",
            hint="Validate the build that the board was flashed with.",
        )
    if runtime and board.bare_metal:
        raise DeviceError(
            f"the board says that {runtime} computes there, and {board.name} runs generated C alone",
            hint="Flash it with `edge-tqs flash BUILD`.",
        )


def _engine(hello: HelloReply) -> str:
    """The runtime behind a board: the part of its name after "+" (PROTOCOL.md), the generated C without one."""
    _, _, engine = hello.board.partition("+")
    return engine or "c"


def _expect(built: BuildDir, engine: str, seeds: Array, truth: Array | None, horizon: int) -> Expected:
    codes = encode(built.graph, seeds)
    rollout = _host_rollout(built, engine, codes, horizon)
    return Expected(truth, codes, rollout, float_rollout(built.float_graph, seeds, horizon).outputs, None)


def _expect_forced(built: BuildDir, engine: str, seeds: Array, truth: Array | None, horizon: int) -> Expected:
    assert truth is not None  # _seeds
    graph, free = built.graph, _expect(built, engine, seeds, truth, horizon)
    outputs, points = decode(graph, free.rollout.outputs), evaluate.point_outputs(graph.forecast)
    off = evaluate.mse(outputs[..., points], truth[..., points])
    loop = ClosedLoop(evaluate.rmse(outputs, free.floats), off)
    true_codes = encode(graph, truth)
    rollout = _host_rollout(built, engine, free.codes, horizon, true_codes)
    floats = float_rollout(built.float_graph, seeds, horizon, truth).outputs
    return Expected(truth, true_samples(graph.forecast, free.codes, true_codes), rollout, floats, loop)


def _host_rollout(built: BuildDir, engine: str, codes: Array, horizon: int, truth: Array | None = None) -> Rollout:
    if engine == "c":
        return integer_rollout(built.graph, codes, horizon, truth)
    # another runtime's arithmetic: the same runtime on this host says what it should be
    from edge_tqs.quantization.runtimes import rollout_in

    return rollout_in("litert", built.model, built.graph, codes, horizon, truth)


def _validation_report(
    built: BuildDir,
    request: ValidateRequest,
    port: str,
    hello: HelloReply,
    engine: str,
    expected: Expected,
    run: MeasuredRun,
    findings: Findings,
) -> ValidationReport:
    graph, measured = built.graph, run.rollout
    outputs, host = decode(graph, measured.outputs), decode(graph, expected.rollout.outputs)
    assert measured.ticks is not None
    count, horizon = measured.outputs.shape[:2]
    diverged = findings.diverged
    error = evaluate.rmse(outputs, expected.floats)
    allowed = OTHER_ENGINE_TOLERANCE * evaluate.rmse(host, expected.floats) + _output_scale(graph)
    failures = [f"{check.name}: {check.detail}" for check in run.checks if not check.passed]
    if diverged is not None and engine == "c":
        failures.append("it computes something else than the host")
    elif diverged is not None and not error <= allowed:
        failures.append(f"RMSE {error:.4g} from float; {engine} on the host has {allowed:.4g} at most")
    if request.max_rmse_vs_float is not None and not error <= request.max_rmse_vs_float:
        failures.append(f"RMSE {error:.4g} from float; the project allows {request.max_rmse_vs_float:g}")
    failures += _beyond_float(built, outputs, expected.floats)
    units, points, truth = graph.forecast.scaling_of_outputs(), evaluate.point_outputs(graph.forecast), expected.truth
    shown = built.report.host.curves.example
    every = -(-horizon // MOST_POINTS)
    return ValidationReport(
        board=hello.board,
        port=port,
        engine=engine,
        passed=not failures,
        model_hash=built.model_hash,
        rollouts=count,
        horizon=horizon,
        steps=count * horizon,
        bit_exact=diverged is None,
        first_divergence=diverged,
        rmse_vs_float=error,
        mse_vs_truth=None if truth is None else evaluate.mse(outputs[..., points], truth[..., points]),
        latency=board_figures.latency(
            *(built.board, hello, measured, graph.forecast),
            emulated=request.port is None,
            modelled=built.report.modelled if engine == "c" else None,
        ),
        memory=board_figures.memory(built, hello, engine, run.status),
        line=run.line,
        curves=DeviceCurves(
            rmse_vs_float=evaluate.rmse_by_step(outputs, expected.floats, every),
            mse_vs_truth=None
            if truth is None
            else evaluate.mse_by_step(outputs[..., points], truth[..., points], every),
            example=None
            if shown is None or request.data
            else evaluate.physical(outputs[0, : len(shown.mixed), 0], units, 0),
            every=every,
        ),
        diagnosis=findings.diagnosis,
        operators=board_figures.operators(built.board, hello, findings, emulated=request.port is None),
        mode="rolling origin" if graph.forecast.driven else request.mode,
        closed_loop=expected.closed_loop,
        checks=run.checks,
        drift=measure_drift(outputs, expected.floats, host, measured.ticks),
        failures=tuple(failures),
    )


def _beyond_float(built: BuildDir, outputs: Array, floats: Array) -> list[str]:
    """Why ``outputs`` are no longer what the float model says: sentences, none where they are.

    Beside the deviation of the float forecast in these rollouts, or in the build's where that is larger: few steps tell
    little of it.
    """
    of_build = {item.name: item.spread or 0.0 for item in built.report.host.sanity.outputs}
    measured = sanity.distances(built.graph.forecast, outputs, floats)
    return sanity.too_far([replace(item, spread=max(item.spread or 0.0, of_build[item.name])) for item in measured])


def _output_scale(graph: Graph) -> float:
    return float(graph.quant(graph.output).scale[0])
