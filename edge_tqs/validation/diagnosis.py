"""What is likely wrong with a board whose rollouts differ, in one sentence, from what was measured of it.

Each rule names a kind of fault only if that fault explains every code that was measured: it is computed again with the
fault in it. Where none does, the first wrong operator is named and nothing else is claimed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_tqs.graph.graph import Array, Graph, Op
from edge_tqs.graph.rollout import Rollout
from edge_tqs.operators import mul
from edge_tqs.operators.arithmetic import int8 as integer
from edge_tqs.operators.conv_1d import taps
from edge_tqs.quantization.simulate import integer_operator
from edge_tqs.validation.operator_probe import ProbedEvaluation, Sample, WrongTensor

PROBE_HINT = "a probe build tells which operator it is: edge-tqs build --probe, flash it, validate again"

#: Inputs of a dense layer whose weights are tried one by one, and output samples that they are tried on.
MOST_TRIED_INPUTS = 2048
MOST_TRIED_SAMPLES = 64

Wide = npt.NDArray[np.int64]


def diagnose(graph: Graph, expected: Rollout, measured: Rollout, probed: ProbedEvaluation | None) -> str:
    """The sentence, without a full stop, for rollouts that differ; ``probed`` is None without a probe build."""
    reset = _reset_leaves_something(expected, measured)
    if probed is None:
        return f"{reset}; {PROBE_HINT}" if reset else PROBE_HINT
    if not probed.wrong:
        return reset or (
            "every operator computes what it should in a rollout of its own: what is around them is at fault, the "
            "copying of states and outputs, or what is fed back"
        )
    first = probed.wrong[0]
    if first.op is None:
        return _wrong_input(graph, probed, first)
    rules: tuple[Callable[[Graph, ProbedEvaluation, WrongTensor], str | None], ...] = (
        _single_rounding,
        _wrong_weight,
        _other_operand,
        _exchanged_parts,
        _late_or_early,
        _constants_of_channels,
        _one_code,
    )
    said = next((text for rule in rules if (text := rule(graph, probed, first))), None)
    where = f"the first wrong operator is {first.op.kind}, which writes {first.tensor}"
    return f"{said}; {where}" if said else f"{where}: {_extent(first.samples[0])}"


def wrong_codes(sample: Sample) -> npt.NDArray[np.bool_]:
    """Where the codes differ, in their shape."""
    differs: npt.NDArray[np.bool_] = sample.expected != sample.measured
    return differs


# --- what the rollouts say --------------------------------------------------------------------------------------------


def _reset_leaves_something(expected: Rollout, measured: Rollout) -> str | None:
    bad = (expected.outputs != measured.outputs).any(axis=2)
    if expected.state_hashes is not None and measured.state_hashes is not None:
        bad |= expected.state_hashes != measured.state_hashes
    if len(bad) > 1 and not bad[0].any() and bad[1:, 0].all():
        return "state not reset: the first rollout is right and every later one wrong from its first step on"
    return None


# --- what an evaluation begins with -----------------------------------------------------------------------------------


def _wrong_input(graph: Graph, probed: ProbedEvaluation, first: WrongTensor) -> str:
    names = {state.input: state.name for state in graph.states}
    if first.tensor not in names:
        return f"the evaluation begins with other samples than were pushed and fed back: {_extent(first.samples[0])}"
    state = f"state {names[first.tensor]}"
    if probed.after_reset:
        return f"state not reset: {state} does not begin with zeros; {_extent(first.samples[0])}"
    return f"{state} is not what the evaluation before left: {_extent(first.samples[0])}"


# --- rules for an operator --------------------------------------------------------------------------------------------


def _single_rounding(graph: Graph, probed: ProbedEvaluation, first: WrongTensor) -> str | None:
    """A dense layer or a product that rounds once, where tflite-micro rounds twice."""
    op = first.op
    if op is None or graph.type_of(op) != "int8" or not (_is_dense(graph, op) or op.kind == "mul"):
        return None
    for sample in first.samples:
        once = _dense_once(graph, op, sample) if _is_dense(graph, op) else _product_once(graph, op, sample)
        if not np.array_equal(once.reshape(sample.measured.shape), sample.measured):
            return None
    return f"single instead of double rounding: rounded once, {op.kind} gives {first.tensor} as it was measured"


def _dense_once(graph: Graph, op: Op, sample: Sample) -> Wide:
    params = integer.fully_connected_params(graph, op)
    y = _rounded_once(_Dense(graph, op, sample).accumulators, params.multiplier, params.shift)
    return np.clip(y + params.output_zero_point, params.low, params.high)


def _product_once(graph: Graph, op: Op, sample: Sample) -> Wide:
    params = mul.params(graph, op)
    a, b = (codes.astype(np.int64) for codes in sample.inputs)
    y = _rounded_once((a - params.zero_point_1) * (b - params.zero_point_2), params.multiplier, params.shift)
    return np.clip(y + params.output_zero_point, integer.LOW, integer.HIGH)


def _rounded_once(x: Wide, multiplier: Any, shift: Any) -> Wide:
    """x * multiplier * 2^(shift - 31), halves up: what tflite-micro's TFLITE_SINGLE_ROUNDING does."""
    places = 31 - np.asarray(shift, np.int64)
    rounded: Wide = (x * np.asarray(multiplier, np.int64) + (np.int64(1) << (places - 1))) >> places
    return rounded


