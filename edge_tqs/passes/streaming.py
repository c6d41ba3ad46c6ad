"""A graph pass: a causal model of the whole window as one step with states, for a cost that the window has no part in.

A causal convolution of K taps at dilation d needs, at each sample, the d * (K - 1) samples of its input before it. The
step graph keeps them in a state, a delay line (oldest sample first, each sample moves on by one place a step), and
computes one sample of each layer instead of the window. A delay line is made of slices and a concat, so it runs
wherever the model does; convolutions of the same input share one.

The numbers are those of the windowed form, in float and, with the same quantisation, code for code, as long as no
forecast depends on the zeros that a causal layer sees before the window: its receptive field must fit into the window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import MOST_JOINED, Array, Graph, Op, State, Tensor
from edge_tqs.passes.positions import BY_SAMPLE, only_needed

#: Operators that work on each value by itself: these two work on all channels of a sample.
ELEMENTWISE = BY_SAMPLE - {"softmax", "batch_matmul"}
KEEP = 'Leave recurrence at "auto": the model is then computed over its whole window, as Keras does.'


@dataclass(frozen=True)
class Streamed:
    """graph: the step. receptive_field: samples that a forecast depends on, the newest included."""

    graph: Graph
    receptive_field: int


@dataclass(frozen=True)
class _Past:
    """What the last sample of a windowed tensor depends on.

    length: samples of the tensor; 1 for a flat one. known: of them, at the end, that depend on no zeros before the
    window. reach: samples of the model's input behind the last one. whole: it has all the samples of the window, and
    zeros before them are what a step graph starts from.
    """

    length: int
    known: int
    reach: int
    whole: bool


def stream(graph: Graph, window: int | None = None) -> Streamed:
    """The step graph of a float ``graph`` of the whole window (recurrence "none", before positions.only_needed).

    window: samples that are pushed before the first forecast, the model's own where not given. A window that holds the
    receptive field makes up for a model's own that does not: then the model sees older samples in place of zeros.

    Raises ModelError, with the layer and the reason, for a graph that no step can compute.
    """
    return _Streaming(graph).streamed(window)


def settle(graph: Graph, window: int | None, streamed: bool) -> tuple[Graph, tuple[str, ...]]:
    """The graph that is built of ``graph`` as it was read, and what a user has to know of it.

    ``streamed``: its step, else itself without what no forecast depends on. Raises ModelError as stream does.
    """
    if streamed:
        made, size = stream(graph, window), graph.forecast.window
        return made.graph, (_older(made, size),) if made.receptive_field > size else ()
    return only_needed(graph), ()


def _older(made: Streamed, window: int) -> str:
    return (
        f"Streamed beyond its window: its forecasts depend on {made.receptive_field} samples, of which the windowed "
        f"model sees {window} and zeros before them. Once more were pushed, its forecasts differ from Keras'."
    )


class _Streaming:
    """Rewrites operator by operator; what was (1, W, C) becomes (1, C), its last sample."""

    def __init__(self, graph: Graph) -> None:
        self._old = graph
        self._tensors: dict[str, Tensor] = {}
        self._ops: list[Op] = []
        self._states: list[State] = []
        self._past: dict[str, _Past] = {}
        self._named: dict[str, str] = {}  # windowed tensor -> the step's, where the name differs
        self._turned: dict[
            str, ModelError
        ] = {}  # whose samples lie along the last axis -> why nothing else may read it
        self._restarts = True  # whether zero states stand for the zeros before the window
        self._readers: dict[str, dict[tuple[int, int], None]] = {}  # input -> the (taps, dilation) that read it
        for op in graph.ops:
            if op.signature.is_convolution and (taps := graph.tensors[op.inputs[1]].shape[1]) > 1:
                self._readers.setdefault(op.inputs[0], {})[taps, op.attrs["dilation"]] = None

    def streamed(self, window: int | None) -> Streamed:
        graph, size = self._old, self._old.forecast.window
        self._add(graph.input, (1, graph.forecast.channels))
        self._past[graph.input] = _Past(size, size, 1, True)
        self._delay(graph.input)
        for op in graph.ops:
            self._rewrite(op)
        reach = self._check_reach(self._past[graph.output], window)
        if not self._states:
            raise ModelError(
                "its forecast depends on the last sample alone: there is nothing to carry from one sample to the next",
                hint=KEEP,
            )
        forecast = replace(graph.forecast, window=window or size, recurrence="stateful")
        step = replace(
            graph,
            tensors=self._tensors,
            ops=tuple(self._ops),
            states=tuple(self._states),
            forecast=forecast,
        )
        return Streamed(step.check(), reach)

    def _check_reach(self, last: _Past, window: int | None) -> int:
        size = self._old.forecast.window
        if last.reach > (window or size):
            raise ModelError(
                f"its forecasts depend on {last.reach} samples (the receptive field), more than its window of "
                f"{window or size}: where the windowed model sees zeros, a step with states would see older samples",
                hint=f"{KEEP} Or push more samples (window = {last.reach}): its forecasts are then not those of the "
                f"windowed model. Or train it with a window of {last.reach} or more.",
            )
        if last.known < 1 and not self._restarts:
            raise ModelError(
                "a convolution pads a sequence with zeros that is shorter than the window: a step with states would "
                "see the samples in their place",
                hint=KEEP,
            )
        return last.reach

    # --- operators ----------------------------------------------------------------------------------------------------

    def _rewrite(self, op: Op) -> None:
        old = self._old
        over_time = any(len(old.tensors[name].shape) == 3 for name in (*op.inputs[:1], *op.outputs))
        turned = next((self._turned[name] for name in op.inputs if name in self._turned), None)
        if turned is not None:
            self._keep_turned(op, turned)
        elif op.signature.is_convolution:
            self._convolve(op)
        elif not over_time:
            self._keep(op, {})
        elif op.kind in ("reshape", "split"):
            self._one_sample(op)
        elif op.kind == "slice" and op.attrs["axis"] == 1:
            self._last_samples(op)
        elif op.kind in ("slice", "concat") and op.attrs["axis"] == 2:
            self._keep(op, {"axis": 1})
        elif op.kind == "concat":
            raise self._refuse(op, "it joins samples along time")
        elif op.kind == "mean":
            raise self._refuse(op, f"it averages over {self._length(op)} samples of the window")
        elif op.kind == "transpose":
            self._turn(op, f"it exchanges the channels and the {self._length(op)} samples of the window")
        elif op.kind == "batch_matmul":
            raise self._refuse(op, f"it multiplies samples of the window with each other, {self._length(op)} at once")
        elif op.kind in BY_SAMPLE:
            self._keep(op, {})
        else:
            raise self._refuse(op, "it has no form that works on one sample after the other")
        for name in op.outputs:
            self._delay(name)

    def _keep(self, op: Op, attrs: dict[str, int]) -> None:
        """``op`` on one sample."""
        pasts = [self._past[name] for name in op.inputs if name in self._past]
        if not pasts:
            raise self._refuse(op, "it computes nothing but constants")
        if len({past.length for past in pasts}) > 1:
            raise self._refuse(op, "it meets each sample of the window with a value that is known at the last alone")
        inputs = tuple(self._read(op, name) for name in op.inputs)
        self._ops.append(replace(op, inputs=inputs, attrs=dict(op.attrs) | attrs))
        self._meet(op, pasts)
        for name in op.outputs:
            self._add(name, (1, self._old.tensors[name].shape[-1]))

    def _meet(self, op: Op, pasts: Sequence[_Past]) -> None:
        """The past of what ``op`` makes of tensors of as many samples each."""
        past = _Past(
            max(past.length for past in pasts),
            min(past.known for past in pasts),
            max(past.reach for past in pasts),
            all(past.whole for past in pasts),
        )
        for name in op.outputs:
            self._past[name] = past

    def _turn(self, op: Op, why: str) -> None:
        """Channels become rows and samples columns, as a LayerNormalization needs them that averages over channels."""
        out, x = op.outputs[0], op.inputs[0]
        self._add(out, (1, self._old.tensors[out].shape[1], 1))
        self._ops.append(Op("reshape", (self._read(op, x),), (out,)))
        self._past[out] = self._past[x]
        self._turned[out] = self._refuse(op, why)

    def _keep_turned(self, op: Op, refusal: ModelError) -> None:
        """``op`` on one column: element by element, a mean over the channels, or turned back. Raises ``refusal``."""
        out, shape = op.outputs[0], self._old.tensors[op.outputs[0]].shape
        computed = [name for name in op.inputs if name in self._past]
        rows = self._old.tensors[computed[0]].shape[1]
        back = op.kind == "reshape" and shape in ((1, rows), (1, 1, rows)) and self._length(op) == 1
        if op.kind == "transpose" or back:
            self._add(out, (1, rows))
            self._ops.append(Op("reshape", op.inputs, op.outputs))
            self._past[out] = self._past[computed[0]]
            return
        if op.kind not in ELEMENTWISE | {"mean"} or not all(name in self._turned for name in computed):
            raise refusal
        inputs = tuple(self._read(op, name, axis=2) for name in op.inputs)
        self._ops.append(replace(op, inputs=inputs))
        self._meet(op, [self._past[name] for name in computed])
        self._add(out, (1, shape[1], 1))
        self._turned[out] = refusal

    def _one_sample(self, op: Op) -> None:
        """A reshape or a split of a single sample, or of a flat value that becomes one."""
        shapes = [self._old.tensors[name].shape for name in (op.inputs[0], *op.outputs)]
        if op.kind == "reshape" and shapes[0] == shapes[1]:
            self._rename(op, self._past[op.inputs[0]])
            return
        for shape in shapes:
            if len(shape) == 3 and shape[1] > 1:
                why = f"it looks at {shape[1]} samples of the window at once"
                if op.kind == "reshape" and shape is shapes[1] and shape[2] == 1 and self._length(op) == 1:
                    self._turn(op, why)
                    return
                raise self._refuse(op, why)
        past = replace(self._past[op.inputs[0]], whole=False)
        if op.kind == "reshape":
            self._rename(op, past)
        else:
            self._keep(op, {})

    def _last_samples(self, op: Op) -> None:
        past, begin, size = self._past[op.inputs[0]], op.attrs["begin"], op.attrs["size"]
        if begin + size != past.length:
            raise self._refuse(op, f"it drops the last {past.length - begin - size} samples of {past.length}")
        self._rename(op, replace(past, length=size, known=min(past.known, size), whole=past.whole and begin == 0))

    def _rename(self, op: Op, past: _Past) -> None:
        """The output is the input, sample by sample; a tensor of its own where it needs a delay line of its own."""
        out, source = op.outputs[0], self._read(op, op.inputs[0])
        self._past[out] = past
        if out in self._readers or out == self._old.output:
            self._add(out, self._tensors[source].shape)
            self._ops.append(Op("reshape", (source,), op.outputs))
        else:
            self._named[out] = source

    def _convolve(self, op: Op) -> None:
        x, out = op.inputs[0], op.outputs[0]
        rows, taps = self._old.tensors[op.inputs[1]].shape[:2]
        stride, dilation, left, right = (op.attrs[key] for key in ("stride", "dilation", "left", "right"))
        reach, past = dilation * (taps - 1), self._past[x]
        length = self._old.tensors[out].shape[1]
        if stride != 1:
            raise self._refuse(op, f"it computes one sample of {stride} only (strides={stride})")
        if right:
            raise self._refuse(op, f"it is not causal: it looks {right} samples ahead, beyond the window's end")
        if reach and not past.whole:
            self._restarts = False
        source = self._taps_name(x, taps, dilation) if taps > 1 else self._read(op, x)
        for name in op.inputs[2:]:
            self._tensors.setdefault(name, self._old.tensors[name])
        if op.kind == "conv_1d":
            self._add_weight(op.inputs[1], (rows, -1))
            self._add(out, (1, rows))
            attrs = {"activation": op.attrs["activation"]}
            self._ops.append(Op("fully_connected", (source, *op.inputs[1:]), (out,), attrs))
        else:
            self._filter(op, source, rows, taps)
        known = min(length, past.known - reach)
        self._past[out] = _Past(length, known, past.reach + reach, past.whole and left == reach)

    def _filter(self, op: Op, source: str, rows: int, taps: int) -> None:
        """A depthwise_1d over the samples that its taps read, which lie side by side in ``source``, and no others."""
        out, size = op.outputs[0], self._tensors[source].shape[1]
        self._add_weight(op.inputs[1], (rows, taps))
        laid, filtered = (
            self._add(f"{out}/taps", (1, taps, size // taps)),
            self._add(f"{out}/sample", (1, 1, rows)),
        )
        self._ops.append(Op("reshape", (source,), (laid,)))
        attrs = {"stride": 1, "dilation": 1, "left": 0, "right": 0, "activation": op.attrs["activation"]}
        self._ops.append(Op("depthwise_1d", (laid, *op.inputs[1:]), (filtered,), attrs))
        self._add(out, (1, rows))
        self._ops.append(Op("reshape", (filtered,), (out,)))

    # --- delay lines --------------------------------------------------------------------------------------------------

    def _delay(self, name: str) -> None:
        """The delay line of ``name``, as long as what its convolutions read, and what each of them reads from it."""
        readers = self._readers.get(name)
        if not readers:
            return
        channels = self._tensors[name].shape[1]
        depth = max(dilation * (taps - 1) for taps, dilation in readers)
        held = self._add(f"{name}/past", (1, depth * channels))
        for taps, dilation in readers:
            target = self._taps_name(name, taps, dilation)
            first = depth - dilation * (taps - 1)  # the oldest sample that is read
            if dilation == 1:
                parts = [self._piece(f"{target}/before", held, first * channels, (taps - 1) * channels)]
            else:
                begins = range(first, depth, dilation)
                parts = [self._piece(f"{target}/{k}", held, at * channels, channels) for k, at in enumerate(begins)]
            self._join(target, [*parts, name])
        # All that reads the old samples comes before this, so that the line may be moved in place.
        moved = f"{name}/moved"
        if depth == 1:
            self._add(moved, (1, channels))
            self._ops.append(Op("reshape", (name,), (moved,)))
        else:
            rest = self._piece(f"{name}/rest", held, channels, (depth - 1) * channels)
            self._join(moved, [rest, name])
        self._states.append(State(held.replace("/", "_"), held, moved, name))

    def _taps_name(self, name: str, taps: int, dilation: int) -> str:
        return f"{name}/taps_{taps}_{dilation}"

    def _piece(self, out: str, x: str, begin: int, size: int) -> str:
        if self._tensors[x].shape == (1, size):
            return x
        self._add(out, (1, size))
        self._ops.append(Op("slice", (x,), (out,), {"axis": 1, "begin": begin, "size": size}))
        return out

    def _join(self, out: str, parts: Sequence[str]) -> None:
        """A concat; of more tensors than it takes in two levels, and so on."""
        names, level = list(parts), 0
        while len(names) > MOST_JOINED:
            chunks = [names[at : at + MOST_JOINED] for at in range(0, len(names), MOST_JOINED)]
            names = [
                self._concat(f"{out}/{level}_{number}", chunk) if len(chunk) > 1 else chunk[0]
                for number, chunk in enumerate(chunks)
            ]
            level += 1
        self._concat(out, names)

    def _concat(self, out: str, parts: Sequence[str]) -> str:
        self._add(out, (1, sum(self._tensors[part].shape[1] for part in parts)))
        self._ops.append(Op("concat", tuple(parts), (out,), {"axis": 1}))
        return out

    # --- tensors ------------------------------------------------------------------------------------------------------

    def _add(self, name: str, shape: tuple[int, ...]) -> str:
        if name in self._tensors:
            raise ModelError(f"{self._old.name}: there are two tensors {name}", hint="Rename a layer.")
        self._tensors[name] = Tensor(name, shape, "float32")
        return name

    def _add_weight(self, name: str, shape: tuple[int, ...]) -> None:
        tensor = self._old.tensors[name]
        assert tensor.data is not None
        data = tensor.data.reshape(shape)
        self._tensors[name] = replace(tensor, shape=data.shape, data=data)

    def _read(self, op: Op, name: str, axis: int = 1) -> str:
        """The step's tensor for an input of ``op``; a constant over time, which is ``axis``, must be the same at each
        sample."""
        tensor = self._old.tensors[name]
        if tensor.data is None:
            return self._named.get(name, name)
        if len(tensor.shape) != 3:
            self._tensors.setdefault(name, tensor)
            return name
        values: Array = tensor.data
        first = values.take([0], axis)
        if not np.array_equal(values, np.broadcast_to(first, values.shape)):
            raise self._refuse(op, f"its constant {name} differs from sample to sample of the window")
        data = np.ascontiguousarray(first[:, 0] if axis == 1 else first)
        self._tensors.setdefault(name, replace(tensor, shape=data.shape, data=data))
        return name

    def _length(self, op: Op) -> int:
        return self._past[op.inputs[0]].length

    def _refuse(self, op: Op, why: str) -> ModelError:
        return ModelError(
            f"layer {op.outputs[0].rsplit('/', 1)[0]} ({op.kind} to {op.outputs[0]}): {why}, so the model cannot be "
            "computed sample by sample",
            hint=KEEP,
        )
