"""Families: which activations of a float graph share a quantisation, and the copies that keep them apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from edge_tqs.graph.graph import DType, Graph, Op, Tensor
from edge_tqs.operators import OPERATORS

#: ("loop" or "output", ""), ("state" or "group", its name), ("fixed", operator kind) or ("free", tensor name)
Family = tuple[str, str]

#: operators whose output quantisation is input quantisation, and those of them that only move codes
KEEPING_KINDS = frozenset(kind for kind, operator in OPERATORS.items() if operator.keeps)
MOVING_KINDS = frozenset(kind for kind, operator in OPERATORS.items() if operator.moves)


def _roots(graph: Graph, families: Mapping[str, Family]) -> tuple[dict[str, str], dict[tuple[int, str], str]]:
    """For each activation, the tensor whose codes it carries: itself, unless an operator merely moved it.

    What is concatenated must be of one family. An input of another family is copied first, unless nothing else reads
    it and its family is its own: then it takes the result's. ``families`` are those of roots so far. A delay line
    carries the codes of what it delays. Also returns the copies: (index of the operator, input) -> name.
    """
    delays = {state.input: state.delays for state in graph.states if state.delays}
    roots = {name: name for name in graph.tensors}
    copies: dict[tuple[int, str], str] = {}
    readers = Counter(name for op in graph.ops for name in set(op.inputs))
    readers.update([graph.output, *(state.output for state in graph.states)])
    for index, op in enumerate(graph.ops):
        if op.kind not in KEEPING_KINDS:
            continue
        roots |= {name: roots[delays[name]] for name in op.inputs if name in delays}
        kept = {families.get(roots[name], ("free", roots[name])) for name in op.inputs}
        if len(kept) == 1:
            roots |= dict.fromkeys(op.outputs, roots[op.inputs[0]])
            continue
        for name in dict.fromkeys(op.inputs):
            if roots[name] == name and name not in families and readers[name] == 1:
                # and so does what was moved into it before, as the parts of a concatenation within one
                roots |= {moved: op.outputs[0] for moved, root in roots.items() if root == name}
            else:
                copies[index, name] = free_name(graph.tensors, f"{name}/{op.outputs[0]}", index)
    return roots, copies


def pin(graph: Graph, fixed: Collection[str], *, apart: bool) -> tuple[Graph, dict[str, Family]]:
    """Give each tensor its family, and cut loose what would have to be in two.

    A family is a set of tensors of one quantisation: those of the loop (x, and y where it is fed back and does not
    stand ``apart``), of a state, of a group, of logistic or tanh outputs; any other root and what is moved from it is
    a family of its own. Before a concatenation, and where y or a state's output carries codes of another family (y is
    h, or comes from a logistic), a "quantize" operator to a new tensor is added. fixed: kinds of operators whose output
    has a quantisation of the kernel's own.
    """
    families: dict[str, Family] = {graph.input: ("loop", "")}
    families |= {state.input: ("state", state.name) for state in graph.states if not state.delays}
    families |= {name: ("group", tensor.group) for name, tensor in graph.tensors.items() if tensor.group}
    families |= {op.outputs[0]: ("fixed", op.kind) for op in graph.ops if op.kind in fixed}
    roots, copies = _roots(graph, families)
    tensors, ops = dict(graph.tensors), list[Op]()
    for index, op in enumerate(graph.ops):
        named = {name: copies[index, name] for name in op.inputs if (index, name) in copies}
        for name, copy in named.items():
            tensors[copy] = replace(graph.tensors[name], name=copy, data=None)
            ops.append(Op("quantize", (name,), (copy,)))
            roots[copy] = roots[op.outputs[0]]  # which a concatenation further out may have taken
        ops.append(replace(op, inputs=tuple(named.get(name, name) for name in op.inputs)))

    def settle(name: str, family: Family, suffix: str) -> str:
        if families.setdefault(roots[name], family) == family:
            return name
        copy = f"{name}_{suffix}"
        while copy in tensors:
            copy += "_"
        tensors[copy] = replace(graph.tensors[name], name=copy)
        ops.append(Op("quantize", (name,), (copy,)))
        roots[copy], families[copy] = copy, family
        return copy

    # A delay line is of one family already. What it delays is of no more interest: the graph has its quantisation.
    states = tuple(
        replace(s, output=s.output if s.delays else settle(s.output, ("state", s.name), s.name), delays="")
        for s in graph.states
    )
    output = settle(graph.output, _family_of_y(graph, families.get(roots[graph.output]), apart=apart), "y")
    pinned = replace(graph, tensors=tensors, ops=tuple(ops), states=states, output=output)
    return pinned, {name: families.get(root, ("free", root)) for name, root in roots.items()}


def converted(
    graph: Graph, families: Mapping[str, Family], type_of: Callable[[Family], DType]
) -> tuple[Graph, dict[str, Family]]:
    """A pinned ``graph`` whose operators read codes of the type that they write; what is read of another is converted.

    An operator writes the type of its output's family. A copy that `pin` made converts by itself. Of a constant there
    is one of either type.
    """
    tensors, found, ops = dict(graph.tensors), dict(families), list[Op]()
    constants = {name for op in graph.ops if op.signature.is_weighted for name in op.inputs[1:]}
    for op in graph.ops:
        dtype, names = type_of(found[op.outputs[0]]), list(op.inputs)
        for place, name in enumerate(names):
            if op.kind == "quantize" or name in constants or type_of(found[name]) == dtype:
                continue
            names[place] = copy = f"{name}/{dtype}"
            if copy not in tensors:
                tensors[copy] = replace(tensors[name], name=copy, group="")
                found[copy] = (f"as {dtype}", name)
                if tensors[name].data is None:
                    ops.append(Op("quantize", (name,), (copy,)))
        ops.append(replace(op, inputs=tuple(names)))
    return replace(graph, tensors=tensors, ops=tuple(ops)), found


def _family_of_y(graph: Graph, own: Family | None, *, apart: bool) -> Family:
    """That of x where y is fed back or compared with x; else its own, which no state may share: a state is kept."""
    if not (graph.forecast.driven or apart) or graph.forecast.task == "reconstruction":
        return ("loop", "")
    return own if own is not None and own[0] in ("fixed", "group") else ("output", "")


def activations_of(graph: Graph) -> list[str]:
    """Every activation, and every constant that is used as one."""
    constants = {name for op in graph.ops if op.signature.is_weighted for name in op.inputs[1:]}
    return [name for name in graph.tensors if name not in constants]


def free_name(tensors: Mapping[str, Tensor], name: str, index: int) -> str:
    """``name``, or a new one for an operator that shares a constant: its scale is of that operator's input."""
    return name if name not in tensors else f"{name}_{index}"
