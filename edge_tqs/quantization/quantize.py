"""Float graph to integer graph: scales, zero points and codes, from the ranges that calibration saw.

Activations are int8 and asymmetric or int16 and symmetric, one scale a tensor; weights int8 or int4, symmetric, one
scale a row, or one a weight where the codes given have that; biases int32, or int64 beside int16 activations. What is
fed back shares one quantisation with what it is fed to (x with y, each state's input with its output), so that the
closed loop never leaves the codes. Where nothing is fed back, y has a quantisation of its own; and where the ranges say
that it stands apart, when a table gives x's codes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from edge_tqs.errors import ModelError, UsageError
from edge_tqs.graph.conversions import read_as_they_are
from edge_tqs.graph.graph import Array, DType, Graph, Op, Quant, Tensor
from edge_tqs.operators import OPERATORS
from edge_tqs.operators.arithmetic import int8 as integer
from edge_tqs.operators.arithmetic import int16 as integer16
from edge_tqs.operators.arithmetic.functions import PULSE_REACH
from edge_tqs.operators.arithmetic.int8 import (
    HIGH,
    LEAST_SPAN,
    LOW,
    WEIGHT_LIMIT,
    bias_scale,
    least_weight_scale,
    quantize_bias,
    quantize_weight,
)
from edge_tqs.operators.unary import curve, function
from edge_tqs.planning.roundings import Rounded
from edge_tqs.quantization.calibration import Range, Ranges
from edge_tqs.quantization.families import MOVING_KINDS, Family, activations_of, converted, free_name, pin
from edge_tqs.quantization.rows import check_rows

Activations = Literal["int8", "int16"]
#: What may be asked for. "mixed": int16 codes of some families among int8 ones (quantization/wide_search.py).
AskedActivations = Literal["int8", "int16", "mixed"]


@dataclass(frozen=True)
class Scheme:
    """How one type of activations is quantised.

    fixed_outputs: scale and zero point where the kernel knows no other. saturation: |input| beyond which an operator's
    output no longer changes. headroom: how far beyond the calibrated range codes reach. quant: of a range. codes:
    values to codes. bias_type: that of biases. functions: operators that are tabulated as a "function" of these
    attributes. tabulated: a function, its input, its output and the input's range to the operator that looks it up.
    """

    fixed_outputs: Mapping[str, tuple[float, int]]
    saturation: Mapping[str, float]
    headroom: float
    quant: Callable[[float, float], Quant]
    codes: Callable[[Array, Quant], Array]
    bias_type: DType
    functions: Mapping[str, Mapping[str, Any]]
    tabulated: Callable[[Graph, Op, Tensor, Tensor, Range], tuple[Op, list[Tensor]]]


@dataclass(frozen=True)
class _Types:
    """The type of each family's codes: ``activations``, and int16 of those in ``wide`` and of what is made for them."""

    activations: Activations
    wide: frozenset[Family] = frozenset()

    def of(self, family: Family) -> Activations:
        return "int16" if family in self.wide or family[0] == "as int16" else self.activations

    def scheme(self, family: Family) -> Scheme:
        return SCHEMES[self.of(family)]


