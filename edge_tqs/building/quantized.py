"""The fourth step: integer graphs and the flatbuffer, all that the C is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_tqs import __version__
from edge_tqs.boards.board import Board
from edge_tqs.boards.firmware import check_toolchain
from edge_tqs.building.choose import PlanRequest
from edge_tqs.building.evaluate import not_compared
from edge_tqs.building.opened import Model, opened_model
from edge_tqs.building.request import ModelRequest
from edge_tqs.building.scored import ScoredModel, Source, scored_model
from edge_tqs.building.selection.candidate import Candidate, Selection
from edge_tqs.building.selection.prepared import Prepared, prepare
from edge_tqs.building.selection.search import select
from edge_tqs.building.units import in_words
from edge_tqs.building.windows import Windows
from edge_tqs.errors import ModelError, UsageError
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.flatbuffer.form import FOR_ALL, RUNTIMES, FileForm
from edge_tqs.graph.graph import Forecast, Graph
from edge_tqs.planning.file import Plan, Rounding
from edge_tqs.progress import Progress
from edge_tqs.quantization import support
from edge_tqs.quantization.calibration import Ranges
from edge_tqs.quantization.channel_scales import LEAST_CODES, Folded, few_codes
from edge_tqs.quantization.quantize import SCHEMES, AskedActivations, codes_beside
from edge_tqs.quantization.range_search import Narrowed
from edge_tqs.read.loaded import LoadedModel


@dataclass(frozen=True, eq=False, repr=False)
class QuantizedModel:
    """A model that is planned, quantised and written: all that the C is made from.

    loaded: what was read. graph: float. variants: the integer graphs by name: "mixed" is that of the plan, "int8" and
    "int4" are there where they can be made. flatbuffer: model.tflite, in ``form``. selection: why it is this plan
    beside these activations, and what others were measured to be. warnings: what the reader should know. narrowed:
    ranges of activations that are narrower than what the calibration saw.
    """

    loaded: LoadedModel
    graph: Graph
    scored: ScoredModel
    plan: Plan
    windows: Windows
    variants: Mapping[str, Graph]
    flatbuffer: bytes
    activations: AskedActivations
    selection: Selection
    warnings: list[str]
    narrowed: Narrowed
    form: FileForm = FOR_ALL

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
    source: Source, plan_request: PlanRequest, progress: Progress, board: Board | None = None, form: FileForm = FOR_ALL
) -> QuantizedModel:
    """Read, score, plan and quantise, as far as that is not done yet; for ``board`` where one is given.

    ``form``: for which runtimes the flatbuffer is.

    Raises UsageError, ModelError (the input); ToolError (a compiler is missing, which is looked for first).
    """
    if board is not None:
        check_toolchain(board)
        _check_form(form, board)
    if isinstance(source, ModelRequest):
        source = opened_model(source, progress)
    _model_of(source).opened.need_graph()
    prepared = prepare(scored_model(source, progress))
    selection = select(prepared, plan_request, board, progress, form)
    activations, plan = selection.chosen.activations, selection.chosen.plan
    scored = prepared.scored.with_activations(activations)
    loaded, horizon = scored.model.opened.need_graph()[0], scored.model.request.horizon
    warnings = [*selection.warnings, *loaded.notes, *prepared.warnings]
    doubt = scored.model.twin.doubt
    if plan_request.rounding == "compensated" and plan_request.refine is not None and doubt not in ("", *warnings):
        warnings.append(doubt)
    if scored.model.request.windows is None:
        warnings.append(_made_up(activations))
    if prepared.folded is not None:
        warnings.append(_fold_note(prepared.before, prepared.folded))

    progress("quantising", 0, 1)
    if prepared.left_out:
        warnings.append(
            f"{prepared.left_out} of {len(prepared.windows.calibration)} windows say nothing about activation ranges: "
            f"from them the float model itself runs away within {horizon} steps."
        )
    searched = prepared.ranges_of(plan, activations, progress)
    variants = _variants(prepared, selection.chosen, searched.ranges, warnings)
    mixed = variants["mixed"]
    warnings += _few_codes(mixed, prepared.ranges, prepared.stuck)
    of_each = activations == "int8" or form.runtimes != RUNTIMES  # which were named
    support.check_graph(mixed, form.runtimes if of_each else support.RUNTIMES_16X4)
    warnings += support.limits(mixed, form.runtimes)
    flatbuffer = tflite_model.write(mixed, _metadata(loaded, plan), form)
    return QuantizedModel(
        loaded=loaded,
        graph=prepared.graph,
        scored=scored,
        plan=plan,
        windows=prepared.windows,
        variants=variants,
        flatbuffer=flatbuffer,
        activations=activations,
        selection=selection,
        warnings=warnings,
        narrowed=searched,
        form=form,
    )


def _check_form(form: FileForm, board: Board) -> None:
    if not board.bare_metal and "litert" not in form.runtimes:
        raise UsageError(
            f"the bundle for {board.name} runs model.tflite in LiteRT, which --runtimes leaves out",
            hint=f"Write --runtimes {','.join(('litert', *form.runtimes))}.",
        )


def _model_of(source: Model | ScoredModel) -> Model:
    return source.model if isinstance(source, ScoredModel) else source


def _made_up(activations: AskedActivations) -> str:
    """The warning that ranges are not of data."""
    reach = SCHEMES[codes_beside(activations)].headroom
    return (
        "Activation ranges come from the model's own rollouts, not from data: on real inputs that leave them the "
        "closed loop may saturate (measured on 25 models: typically 3.6 times, at worst 19 times the divergence of "
        "real ranges). Give a CSV with --data."
        if reach == 1
        else "Activation ranges come from the model's own rollouts, not from data: the codes reach "
        f"{reach:g} times as far, and real inputs beyond that saturate. Give a CSV with --data to be sure."
    )


def _fold_note(forecast: Forecast, folded: Folded) -> str:
    names = forecast.columns or tuple(f"channel {channel}" for channel in range(forecast.channels))
    units, of_outputs = [in_words(names, folded.x)], in_words(forecast.output_names, folded.y)
    if forecast.in_units(folded.x, folded.y).output_scaling is not None and of_outputs:
        units.append(f"of its outputs {of_outputs}")
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
    found = few_codes(
        names, c.x_deviation, c.x_low, c.x_high, float(integer.quant(integer.input).scale[0]), forecast.whole
    )
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
    prepared: Prepared,
    chosen: Candidate,
    ranges: Ranges,
    warnings: list[str],
) -> dict[str, Graph]:
    """The integer graphs by name; a plan that is uniform, and no more than that, shares its graph with that variant.

    A uniform one that cannot be made, and is not the plan, is left out: it is only shown. It is compensated where the
    plan is, unmeasured.
    """
    plan = chosen.plan
    asked = plan.evidence is not None and plan.evidence.method == "uniform"
    plain = asked or (not plan.bias_correction and {t.rounded for t in plan.tensors} <= {Rounding(8), Rounding(4)})
    same = [f"int{width}" for width in (8, 4) if plain and set(plan.widths().values()) == {width}]
    variants = {"mixed": chosen.integer}
    for width in (8, 4):
        name = f"int{width}"
        try:
            if name in same:
                variants[name] = chosen.integer
            else:
                variants[name] = prepared.uniform(width, plan, ranges, chosen.activations)
        except ModelError as error:
            warnings.append(not_compared(name, error))
    return variants


def _metadata(loaded: LoadedModel, plan: Plan) -> dict[str, Any]:
    return {
        "source_hash": loaded.source_hash,
        "plan": plan.widths(),
        "generator": f"edge-tqs {__version__}",
    }
