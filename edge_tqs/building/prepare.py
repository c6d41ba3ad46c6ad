"""From a model file to all that the C is made from: read, scored, planned, quantised, written as a flatbuffer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edge_tqs import __version__
from edge_tqs.boards.board import Board
from edge_tqs.boards.firmware import check_toolchain
from edge_tqs.building.choose import Choice, Chooser, PlanRequest
from edge_tqs.building.evaluate import not_compared
from edge_tqs.building.finding import find_reading, find_scaling
from edge_tqs.building.flash_room import code_room
from edge_tqs.building.naive import Naive
from edge_tqs.errors import ModelError, UsageError
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.graph.graph import Array, Centre, Forecast, Graph, Scaling, Target, same_units
from edge_tqs.passes.affine_ends import without_ends
from edge_tqs.passes.output_bias import shift_output
from edge_tqs.planning.plan import Plan
from edge_tqs.planning.refine import SEEDS as REFINE_SEEDS
from edge_tqs.planning.score import SEEDS, Sensitivity, score
from edge_tqs.progress import Progress
from edge_tqs.project.roles import Roles, said_of
from edge_tqs.project.rollouts import ProjectData
from edge_tqs.project.scales import Method, scaling_of_inputs, scaling_of_outputs
from edge_tqs.quantization import support
from edge_tqs.quantization.calibration import Ranges, calibrate
from edge_tqs.quantization.channel_scales import LEAST_CODES, Folded, few_codes, may_fold_inputs, on_own_scales
from edge_tqs.quantization.quantize import SCHEMES, Activations, quantize
from edge_tqs.quantization.sizes import estimated_bytes, weight_bytes
from edge_tqs.read.loaded import LoadedModel
from edge_tqs.read.opening import Opened, open_model, opened_graph
from edge_tqs.system.of_graph import graph_system
from edge_tqs.system.other_units import in_model_units
from edge_tqs.system.reading import Said, UnsaidError
from edge_tqs.system.seeds import zero_data_seeds
from edge_tqs.system.system import System

#: Windows of the training part that activation ranges come from, at most; and windows that are saved for validation and
#: that the host's figures come from, at least and where the data allow.
CALIBRATION_WINDOWS = 256
LEAST_WINDOWS, EVALUATION_WINDOWS = 16, 64
#: Windows for activation ranges where there is no data.
ZERO_DATA_WINDOWS = 16
#: Where neither the user nor a board says otherwise.
DEFAULT_ACTIVATIONS: Activations = "int8"


@dataclass(frozen=True, eq=False)
class Windows:
    """Seeds in the model's units, as rollouts take them: calibration and evaluation, (N, W, F), or (N, W + T, F).

    truth: (N, T, outputs), what really followed the evaluation seeds, and naive forecasts of it; None without data.
    facts: how the data was read; warnings: what the reader should know of it, in sentences.
    """

    calibration: Array
    evaluation: Array
    truth: Array | None = None
    naive: Naive | None = None
    facts: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def saved(self) -> Array:
        """The numbers of the evaluation windows that are saved for validation: LEAST_WINDOWS, evenly spread."""
        count = len(self.evaluation)
        chosen: Array = np.linspace(0, count - 1, min(count, LEAST_WINDOWS)).round().astype(int)
        return chosen

    def scaled(self, x: Scaling, y: Scaling) -> Windows:
        """The same in other units of inputs and outputs."""
        truth = None if self.truth is None else y.scaled(self.truth)
        naive = None if self.naive is None else self.naive.scaled(y)
        calibration, evaluation = x.scaled(self.calibration), x.scaled(self.evaluation)
        return replace(self, calibration=calibration, evaluation=evaluation, truth=truth, naive=naive)


@dataclass(frozen=True, eq=False)
class SeriesRequest:
    """A series, and what was said of its scaling; None: it is to be found out.

    functions: `ModelRequest.windows` and ``training`` of a series.
    """

    data: ProjectData
    scaling: Scaling | Method | None
    output_scaling: Scaling | Method | None
    functions: Callable[[ProjectData], tuple[Callable[[Forecast, int], Windows], Callable[[Forecast, int, int], Array]]]


@dataclass(frozen=True)
class ModelRequest:
    """What is needed to read and score a model.

    said: what was said of the model's inputs and outputs. windows: called with (forecast, horizon) once the model is
    read; None when there is no data. training: called with (forecast, horizon, count), seeds of the training part,
    (count, W + T, F). scaling, output_scaling: physical units of inputs, and of the values of a predicted sample;
    None: those of the inputs that they speak of. real_seeds: score from these instead of zero-data seeds. workers:
    processes that score. cache: folder where scores are kept; None keeps nothing. activations: None takes the board's,
    and DEFAULT_ACTIVATIONS where there is no board. custom_objects: module:name of each class or function of the user's
    own in the model. output: which of the model's outputs is the forecast, where
    it has several. target, centre: what the model predicts, and what is taken off its window (passes/level.py).
    budget_bytes: of all weights, where a plan is asked for that says nothing of its own; None takes the default.
    roles: what was named; ``said`` was made of it, all columns being inputs where none is named. series: the data, and
    what was said of its scaling. findings: what was found out from it, in sentences.
    ends_taken: the model is without its affine ends, and both scalings say what they did (passes/affine_ends.py).
    """

    model: Path
    horizon: int = 96
    window: int | None = None
    recurrence: Literal["auto", "windowed", "stateful"] = "auto"
    columns: tuple[str, ...] = ()
    scaling: Scaling | None = None
    output_scaling: Scaling | None = None
    windows: Callable[[Forecast, int], Windows] | None = None
    draws: int = 16
    seed: int = 0
    said: Said = field(default_factory=Said)
    training: Callable[[Forecast, int, int], Array] | None = None
    real_seeds: bool = False
    workers: int = 1
    cache: Path | None = None
    activations: Activations | None = None
    custom_objects: tuple[str, ...] = ()
    output: str | None = None
    target: Target = "level"
    centre: Centre = "none"
    budget_bytes: int | None = None
    roles: Roles = field(default_factory=Roles)
    series: SeriesRequest | None = None
    findings: tuple[str, ...] = ()
    ends_taken: bool = False

    @property
    def variant(self) -> str:
        """What makes another system of the same file; empty where all of it is left to the model."""
        said = self.said
        chosen: dict[str, Any] = {
            "output": self.output,
            "feedback": said.feedback,
            "steps": said.steps,
            "kind": said.kind,
            "held": said.held or None,
            "known ahead": said.known_ahead or None,
            "last": said.last_only or None,
            "predicted": said.predicted or None,
        }
        if self.recurrence != "auto":
            chosen["recurrence"] = self.recurrence
        if self.target != "level":
            chosen["target"] = self.target
        if self.centre != "none":
            chosen["centre"] = self.centre
        if self.ends_taken:
            chosen["ends"] = "taken"
        return ", ".join(f"{key} {value}" for key, value in chosen.items() if value is not None)


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A model that was opened, and how it is to be scored.

    Shapes: a call takes a window (window, channels) and predicts (steps, outputs). refusal: why it can be scored and
    planned alone; None for a model that can be built.
    """

    request: ModelRequest
    opened: Opened

    def __repr__(self) -> str:
        return f"<Model {self.name}: window {self.window}, {self.channels} channels, {len(self.weights)} weights>"

    @property
    def name(self) -> str:
        return self.opened.system.name

    @property
    def window(self) -> int:
        """Samples that a call looks at."""
        return self.opened.system.window

    @property
    def channels(self) -> int:
        """Values of a sample."""
        return self.opened.system.channels

    @property
    def outputs(self) -> int:
        """Values of a predicted sample."""
        return self.opened.system.outputs

    @property
    def steps(self) -> int:
        """Samples that a call predicts."""
        return self.opened.system.steps

    @property
    def weights(self) -> tuple[str, ...]:
        """Names of the weights that are scored and planned."""
        return tuple(self.opened.system.weights)

    @property
    def refusal(self) -> ModelError | None:
        return self.opened.refusal