def quantize(
    graph: Graph,
    widths: Mapping[str, int],
    ranges: Ranges,
    clips: Mapping[str, float] | None = None,
    activations: Activations = "int8",
    rounded: Mapping[str, Rounded] | None = None,
    wide: Collection[Family] = (),
) -> Graph:
    """The integer graph of a float one.

    Args:
        graph: A float graph.
        widths: 4 or 8 for each source of ``graph.weights()``, no more and no fewer.
        ranges: What calibrate gave for this graph.
        clips: The largest magnitude that a row of a source can hold over the largest that it has; 1 where not given.
        rounded: By weight tensor, codes of its width that are not those of rounding to nearest.
        activations: "int8", or "int16" ("16x8": closer to the float model, twice the bytes of states and samples).
        wide: Of `shared_quants`, the families that have int16 codes among int8 ones. Codes are converted where an
            operator reads those of another type than it writes.

    Raises:
        UsageError: ``widths`` does not fit the graph. ModelError: ``ranges`` is of another graph, or a function in it
            has no value.
    """
    _check_widths(graph, widths)
    missing = [name for name, tensor in graph.tensors.items() if tensor.data is None and name not in ranges.bounds]
    if missing:
        raise ModelError(f"{graph.name}: no range for {', '.join(missing)}", hint="Calibrate this very graph.")
    types = _Types(activations, frozenset(wide))
    # Codes of 16 bits are fine enough for x and y together.
    apart = ranges.apart and types.of(("loop", "")) == "int8"
    pinned, families = converted(*pin(graph, SCHEMES[activations].fixed_outputs, apart=apart), types.of)
    spans = _spans(pinned, families, ranges)
    quants = _activation_quants(pinned, families, spans, types)
    tensors = {
        name: replace(pinned.tensors[name], dtype=types.of(families[name]), quant=quant, group="")
        for name, quant in quants.items()
    }
    for name, tensor in tensors.items():
        if tensor.data is not None and tensor.quant is not None:
            tensors[name] = replace(tensor, data=types.scheme(families[name]).codes(tensor.data, tensor.quant))
    ops = tuple(
        _looked_up(pinned, tensors, index, op, spans[families[op.inputs[0]]], scheme)
        if op.kind == "function" or op.kind in scheme.functions
        else _with_constants(pinned, tensors, index, op, widths, clips or {}, rounded or {}, scheme)
        for index, op, scheme in ((at, op, types.scheme(families[op.inputs[0]])) for at, op in enumerate(pinned.ops))
    )
    order = {name: place for place, name in enumerate(pinned.tensors)}
    ordered = dict(sorted(tensors.items(), key=lambda item: order.get(item[0], len(order))))
    made = replace(pinned, tensors=ordered, ops=ops).check()
    if graph.forecast.whole and ranges.kept is not None:  # else the ranges are nominal, to count bytes
        check_rows(pinned, made)
    return made


@dataclass(frozen=True, eq=False)
class Shared:
    """Which activations of a float graph share a quantisation. graph: the float one, with the copies that `quantize`
    makes; families: by tensor name; quants: the quantisation of each; spans: least and greatest value that it holds,
    of those that are not fixed; constants: families that a constant is of."""

    graph: Graph
    families: Mapping[str, Family]
    quants: Mapping[Family, Quant]
    spans: Mapping[Family, Range]
    constants: frozenset[Family]


def shared_quants(graph: Graph, ranges: Ranges, activations: Activations = "int8") -> Shared:
    """What `quantize` will do with the activations of ``graph`` (float)."""
    scheme, types = SCHEMES[activations], _Types(activations)
    pinned, families = pin(graph, scheme.fixed_outputs, apart=ranges.apart and activations == "int8")
    spans = _spans(pinned, families, ranges)
    quants = _activation_quants(pinned, families, spans, types)
    names = activations_of(pinned)
    free = {families[name] for name in names if families[name][0] != "fixed"}
    return Shared(
        pinned,
        families,
        {families[name]: quants[name] for name in names},
        {family: _held(pinned, families, family, spans[family], scheme) for family in spans if family in free},
        frozenset(families[name] for name in names if pinned.tensors[name].data is not None),
    )


def quant_read(shared: Shared, name: str, ranges: Ranges) -> Quant:
    """What an int8 operator reads ``name`` in, where that has int16 codes: of its own range, not its family's."""
    own = ("as int8", name)
    span = _range(shared.graph, name, ranges)
    return affine(*_held(shared.graph, dict(shared.families) | {name: own}, own, span, SCHEMES["int8"]))


def with_types(shared: Shared, wide: Collection[Family]) -> Graph:
    """The float graph that is ``shared``, each activation of the type that `quantize` gives it: what memory it takes,
    and which operators compute it, is told from that."""
    types = _Types("int8", frozenset(wide))
    graph, families = converted(shared.graph, shared.families, types.of)
    made = {name: replace(graph.tensors[name], dtype=types.of(families[name])) for name in activations_of(graph)}
    return graph.with_tensors(made)


