"""What each runtime computes right: (runtime, operator, activation, weight, granularity) -> yes, or the reason why not.

Measured with ai-edge-litert 2.3, tflite-runtime 2.14 and the tflite-micro release that pyproject.toml pins; "c" is the
generated C. A graph is checked against this table before it is written, so that no file is emitted which a named
runtime refuses or, worse, computes wrongly without a word.
"""

from __future__ import annotations

from collections.abc import Iterable

from edge_tqs.errors import ModelError, UsageError
from edge_tqs.flatbuffer.form import RUNTIMES
from edge_tqs.graph.graph import Graph, Op
from edge_tqs.operators import OPERATORS, Operator, Reasons, TypedOperator

#: those that run int4 weights beside int16 activations
RUNTIMES_16X4 = ("litert", "c")


def _without_weight(kind: str, operator: Operator) -> dict[TypedOperator, Reasons]:
    return {TypedOperator(kind, activation): operator.refused.get(activation, {}) for activation in ("int8", "int16")}


#: {runtime: reason}; a runtime that is not named runs it. An operator that is not here runs nowhere.
TABLE: dict[TypedOperator, Reasons] = {
    typed: reasons
    for kind, operator in OPERATORS.items()
    for typed, reasons in (operator.reasons or _without_weight(kind, operator)).items()
}


def reason_against(runtime: str, typed: TypedOperator) -> str | None:
    """None where ``runtime`` runs ``typed`` right, else why not. Raises UsageError where there is no such runtime."""
    if runtime not in RUNTIMES:
        raise UsageError(f"There is no runtime {runtime}", hint=f"The runtimes are {', '.join(RUNTIMES)}.")
    if typed not in TABLE:
        return "no runtime is known to run it"
    return TABLE[typed].get(runtime)


def emitted(graph: Graph, op: Op, runtime: str) -> tuple[TypedOperator, ...]:
    """What ``op`` becomes for ``runtime``."""
    emitted = OPERATORS[op.kind].emitted
    return (
        (TypedOperator(op.kind, graph.tensors[op.inputs[0]].dtype),) if emitted is None else emitted(graph, op, runtime)
    )


def runtimes_of(graph: Graph) -> tuple[str, ...]:
    """Those of RUNTIMES that compute every operator of an integer ``graph`` right."""
    return tuple(
        runtime
        for runtime in RUNTIMES
        if all(reason_against(runtime, typed) is None for op in graph.ops for typed in emitted(graph, op, runtime))
    )


def limits(graph: Graph, runtimes: Iterable[str] = RUNTIMES) -> list[str]:
    """A sentence for each of ``runtimes`` that does not run an integer ``graph``: which it is, and why not."""
    said = []
    for runtime in runtimes:
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