@dataclass(frozen=True, eq=False, repr=False)
class ScoredModel:
    """A model that was opened and scored.

    costs: bytes by weight and width, with activations as ``model.request`` has them. seeds: real windows that plans are
    refined on; None for zero-data ones.
    """

    model: Model
    sensitivity: Sensitivity
    costs: Mapping[str, Mapping[int, int]]
    seeds: Array | None = None

    def __repr__(self) -> str:
        return f"<ScoredModel {self.model.name}: {len(self.costs)} weights over {self.sensitivity.horizon} steps>"

    def with_activations(self, activations: Activations) -> ScoredModel:
        """The same scores beside the bytes that the weights take with ``activations``."""
        request = self.model.request
        if (request.activations or DEFAULT_ACTIVATIONS) == activations:
            return self
        model = replace(self.model, request=replace(request, activations=activations))
        return replace(self, model=model, costs=_costs(model))


#: What a plan can start from: how to read a model, or what was made of it so far.
Source = ModelRequest | Model | ScoredModel


def opened_model(source: ModelRequest | Model, progress: Progress) -> Model:
    """Open the model unless it is, without the affine ends that leave channels no codes. Raises as `open_requested`."""
    return source if isinstance(source, Model) else _without_ends(*open_requested(source, progress))


def _without_ends(request: ModelRequest, opened: Opened) -> Model:
    """The model whose channels are scaled by the board where its own layers did it (passes/affine_ends.py).

    Before it is scored: its weights are those that are built, and windows made without data are of channels that are
    alike, as those are that a normalised model sees.
    """
    taken = without_ends(opened.loaded.graph) if opened.loaded else None
    if taken is None or opened.loaded is None:
        return Model(request, opened)
    forecast = opened.loaded.graph.forecast
    output_scaling = units_of_outputs(request.output_scaling, forecast.outputs)
    forecast = replace(forecast, scaling=request.scaling, output_scaling=output_scaling).in_units(taken.x, taken.y)
    names = request.columns or tuple(f"channel {channel}" for channel in range(forecast.channels))
    note = (
        f"{' and '.join(taken.sources) or 'Constant scales and offsets at its ends'} were taken out of the graph: the "
        f"board scales each channel by itself, which is exact. The model's units are now {_shown(names, taken.x)}"
        + ("." if forecast.output_scaling is None else f"; of its outputs {_shown(forecast.output_names, taken.y)}.")
    )
    loaded = replace(opened.loaded, graph=taken.graph, notes=(*opened.loaded.notes, note))
    request = replace(request, scaling=forecast.scaling, output_scaling=forecast.output_scaling)
    return Model(replace(request, ends_taken=True), opened_graph(loaded))