def with_rounded_weights(graph: Graph, quantized: Graph) -> Graph:
    """``graph`` (float) with the weights and biases of ``quantized``, which quantize made of it, as real numbers.

    Its activations stay float: it shows what the weights alone do. Of a constant that several operators read, and that
    has codes of its own for each, it takes the first's.
    """
    changed: dict[str, Tensor] = {}
    dense = [[op for op in whole.ops if op.signature.is_weighted] for whole in (graph, quantized)]
    for op, rounded in zip(*dense, strict=True):
        for name, source in zip(op.inputs[1:], rounded.inputs[1:], strict=True):
            codes = quantized.tensors[source]
            if name not in changed and codes.data is not None and codes.quant is not None:
                scale = codes.quant.scale.astype(np.float64).reshape(-1, *[1] * (codes.data.ndim - 1))
                changed[name] = replace(graph.tensors[name], data=(codes.data * scale).astype(np.float32))
    return graph.with_tensors(changed)


def codes_beside(activations: AskedActivations) -> Activations:
    """The codes that what a weight takes is counted beside."""
    return "int16" if activations == "int16" else "int8"


def _check_widths(graph: Graph, widths: Mapping[str, int]) -> None:
    sources = graph.weights().keys()
    unknown, missing = sorted(widths.keys() - sources), sorted(sources - widths.keys())
    if unknown or missing:
        parts = [f"{what} {', '.join(names)}" for what, names in (("names", unknown), ("lacks", missing)) if names]
        raise UsageError(
            f"The plan does not fit {graph.name}: it {' and '.join(parts)}",
            hint=f"Its weights are {', '.join(sources)}: plan this model again.",
        )
    for source, width in widths.items():
        if width not in WEIGHT_LIMIT:
            raise UsageError(f"The plan gives {source} {width} bits", hint="Weights have 4 or 8 bits.")


# --- ranges and scales ---------------------------------------------------------------------------------------------


def _spans(graph: Graph, families: Mapping[str, Family], ranges: Ranges) -> dict[Family, Range]:
    """The range of all of a family."""
    spans: dict[Family, Range] = {}
    for name in activations_of(graph):
        least, most = _range(graph, name, ranges)
        low, high = spans.get(families[name], (least, most))
        spans[families[name]] = min(low, least), max(high, most)
    return spans


def _activation_quants(
    graph: Graph, families: Mapping[str, Family], spans: Mapping[Family, Range], types: _Types
) -> dict[str, Quant]:
    """Quantisation of each activation."""
    quants: dict[Family, Quant] = {}
    for family, span in spans.items():
        scheme = types.scheme(family)
        if family[0] == "fixed":
            scale, zero_point = scheme.fixed_outputs[family[1]]
            quants[family] = Quant(np.array([scale], np.float32), zero_point)
        else:
            quants[family] = scheme.quant(*_held(graph, families, family, span, scheme))
    kinds: dict[str, DType] = {name: types.of(families[name]) for name in activations_of(graph)}
    for copy, source in read_as_they_are(graph, kinds).items():
        # The same codes, less their zero point: kernels then need no copy.
        quants[families[copy]] = Quant(quants[families[source]].scale)
    return {name: quants[families[name]] for name in activations_of(graph)}


def _held(graph: Graph, families: Mapping[str, Family], family: Family, span: Range, scheme: Scheme) -> Range:
    """What the codes of ``family`` are to hold: its span and 0, with the headroom, as far as its readers tell apart."""
    limit = _saturation(graph, {name for name in activations_of(graph) if families[name] == family}, scheme)
    least, most = scheme.headroom * min(span[0], 0.0), scheme.headroom * max(span[1], 0.0)
    return max(least, -limit), min(most, limit)