def _wrong_weight(graph: Graph, probed: ProbedEvaluation, first: WrongTensor) -> str | None:
    """One weight that is another code."""
    if first.op is None or not _is_dense(graph, first.op):
        return None
    rows = _wrong_channels(first)
    weight = graph.tensors[first.op.inputs[1]]
    if len(rows) != 1 or weight.size // weight.shape[0] > MOST_TRIED_INPUTS:
        return None
    row = rows[0]
    params = integer.fully_connected_params(graph, first.op)
    params = replace(params, multiplier=params.multiplier[row : row + 1], shift=params.shift[row : row + 1])
    tried = [_Dense(graph, first.op, sample) for sample in first.samples]
    inputs = np.concatenate([dense.inputs[:MOST_TRIED_SAMPLES] for dense in tried])
    zero_point = params.input_zero_point
    sums = np.concatenate([dense.accumulators[:MOST_TRIED_SAMPLES, row] for dense in tried])
    got = np.concatenate(
        [_rows(s.measured, d.accumulators)[:MOST_TRIED_SAMPLES, row] for s, d in zip(first.samples, tried, strict=True)]
    )
    codes = np.asarray(weight.data, np.int64).reshape(weight.shape[0], -1)[row]
    limit = 8 if weight.dtype == "int4" else 128
    found = []
    # The C folds the zero point of the inputs into the bias, where a weight that is wrong in its table alone is not.
    for read in (inputs + zero_point, inputs):
        for value in range(-limit, limit):
            changed = sums[:, None] + (value - codes) * read
            fits = (integer.rescale_accumulators(params, changed[..., None])[..., 0] == got[:, None]).all(axis=0)
            found += [(int(column), value) for column in np.flatnonzero(fits & (codes != value))]
    if not found:
        return None
    columns = {column for column, _ in found}
    name = weight.source or weight.name
    if len(columns) > 1:
        return f"wrong weight in {name}: another code of one weight of output {row} explains every code"
    column = columns.pop()
    values = sorted({value for _, value in found})
    now = f"{values[0]}" if len(values) == 1 else f"{values[0]} to {values[-1]}"
    return f"wrong weight in {name}: output {row}, input {column} is {now}, not {codes[column]}"