def _shown(names: tuple[str, ...], units: Scaling) -> str:
    """(name - mean) / std for each that is scaled at all."""
    of = zip(names, units.mean, units.std, strict=True)
    return ", ".join(f"({name} - {mean:.6g}) / {std:.6g}" for name, mean, std in of if (mean, std) != (0, 1))


def scored_model(source: Source, progress: Progress) -> ScoredModel:
    """Open and score the model as far as that is not done yet. Raises as `open_requested` and `score_model`."""
    return source if isinstance(source, ScoredModel) else score_model(opened_model(source, progress), progress)


def open_requested(request: ModelRequest, progress: Progress) -> tuple[ModelRequest, Opened]:
    """Open the model and compare it with its graph; what was not said is found out from the data.

    Returns the request with what was found. Raises ModelError, CheckError, UsageError.
    """
    progress("reading the model", 0, 1)
    try:
        opened = _open(request)
    except UnsaidError:
        if request.series is None or request.roles.kind or request.roles.predicted or request.target != "level":
            raise
        request = _with_reading(request)
        opened = _open(request)
    channels, series = opened.system.channels, request.series
    if series and not request.roles.inputs and len(request.columns) < channels == len(series.data.series.columns):
        request = _with_inputs(request, series.data.series.columns)  # what is predicted is among them
        opened = _open(request)
    for what, values in (("columns", request.columns), ("scaling", request.scaling and request.scaling.mean)):
        if values and len(values) != channels:
            raise UsageError(
                f"{request.model} has {channels} channels, the project names {len(values)} {what}",
                hint="Name one column for each input of the model, in its order, in edge-tqs.toml.",
            )
    return _with_scaling(request, opened.system), opened


def _open(request: ModelRequest, said: Said | None = None) -> Opened:
    return open_model(
        request.model,
        recurrence=request.recurrence,
        window=request.window,
        said=said or request.said,
        custom=request.custom_objects,
        output=request.output,
        target="level" if said else request.target,
        centre="none" if said else request.centre,
    )


