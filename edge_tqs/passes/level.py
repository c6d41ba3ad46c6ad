"""A graph pass: what a model leaves out of its window and its forecast becomes part of its float graph.

    target "delta":  y = last sample + model(window)
    centre "last":   y = last sample + model(window - last sample)
    centre "mean":   y = mean over the window + model(window - mean over the window)

The last sample and the mean are those of the window that is evaluated, in the model's units. Where an evaluation
predicts a block of samples, the same is added to each of them: a difference is to the last sample that was there when
the model was evaluated, not to the sample before it in the block. With both, the window is centred and the difference
is to the last sample: y = last sample + model(window - mean). Only channels that are fed back take part; those known
ahead go into the model as they are, and to an output that becomes no input nothing is added.

After the pass a graph takes and gives samples as any other does: nothing behind it knows of levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import MOST_JOINED, Centre, Graph, Op, Target, Tensor

CENTRE_INSIDE = (
    "A recurrent model is centred inside: GlobalAveragePooling1D (or Cropping1D and Flatten, for the last sample), "
    "RepeatVector and Subtract before its first layer. edge-tqs then unrolls it over the window."
)


def with_level(graph: Graph, target: Target, centre: Centre) -> Graph:
    """``graph`` (float, its output flat) with its window centred and its forecasts put back to their level.

    Raises ModelError for ``centre`` where the graph takes one sample after the other: it never sees its window.
    """
    if (target, centre) == ("level", "none"):
        return graph
    recurrence = graph.forecast.recurrence
    if centre != "none" and recurrence != "none":
        if recurrence == "stateful":
            carried = "its states are carried on, and do not see the window again when its level changes"
            hint = f'Leave recurrence at "auto", with recurrent layers that are not stateful. {CENTRE_INSIDE}'
        else:
            carried = (
                f"it takes one sample at a time, and only the last of {graph.forecast.window} completes the window"
            )
            hint = CENTRE_INSIDE
        raise ModelError(
            f'centre = "{centre}" needs the whole window before its first sample is computed, and '
            f"this model is run in {recurrence} recurrence: {carried}",
            hint=hint,
        )
    return _LevelBuilder(graph).build(centre, "last" if target == "delta" else centre)


class _LevelBuilder:
    """Adds operators around a graph."""

    def __init__(self, graph: Graph) -> None:
        self._old = graph
        self._forecast = graph.forecast
        self._tensors = dict(graph.tensors)
        self._before: list[Op] = []
        self._after: list[Op] = []

    def build(self, centre: Centre, base: Centre) -> Graph:
        """``centre`` is taken off the window, ``base`` added to the forecast."""
        old, inside = self._old, list(self._old.ops)
        if centre != "none":
            level = self._level(centre)
            fed = [None if source is None else channel for channel, source in enumerate(self._forecast.feedback)]
            taken = self._channels(f"{old.input}/level", level, fed)
            name = self._op("sub", (old.input, taken), f"{old.input}/centred", old.tensors[old.input].shape)
            inside = [replace(op, inputs=tuple(name if x == old.input else x for x in op.inputs)) for op in inside]
        level = self._level(base)
        sources = [
            channel if output in self._forecast.feedback else None
            for output, channel in enumerate(self._forecast.output_channels)
        ]
        output = self._added(self._channels(f"{old.output}/base", level, sources))
        ops = (*self._before, *inside, *self._after)
        return replace(old, tensors=self._tensors, ops=ops, output=output).check()

    def _level(self, which: Centre) -> str:
        """(1, 1, F): the last sample of the window, or its mean over time; in a step graph the sample, (1, F)."""
        x, window, channels = self._old.input, self._forecast.window, self._forecast.channels
        if self._forecast.recurrence != "none":
            return x
        name = f"{x}/{which}"
        if name in self._tensors:
            return name
        if which == "mean":
            return self._op("mean", (x,), name, (1, 1, channels))
        return self._op("slice", (x,), name, (1, 1, channels), axis=1, begin=window - 1, size=1)

    def _channels(self, out: str, level: str, sources: Sequence[int | None]) -> str:
        """The channels ``sources`` of a level, side by side; zero for None."""
        shape = self._tensors[level].shape
        if list(sources) == list(range(shape[-1])):
            return level
        parts: list[str] = []
        begin = 0
        while begin < len(sources):
            first, size = sources[begin], 1
            while begin + size < len(sources) and sources[begin + size] == (None if first is None else first + size):
                size += 1
            name, sized = f"{out}/{begin}", (*shape[:-1], size)
            if first is None:
                self._tensors[name] = Tensor(name, sized, "float32", np.zeros(sized, np.float32))
                parts.append(name)
            else:
                axis = len(shape) - 1
                parts.append(self._op("slice", (level,), name, sized, axis=axis, begin=first, size=size))
            begin += size
        return self._joined(out, parts)

    def _joined(self, out: str, parts: list[str]) -> str:
        """Side by side; more than MOST_JOINED in several steps."""
        level = 0
        while len(parts) > 1:
            chunks = [parts[at : at + MOST_JOINED] for at in range(0, len(parts), MOST_JOINED)]
            last = len(chunks) == 1
            parts = [
                self._concat(out if last else f"{out}/joined_{level}_{number}", chunk) if len(chunk) > 1 else chunk[0]
                for number, chunk in enumerate(chunks)
            ]
            level += 1
        return parts[0]

    def _concat(self, out: str, parts: list[str]) -> str:
        first = self._tensors[parts[0]].shape
        shape = (*first[:-1], sum(self._tensors[part].shape[-1] for part in parts))
        return self._op("concat", tuple(parts), out, shape, axis=len(shape) - 1)

    def _added(self, base: str) -> str:
        """The graph's output plus ``base`` at each sample of a block, flat again."""
        y, steps, outputs = self._old.output, self._forecast.steps, self._forecast.outputs
        flat, one = self._tensors[y].shape, (1, 1, outputs)
        if steps == 1:
            if self._tensors[base].shape != flat:
                base = self._op("reshape", (base,), f"{y}/base_sample", flat, self._after)
            return self._op("add", (y, base), f"{y}/level", flat, self._after)
        if self._tensors[base].shape != one:
            base = self._op("reshape", (base,), f"{y}/base_sample", one, self._after)
        block = self._op("reshape", (y,), f"{y}/block", (1, steps, outputs), self._after)
        added = self._op("add", (block, base), f"{y}/level", (1, steps, outputs), self._after)
        return self._op("reshape", (added,), f"{y}/samples_level", flat, self._after)

    def _op(
        self,
        kind: str,
        inputs: tuple[str, ...],
        out: str,
        shape: tuple[int, ...],
        ops: list[Op] | None = None,
        **attrs: int,
    ) -> str:
        if out in self._tensors:
            raise ModelError(f"{self._old.name}: there are two tensors {out}", hint="Rename a layer.")
        self._tensors[out] = Tensor(out, shape, "float32")
        (self._before if ops is None else ops).append(Op(kind, inputs, (out,), attrs))
        return out