def _range(graph: Graph, name: str, ranges: Ranges) -> Range:
    data = graph.tensors[name].data
    if data is not None:
        return float(data.min()), float(data.max())
    if name in ranges.bounds:
        return ranges.bounds[name]
    return next(_range(graph, op.inputs[0], ranges) for op in graph.ops if name in op.outputs)  # a copy that _pin made


def _saturation(graph: Graph, members: set[str], scheme: Scheme) -> float:
    """The largest |value| that matters to the readers of ``members``; infinite unless all of them saturate."""
    if members & {graph.input, graph.output, *(s.input for s in graph.states), *(s.output for s in graph.states)}:
        return np.inf
    readers = [op for op in graph.ops if members & set(op.inputs) and op.kind not in MOVING_KINDS]
    return max((_saturates(op, scheme) for op in readers), default=np.inf)


def _saturates(op: Op, scheme: Scheme) -> float:
    """The largest |value| that matters to one operator."""
    if op.kind == "function" and op.attrs["name"] == "pulse":
        return PULSE_REACH * float(op.attrs["parameters"][0])
    return scheme.saturation.get(op.kind, np.inf)


def _stated(activations: Activations, what: str) -> dict[str, Any]:
    """What the operators say of themselves for one type of activations, by kind."""
    said = {kind: getattr(operator, what) for kind, operator in OPERATORS.items()}
    return {kind: by_type[activations] for kind, by_type in said.items() if activations in by_type}


def affine(low: float, high: float) -> Quant:
    """The int8 quantisation of [low, high], stretched to hold 0; [0, 1] where it is too narrow to mean anything."""
    low, high = min(low, 0.0), max(high, 0.0)
    if high - low < LEAST_SPAN:
        low, high = 0.0, 1.0
    scale = np.float32((high - low) / (HIGH - LOW))
    zero_point = round(LOW - low / float(scale))
    return Quant(np.array([scale], np.float32), min(max(zero_point, LOW), HIGH))


def _lut(graph: Graph, op: Op, x: Tensor, y: Tensor, bounds: Range) -> tuple[Op, list[Tensor]]:
    """As curve.made, of int8 codes: all of their 256, whatever ``bounds`` are."""
    assert x.quant is not None
    assert y.quant is not None
    codes = function.table(graph, op, x.quant, y.quant)
    return Op("lut", (), op.outputs), [Tensor("", codes.shape, "int8", codes, y.quant)]


SCHEMES: dict[Activations, Scheme] = {
    "int8": Scheme(
        fixed_outputs=_stated("int8", "fixed_output"),
        saturation=_stated("int8", "saturation"),
        headroom=1.0,
        quant=affine,
        codes=integer.quantize_activations,
        bias_type="int32",
        functions=_stated("int8", "as_function"),
        tabulated=_lut,
    ),
    "int16": Scheme(
        fixed_outputs=_stated("int16", "fixed_output"),
        saturation=_stated("int16", "saturation"),
        # Two of the 16 bits. What they would resolve is far below the weights' error; what leaves the range is not.
        headroom=4.0,
        quant=integer16.symmetric,
        codes=integer16.quantize_activations,
        bias_type="int64",
        functions=_stated("int16", "as_function"),
        tabulated=curve.made,
    ),
}


# --- constants ------------------------------------------------------------------------------------------------------


