"""What a layer's reader works with: the Keras layer as plain data, and the graph under construction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_tqs.errors import ModelError
from edge_tqs.graph import WEIGHTED, Forecast, Graph, Op, Recurrence, State, Tensor
from edge_tqs.shapes import conv_length

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Weight:
    """A Keras variable: its whole path (the name it is scored and planned under) and its float32 values.

    part: tells the tensors apart that are cut out of one variable ("/gates"); empty for a whole one.
    """

    path: str
    data: npt.NDArray[np.float32]
    part: str = ""

    def columns(self, begin: int, end: int | None, part: str) -> Weight:
        """Columns ``begin`` to ``end`` of a kernel (in, out), as a part of the same variable."""
        return Weight(self.path, self.data[:, begin:end], part)


@dataclass(frozen=True, eq=False)
class KerasLayer:
    """A Keras layer as plain data.

    kind: its class name. config: its ``get_config()``. weights: by short name ("kernel", "recurrent_kernel", "bias").
    last_recurrent: no recurrent layer follows (only meaningful for a recurrent layer). ranks: of its inputs in Keras.
    inputs: names of the layers whose outputs it reads, "" for the model's input.
    """

    name: str
    kind: str
    config: Mapping[str, Any]
    weights: Mapping[str, Weight]
    last_recurrent: bool = False
    ranks: tuple[int, ...] = ()
    inputs: tuple[str, ...] = ("",)

    def refuse(self, why: str, *, hint: str = "") -> ModelError:
        """The error to raise: names the layer, says why it cannot be built."""
        return ModelError(f"layer {self.name} ({self.kind}): {why}", hint=hint)


class GraphBuilder:
    """Collects tensors, operators and states.

    ``inputs`` are the tensors that the next layer reads, ``value`` the first of them; the layer's reader leaves its
    result in ``value``. ``shared`` are tensors that several layers read, so that none may change them.

    Without recurrent layers the graph starts from the window, (1, W, F); with them from one sample, (1, F), and each
    layer adds what it does at one time step.
    """

    def __init__(self, name: str, *, window: int, channels: int, recurrence: Recurrence) -> None:
        self.name = name
        self.window = window
        self.channels = channels
        self.recurrence = recurrence
        self._tensors: dict[str, Tensor] = {}
        self._ops: list[Op] = []
        self._states: list[State] = []
        self._paddings: dict[str, tuple[str, int, int]] = {}
        self.shared: set[str] = set()
        self.value = self._add("x", (1, window, channels) if recurrence == "none" else (1, channels))
        self.inputs: tuple[str, ...] = (self.value,)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._tensors[name].shape

    def state(self, name: str, width: int) -> str:
        """The state ``name`` (``<layer>/h``) as it was before this step; (1, width)."""
        return self._add(name, (1, width))

    def carry(self, state: str, updated: str) -> None:
        """``updated`` is the next value of ``state``; its signature name is the tensor's with / made _."""
        self._states.append(State(state.replace("/", "_"), state, updated))

    def fully_connected(self, out: str, x: str, kernel: Weight, bias: Weight | None) -> str:
        """``x`` times a Keras kernel (in, out), stored as (out, in), plus ``bias`` (out,)."""
        data = np.ascontiguousarray(kernel.data.T)
        inputs = [x, *self._weights(kernel, data, bias)]
        return self.op("fully_connected", out, inputs, (1, data.shape[0]), activation="none")

    def conv_1d(self, out: str, x: str, kernel: Weight, bias: Weight | None, **attrs: int) -> str:
        """``x`` (1, W, in) convolved with a Keras kernel (taps, in, out), stored as (out, taps, in)."""
        data = np.ascontiguousarray(kernel.data.transpose(2, 0, 1))
        shape = (1, conv_length(self.shape(x)[1], data.shape[1], attrs), data.shape[0])
        return self.op("conv_1d", out, [x, *self._weights(kernel, data, bias)], shape, activation="none", **attrs)

    def padded(self, out: str, x: str, left: int, right: int) -> str:
        """``x`` (1, W, C) with zeros before and after it."""
        _, length, channels = self.shape(x)
        zeros = {
            side: self._add(f"{out}/{side}", (1, size, channels), np.zeros((1, size, channels), np.float32))
            for side, size in (("left", left), ("right", right))
            if size
        }
        parts = [zeros.get(side, x) for side in ("left", "", "right") if side in zeros or not side]
        self._paddings[out] = (x, left, right)
        return self.op("concat", out, parts, (1, left + length + right, channels), axis=1)

    def unpadded(self, name: str) -> tuple[str, int, int]:
        """What ``padded`` made ``name`` of: (x, left, right), for an operator that pads by itself."""
        return self._paddings.get(name, (name, 0, 0))

    def op(self, kind: str, out: str, inputs: list[str], shape: tuple[int, ...] | None = None, **attrs: Any) -> str:
        """Add an operator that writes ``out``, of the first input's shape unless ``shape`` is given; return ``out``."""
        self._ops.append(Op(kind, tuple(inputs), (out,), attrs))
        return self._add(out, shape or self.shape(inputs[0]))

    def split(self, outs: tuple[str, ...], x: str) -> tuple[str, ...]:
        """Cut ``x`` (1, N) into equal parts, in order."""
        width = self.shape(x)[1] // len(outs)
        self._ops.append(Op("split", (x,), outs, {"parts": len(outs)}))
        for out in outs:
            self._add(out, (1, width))
        return outs

    def slice(self, out: str, x: str, begin: int, size: int) -> str:
        return self.op("slice", out, [x], (1, size), axis=1, begin=begin, size=size)

    def fuse(self, activation: str) -> bool:
        """Make ``activation`` part of the layer with weights that wrote ``value``; False where that cannot be."""
        for index, op in enumerate(self._ops):
            if op.outputs == (self.value,):
                if op.kind not in WEIGHTED or op.attrs["activation"] != "none" or self.value in self.shared:
                    return False
                self._ops[index] = replace(op, attrs={**op.attrs, "activation": activation})
                return True
        return False

    def finish(self) -> Graph:
        """The checked graph: ``value`` is its output and comes back as its next input, channel by channel."""
        self._drop_unread()
        every = tuple(range(self.channels))
        forecast = Forecast(self.window, self.channels, self.recurrence, every)
        return Graph(self.name, self._tensors, tuple(self._ops), "x", self.value, tuple(self._states), forecast).check()

    def _drop_unread(self) -> None:
        """Drop operators whose results nothing reads: paddings that went into a convolution."""
        wanted = {self.value, *(state.output for state in self._states)}
        for op in reversed(self._ops):
            if wanted.intersection(op.outputs):
                wanted.update(op.inputs)
            else:
                self._ops.remove(op)
        wanted |= {"x", *(state.input for state in self._states), *(name for op in self._ops for name in op.outputs)}
        self._tensors = {name: tensor for name, tensor in self._tensors.items() if name in wanted}

    def _weights(self, kernel: Weight, data: Array, bias: Weight | None) -> list[str]:
        """Tensors of a kernel, as ``data``, and of a bias where there is one."""
        names = [self._add(kernel.path + kernel.part, data.shape, data, kernel.path)]
        if bias is not None:
            names.append(self._add(bias.path + bias.part, bias.data.shape, bias.data, bias.path))
        return names

    def _add(self, name: str, shape: tuple[int, ...], data: Array | None = None, source: str | None = None) -> str:
        if name in self._tensors:
            raise ModelError(f"{self.name}: two tensors are named {name}", hint="Give each Keras layer its own name.")
        self._tensors[name] = Tensor(name, shape, "float32", data, None, source)
        return name
