"""From a model file to all that the C is made from: read, scored, planned, quantised, written as a flatbuffer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from edge_tqs import __version__
from edge_tqs.boards.board import Board
from edge_tqs.boards.firmware import check_toolchain
from edge_tqs.building.choose import Chooser, PlanRequest
from edge_tqs.building.flash_room import code_room
from edge_tqs.errors import UsageError
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.graph.graph import Array, Centre, Forecast, Graph, Scaling, Target
from edge_tqs.passes.output_bias import shift_output
from edge_tqs.planning.plan import Plan
from edge_tqs.planning.refine import SEEDS as REFINE_SEEDS
from edge_tqs.planning.score import SEEDS, Sensitivity, score
from edge_tqs.progress import Progress
from edge_tqs.quantization import support
from edge_tqs.quantization.calibration import Ranges, calibrate
from edge_tqs.quantization.quantize import SCHEMES, Activations, quantize
from edge_tqs.quantization.sizes import estimated_bytes, weight_bytes
from edge_tqs.read.loaded import LoadedModel
from edge_tqs.read.opening import Opened, open_model
from edge_tqs.system.of_graph import graph_system
from edge_tqs.system.seeds import zero_data_seeds

#: Windows of the training part that activation ranges come from, at most; and windows that are saved for validation and
#: that the host's figures come from.
CALIBRATION_WINDOWS = 256
EVALUATION_WINDOWS = 16
#: Windows for activation ranges where there is no data.
ZERO_DATA_WINDOWS = 16


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows in the model's units with what followed: calibration and evaluation, (N, W + T, F) each.

    Made without data, they hold no more than a rollout reads: (N, W, F) where nothing is known ahead.
    """

    calibration: Array
    evaluation: Array


@dataclass(frozen=True)
class ModelRequest:
    """What is needed to read and score a model.

    feedback: which output channel becomes each input channel, None for one known ahead; None altogether: in order.
    windows: called with (window, horizon) once the model is read; None when there is no data. training: called with
    (window, horizon, count), training windows with what followed them, (count, W + T, F). real_seeds: score from these
    instead of zero-data seeds. workers: processes that score. cache: folder where scores are kept; None keeps nothing.
    activations: None takes the board's, and int8 where there is no board. custom_objects: module:name of each class or
    function of the user's own in the model. output: which of the model's outputs is the forecast, where it has several.
    target, centre: what the model predicts, and what is taken off its window (passes/level.py).
    """

    model: Path
    horizon: int = 96
    window: int | None = None
    recurrence: Literal["auto", "windowed", "stateful"] = "auto"
    columns: tuple[str, ...] = ()
    scaling: Scaling | None = None
    windows: Callable[[int, int], Windows] | None = None
    draws: int = 16
    seed: int = 0
    feedback: tuple[int | None, ...] | None = None
    training: Callable[[int, int, int], Array] | None = None
    real_seeds: bool = False
    workers: int = 1
    cache: Path | None = None
    activations: Activations | None = None
    steps: int | None = None
    custom_objects: tuple[str, ...] = ()
    output: str | None = None
    target: Target = "level"
    centre: Centre = "none"

    @property
    def variant(self) -> str:
        """What makes another system of the same file; empty where all of it is left to the model."""
        chosen: dict[str, Any] = {"output": self.output, "feedback": self.feedback, "steps": self.steps}
        if self.recurrence != "auto":
            chosen["recurrence"] = self.recurrence
        if self.target != "level":
            chosen["target"] = self.target
        if self.centre != "none":
            chosen["centre"] = self.centre
        return ", ".join(f"{key} {value}" for key, value in chosen.items() if value is not None)


@dataclass(frozen=True, eq=False)
class Scored:
    """A model that was opened and scored.

    costs: bytes by weight and width. seeds: real windows that plans are refined on; None for zero-data ones.
    """

    opened: Opened
    sensitivity: Sensitivity
    costs: Mapping[str, Mapping[int, int]]
    seeds: Array | None = None


def open_requested(request: ModelRequest, progress: Progress) -> Opened:
    """Open the model and compare it with its graph. Raises ModelError, CheckError, UsageError."""
    progress("reading the model", 0, 1)
    opened = open_model(
        request.model,
        recurrence=request.recurrence,
        window=request.window,
        feedback=request.feedback,
        steps=request.steps,
        custom=request.custom_objects,
        output=request.output,
        target=request.target,
        centre=request.centre,
    )
    channels = opened.system.channels
    for what, values in (("columns", request.columns), ("scaling", request.scaling and request.scaling.mean)):
        if values and len(values) != channels:
            raise UsageError(
                f"{request.model} has {channels} channels, the project names {len(values)} {what}",
                hint="Name one column for each input of the model, in its order, in edge-tqs.toml.",
            )
    return opened


def score_model(opened: Opened, request: ModelRequest, progress: Progress) -> Scored:
    """Score the weights of an opened model. Raises UsageError."""
    system = opened.system

    def real(count: int) -> Array | None:
        if not request.real_seeds:
            return None
        if request.training is None:
            raise UsageError("There is no data to take real seeds from", hint="Give a CSV with --data.")
        return request.training(system.window, request.horizon, count)[:, : system.seed_length(request.horizon)]

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
    activations = request.activations or "int8"
    costs = weight_bytes(opened.loaded.graph, activations) if opened.loaded else estimated_bytes(system)
    return Scored(opened, sensitivity, costs, real(REFINE_SEEDS))