def _with_reading(request: ModelRequest) -> ModelRequest:
    """``request`` with what its model's outputs are, by the data. Raises ModelError where that does not tell."""
    assert request.series is not None
    try:
        opened, flat = _open(request, Said(kind="direct", steps=1)), True
    except ModelError:
        opened, flat = _open(request, Said(kind="direct")), False
    reading = opened.system.reading
    leads = max(output.lead for output in reading.predicted)
    shape = (reading.outputs,) if flat else (leads, reading.outputs // leads)
    try:
        found = find_reading(opened.system, shape, request.series.data, request.roles, request.series.scaling)
    except ModelError as error:
        raise ModelError(f"{request.model}: {error.message}", hint=error.hint) from error
    said = replace(said_of(found.roles), last_only=found.last_only)
    return _scaled(
        replace(request, roles=found.roles, said=said, columns=found.roles.inputs),
        found.inputs,
        request.series.output_scaling or found.outputs or None,
        f"Outputs are {found.text}.",
    )


def _with_inputs(request: ModelRequest, inputs: tuple[str, ...]) -> ModelRequest:
    """``request`` of a model that takes all columns of the data, those too that it predicts."""
    series = request.series
    assert series is not None
    roles = replace(request.roles, inputs=inputs)
    series = replace(series, data=replace(series.data, inputs=inputs))
    request = replace(request, roles=roles, said=said_of(roles), columns=inputs, series=series)
    windows, training = series.functions(series.data)
    request = replace(request, windows=windows, training=training)
    if series.scaling is None:
        return request
    return replace(_scaled(request, series.scaling, series.output_scaling, ""), findings=request.findings)


def _with_scaling(request: ModelRequest, system: System) -> ModelRequest:
    """``request`` with the scaling that is not said, by the data. Raises UsageError where that does not tell."""
    series = request.series
    if series is None or request.findings:
        return request
    forecast = forecast_of(system, replace(request, scaling=None, output_scaling=None))
    targets = any(channel is None for channel in forecast.output_channels) and forecast.task == "forecast"
    if series.scaling is not None and (series.output_scaling is not None or not targets):
        return request
    found = find_scaling(system, forecast, series.data, series.scaling, series.output_scaling is None and targets)
    outputs: Scaling | Method | Mapping[str, Method] | None = series.output_scaling
    if outputs is None and found.outputs:
        own = [name for name in request.roles.predicted_columns if name not in request.columns]
        outputs = dict.fromkeys(own, found.outputs)
    return _scaled(request, series.scaling or found.inputs, outputs, f"Data are taken {found.text}.")


def _scaled(
    request: ModelRequest,
    inputs: Scaling | Method,
    outputs: Scaling | Method | Mapping[str, Method] | None,
    finding: str,
) -> ModelRequest:
    """``request`` with the scalings that were said or found, and the ``finding``."""
    series = request.series
    assert series is not None
    values, rows = series.data.series, series.data.train_rows
    scaling = scaling_of_inputs(inputs, values, rows, request.columns)
    fed_back = request.roles.predicted_columns if request.said.kind in (None, "closed loop") else ()
    roles = replace(request.roles, inputs=request.columns)
    of_outputs = scaling_of_outputs(roles, outputs, values, rows, scaling, fed_back)
    data = replace(series.data, inputs=request.columns, scaling=scaling, output_scaling=of_outputs)
    windows, training = series.functions(data)
    return replace(
        request,
        scaling=scaling,
        output_scaling=of_outputs,
        windows=windows,
        training=training,
        series=replace(series, data=data, scaling=inputs, output_scaling=_one_of(outputs)),
        findings=(*request.findings, finding),
    )


def _one_of(said: Scaling | Method | Mapping[str, Method] | None) -> Scaling | Method | None:
    """The method of all outputs, where each column has the same."""
    if not isinstance(said, Mapping):
        return said
    methods = set(said.values())
    return methods.pop() if len(methods) == 1 else None


def score_model(model: Model, progress: Progress) -> ScoredModel:
    """Score the weights of an opened model. Raises UsageError."""
    opened, request = model.opened, model.request
    system = opened.system

    def real(count: int) -> Array | None:
        if not request.real_seeds:
            return None
        if request.training is None:
            raise UsageError("There is no data to take real seeds from", hint="Give a CSV with --data.")
        forecast = forecast_of(system, request)
        return request.training(forecast, request.horizon, count)[:, : system.seed_length(request.horizon)]

    sensitivity = score(
        system,
        horizon=request.horizon,
        draws=request.draws,
        seeds=real(SEEDS),
        seed=request.seed,
        model_hash=opened.model_hash,
        progress=lambda done, total: progress("scoring", done, total),
        workers=request.workers,
        opener=opened.opener,
        cache=request.cache,
        variant=request.variant,
    )
    return ScoredModel(model, sensitivity, _costs(model), real(REFINE_SEEDS))


def _costs(model: Model) -> Mapping[str, Mapping[int, int]]:
    loaded = model.opened.loaded
    if loaded is None:
        return estimated_bytes(model.opened.system)
    return weight_bytes(loaded.graph, model.request.activations or DEFAULT_ACTIVATIONS)


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
    )


