"""How a model is rolled out, what of it is fed back, and what can be built of it: the facts, and their text.

Nothing is scored. What runs where is read off graphs that are quantised with ranges of [-1, 1]: widths and operators
decide it, ranges do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from edge_tqs.building.basis import Basis, bases
from edge_tqs.building.opened import opened_model
from edge_tqs.building.request import ModelRequest
from edge_tqs.errors import CheckError, ModelError, TqsError
from edge_tqs.flatbuffer.form import RUNTIMES
from edge_tqs.graph.graph import Centre, Graph, Recurrence, Scaling, Target
from edge_tqs.passes.streaming import stream
from edge_tqs.progress import Progress
from edge_tqs.project.later import later
from edge_tqs.quantization import support
from edge_tqs.quantization.calibration import nominal_ranges
from edge_tqs.quantization.quantize import Activations, quantize
from edge_tqs.quantization.sizes import estimated_bytes, weight_bytes
from edge_tqs.read.loaded import LoadedModel
from edge_tqs.read.opening import TFLITE_SUFFIX, Opened
from edge_tqs.system.system import System
from edge_tqs.text_table import table

Format = Literal["Keras", "TensorFlow Lite"]
#: What is shown: name -> (width of all weights, activations).
FORMS: dict[str, tuple[int, Activations]] = {"int8": (8, "int8"), "int4": (4, "int8"), "16x8": (8, "int16")}


@dataclass(frozen=True)
class Channel:
    """An input channel. name: its column, "" where none is known. source: the output that becomes it; None: there is
    none."""

    number: int
    name: str
    source: int | None


@dataclass(frozen=True)
class WeightSize:
    """A weight that is scored and planned: the shape it has in what is run, and its bytes at each width."""

    name: str
    shape: tuple[int, ...]
    int8_bytes: int
    int4_bytes: int


@dataclass(frozen=True)
class Form:
    """One kind of codes. runtimes: those of RUNTIMES that run the whole model. reasons: why others do not."""

    name: str
    runtimes: tuple[str, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Streaming:
    """Whether a step with delay lines can stand for the whole window. receptive_field: samples that a forecast depends
    on; None where it cannot, ``reason`` then says why not."""

    receptive_field: int | None
    reason: str


@dataclass(frozen=True)
class Behaviour:
    """How the model is rolled out.

    window: samples it looks at (W). outputs: values in a predicted sample. steps: samples an evaluation predicts (H).
    inputs: channels of each of the model's inputs, which lie side by side in the window. graph_input, graph_output:
    shapes of what is run; empty for a model that cannot be built. recurrence: None likewise. streaming: of a graph of
    the whole window without recurrent layers; None elsewhere. scaling: given, or None. target, centre: see
    passes/level.py. bases: what was said, found and assumed. findings: what the data told of it, in sentences.
    doubts: what in it contradicts what was said; refuted: those for which `build` asks for --force. held: inputs that
    are measured, or static; static: those that never change. driven: nothing is fed back. predicted: labels of the
    outputs, where they are said.
    """

    window: int
    outputs: int
    steps: int
    channels: tuple[Channel, ...]
    inputs: tuple[int, ...]
    graph_input: tuple[int, ...]
    graph_output: tuple[int, ...]
    recurrence: Recurrence | None
    reason: str
    streaming: Streaming | None
    scaling: Scaling | None
    target: Target
    centre: Centre
    bases: tuple[Basis, ...] = ()
    findings: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    refuted: tuple[str, ...] = ()
    held: tuple[int, ...] = ()
    static: tuple[int, ...] = ()
    driven: bool = False
    predicted: tuple[str, ...] = ()

    @property
    def exogenous(self) -> tuple[Channel, ...]:
        return tuple(c for c in self.channels if c.source is None and not self.driven and c.number not in self.held)


@dataclass(frozen=True)
class Inspection:
    """What `inspect` says of a model.

    behaviour: None for a model that cannot even be scored. sizes: "measured" on flatbuffers, or "estimated". refusal,
    hint: why it cannot be built; "" where it can. layers: one line each.
    """

    model: str
    format: Format
    parameters: int | None
    layers: tuple[str, ...]
    behaviour: Behaviour | None
    weights: tuple[WeightSize, ...]
    sizes: Literal["measured", "estimated"]
    forms: tuple[Form, ...]
    refusal: str
    hint: str
    notes: tuple[str, ...]

    @property
    def can_be_built(self) -> bool:
        return not self.refusal

    @property
    def can_be_scored(self) -> bool:
        return self.behaviour is not None

    def to_body(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return asdict(self) | {"can_be_built": self.can_be_built, "can_be_scored": self.can_be_scored}


def inspect_model(request: ModelRequest, progress: Progress) -> Inspection:
    """Open the model that is asked for and say what becomes of it.

    A model that cannot be opened gives an Inspection with the reason. Raises ModelError for a file that is not there,
    UsageError for options that the model does not have, ToolError where TensorFlow or LiteRT is missing.
    """
    kind: Format = "TensorFlow Lite" if request.model.suffix == TFLITE_SUFFIX else "Keras"
    try:
        model = opened_model(request, progress)
    except (ModelError, CheckError) as error:
        if not request.model.exists():
            raise
        name, why = request.model.name, error.message
        return Inspection(name, kind, None, (), None, (), "estimated", (), why, error.hint, ())
    request, opened = model.request, model.opened
    loaded, refusal = opened.loaded, opened.refusal
    progress("measuring the weights", 0, 1)
    weights, sizes = _weights(opened)
    forms = tuple(_form(loaded.graph, name) for name in FORMS) if loaded else ()
    why, hint = (refusal.message, refusal.hint) if refusal else _unbuildable(forms)
    return Inspection(
        model=request.model.name,
        format=kind,
        parameters=loaded.parameters if loaded else None,
        layers=loaded.layers if loaded else (),
        behaviour=_behaviour(opened, request, kind),
        weights=weights,
        sizes=sizes,
        forms=forms,
        refusal=why,
        hint=hint,
        notes=loaded.notes if loaded else (),
    )


def _behaviour(opened: Opened, request: ModelRequest, kind: Format) -> Behaviour:
    system, loaded = opened.system, opened.loaded
    columns = request.columns or ("",) * system.channels
    graph = loaded.graph if loaded else None
    return Behaviour(
        window=system.window,
        outputs=system.outputs,
        steps=system.steps,
        channels=tuple(Channel(i, columns[i], source) for i, source in enumerate(system.feedback)),
        inputs=(loaded.inputs if loaded else ()) or (system.channels,),
        graph_input=graph.tensors[graph.input].shape if graph else (),
        graph_output=graph.tensors[graph.output].shape if graph else (),
        recurrence=graph.forecast.recurrence if graph else None,
        reason=_reason(loaded, request, kind, system.window),
        streaming=_streaming(loaded, kind, request.centre) if loaded else None,
        scaling=request.scaling,
        bases=bases(request, system),
        findings=request.findings,
        doubts=request.doubts,
        refuted=request.refuted,
        held=system.reading.held,
        static=_static(request, system),
        driven=system.driven,
        predicted=tuple(output.label for output in system.reading.predicted),
        target=request.target,
        centre=request.centre,
    )


def _static(request: ModelRequest, system: System) -> tuple[int, ...]:
    """The inputs that never change: as was said, and those that the model itself reads once, which are held."""
    named = [number for number, name in enumerate(request.columns) if name in request.roles.static]
    by_model = {*system.reading.held} - {*request.said.held}
    return tuple(sorted({*named, *request.said.static, *by_model}))


def _reason(loaded: LoadedModel | None, request: ModelRequest, kind: Format, window: int) -> str:
    if loaded is None:
        runner = "LiteRT" if kind == "TensorFlow Lite" else "TensorFlow"
        return f"scored as it is, in {runner}: the model is called with its whole window of {window} samples each time."
    recurrence = loaded.graph.forecast.recurrence
    if recurrence == "windowed" and kind == "TensorFlow Lite":
        return (
            f"the file applies one recurrent cell to each of the {window} samples: it is built as a step, which starts "
            "from zero states and runs over the latest samples, one after the other."
        )
    if recurrence == "windowed":
        why = "asked for" if request.recurrence == "windowed" else "its recurrent layers are not stateful in Keras"
        return (
            f"{why}: each evaluation starts from zero states and runs over the {window} latest samples, one after the "
            "other. `--recurrence stateful` would carry the states on instead: one run a step, and other numbers."
        )
    if recurrence == "stateful" and loaded.whole is not None:
        return (
            "asked for: the model has no recurrent layers, and is streamed. Delay lines hold the past samples that its "
            "convolutions read, so each sample costs one run, whatever the window."
        )
    if recurrence == "stateful":
        why = "asked for" if request.recurrence == "stateful" else "its recurrent layers are stateful in Keras"
        return f"{why}: the states are carried on from sample to sample and never reset within a rollout."
    if loaded.unrolled_by:
        return (
            f"layer {loaded.unrolled_by} keeps it from being computed one sample after the other: its recurrent layers "
            f"are unrolled over the {window} samples of the window."
        )
    if kind == "TensorFlow Lite":
        return f"a TensorFlow Lite file takes its whole window of {window} samples and keeps no state."
    return f"it has no recurrent layers: each evaluation looks at the {window} latest samples at once."


def _streaming(loaded: LoadedModel, kind: Format, centre: Centre) -> Streaming | None:
    if kind == "TensorFlow Lite":
        if loaded.graph.states:
            return None
        return Streaming(None, "a TensorFlow Lite file is computed over its whole window; give the .keras file.")
    if loaded.whole is None or loaded.unrolled_by:
        return None
    if centre != "none":
        return Streaming(None, f'centre = "{centre}" needs the whole window before its first sample is computed.')
    try:
        return Streaming(stream(loaded.whole, loaded.graph.forecast.window).receptive_field, "")
    except ModelError as error:
        return Streaming(None, f"{error.message}.")


def _weights(opened: Opened) -> tuple[tuple[WeightSize, ...], Literal["measured", "estimated"]]:
    system, measured = opened.system, False
    costs = estimated_bytes(system)
    if opened.loaded is not None:
        try:
            costs, measured = weight_bytes(opened.loaded.graph), True
        except TqsError:  # no int8 flatbuffer: the table of runtimes says why
            measured = False
    found = tuple(WeightSize(name, system.shape(name), costs[name][8], costs[name][4]) for name in system.weights)
    return found, "measured" if measured else "estimated"


def _form(graph: Graph, name: str) -> Form:
    width, activations = FORMS[name]
    ranges = nominal_ranges(graph)
    try:
        made = quantize(graph, dict.fromkeys(graph.weights(), width), ranges, activations=activations)
    except TqsError as error:
        return Form(name, (), (error.message,))
    reasons = [reason.removeprefix("model.tflite does not run in ") for reason in support.limits(made)]
    return Form(name, support.runtimes_of(made), tuple(reasons))


def _unbuildable(forms: Sequence[Form]) -> tuple[str, str]:
    """Why a graph that was read cannot be built; ("", "") where it can, in one form at least."""
    if any(form.runtimes for form in forms):
        return "", ""
    return " ".join(dict.fromkeys(reason for form in forms for reason in form.reasons)), "Exchange that layer."


# --- text -----------------------------------------------------------------------------------------------------------


def describe(inspection: Inspection) -> str:
    """The whole text, for people."""
    about = [f"{inspection.format} model"]
    if inspection.parameters is not None:
        about.append(f"{inspection.parameters:,} parameters")
    parts = [f"{inspection.model}: {', '.join(about)}"]
    if inspection.behaviour is not None:
        parts += _behaviour_text(inspection.behaviour)
    if inspection.weights:
        parts.append(_weights_text(inspection))
    if inspection.forms:
        parts.append(_forms_text(inspection.forms))
    if inspection.notes:
        parts.append("\n".join(["notes", *(f"  {note}" for note in inspection.notes)]))
    parts.append(_verdict(inspection))
    return "\n\n".join(parts)


def _behaviour_text(behaviour: Behaviour) -> list[str]:
    said = [("input", _input_text(behaviour)), ("output", _output_text(behaviour))]
    said.append(("evaluation", _evaluation_text(behaviour)))
    name = behaviour.recurrence if behaviour.recurrence in ("windowed", "stateful") else "whole window"
    said.append(("recurrence", f"{name}: {behaviour.reason}"))
    if behaviour.streaming is not None:
        said.append(("streaming", _streaming_text(behaviour)))
    if behaviour.target != "level" or behaviour.centre != "none":
        said.append(("target", _target_text(behaviour)))
    said += [(basis.what, f"{basis.how}: {basis.text}") for basis in behaviour.bases]
    said += [("found", text) for text in behaviour.findings]
    said += [("warning", text) for text in behaviour.doubts]
    width = max(len(what) for what, _ in said)
    rows = [[str(c.number), c.name or "-", _source_text(c, behaviour)] for c in behaviour.channels]
    fed = "\n".join(f"  {line}" for line in table(["input", "column", "its next value"], rows).splitlines())
    return ["\n".join(f"{what:{width}}  {text}" for what, text in said), f"what is fed back\n{fed}"]


def _input_text(behaviour: Behaviour) -> str:
    count = len(behaviour.channels)
    text = f"({behaviour.window}, {count}): a window of {behaviour.window} samples (W) of {_count(count, 'channel')}"
    if len(behaviour.inputs) > 1:
        sizes = " + ".join(map(str, behaviour.inputs))
        text += f", which are its {len(behaviour.inputs)} inputs side by side ({sizes})"
    if behaviour.exogenous:
        text += f", {len(behaviour.exogenous)} of them known ahead"
    if behaviour.recurrence in ("windowed", "stateful"):
        text += f"; run sample by sample, x {behaviour.graph_input}"
    return text


def _output_text(behaviour: Behaviour) -> str:
    values = _count(behaviour.outputs, "value")
    if behaviour.driven:
        names = f": {', '.join(behaviour.predicted)}" if behaviour.predicted else ""
        return f"({behaviour.outputs},): {values} an evaluation, not fed back{names}"
    if behaviour.steps == 1:
        return f"({behaviour.outputs},): the next sample, {values}"
    shape = (behaviour.steps, behaviour.outputs)
    return f"{shape}: the next {behaviour.steps} samples, the oldest first, {values} each"


def _evaluation_text(behaviour: Behaviour) -> str:
    steps = behaviour.steps
    if behaviour.driven:
        return "driven: each step pushes the sample that was measured, and the model is evaluated once"
    if steps == 1:
        return "H = 1: one sample each; it becomes the newest input sample, and the model is evaluated again"
    if behaviour.recurrence == "stateful":
        return (
            f"H = {steps}: a block of {steps} samples each; every sample is fed as it comes out, and what the model "
            "then says counts once the block is used up"
        )
    return (
        f"H = {steps}: a block of {steps} samples each; they become input samples one after the other, and the model "
        f"is evaluated again every {steps} steps"
    )


def _streaming_text(behaviour: Behaviour) -> str:
    streaming = behaviour.streaming
    assert streaming is not None
    if streaming.receptive_field is None:
        return f"no: {streaming.reason}"
    reach = f"the receptive field is {_count(streaming.receptive_field, 'sample')}"
    if behaviour.recurrence == "stateful":
        return f"yes: {reach} of a window of {behaviour.window}"
    return (
        f"possible: {reach} and fits into the window of {behaviour.window}; `--recurrence stateful` runs one sample a "
        "step instead of the window, with the same numbers"
    )


def _target_text(behaviour: Behaviour) -> str:
    levels = {"last": "its last sample", "mean": "its mean over time"}
    delta = "the model predicts the difference to the last sample, which is added to its forecasts"
    if behaviour.centre == "none":
        return delta
    taken = f"{levels[behaviour.centre]} is taken off each window before the model sees it"
    if behaviour.target == "delta":
        return f"{taken}; {delta}"
    return f"{taken}, and added to its forecasts"


def _source_text(channel: Channel, behaviour: Behaviour) -> str:
    if behaviour.driven:
        rows = later(channel.name)[1]
        role = f"known {rows} rows ahead" if rows else "static" if channel.number in behaviour.static else "measured"
        return f"{role}: pushed with each step"
    if channel.number in behaviour.static:
        return "static: held, it never changes"
    if channel.number in behaviour.held:
        return "measured: held at its last value beyond it"
    if channel.source is None:
        return "known ahead: given with each forecast, not predicted"
    block = "" if behaviour.steps == 1 else f" of each of the {behaviour.steps} samples of a block"
    if behaviour.target == "delta" or behaviour.centre == "last":
        return f"output {channel.source}{block} + last sample, fed back"
    added = " + mean of the window" if behaviour.centre == "mean" else ""
    return f"output {channel.source}{block}{added}, fed back"


def _weights_text(inspection: Inspection) -> str:
    weights = inspection.weights
    rows = [[w.name, "x".join(map(str, w.shape)), f"{w.int8_bytes:,}", f"{w.int4_bytes:,}"] for w in weights]
    totals = (sum(w.int8_bytes for w in weights), sum(w.int4_bytes for w in weights))
    rows.append(["all", "", *(f"{total:,}" for total in totals)])
    shown = table(["weight", "shape", "bytes at int8", "bytes at int4"], rows)
    lines = [f"weights that are scored (bytes in the flatbuffer, {inspection.sizes})", *shown.splitlines()]
    if any(weight.int4_bytes >= weight.int8_bytes for weight in weights):
        lines.append("Where int4 is no smaller, the operators and scales that it needs outweigh its codes.")
    return "\n  ".join(lines)


def _forms_text(forms: Sequence[Form]) -> str:
    rows = [[form.name, *("yes" if name in form.runtimes else "no" for name in RUNTIMES)] for form in forms]
    shown = table(["codes", *RUNTIMES], rows)
    reasons = [f"{form.name}: {reason}" for form in forms for reason in form.reasons]
    lines = ["where it runs (16x8: int16 activations, int8 weights)", *shown.splitlines(), *reasons]
    return "\n  ".join(lines)


def _verdict(inspection: Inspection) -> str:
    if inspection.can_be_built and inspection.behaviour is not None and inspection.behaviour.refuted:
        return (
            "It can be scored and planned, and built with --force alone: by the data it is another thing than was "
            "said. The warning has the line to write."
        )
    if inspection.can_be_built:
        return "It can be scored, planned and built."
    why = f"because: {inspection.refusal}" + (f"\n    try: {inspection.hint}" if inspection.hint else "")
    if inspection.can_be_scored:
        return f"It can be scored and planned, but not built,\n{why}"
    return f"It can neither be scored nor built,\n{why}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
