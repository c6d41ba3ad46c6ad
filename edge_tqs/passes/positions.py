"""A graph pass: compute a window's samples only where the forecast depends on them.

A forecast is read off the last sample, and behind it a dilated convolution looks at every d-th sample alone. So most
samples of the later layers are computed for nothing: of the ten convolutions over 64 samples of a usual TCN, with
dilations 1, 1, 2, 2, ... 16, 16, two thirds. The samples that are needed form an arithmetic progression; a convolution
on every g-th sample is one of dilation d / g, so the smaller graph is made of the same operators, and computes the same
numbers, in float and in integers, in every runtime.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from edge_tqs.graph.graph import Graph, Op, Tensor
from edge_tqs.operators import OPERATORS

#: Operators that work on each sample by itself; those with two inputs may repeat a (1, 1, C) over time.
BY_SAMPLE = frozenset(kind for kind, operator in OPERATORS.items() if operator.by_sample)


@dataclass(frozen=True)
class Samples:
    """The samples first, first + step, ... of a tensor's time axis, ``count`` of them; step is 1 where count is."""

    first: int
    step: int
    count: int

    @property
    def last(self) -> int:
        return self.first + self.step * (self.count - 1)

    @staticmethod
    def cover(positions: Iterable[int], steps: Iterable[int] = ()) -> Samples:
        """The shortest progression that holds all ``positions``, at least one, and whose step divides all ``steps``."""
        ordered = sorted(set(positions))
        if len(ordered) == 1:
            return Samples(ordered[0], 1, 1)
        step = math.gcd(*(position - ordered[0] for position in ordered), *steps)
        return Samples(ordered[0], step, (ordered[-1] - ordered[0]) // step + 1)

    def positions(self) -> range:
        return range(self.first, self.last + 1, self.step)

    def index(self, position: int) -> int:
        """The place of ``position`` among these samples; beyond them for one that lies beyond."""
        return (position - self.first) // self.step


def only_needed(graph: Graph) -> Graph:
    """``graph`` with the samples left out that nothing depends on; itself where there are none.

    Only graphs that take the whole window (recurrence "none") are changed.
    """
    if graph.forecast.recurrence != "none":
        return graph
    needed = _needed(graph)
    if needed is None or all(samples.count == _length(graph, name) for name, samples in needed.items()):
        return graph
    return _Rewriting(graph, needed).graph()


def _length(graph: Graph, name: str) -> int:
    return graph.tensors[name].shape[1]


def _over_time(graph: Graph, name: str) -> bool:
    """Whether a tensor is computed and has a time axis: (1, L, C)."""
    tensor = graph.tensors[name]
    return tensor.data is None and len(tensor.shape) == 3


def _by_sample(graph: Graph, op: Op) -> bool:
    """Whether some samples of the output can be computed without the others."""
    over_channels = op.kind in ("slice", "concat") and op.attrs["axis"] == 2
    moves_over_time = op.signature.is_convolution or (op.kind == "slice" and op.attrs["axis"] == 1)
    over_time = moves_over_time and _over_time(graph, op.inputs[0])  # not a constant: the zero state of a layer
    return _over_time(graph, op.outputs[0]) and (op.kind in BY_SAMPLE or over_channels or over_time)


def _needed(graph: Graph) -> dict[str, Samples] | None:
    """The samples of each tensor over time that anything needs; None where a convolution sees nothing but zeros."""
    wanted: dict[str, set[int]] = {name: set() for name in graph.tensors if _over_time(graph, name)}
    steps: dict[str, set[int]] = {name: set() for name in wanted}
    full = {name: Samples(0, 1, _length(graph, name)) for name in wanted}
    samples = dict(full)
    for op in reversed(graph.ops):
        out = op.outputs[0]
        narrow = _by_sample(graph, op) and out != graph.output
        if narrow and wanted[out]:
            samples[out] = Samples.cover(wanted[out], steps[out])
        for name in op.inputs:
            if name not in wanted:
                continue
            read = set(_reads(graph, op, name, samples[out])) if narrow else set(full[name].positions())
            if not read:
                return None
            wanted[name] |= read
            if op.signature.is_convolution and narrow:
                steps[name] |= set(_strides(graph, op, samples[out]))
    samples[graph.input] = full[graph.input]
    return samples


def _strides(graph: Graph, op: Op, out: Samples) -> list[int]:
    """Distances between the samples that a conv_1d reads, zeros beyond the ends included."""
    taps = graph.tensors[op.inputs[1]].shape[1]
    between = [out.step * op.attrs["stride"]] if out.count > 1 else []
    return between + ([op.attrs["dilation"]] if taps > 1 else [])


def _reads(graph: Graph, op: Op, name: str, out: Samples) -> Iterable[int]:
    """The samples of ``name`` that ``op`` reads to give the samples ``out`` of its output."""
    length = _length(graph, name)
    if op.kind == "batch_matmul" and name == op.inputs[1]:
        return range(length)
    if op.kind == "slice" and op.attrs["axis"] == 1:
        return [op.attrs["begin"] + position for position in out.positions()]
    if op.signature.is_convolution:
        stride, dilation, left = (op.attrs[key] for key in ("stride", "dilation", "left"))
        taps = graph.tensors[op.inputs[1]].shape[1]
        read = {p * stride - left + k * dilation for p in out.positions() for k in range(taps)}
        return [position for position in read if 0 <= position < length]
    return out.positions() if length == _length(graph, op.outputs[0]) else range(length)


class _Rewriting:
    """Rewrites operator by operator; ``_made`` says which samples each new tensor holds."""

    def __init__(self, graph: Graph, needed: dict[str, Samples]) -> None:
        self._old, self._needed = graph, needed
        self._tensors: dict[str, Tensor] = {}
        self._ops: list[Op] = []
        self._chosen: dict[tuple[str, Samples], str] = {}

    def graph(self) -> Graph:
        old = self._old
        for name, tensor in old.tensors.items():
            if tensor.data is not None or name == old.input:
                self._tensors[name] = tensor
        for op in old.ops:
            self._rewrite(op)
        order = {name: place for place, name in enumerate(old.tensors)}
        tensors = dict(sorted(self._tensors.items(), key=lambda item: order.get(item[0], len(order))))
        return replace(old, tensors=tensors, ops=tuple(self._ops)).check()

    def _rewrite(self, op: Op) -> None:
        out = op.outputs[0]
        if not _by_sample(self._old, op) or out == self._old.output:
            self._add(replace(op, inputs=tuple(self._whole(name) for name in op.inputs)))
            return
        samples = self._needed[out]
        if op.signature.is_convolution:
            self._convolve(op, samples)
        elif op.kind == "slice" and op.attrs["axis"] == 1:
            self._choose(op.inputs[0], replace(samples, first=samples.first + op.attrs["begin"]), out)
        else:
            length = _length(self._old, out)
            whole = op.inputs[1:] if op.kind == "batch_matmul" else ()  # its rows meet all of the other operand
            sampled = op.inputs[: len(op.inputs) - len(whole)]
            inputs = (*(self._sampled(name, samples, length) for name in sampled), *map(self._whole, whole))
            self._add(replace(op, inputs=inputs), samples.count)

    def _sampled(self, name: str, samples: Samples, length: int) -> str:
        """The samples of an input, computed or constant; all of one that is not as long as the output."""
        tensor = self._old.tensors[name]
        if len(tensor.shape) != 3 or tensor.shape[1] != length or samples.count == length:
            return self._whole(name)
        if tensor.data is None:
            return self._choose(name, samples)
        made = f"{name}/at_{samples.first}_{samples.step}_{samples.count}"
        data = np.ascontiguousarray(tensor.data[:, list(samples.positions())])
        self._tensors[made] = replace(tensor, name=made, shape=data.shape, data=data)
        return made

    def _add(self, op: Op, count: int | None = None) -> None:
        """Append ``op``, whose outputs have ``count`` samples (None: as before)."""
        for name in op.outputs:
            tensor = self._old.tensors[name]
            shape = tensor.shape if count is None else (1, count, *tensor.shape[2:])
            self._tensors[name] = replace(tensor, shape=shape)
        self._ops.append(op)

    def _whole(self, name: str) -> str:
        return self._choose(name, Samples(0, 1, _length(self._old, name))) if name in self._needed else name

    def _convolve(self, op: Op, out: Samples) -> None:
        x = op.inputs[0]
        held = self._needed[x]
        stride, dilation, left = (op.attrs[key] for key in ("stride", "dilation", "left"))
        taps = self._old.tensors[op.inputs[1]].shape[1]
        first = out.first * stride - left  # of the samples that are read; below 0 and beyond the end lie zeros
        step = out.step * stride if out.count > 1 else held.step
        gap = dilation if taps > 1 else held.step
        begin = held.index(first)
        end = held.index(first + (out.count - 1) * step + (taps - 1) * gap)
        kept = (max(begin, 0), min(end, held.count - 1))
        read = Samples(held.first + kept[0] * held.step, held.step, kept[1] - kept[0] + 1)
        attrs = dict(op.attrs) | {
            "stride": step // held.step,
            "dilation": gap // held.step,
            "left": max(-begin, 0),
            "right": max(end - held.count + 1, 0),
        }
        self._add(replace(op, inputs=(self._choose(x, read), *op.inputs[1:]), attrs=attrs), out.count)

    def _choose(self, name: str, wanted: Samples, target: str | None = None) -> str:
        """The tensor that holds the samples ``wanted`` of ``name``: itself, or a slice of it, named ``target``."""
        held = self._needed[name]
        if target is None and held.positions() == wanted.positions():
            return name
        known = self._chosen.get((name, wanted))
        if target is None and known is not None:
            return known
        ratio = wanted.step // held.step if wanted.count > 1 else 1
        begin, channels = held.index(wanted.first), self._tensors[name].shape[2]
        base = target or f"{name}/at_{wanted.first}_{wanted.step}"
        if ratio == 1:
            return self._keep(name, wanted, self._slice(base, name, 1, begin, wanted.count))
        # Every ratio-th sample: the first or the last of each group of so many, laid side by side.
        before = ratio - 1
        if begin >= before and begin - before + wanted.count * ratio <= held.count:
            made = self._each(base, name, begin - before, ratio, wanted.count, before)
        elif begin + wanted.count * ratio <= held.count:
            made = self._each(base, name, begin, ratio, wanted.count, 0)
        else:  # the last group is cut off
            head = self._each(f"{base}/head", name, begin, ratio, wanted.count - 1, 0)
            tail = self._slice(f"{base}/tail", name, 1, begin + (wanted.count - 1) * ratio, 1)
            made = self._op("concat", base, (head, tail), (1, wanted.count, channels), axis=1)
        return self._keep(name, wanted, made)

    def _each(self, base: str, name: str, start: int, ratio: int, count: int, place: int) -> str:
        """Sample ``place`` of each of ``count`` groups of ``ratio`` samples from ``start`` on."""
        channels = self._tensors[name].shape[2]
        block = self._slice(f"{base}/block", name, 1, start, count * ratio)
        side = self._op("reshape", f"{base}/side", (block,), (1, count, ratio * channels))
        return self._slice(base, side, 2, place * channels, channels)

    def _keep(self, name: str, wanted: Samples, made: str) -> str:
        self._chosen[name, wanted] = made
        return made

    def _slice(self, out: str, x: str, axis: int, begin: int, size: int) -> str:
        shape = self._tensors[x].shape
        if shape[axis] == size:  # all of it; under a name that others know it by, where it must have that
            return self._op("reshape", out, (x,), shape) if out in self._old.tensors else x
        return self._op(
            "slice", out, (x,), (*shape[:axis], size, *shape[axis + 1 :]), axis=axis, begin=begin, size=size
        )

    def _op(self, kind: str, out: str, inputs: tuple[str, ...], shape: tuple[int, ...], **attrs: int) -> str:
        self._ops.append(Op(kind, inputs, (out,), attrs))
        self._tensors[out] = Tensor(out, shape, "float32")
        return out