def units_of_outputs(of_sample: Scaling | None, outputs: int) -> Scaling | None:
    """The scaling of each of ``outputs`` values, from that of each value of a sample: a block holds several samples."""
    if of_sample is None:
        return None
    samples = outputs // len(of_sample.mean)
    return Scaling(of_sample.mean * samples, of_sample.std * samples)


def chooser(
    scored: ScoredModel, request: PlanRequest, progress: Progress | None = None, folded: Folded | None = None
) -> Chooser:
    """What finds the plan that ``request`` asks for, and the frontier around it.

    folded: the graph with other columns of its weights, whose rounding is then measured; in the model's units still.
    """
    system = scored.model.opened.system
    if folded is not None and folded.x != same_units(system.channels):
        system = in_model_units(graph_system(folded.graph), folded.x, folded.y)
    return Chooser(system, scored.sensitivity, scored.costs, request, progress, scored.seeds)


def fitted(
    request: PlanRequest, graph: Graph, board: Board, activations: Activations, progress: Progress
) -> PlanRequest:
    """``request``, with what the board's flash leaves for the codes of the weights where that is asked for."""
    if not request.fit_flash:
        return request
    progress("measuring the firmware", 0, 1)
    return replace(request, code_bytes=code_room(graph, board, activations))


@dataclass(frozen=True, eq=False, repr=False)
class PlannedModel:
    """A model with the width of each weight. warnings: what the reader should know."""

    scored: ScoredModel
    choice: Choice
    warnings: tuple[str, ...]

    def __repr__(self) -> str:
        wide = sum(tensor.width == 8 for tensor in self.plan.tensors)
        return f"<PlannedModel {self.scored.model.name}: {self.plan.total_bytes:,} bytes, {wide} weights int8>"

    @property
    def plan(self) -> Plan:
        return self.choice.plan

    @property
    def frontier(self) -> tuple[Plan, ...]:
        """Plans around the one that was chosen, from the smallest to the largest."""
        return self.choice.frontier

    @property
    def uniform(self) -> tuple[Plan, ...]:
        """All weights int4, and all int8, as far as they can be had."""
        return self.choice.uniform


def plan_model(source: Source, request: PlanRequest, progress: Progress, board: Board | None = None) -> PlannedModel:
    """Read, score and plan, as far as that is not done yet, and look at the frontier around the plan.

    board: whose activations and flash count. Raises UsageError, among others for a budget that cannot be had, and
    ModelError; ToolError where the firmware has to be measured and a compiler is missing.
    """
    scored = scored_model(source, progress)
    if board is not None:
        activations = scored.model.request.activations or board.activations
        scored = scored.with_activations(activations)
        if request.fit_flash:
            request = fitted(request, scored.model.opened.need_graph()[1], board, activations, progress)
    found = chooser(scored, request, progress, _folded_of_data(scored))
    return PlannedModel(scored, found.choose(), tuple(found.warnings))


def _folded_of_data(scored: ScoredModel) -> Folded | None:
    """How a build of this data will fold its channels' ranges; None where it leaves the columns of weights alone."""
    request, loaded = scored.model.request, scored.model.opened.loaded
    if loaded is None or request.windows is None:
        return None
    graph = _scaled_graph(scored.model)
    windows = request.windows(graph.forecast, request.horizon).calibration
    if not may_fold_inputs(graph, windows):
        return None
    return on_own_scales(graph, calibrate(graph, windows, request.horizon))[0]


