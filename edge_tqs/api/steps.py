"""From a model file to a build directory, a function per step.

Each takes what the step before it returned, or anything earlier: what was left out is done first, with its defaults.
``progress(stage, done, total)`` is called as often as convenient; `edge_tqs.progress.show` makes one that prints.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Unpack

from edge_tqs.api.arguments import StrPath, all_but, silent
from edge_tqs.api.request import PlanSettings, Recurrence, bare_project, model_request, plan_request
from edge_tqs.api.threads import single_threaded
from edge_tqs.boards.board import Board, load_board
from edge_tqs.building.build import build as build_from_source
from edge_tqs.building.build import build_quantized
from edge_tqs.building.choose import PlanRequest
from edge_tqs.building.dry_run import Prediction
from edge_tqs.building.dry_run import dry_run as predict
from edge_tqs.building.folder.directory import BuildDir, load
from edge_tqs.building.folder.reserved import reserved
from edge_tqs.building.opened import Model, opened_model
from edge_tqs.building.planned import PlannedModel, plan_model
from edge_tqs.building.quantized import QuantizedModel, quantize_model
from edge_tqs.building.request import ModelRequest
from edge_tqs.building.scored import ScoredModel, score_model
from edge_tqs.building.start import classified, find_start
from edge_tqs.errors import UsageError
from edge_tqs.flatbuffer.form import FOR_ALL, RUNTIMES, FileForm
from edge_tqs.graph.graph import Centre, Scaling, Target
from edge_tqs.planning.divergence import default_root
from edge_tqs.planning.plan import Plan
from edge_tqs.progress import Progress
from edge_tqs.project.file import FILE, DataSettings, Start, init_project, load_project
from edge_tqs.project.scales import METHODS, Method
from edge_tqs.project.series import AS_FOUND, read_series
from edge_tqs.project.series_format import SeriesFormat
from edge_tqs.quantization.quantize import AskedActivations
from edge_tqs.quantization.range_search import RangeMethod
from edge_tqs.system.reading import AskedKind

#: A model file or project, or what was made of one so far.
Source = StrPath | ModelRequest | Model | ScoredModel


@single_threaded
def open_model(
    path: StrPath,
    *,
    data: StrPath | None = None,
    series_format: SeriesFormat = AS_FOUND,
    columns: Sequence[str] = (),
    scaling: Scaling | Method | None = None,
    output_scaling: Scaling | Method | None = None,
    horizon: int | None = None,
    window: int | None = None,
    recurrence: Recurrence | None = None,
    steps: int | None = None,
    output: str | None = None,
    target: Target | None = None,
    centre: Centre | None = None,
    kind: AskedKind | None = None,
    lead: int | None = None,
    labels: Literal["wide"] | None = None,
    targets: Sequence[str] = (),
    known_ahead: Sequence[str] = (),
    measured: Sequence[str] = (),
    static: Sequence[str] = (),
    activations: AskedActivations | None = None,
    ranges: RangeMethod | None = None,
    custom_objects: Sequence[str] = (),
    progress: Progress = silent,
) -> Model:
    """Open a model, and compare the graph that is made of it with the model.

    Args:
        path: A .keras or .tflite file, what else `edge-tqs build` reads, or a project: edge-tqs.toml or its folder.
            What is given here counts over what the project says.
        data: CSV that activation ranges, evaluation and validation take real windows from.
        series_format: How ``data`` is read, where its file leaves it open; over what a project says (docs/data.md).
        columns: Those of ``data`` that the model takes, in its order; all numeric ones when none is named.
        scaling: From ``data`` to the model's units: "standard" (mean and deviation of the training part),
            "minmax" (its least value is 0, its greatest 1), "none", or the scaling that the model was trained with;
            found out from the data where it is not said.
        output_scaling: Likewise of ``targets`` that are no inputs; others have the scaling of their input.
        horizon: Closed-loop steps that count, 1 to 65535; 96 unless said otherwise.
        window: Samples that the model looks at, where the model leaves it open.
        recurrence: "windowed" as Keras computes a recurrent model, "stateful" to carry its states on, or "auto".
        steps: Samples that a call predicts, where the output is flat.
        output: The output that is the forecast, where the model has several.
        target: "level", or "delta" where the model predicts differences to the last sample.
        centre: "none", "mean" or "last": what is taken off each window and added to its forecast.
        kind: What the outputs are, where it can be read in several ways: "closed loop", "direct", "driven" (direct, of
            now), "reconstruction" or "classes" (docs/kinds.md).
        lead: Samples from the newest input to the first that is predicted: 1 is the next one, 0 the newest itself.
        labels: "wide" where the model gives a label for each sample of its window: the last one is the forecast.
        targets: Columns that the model predicts, in the order of its values; inputs of it or not.
        known_ahead: Inputs (names, or numbers as text) that are known ahead.
        measured: Inputs that are measured and not predicted: beyond the last sample they are held.
        static: Inputs that never change.
        activations: "int8" or "int16"; None takes the board's, and int8 where there is no board.
        ranges: Of int8 activations: "measured" narrows those with which rollouts of training windows, or of some made
            without data, are nearer to float; "minmax" leaves all that was seen, as None does where there is no data.
        custom_objects: module:name of each class or function of your own that the model holds.

    Raises:
        UsageError: A keyword does not suit the model; the data or the project is wrong.
        ModelError: The file is no model, or cannot be rolled out.
        CheckError: The graph computes something else than the model.
        ToolError: TensorFlow (Keras files) or LiteRT (.tflite) is not installed.
    """
    request = _read_request(path, **all_but(locals(), "path", "progress"))
    return opened_model(request, progress)


@single_threaded
def score(
    source: Source,
    *,
    horizon: int | None = None,
    draws: int | None = None,
    seed: int | None = None,
    seeds: Literal["zero-data", "data"] | None = None,
    workers: int | None = None,
    cache: bool | None = None,
    progress: Progress = silent,
) -> ScoredModel:
    """Score each weight by how the closed-loop rollout reacts to noise in it (TQS).

    Args:
        source: What is scored; a model that is scored already is scored anew.
        horizon: Steps of a rollout, over what `open_model` was told.
        draws: Noise draws per weight, at least 2; 16 unless said otherwise.
        seed: Seed of every random draw; 0 unless said otherwise.
        seeds: "data" starts rollouts from training windows of the data; "zero-data", the default, needs none. A
            plan is measured on the same; beside "zero-data", where there is data and rounding is compensated, on half
            of each.
        workers: Processes that score. A script that asks for several needs `if __name__ == "__main__":`.
        cache: Whether scores are kept in the user's cache folder, by model and settings; the default is True.

    Raises UsageError for a number out of range or where there is no data to take seeds from; else as `open_model`.
    """
    source = _begun(source)
    if isinstance(source, ScoredModel):
        source = source.model
    model = opened_model(source, progress)
    given: dict[str, Any] = {"horizon": horizon, "draws": draws, "seed": seed, "workers": workers}
    if seeds is not None:
        given["real_seeds"] = seeds == "data"
    request = replace(model.request, **{name: value for name, value in given.items() if value is not None})
    if cache is not None:
        request = replace(request, cache=default_root() if cache else None)
    return score_model(replace(model, request=request), progress)


@single_threaded
def plan(
    source: Source,
    *,
    budget: int | str | None = None,
    bits: Literal[8, 4] | None = None,
    mean_bits: float | None = None,
    max_divergence: float | None = None,
    tolerance: float | str | None = None,
    pins: Mapping[str, int] | None = None,
    refine: bool = True,
    without: Sequence[str] = (),
    rounding: Literal["compensated", "nearest"] = "compensated",
    latency: float | str | None = None,
    board: str | os.PathLike[str] | Board | None = None,
    progress: Progress = silent,
) -> PlannedModel:
    """Choose int8 or int4 for each weight, and look at the frontier around the choice.

    At most one of the first five is given. With none the budget is that of the project, else accuracy decides: the
    plan is the one that `build` takes. A model that cannot be built gets half of the bytes between all-int4 and
    all-int8.

    Args:
        source: What is planned.
        budget: Bytes for all weights: 24576, "24KB"; "flash", what the board has room for; "none", over a project's.
        bits: One width for all weights.
        mean_bits: Most bits for a weight on average, 4 to 8.
        max_divergence: The smallest plan whose measured divergence (RMSE, the model's units) is within this.
        tolerance: The smallest that adds at most this share to float's error, "2%" or 0.02, measured on training
            windows; without data to the float rollouts' variance.
        pins: Widths by weight that are not up for choice.
        refine: Whether rounding is measured and the best plans are verified.
        without: Parts of the refinement to leave out: "gram", "clip", "verify", "bias-correction", "candidates".
        rounding: Whether the errors of a row are made to cancel, or each weight is rounded to the nearest code.
        latency: The longest that an evaluation may be modelled to take on ``board``, "5ms" or 5, in milliseconds.
        board: Whose flash, RAM, runtimes, activations and time count.

    Raises UsageError for keywords that exclude each other and for what cannot be had; else as `score`.
    """
    asked = all_but(locals(), "source", "board", "progress")
    begun = _begun(source)
    request = plan_request(_request_of(begun).plan, **asked)
    if request.fit_flash and board is None:
        raise UsageError("--budget flash needs a board", hint="Name it with --board; `edge-tqs boards` lists them.")
    return plan_model(begun, request, progress, None if board is None else _board(board))


@single_threaded
def quantize(
    source: Source | PlannedModel,
    *,
    plan: Plan | StrPath | None = None,
    activations: AskedActivations | None = None,
    runtimes: Sequence[str] = RUNTIMES,
    strip: bool = False,
    progress: Progress = silent,
    **planning: Unpack[PlanSettings],
) -> QuantizedModel:
    """Quantise a model to integer graphs and the flatbuffer of the plan.

    Args:
        source: What is quantised.
        plan: The width of each weight, or a file that `edge-tqs plan` wrote; over what ``source`` holds.
        activations: "int8" or "int16", over what `open_model` was told.
        runtimes: Those that are to run the flatbuffer, of "litert", "tflite-runtime", "tflm" and "c": one that would
            refuse it is an error, and what only others need is left out.
        strip: Leave out the names of tensors and weights.
        planning: As `plan` takes it (board apart), where neither ``source`` nor ``plan`` has a plan.

    Raises ModelError where the model can only be scored and planned; else as `plan`.
    """
    source, request = _planned(source, plan, planning)
    if activations is not None:
        source = _with_activations(source, activations)
    return quantize_model(source, request, progress, form=FileForm(tuple(runtimes), strip))


@single_threaded
def build(
    source: Source | PlannedModel | QuantizedModel,
    *,
    board: str | os.PathLike[str] | Board,
    out: StrPath | None = None,
    plan: Plan | StrPath | None = None,
    probe: bool = False,
    force: bool = False,
    runtimes: Sequence[str] = RUNTIMES,
    strip: bool = False,
    progress: Progress = silent,
    **planning: Unpack[PlanSettings],
) -> BuildDir:
    """Build a model for a board: flatbuffer, C, firmware, and the report with what was measured on this host.

    Args:
        source: What is built.
        board: A name of `list_boards`, a board file, or a board.
        out: The directory to write; build/BOARD unless said otherwise.
        plan: As in `quantize`.
        probe: Firmware that also tells what each operator computes, for `validate`.
        force: Build even where the quantised model is no longer the float one: its error beyond the deviation of the
            float forecast, or more than a few percent of its codes saturated (`validate` does not pass such a build);
            or where by its data the model is another thing than was said.
        runtimes, strip: As in `quantize`. The bundle for a Linux board needs "litert".
        planning: As in `quantize`; "flash" as budget is what ``board`` has room for.

    Raises ToolError where a compiler is missing; CheckError where the flatbuffer computes something else in
    tflite-micro and, without ``force``, where the quantised model is no longer the float one, or by its data
    another thing than was said; UsageError where the image does not fit; else as `quantize`.
    """
    target = _board(board)
    directory = Path("build") / target.name if out is None else Path(out)
    form = FileForm(tuple(runtimes), strip)
    with reserved(directory):
        if isinstance(source, QuantizedModel):
            if plan is not None or planning or form != FOR_ALL:
                raise UsageError(
                    "the model is quantised, its plan settled", hint="Leave the plan out, or quantise anew."
                )
            build_quantized(source, target, directory, progress, probe=probe, force=force)
        else:
            begun, request = _planned(source, plan, planning)
            build_from_source(begun, request, target, directory, progress, probe=probe, force=force, form=form)
    return load(directory)


@single_threaded
def dry_run(
    source: Source | PlannedModel,
    *,
    board: str | os.PathLike[str] | Board,
    plan: Plan | StrPath | None = None,
    runtimes: Sequence[str] = RUNTIMES,
    strip: bool = False,
    progress: Progress = silent,
    **planning: Unpack[PlanSettings],
) -> Prediction:
    """Flash, RAM and stack that `build` with the same keywords would take; nothing is written. Raises as `build`."""
    target = _board(board)
    begun, request = _planned(source, plan, planning)
    return predict(begun, request, target, progress, FileForm(tuple(runtimes), strip))


@single_threaded
def init(
    directory: StrPath = ".",
    *,
    model: StrPath | None = None,
    data: StrPath | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Write a commented edge-tqs.toml, with what model and data tell: columns, outputs, scaling. Returns its path.

    Args:
        directory: Where it is written; its only model and CSV are taken where none is named.
        model: The model file.
        data: The CSV that it was trained on.
        say: Is told what was found, in sentences.

    Raises UsageError where there is one already, or where it is not clear which model is meant.
    """
    model_file, csv = (None if path is None else Path(path) for path in (model, data))
    if model_file is not None and not model_file.exists():
        raise UsageError(f"{model_file} does not exist", hint="Check the path of the model file.")
    return init_project(Path(directory), model_file, csv, say, _found)


def _found(model: Path, data: Path) -> Start:
    """What the data tell of the model; where they do not, the reason."""

    def asked() -> Iterator[ModelRequest]:
        bare = bare_project(model, data)
        yield model_request(model, None, data=data)
        for label in classified(read_series(data)):
            labelled = replace(bare, data=DataSettings(csv=(data,), label=label))
            yield model_request(None, labelled)
            for method in METHODS:
                yield model_request(None, labelled, scaling=method)
        yield model_request(model, None, data=data, target="delta")

    return find_start(asked())


def _read_request(path: StrPath, **settings: Any) -> ModelRequest:
    """The request for a model file, or for the project at ``path``."""
    file = Path(path)
    project_file = file if file.name == FILE else file / FILE
    project = load_project(project_file) if file.name == FILE or project_file.is_file() else None
    return model_request(None if project else file, project, **settings)


def _begun(source: Source) -> ModelRequest | Model | ScoredModel:
    return source if isinstance(source, ModelRequest | Model | ScoredModel) else _read_request(source)


def _request_of(source: ModelRequest | Model | ScoredModel) -> ModelRequest:
    if isinstance(source, ModelRequest):
        return source
    return source.request if isinstance(source, Model) else source.model.request


def _planned(
    source: Source | PlannedModel, plan: Plan | StrPath | None, planning: PlanSettings
) -> tuple[ModelRequest | Model | ScoredModel, PlanRequest]:
    """What the planning starts from, and what is asked of it."""
    if isinstance(source, PlannedModel):
        if plan is None and planning:
            raise UsageError("the model is planned already", hint=f"Leave {', '.join(planning)} out, or plan anew.")
        plan, source = source.plan if plan is None else plan, source.scored
    begun = _begun(source)
    given = plan if plan is None or isinstance(plan, Plan) else Path(plan)
    return begun, plan_request(_request_of(begun).plan, plan=given, **planning)


def _with_activations(
    source: ModelRequest | Model | ScoredModel, activations: AskedActivations
) -> ModelRequest | Model | ScoredModel:
    if isinstance(source, ScoredModel):
        return source.with_activations(activations)
    if isinstance(source, Model):
        return replace(source, request=replace(source.request, activations=activations))
    return replace(source, activations=activations)


def _board(board: str | os.PathLike[str] | Board) -> Board:
    if isinstance(board, Board):
        return board
    return load_board(board if isinstance(board, str) else Path(board))