def chooser(scored: Scored, request: PlanRequest, progress: Progress | None = None) -> Chooser:
    """What finds the plan that ``request`` asks for, and the frontier around it."""
    return Chooser(scored.opened.system, scored.sensitivity, scored.costs, request, progress, scored.seeds)


def fitted(
    request: PlanRequest, graph: Graph, board: Board, activations: Activations, progress: Progress
) -> PlanRequest:
    """``request``, with what the board's flash leaves for the codes of the weights where that is asked for."""
    if not request.fit_flash:
        return request
    progress("measuring the firmware", 0, 1)
    return replace(request, code_bytes=code_room(graph, board, activations))


@dataclass(frozen=True, eq=False)
class Prepared:
    """A model that is planned, quantised and written: all that the C is made from.


    graph: float. variants: the integer graphs by name. model: the flatbuffer. warnings: what the reader should know.
    """

    loaded: LoadedModel
    graph: Graph
    scored: Scored
    plan: Plan
    windows: Windows
    variants: Mapping[str, Graph]
    model: bytes
    activations: Activations
    warnings: list[str]

    @property
    def integer(self) -> Graph:
        return self.variants["mixed"]

    @property
    def model_hash(self) -> str:
        return tflite_model.model_hash(self.model)


def prepare(model_request: ModelRequest, plan_request: PlanRequest, board: Board, progress: Progress) -> Prepared:
    """Read, score, plan and quantise. Raises UsageError, ModelError (the input); ToolError (a compiler is missing)."""
    check_toolchain(board)
    activations = model_request.activations or board.activations
    model_request = replace(model_request, activations=activations)
    opened = open_requested(model_request, progress)
    loaded, graph = opened.need_graph()
    scored = score_model(opened, model_request, progress)
    forecast = replace(graph.forecast, columns=model_request.columns, scaling=model_request.scaling)
    graph, horizon = replace(graph, forecast=forecast).check(), model_request.horizon
    chosen = chooser(scored, fitted(plan_request, graph, board, activations, progress), progress)
    plan = chosen.plan()
    warnings = [*chosen.warnings, *loaded.notes, *_assumed(model_request, forecast)]
    windows = _windows(model_request, graph, warnings)

    progress("quantising", 0, 1)
    ranges = calibrate(graph, windows.calibration[:, : forecast.seed_length(horizon)], horizon)
    if ranges.left_out:
        warnings.append(
            f"{ranges.left_out} of {len(windows.calibration)} windows say nothing about activation ranges: from them "
            f"the float model itself runs away within {horizon} steps."
        )
    variants = _variants(graph, plan, scored.costs, ranges, activations)
    mixed = variants["mixed"]
    support.check_graph(mixed, support.RUNTIMES if activations == "int8" else support.RUNTIMES_16X4)
    warnings += support.limits(mixed)
    model = tflite_model.write(mixed, _metadata(loaded, plan))
    return Prepared(loaded, graph, scored, plan, windows, variants, model, activations, warnings)


def _windows(request: ModelRequest, graph: Graph, warnings: list[str]) -> Windows:
    if request.windows is not None:
        return request.windows(graph.forecast.window, request.horizon)
    reach = SCHEMES[request.activations or "int8"].headroom
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
    held_out = zero_data_seeds(system, EVALUATION_WINDOWS, request.horizon, request.seed + 2)
    return Windows(calibration, held_out)


def _assumed(request: ModelRequest, forecast: Forecast) -> list[str]:
    """What is known ahead where nobody has said it."""
    if request.feedback is not None or not forecast.exogenous:
        return []
    names = ", ".join(forecast.columns[i] if forecast.columns else str(i) for i in forecast.exogenous)
    return [
        f"The model predicts {forecast.outputs} of its {forecast.channels} inputs: the first ones are taken to be fed "
        f"back, and {names} to be known ahead. Say it with outputs under [data], or --exogenous, if it is otherwise."
    ]


def _variants(
    graph: Graph, plan: Plan, costs: Mapping[str, Mapping[int, int]], ranges: Ranges, activations: Activations
) -> dict[str, Graph]:
    """The integer graphs by name; a plan that is uniform, and no more than that, shares its graph with that variant."""
    variants = {
        f"int{width}": quantize(graph, dict.fromkeys(costs, width), ranges, activations=activations) for width in (8, 4)
    }
    plain = not plan.bias_correction and all(clip == 1 for clip in plan.clips().values())
    same = [f"int{width}" for width in (8, 4) if plain and set(plan.widths().values()) == {width}]
    corrected = shift_output(graph, plan.bias_correction)
    mixed = variants[same[0]] if same else quantize(corrected, plan.widths(), ranges, plan.clips(), activations)
    return variants | {"mixed": mixed}


def _metadata(loaded: LoadedModel, plan: Plan) -> dict[str, Any]:
    return {
        "source_hash": loaded.source_hash,
        "plan": plan.widths(),
        "generator": f"edge-tqs {__version__}",
    }
