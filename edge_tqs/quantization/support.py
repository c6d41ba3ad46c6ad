"""What each runtime computes right: (runtime, operator, activation, weight, granularity) -> yes, or the reason why not.

Measured with ai-edge-litert 2.3, tflite-runtime 2.14 and the tflite-micro release that pyproject.toml pins; "c" is the
generated C. A graph is checked against this table before it is written, so that no file is emitted which a named
runtime refuses or, worse, computes wrongly without a word.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from edge_tqs.errors import ModelError, UsageError
from edge_tqs.graph.graph import WEIGHTED, Graph, Op
from edge_tqs.operators import OPERATORS

RUNTIMES = ("litert", "tflite-runtime", "tflm", "c")
#: those that run int4 weights beside int16 activations
RUNTIMES_16X4 = ("litert", "c")


class TypedOperator(NamedTuple):
    """An operator with the types that decide who runs it.

    operator: an Op.kind, or "conv_2d". activation: int8, int16 or float32. weight: int8, int4 or "" for none.
    granularity: per_channel, per_tensor or "" for none.
    """

    operator: str
    activation: str = "int8"
    weight: str = ""
    granularity: str = ""

    def __str__(self) -> str:
        weight = f", {self.weight} weights {self.granularity.replace('_', ' ')}" if self.weight else ""
        return f"{self.operator} with {self.activation} activations{weight}"


_NO_CONVOLUTION = "the generated C has no convolution"
_ONE_D = "TensorFlow Lite has no convolution over time: it is written as CONV_2D"
_FLATBUFFER = {"litert": _ONE_D, "tflite-runtime": _ONE_D, "tflm": _ONE_D}
_C_IS_INTEGER = "the C kernels take int8 or int16 activations"
_HYBRID = "float activations with integer weights are refused"
_MICRO_INT4 = "FULLY_CONNECTED takes int4 weights per tensor only, CONV_2D is needed"
_WRONG = "it computes int16 activations with int4 weights wrongly and reports no error"
_REFUSED_16X4 = "int16 activations with int4 weights are refused"
#: (activation, weight) -> {runtime: reason}
_DEPTHWISE = {("int16", "int4"): {"litert": _WRONG, "tflite-runtime": _WRONG, "tflm": _REFUSED_16X4}}

#: {runtime: reason}; a runtime that is not named runs it. An operator that is not here runs nowhere.
TABLE: dict[TypedOperator, dict[str, str]] = {
    TypedOperator("fully_connected", "int8", "int8", "per_channel"): {},
    TypedOperator("fully_connected", "int8", "int8", "per_tensor"): {},
    TypedOperator("fully_connected", "int8", "int4", "per_tensor"): {},
    TypedOperator("fully_connected", "int8", "int4", "per_channel"): {
        "tflite-runtime": _MICRO_INT4,
        "tflm": _MICRO_INT4,
    },
    TypedOperator("conv_2d", "int8", "int8", "per_channel"): {"c": _NO_CONVOLUTION},
    TypedOperator("conv_2d", "int8", "int8", "per_tensor"): {"c": _NO_CONVOLUTION},
    TypedOperator("conv_2d", "int8", "int4", "per_channel"): {"c": _NO_CONVOLUTION},
    TypedOperator("conv_2d", "int8", "int4", "per_tensor"): {"c": _NO_CONVOLUTION},
    **{
        TypedOperator("conv_1d", activation, weight, granularity): _FLATBUFFER
        for activation in ("int8", "int16")
        for weight in ("int8", "int4")
        for granularity in ("per_channel", "per_tensor")
    },
    **{
        TypedOperator("depthwise_1d", activation, weight, granularity): dict(_DEPTHWISE.get((activation, weight), {}))
        for activation in ("int8", "int16")
        for weight in ("int8", "int4")
        for granularity in ("per_channel", "per_tensor")
    },
    TypedOperator("fully_connected", "int16", "int8", "per_channel"): {},
    TypedOperator("fully_connected", "int16", "int8", "per_tensor"): {},
    TypedOperator("fully_connected", "int16", "int4", "per_channel"): {
        "tflite-runtime": _REFUSED_16X4,
        "tflm": _REFUSED_16X4,
    },
    TypedOperator("fully_connected", "int16", "int4", "per_tensor"): {
        "tflite-runtime": _REFUSED_16X4,
        "tflm": _REFUSED_16X4,
    },
    TypedOperator("conv_2d", "int16", "int8", "per_channel"): {"c": _NO_CONVOLUTION},
    TypedOperator("conv_2d", "int16", "int8", "per_tensor"): {"c": _NO_CONVOLUTION},
    TypedOperator("conv_2d", "int16", "int4", "per_channel"): {
        "tflite-runtime": _WRONG,
        "tflm": _REFUSED_16X4,
        "c": _NO_CONVOLUTION,
    },
    TypedOperator("fully_connected", "float32", "int8", "per_channel"): {"tflm": _HYBRID, "c": _C_IS_INTEGER},
    **{TypedOperator("pad", activation): {} for activation in ("int8", "int16")},
    **{
        TypedOperator(kind, activation): dict(operator.refused.get(activation, {}))
        for kind, operator in OPERATORS.items()
        for activation in ("int8", "int16")
        if kind not in WEIGHTED
    },
}


def reason_against(runtime: str, typed: TypedOperator) -> str | None:
    """None where ``runtime`` runs ``typed`` right, else why not. Raises UsageError where there is no such runtime."""
    if runtime not in RUNTIMES:
        raise UsageError(f"There is no runtime {runtime}", hint=f"The runtimes are {', '.join(RUNTIMES)}.")
    if typed not in TABLE:
        return "no runtime is known to run it"
    return TABLE[typed].get(runtime)


def emitted(graph: Graph, op: Op, runtime: str) -> tuple[TypedOperator, ...]:
    """What ``op`` becomes for ``runtime``: tflite_lower makes convolutions over images of convolutions over
    time and, with int8 activations, of int4 dense layers.
    """
    activation = graph.tensors[op.inputs[0]].dtype
    if op.kind not in WEIGHTED:
        return (TypedOperator(op.kind, activation),)
    weight = graph.tensors[op.inputs[1]]
    per_channel = weight.quant is not None and weight.quant.scale.size == weight.shape[0]
    granularity = "per_channel" if per_channel else "per_tensor"
    if op.kind == "conv_1d" and runtime != "c":
        made = (TypedOperator("reshape", activation), TypedOperator("pad", activation))
        return *made, TypedOperator("conv_2d", activation, weight.dtype, granularity)
    if op.kind == "depthwise_1d":
        pad = () if runtime == "c" else (TypedOperator("reshape", activation), TypedOperator("pad", activation))
        return *pad, TypedOperator(op.kind, activation, weight.dtype, granularity)
    if weight.dtype == "int4" and activation == "int8" and runtime != "c":
        return TypedOperator("reshape", activation), TypedOperator("conv_2d", activation, weight.dtype, granularity)
    return (TypedOperator(op.kind, activation, weight.dtype, granularity),)


def runtimes_of(graph: Graph) -> tuple[str, ...]:
    """Those of RUNTIMES that compute every operator of an integer ``graph`` right."""
    return tuple(
        runtime
        for runtime in RUNTIMES
        if all(reason_against(runtime, typed) is None for op in graph.ops for typed in emitted(graph, op, runtime))
    )


def limits(graph: Graph) -> list[str]:
    """A sentence for each of RUNTIMES that does not run an integer ``graph``: which it is, and why not."""
    said = []
    for runtime in RUNTIMES:
        every = (typed for op in graph.ops for typed in emitted(graph, op, runtime))
        reason = next(filter(None, (reason_against(runtime, typed) for typed in every)), None)
        if reason is not None:
            said.append(f"model.tflite does not run in {runtime}: {reason}.")
    return said


def check_graph(graph: Graph, runtimes: Iterable[str]) -> None:
    """Raise ModelError unless each of ``runtimes`` computes every operator of an integer ``graph`` right."""
    for runtime in runtimes:
        for index, op in enumerate(graph.ops):
            for typed in emitted(graph, op, runtime):
                reason = reason_against(runtime, typed)
                if reason is not None:
                    layer = graph.tensors[op.inputs[1]].source if typed.weight else None
                    raise ModelError(
                        f"{graph.name}: operator {index} ({layer or op.outputs[0]}), {typed}, does not run in "
                        f"{runtime}: {reason}",
                        hint="Leave this runtime out, or give the layer another width.",
                    )
