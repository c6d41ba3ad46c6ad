"""What a layer's reader works with: the Keras layer as plain data, and the graph under construction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_tqs.errors import ModelError
from edge_tqs.graph import MOST_JOINED, WEIGHTED, Forecast, Graph, Op, Recurrence, State, Tensor
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
    inputs: keys of the tensors that it reads, in the order of ``args`` and ``kwargs``. name: of this application; a
    layer that is applied again shares its weights under another name. args, kwargs: what it is called with, a
    keras_nodes.Source in the place of each tensor.
    """

    name: str
    kind: str
    config: Mapping[str, Any]
    weights: Mapping[str, Weight]
    last_recurrent: bool = False
    ranks: tuple[int, ...] = ()
    inputs: tuple[str, ...] = ("",)
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def argument(self, name: str, position: int | None = None, default: Any = None) -> Any:
        """What it is called with as ``name``, or as the argument at ``position``."""
        given = self.args[position] if position is not None and position < len(self.args) else default
        return self.kwargs.get(name, given)

    def refuse(self, why: str, *, hint: str = "") -> ModelError:
        """The error to raise: names the layer, says why it cannot be built."""
        return ModelError(f"layer {self.name} ({self.kind}): {why}", hint=hint)


class GraphBuilder:
    """Collects tensors, operators and states.

    ``inputs`` are the tensors that the next layer reads, ``value`` the first of them; the layer's reader leaves its
    result in ``value``, and several of them in ``outputs``. ``values`` are the tensors by the key of what Keras calls
    them. ``shared`` are tensors that several layers read, so that none may change them.

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
        self._weight_of: dict[str, Weight] = {}
        self._group = ("", "")
        self._paddings: dict[str, tuple[str, int, int]] = {}
        self.shared: set[str] = set()
        self.value = self._add("x", (1, window, channels) if recurrence == "none" else (1, channels))
        self.inputs: tuple[str, ...] = (self.value,)
        self.outputs: tuple[str, ...] = ()
        self.values: dict[str, str] = {}

    def shape(self, name: str) -> tuple[int, ...]:
        return self._tensors[name].shape

    def state(self, name: str, width: int) -> str:
        """The state ``name`` (``<layer>/h``) as it was before this step; (1, width)."""
        return self._add(name, (1, width))

    def carry(self, state: str, updated: str) -> None:
        """``updated`` is the next value of ``state``; its signature name is the tensor's with / made _."""
        self._states.append(State(state.replace("/", "_"), state, updated))

    def dense(self, out: str, x: str, kernel: Weight, bias: Weight | None) -> str:
        """``fully_connected``, or on a sequence (1, W, in) the same for each sample: a conv_1d of one tap."""
        if len(self.shape(x)) == 2:
            return self.fully_connected(out, x, kernel, bias)
        data = np.ascontiguousarray(kernel.data.T)[:, None]
        return self._convolve(out, x, self._weights(kernel, data, bias), stride=1, dilation=1, left=0, right=0)

    def fully_connected(self, out: str, x: str, kernel: Weight, bias: Weight | None) -> str:
        """``x`` times a Keras kernel (in, out), stored as (out, in), plus ``bias`` (out,)."""
        data = np.ascontiguousarray(kernel.data.T)
        inputs = [x, *self._weights(kernel, data, bias)]
        return self.op("fully_connected", out, inputs, (1, data.shape[0]), activation="none")

    def zeros(self, name: str, shape: tuple[int, ...]) -> str:
        """A constant of zeros that is read as activations are."""
        return self._add(name, shape, np.zeros(shape, np.float32))

    @contextmanager
    def grouped(self, prefix: str, group: str) -> Iterator[None]:
        """While it lasts, what is named ``prefix``/... shares its quantisation with its like under other prefixes."""
        self._group = (f"{prefix}/", f"{group}/")
        yield
        self._group = ("", "")

    def join_groups(self, names: tuple[str, ...], others: tuple[str, ...]) -> None:
        """Let each of ``names`` share the quantisation of its counterpart in ``others``."""
        for name, other in zip(names, others, strict=True):
            self._tensors[name] = replace(self._tensors[name], group=self._tensors[other].group)

    def conv_1d(self, out: str, x: str, kernel: Weight, bias: Weight | None, **attrs: int) -> str:
        """``x`` (1, W, in) convolved with a Keras kernel (taps, in, out), stored as (out, taps, in)."""
        data = np.ascontiguousarray(kernel.data.transpose(2, 0, 1))
        return self._convolve(out, x, self._weights(kernel, data, bias), **attrs)

    def padded(self, out: str, x: str, left: int, right: int) -> str:
        """``x`` (1, W, C) with zeros before and after it."""
        channels = self.shape(x)[2]
        zeros = {
            side: self.zeros(f"{out}/{side}", (1, size, channels))
            for side, size in (("left", left), ("right", right))
            if size
        }
        parts = [zeros.get(side, x) for side in ("left", "", "right") if side in zeros or not side]
        self._paddings[out] = (x, left, right)
        return self.concat(out, parts, axis=1)

    def unpadded(self, name: str) -> tuple[str, int, int]:
        """What ``padded`` made ``name`` of: (x, left, right), for an operator that pads by itself."""
        return self._paddings.get(name, (name, 0, 0))

    def op(self, kind: str, out: str, inputs: list[str], shape: tuple[int, ...] | None = None, **attrs: Any) -> str:
        """Add an operator that writes ``out``, of the first input's shape unless ``shape`` is given; return ``out``."""
        self._ops.append(Op(kind, tuple(inputs), (out,), attrs))
        return self._add(out, shape or self.shape(inputs[0]))

    def split(self, outs: tuple[str, ...], x: str) -> tuple[str, ...]:
        """Cut ``x`` (1, N) or (1, 1, N) into equal parts, in order."""
        shape = self.shape(x)
        self._ops.append(Op("split", (x,), outs, {"parts": len(outs)}))
        for out in outs:
            self._add(out, (*shape[:-1], shape[-1] // len(outs)))
        return outs

    def slice(self, out: str, x: str, begin: int, size: int) -> str:
        """Channels ``begin`` and up, ``size`` of them."""
        axis = len(self.shape(x)) - 1
        return self.op("slice", out, [x], (*self.shape(x)[:-1], size), axis=axis, begin=begin, size=size)

    def concat(self, out: str, parts: Sequence[str], axis: int) -> str:
        """Join ``parts`` along ``axis``; more than MOST_JOINED of them in several steps."""
        names, level = list(parts), 0
        while len(names) > MOST_JOINED:
            chunks = [names[at : at + MOST_JOINED] for at in range(0, len(names), MOST_JOINED)]
            names = [
                self._join(f"{out}/{level}_{number}", chunk, axis) if len(chunk) > 1 else chunk[0]
                for number, chunk in enumerate(chunks)
            ]
            level += 1
        return self._join(out, names, axis) if len(names) > 1 else names[0]

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

    def _join(self, out: str, parts: list[str], axis: int) -> str:
        first = self.shape(parts[0])
        size = sum(self.shape(part)[axis] for part in parts)
        return self.op("concat", out, parts, (*first[:axis], size, *first[axis + 1 :]), axis=axis)

    def _convolve(self, out: str, x: str, weights: list[str], **attrs: int) -> str:
        rows, taps, _ = self.shape(weights[0])
        shape = (1, conv_length(self.shape(x)[1], taps, attrs), rows)
        return self.op("conv_1d", out, [x, *weights], shape, activation="none", **attrs)

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
        names = [self._weight(kernel, data)]
        if bias is not None:
            names.append(self._weight(bias, bias.data))
        return names

    def _weight(self, weight: Weight, data: Array) -> str:
        """The tensor of ``weight``, as ``data``; the same one for each operator that reads this weight."""
        name = weight.path + weight.part
        known = self._weight_of.setdefault(name, weight)
        # A layer that is applied again may cut its variable into parts again.
        same = known is weight or (weight.part != "" and np.shares_memory(known.data, weight.data))
        if same and name in self._tensors:
            return name
        return self._add(name, data.shape, data, weight.path)

    def _add(self, name: str, shape: tuple[int, ...], data: Array | None = None, source: str | None = None) -> str:
        if name in self._tensors:
            raise ModelError(f"{self.name}: two tensors are named {name}", hint="Give each Keras layer its own name.")
        prefix, group = self._group
        shared = group + name.removeprefix(prefix) if prefix and name.startswith(prefix) else ""
        self._tensors[name] = Tensor(name, shape, "float32", data, None, source, shared)
        return name