def _other_operand(graph: Graph, probed: ProbedEvaluation, first: WrongTensor) -> str | None:
    """An operator that reads another tensor, or another place of a delay line, than it should."""
    found = list(_operands(graph, probed, first))
    if not found:
        return None
    for wanted, read in found:
        for other in probed.wrong[1:]:
            if (read, wanted) in _operands(graph, probed, other):
                return f"swapped gates: {first.tensor} is computed from {read}, and {other.tensor} from {wanted}"
    late = [pair for pair in found if pair[1].startswith(_SHIFTED)]
    gates = [pair for pair in found if _are_parts_of_one(graph, *pair)]
    for kind, pairs in (("delay line off by one", late), ("swapped gates", gates), ("wrong operand", found)):
        if len(pairs) == 1:  # more than one explains the codes: which it is, is not shown
            wanted, read = pairs[0]
            return f"{kind}: {first.tensor} is computed from {read} instead of {wanted}"
    return None


_SHIFTED = "the sample "


def _operands(graph: Graph, probed: ProbedEvaluation, wrong: WrongTensor) -> Iterator[tuple[str, str]]:
    """(what should be read, what is read) for each one other operand that explains the codes."""
    if wrong.op is None:
        return
    apply, sample = integer_operator(graph, wrong.op), wrong.samples[0]
    for place, name in enumerate(wrong.op.inputs):
        if name not in probed.tensors:
            continue
        right = sample.inputs[place]
        for other, codes in _candidates(graph, probed, wrong.op, name):
            if codes.shape != right.shape or np.array_equal(codes, right):
                continue
            inputs = (*sample.inputs[:place], codes, *sample.inputs[place + 1 :])
            if np.array_equal(apply(*inputs), sample.measured):
                yield name, other


def _candidates(graph: Graph, probed: ProbedEvaluation, reader: Op, name: str) -> Iterator[tuple[str, Array]]:
    """What ``reader`` may read instead of ``name``: the slice of a delay line one sample off, or another tensor."""
    op = next((op for op in graph.ops if name in op.outputs), None)
    if op is not None and op.kind == "slice" and op.inputs[0] in _delay_lines(graph):
        axis, begin, source = op.attrs["axis"], op.attrs["begin"], probed.tensors[op.inputs[0]]
        size = graph.tensors[name].shape[axis]
        # A delay line lies flat: what it is joined with says how long a sample is.
        samples = {graph.tensors[other].shape[axis] for other in reader.inputs}
        for start in sorted({begin + sign * sample for sample in samples for sign in (-1, 1)}):
            if 0 <= start <= source.shape[axis] - size:
                where = "before" if start < begin else "after"
                yield f"{_SHIFTED}{where} {name}", np.take(source, range(start, start + size), axis)
    for other, codes in probed.tensors.items():
        if other != name:
            yield other, codes


def _delay_lines(graph: Graph) -> set[str]:
    return {graph.input, *(state.input for state in graph.states)}


def _are_parts_of_one(graph: Graph, one: str, other: str) -> bool:
    """Whether a split, or slices of one tensor, give both: what gates are."""
    writers = {name: op for op in graph.ops for name in op.outputs}
    both = (writers.get(one), writers.get(other))
    sources = {op.inputs[0] for op in both if op is not None and op.kind in ("split", "slice")}
    return None not in both and len(sources) == 1 and not sources & _delay_lines(graph)


def _exchanged_parts(graph: Graph, probed: ProbedEvaluation, first: WrongTensor) -> str | None:
    """Two parts of a tensor that is cut into gates, now or later, each where the other should be."""
    width = first.samples[0].expected.shape[-1]
    for part in sorted({graph.tensors[op.outputs[0]].size for op in _after(graph, first.tensor) if op.kind == "split"}):
        count = width // part
        if width % part:
            continue
        blocks = np.arange(width).reshape(count, part)
        for one in range(count):
            for other in range(one + 1, count):
                order = np.arange(count)
                order[[one, other]] = other, one
                places = blocks[order].reshape(-1)
                if all(np.array_equal(sample.expected[..., places], sample.measured) for sample in first.samples):
                    return f"swapped gates: parts {one} and {other} of {first.tensor} are in each other's place"
    return None