def _scaled_graph(model: Model) -> Graph:
    """The float graph, with the names and physical units of its channels."""
    request, (_, graph) = model.request, model.opened.need_graph()
    output_scaling = units_of_outputs(request.output_scaling, graph.forecast.outputs)
    forecast = replace(graph.forecast, columns=request.columns, scaling=request.scaling, output_scaling=output_scaling)
    return replace(graph, forecast=forecast).check()


@dataclass(frozen=True, eq=False, repr=False)
class QuantizedModel:
    """A model that is planned, quantised and written: all that the C is made from.

    loaded: what was read. graph: float. variants: the integer graphs by name: "mixed" is that of the plan, "int8" and
    "int4" are there where they can be made. flatbuffer: model.tflite. warnings: what the reader should know.
    """

    loaded: LoadedModel
    graph: Graph
    scored: ScoredModel
    plan: Plan
    windows: Windows
    variants: Mapping[str, Graph]
    flatbuffer: bytes
    activations: Activations
    warnings: list[str]

    def __repr__(self) -> str:
        return f"<QuantizedModel {self.graph.name}: {len(self.flatbuffer):,} bytes, {self.activations} activations>"

    @property
    def request(self) -> ModelRequest:
        return self.scored.model.request

    @property
    def integer(self) -> Graph:
        return self.variants["mixed"]

    @property
    def model_hash(self) -> str:
        return tflite_model.model_hash(self.flatbuffer)


def quantize_model(
    source: Source, plan_request: PlanRequest, progress: Progress, board: Board | None = None
) -> QuantizedModel:
    """Read, score, plan and quantise, as far as that is not done yet; for ``board`` where one is given.

    Raises UsageError, ModelError (the input); ToolError (a compiler is missing, which is looked for first).
    """
    if board is not None:
        check_toolchain(board)
    request = source if isinstance(source, ModelRequest) else _model_of(source).request
    activations = request.activations or (DEFAULT_ACTIVATIONS if board is None else board.activations)
    if isinstance(source, ModelRequest):
        source = opened_model(replace(source, activations=activations), progress)
    _model_of(source).opened.need_graph()
    scored = scored_model(source, progress).with_activations(activations)
    model_request = scored.model.request
    loaded, horizon = scored.model.opened.need_graph()[0], model_request.horizon
    graph = _scaled_graph(scored.model)
    if board is not None:
        plan_request = fitted(plan_request, graph, board, activations, progress)
    of_data: list[str] = []
    windows = _windows(model_request, graph, of_data)
    ranges = calibrate(graph, windows.calibration, horizon)
    left_out = ranges.left_out
    folded, stuck = on_own_scales(graph, ranges)
    chosen = chooser(scored, plan_request, progress, folded)
    plan = chosen.plan()
    warnings = [*chosen.warnings, *loaded.notes, *of_data]
    bias_correction = plan.bias_correction
    if folded is not None:
        warnings.append(_fold_note(graph.forecast, folded))
        graph = replace(folded.graph, forecast=graph.forecast.in_units(folded.x, folded.y)).check()
        windows = windows.scaled(folded.x, folded.y)
        assert ranges.kept is not None
        ranges = calibrate(graph, folded.x.scaled(ranges.kept), horizon)
        left_out += ranges.left_out
        bias_correction = folded.shifted(bias_correction)

    progress("quantising", 0, 1)
    if left_out:
        warnings.append(
            f"{left_out} of {len(windows.calibration)} windows say nothing about activation ranges: from them "
            f"the float model itself runs away within {horizon} steps."
        )
    variants = _variants(graph, plan, bias_correction, scored.costs, ranges, activations, warnings)
    mixed = variants["mixed"]
    warnings += _few_codes(mixed, ranges, stuck)
    support.check_graph(mixed, support.RUNTIMES if activations == "int8" else support.RUNTIMES_16X4)
    warnings += support.limits(mixed)
    flatbuffer = tflite_model.write(mixed, _metadata(loaded, plan))
    return QuantizedModel(loaded, graph, scored, plan, windows, variants, flatbuffer, activations, warnings)


def _model_of(source: Model | ScoredModel) -> Model:
    return source.model if isinstance(source, ScoredModel) else source