def _with_constants(
    graph: Graph,
    tensors: dict[str, Tensor],
    index: int,
    op: Op,
    widths: Mapping[str, int],
    clips: Mapping[str, float],
    rounded: Mapping[str, Rounded],
    scheme: Scheme,
) -> Op:
    """Add the integer constants of ``op`` to ``tensors``; return the operator that reads them."""
    if op.kind == "leaky_relu":  # as a flatbuffer holds it, so that reading one back gives the same graph
        return replace(op, attrs={"alpha": float(np.float32(op.attrs["alpha"]))})
    if not op.signature.is_weighted:
        return op
    input_quant = tensors[op.inputs[0]].quant
    assert input_quant is not None
    input_scale, weight = float(input_quant.scale[0]), _constant(graph, op, 1)
    bias = _constant(graph, op, 2) if len(op.inputs) == 3 else None
    source = weight.source or weight.name
    width = widths[source]
    given = rounded.get(weight.name)
    bias_values = None if bias is None else _data(bias)
    if bias_values is not None and given is not None and given.shift is not None:
        bias_values = (bias_values + given.shift).astype(np.float32)
    floor = 0.0 if bias_values is None else least_weight_scale(bias_values, input_scale)
    codes, scale = _weight_codes(_data(weight), width, floor, clips.get(source, 1.0), given)
    # Beside int16 activations every runtime computes int4 depthwise weights wrongly or refuses them: such codes have
    # 4 bits, and a byte each. What that costs is in sizes, so a plan within a budget has no reason to ask for it.
    in_bytes = width == 8 or (op.kind == "depthwise_1d" and scheme.bias_type == "int64")
    dtype: DType = "int8" if in_bytes else "int4"
    made = [Tensor(weight.name, weight.shape, dtype, codes, Quant(scale), weight.source)]
    if bias is not None and bias_values is not None:
        of_bias = bias_scale(input_scale, scale)
        bias_codes = quantize_bias(bias_values, of_bias).astype(scheme.bias_type)
        made.append(Tensor(bias.name, bias.shape, scheme.bias_type, bias_codes, Quant(of_bias)))
    return replace(op, inputs=(op.inputs[0], *(_add_constant(tensors, tensor, index) for tensor in made)))


def _weight_codes(
    data: Array, width: int, floor: Array | float, clip: float, given: Rounded | None
) -> tuple[Array, Array]:
    """Codes and scales: those ``given`` where the scales are not below ``floor``, at which the bias fits; else to
    nearest, a row at a time, or all where they have one scale."""
    rows = data.reshape(len(data), -1)
    if given is not None and given.scale.size == 1:
        rows, floor = data.reshape(1, -1), np.max(floor)
    codes, scale = quantize_weight(rows, width, floor, clip)
    if given is not None:
        fits = given.scale >= floor
        codes = np.where(fits[:, None], given.codes.reshape(rows.shape), codes)
        scale = np.where(fits, given.scale, scale)
    return codes.reshape(data.shape), scale


def _looked_up(graph: Graph, tensors: dict[str, Tensor], index: int, op: Op, bounds: Range, scheme: Scheme) -> Op:
    """A function as the lookup in a table of its codes; equal tables are one."""
    op = Op("function", op.inputs, op.outputs, scheme.functions.get(op.kind, op.attrs))
    name = "_".join([op.attrs["name"], *(f"{value:g}" for value in op.attrs["parameters"])])
    made, tables = scheme.tabulated(graph, op, tensors[op.inputs[0]], tensors[op.outputs[0]], bounds)
    named = (replace(table, name="/".join(["table", name, table.name]).rstrip("/")) for table in tables)
    return replace(made, inputs=(op.inputs[0], *(_add_constant(tensors, table, index) for table in named)))


def _add_constant(tensors: dict[str, Tensor], made: Tensor, index: int) -> str:
    """Add a constant of operator ``index``; the name of the same one where an operator before has added it."""
    known = tensors.get(made.name)
    if known is not None and known.quant is not None and made.quant is not None:
        same = known.dtype == made.dtype and np.array_equal(known.quant.scale, made.quant.scale)
        if same and np.array_equal(_data(known), _data(made)):
            return made.name
    name = free_name(tensors, made.name, index)
    tensors[name] = replace(made, name=name)
    return name


def _constant(graph: Graph, op: Op, place: int) -> Tensor:
    tensor = graph.tensors[op.inputs[place]]
    if tensor.data is None:
        raise ModelError(f"{graph.name}: {tensor.name}, read by {op.outputs[0]}, is not a constant")
    return tensor


def _data(tensor: Tensor) -> Array:
    assert tensor.data is not None
    return tensor.data