def _after(graph: Graph, name: str) -> list[Op]:
    """The operators that depend on ``name`` within an evaluation."""
    reached, found = {name}, []
    for op in graph.ops:
        if reached.intersection(op.inputs):
            reached.update(op.outputs)
            found.append(op)
    return found


def _late_or_early(graph: Graph, probed: ProbedEvaluation, first: WrongTensor) -> str | None:
    """A tensor of samples that are all right but one place off."""
    shape = first.samples[0].expected.shape
    if len(shape) < 3 or shape[1] < 3:
        return None
    right, got = (np.stack(codes) for codes in zip(*((s.expected, s.measured) for s in first.samples), strict=True))
    for where, same in (("late", (got[:, :, 1:], right[:, :, :-1])), ("early", (got[:, :, :-1], right[:, :, 1:]))):
        if np.array_equal(*same):
            return f"delay line off by one: {first.tensor} holds each sample one place {where}"
    return None


def _constants_of_channels(graph: Graph, probed: ProbedEvaluation, first: WrongTensor) -> str | None:
    """Some outputs of a layer wrong and the others right, though they are computed from the same inputs."""
    if first.op is None or not _is_dense(graph, first.op):
        return None
    rows = _wrong_channels(first)
    weight = graph.tensors[first.op.inputs[1]]
    if 2 * len(rows) > weight.shape[0] or _most_difference(first.samples) == 1:
        return None
    shown = ", ".join(map(str, rows[:8])) + (", ..." if len(rows) > 8 else "")
    name = weight.source or weight.name
    return f"wrong constants of {name}: output{'s' if len(rows) > 1 else ''} {shown} alone differ, with equal inputs"


def _one_code(graph: Graph, probed: ProbedEvaluation, first: WrongTensor) -> str | None:
    if _most_difference(first.samples) > 1:
        return None
    return f"rounding: {_extent(first.samples[0])}, in {first.tensor}"


# --- figures ----------------------------------------------------------------------------------------------------------


def _extent(sample: Sample) -> str:
    wrong = wrong_codes(sample)
    by = _most_difference((sample,))
    return f"{int(wrong.sum())} of {wrong.size} codes differ, by {'one' if by == 1 else f'up to {by}'}"


def _most_difference(samples: tuple[Sample, ...]) -> int:
    return max(int(np.abs(s.expected.astype(np.int64) - s.measured.astype(np.int64)).max()) for s in samples)


def _wrong_channels(first: WrongTensor) -> list[int]:
    wrong = [wrong_codes(sample) for sample in first.samples]
    return np.flatnonzero(np.any([w.reshape(-1, w.shape[-1]).any(axis=0) for w in wrong], axis=0)).tolist()


def _is_dense(graph: Graph, op: Op) -> bool:
    return op.kind in ("fully_connected", "conv_1d") and graph.type_of(op) == "int8"


def _rows(codes: Array, like: Wide) -> Wide:
    """Codes as (samples, outputs)."""
    return codes.astype(np.int64).reshape(like.shape)


class _Dense:
    """A dense layer or convolution as sums: inputs (samples, K), zero point taken off, accumulators (samples, M)."""

    def __init__(self, graph: Graph, op: Op, sample: Sample) -> None:
        weight, x = graph.tensors[op.inputs[1]], sample.inputs[0]
        zero_point = integer.fully_connected_params(graph, op).input_zero_point
        read = taps(x, weight.shape, op, zero_point) if op.kind == "conv_1d" else x
        rows = np.asarray(weight.data, np.int64).reshape(weight.shape[0], -1)
        self.inputs: Wide = read.reshape(-1, rows.shape[1]).astype(np.int64) - zero_point
        self.accumulators: Wide = self.inputs @ rows.T
        if len(op.inputs) == 3:
            self.accumulators += np.asarray(graph.tensors[op.inputs[2]].data, np.int64)