def _windows(request: ModelRequest, graph: Graph, warnings: list[str]) -> Windows:
    if request.windows is not None:
        cut = request.windows(graph.forecast, request.horizon)
        warnings += cut.warnings
        return replace(cut, facts=(*cut.facts, *request.findings))
    reach = SCHEMES[request.activations or DEFAULT_ACTIVATIONS].headroom
    warnings.append(
        "Activation ranges come from the model's own rollouts, not from data: on real inputs that leave them the "
        "closed loop may saturate (measured on 25 models: typically 3.6 times, at worst 19 times the divergence of "
        "real ranges). Give a CSV with --data."
        if reach == 1
        else "Activation ranges come from the model's own rollouts, not from data: the codes reach "
        f"{reach:g} times as far, and real inputs beyond that saturate. Give a CSV with --data to be sure."
    )
    system = graph_system(graph)
    calibration = zero_data_seeds(system, ZERO_DATA_WINDOWS, request.horizon, request.seed + 1)
    held_out = zero_data_seeds(system, LEAST_WINDOWS, request.horizon, request.seed + 2)
    return Windows(calibration, held_out)


def _fold_note(forecast: Forecast, folded: Folded) -> str:
    names = forecast.columns or tuple(f"channel {channel}" for channel in range(forecast.channels))
    units = [_shown(names, folded.x)]
    if forecast.in_units(folded.x, folded.y).output_scaling is not None:
        units.append(f"of its outputs {_shown(forecast.output_names, folded.y)}")
    return (
        "The ranges of its channels differ more than the codes of one scale could hold: they were folded into the "
        "first and the last weights, and the board scales each channel by itself, which is exact. Figures in the "
        f"model's units are of {'; '.join(filter(None, units))}."
    )


def _few_codes(integer: Graph, ranges: Ranges, stuck: str) -> list[str]:
    """The warning that names each channel whose deviation has few codes, and says what to write; or nothing."""
    forecast, c = integer.forecast, ranges.channels
    if c is None or integer.activations == "int16":
        return []
    names = forecast.columns or tuple(f"channel {channel}" for channel in range(forecast.channels))
    found = few_codes(names, c.x_deviation, c.x_low, c.x_high, float(integer.quant(integer.input).scale[0]))
    if forecast.driven and forecast.task == "forecast":
        step = float(integer.quant(integer.output).scale[0])
        found += few_codes(forecast.output_names, c.y_deviation, c.y_low, c.y_high, step)
    if not found:
        return []
    why = (
        f"They cannot be given scales of their own ({stuck}). Bring them to like ranges under [scaling], put a "
        "Normalization layer first and its inverse, Rescaling, last"
        if stuck
        else "Its scale is what its extremes, or those of its forecasts, need. Clip the data, train on rollouts"
    )
    return [
        f"Fewer than {LEAST_CODES:.0f} codes for a standard deviation of {', '.join(found)}. {why}, or build with "
        "--activations int16."
    ]


def _variants(
    graph: Graph,
    plan: Plan,
    bias_correction: tuple[float, ...],
    costs: Mapping[str, Mapping[int, int]],
    ranges: Ranges,
    activations: Activations,
    warnings: list[str],
) -> dict[str, Graph]:
    """The integer graphs by name; a plan that is uniform, and no more than that, shares its graph with that variant.

    A uniform one that cannot be made, and is not the plan, is left out: it is only shown.
    """
    plain = not plan.bias_correction and all(clip == 1 for clip in plan.clips().values())
    same = [f"int{width}" for width in (8, 4) if plain and set(plan.widths().values()) == {width}]
    corrected = shift_output(graph, bias_correction)
    mixed = quantize(corrected, plan.widths(), ranges, plan.clips(), activations)
    variants = {"mixed": mixed}
    for width in (8, 4):
        name = f"int{width}"
        try:
            variants[name] = (
                mixed if name in same else quantize(graph, dict.fromkeys(costs, width), ranges, activations=activations)
            )
        except ModelError as error:
            warnings.append(not_compared(name, error))
    return variants


def _metadata(loaded: LoadedModel, plan: Plan) -> dict[str, Any]:
    return {
        "source_hash": loaded.source_hash,
        "plan": plan.widths(),
        "generator": f"edge-tqs {__version__}",
    }
