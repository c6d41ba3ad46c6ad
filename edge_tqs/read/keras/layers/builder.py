"""What a layer's reader works with: the Keras layer as plain data, and the graph under construction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import MOST_JOINED, Array, Forecast, Graph, Op, Recurrence, State, Tensor
from edge_tqs.graph.shapes import conv_length
from edge_tqs.passes.units import MOVES, moved


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
    last_recurrent: no recurrent layer follows (only meaningful for a recurrent layer). ranks: of its inputs in Keras;
    shapes: theirs without the batch, None where a size is open.
    name: of this application; a layer that is applied again, ``shared``, has the same weights under another name.
    inputs: keys of the tensors that it reads, as keras_nodes.Source gives them, in the order of ``call``. parts: the
    layers inside a wrapper, which hold its weights. call: "args" and "kwargs" that a functional model's config holds;
    empty for a layer of a Sequential one. of_samples: it reads one value of each sample of the window, (W,).
    """

    name: str
    kind: str
    config: Mapping[str, Any]
    weights: Mapping[str, Weight]
    last_recurrent: bool = False
    ranks: tuple[int, ...] = ()
    shapes: tuple[tuple[int | None, ...], ...] = ()
    inputs: tuple[str, ...] = ("",)
    parts: tuple[KerasLayer, ...] = ()
    call: Mapping[str, Any] = field(default_factory=dict)
    shared: bool = False
    of_samples: bool = False

    @property
    def parameters(self) -> int:
        own = sum(weight.data.size for weight in self.weights.values())
        return own + sum(part.parameters for part in self.parts)

    def paths(self) -> set[str]:
        """Paths of its weights, and of those of its parts."""
        return {weight.path for weight in self.weights.values()}.union(*(part.paths() for part in self.parts))

    def refuse(self, why: str, *, hint: str = "") -> ModelError:
        """The error to raise: names the layer, says why it cannot be built."""
        return ModelError(f"layer {self.name} ({self.kind}): {why}", hint=hint)


class GraphBuilder:
    """Collects tensors, operators and states.

    ``inputs`` are the tensors that the next layer reads, ``value`` the first of them; the layer's reader leaves its
    result in ``value``, and where it has several, all of them in ``outputs``. ``shared`` are tensors that several
    layers read, so that none may change them; ``kept`` are paths of weights of which the same holds, because their
    layer is applied again. ``whole``: by channel, the N whole numbers that it may hold, for what rows are looked up by.

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
        self.kept: set[str] = set()
        self.whole: dict[int, int] = {}
        self.value = self._add("x", (1, window, channels) if recurrence == "none" else (1, channels))
        self.inputs: tuple[str, ...] = (self.value,)
        self.outputs: tuple[str, ...] = ()

    def shape(self, name: str) -> tuple[int, ...]:
        return self._tensors[name].shape

    def channels_of(self, name: str) -> tuple[int, ...] | None:
        """The channels of the window whose values ``name`` holds as they are; None where it holds anything else."""
        graph = self._graph("x")
        known = {"x": np.broadcast_to(np.arange(self.channels), self.shape("x"))}
        for op in self._ops:
            if op.kind in MOVES and all(source in known for source in op.inputs):
                known |= zip(op.outputs, moved(graph, op, [known[source] for source in op.inputs]), strict=True)
        return tuple(map(int, np.unique(known[name]))) if name in known else None

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

    def filled(self, name: str, shape: tuple[int, ...], value: float) -> str:
        """A constant of one value that is read as activations are; the same tensor when asked for again."""
        return name if name in self._tensors else self._add(name, shape, np.full(shape, value, np.float32))

    def constant(self, name: str, data: Array) -> str:
        """Values that are read as activations are."""
        return self._add(name, data.shape, np.ascontiguousarray(data, np.float32))

    @contextmanager
    def grouped(self, prefix: str, group: str) -> Iterator[None]:
        """While it lasts, what is named ``prefix``/... shares its quantisation with its like under other prefixes."""
        self._group = (f"{prefix}/", f"{group}/")
        yield
        self._group = ("", "")

    @contextmanager
    def ungrouped(self) -> Iterator[None]:
        """While it lasts, every step of an unrolled layer has quantisations of its own."""
        held, self._group = self._group, ("", "")
        yield
        self._group = held

    def join_groups(self, names: tuple[str, ...], others: tuple[str, ...]) -> None:
        """Let each of ``names`` share the quantisation of its counterpart in ``others``."""
        for name, other in zip(names, others, strict=True):
            self._tensors[name] = replace(self._tensors[name], group=self._tensors[other].group)

    def conv_1d(self, out: str, x: str, kernel: Weight, bias: Weight | None, **attrs: int) -> str:
        """``x`` (1, W, in) convolved with a Keras kernel (taps, in, out), stored as (out, taps, in)."""
        data = np.ascontiguousarray(kernel.data.transpose(2, 0, 1))
        return self._convolve(out, x, self._weights(kernel, data, bias), **attrs)

    def depthwise_1d(self, out: str, x: str, kernel: Weight, bias: Weight | None, **attrs: int) -> str:
        """Each channel of ``x`` (1, W, C) with its filters of a Keras kernel (taps, C, m), stored as (C * m, taps)."""
        taps = kernel.data.shape[0]
        data = np.ascontiguousarray(kernel.data.reshape(taps, -1).T)
        shape = (1, conv_length(self.shape(x)[1], taps, attrs), data.shape[0])
        inputs = [x, *self._weights(kernel, data, bias)]
        return self.op("depthwise_1d", out, inputs, shape, attrs={"activation": "none", **attrs})

    def scaled(self, out: str, x: str, scale: Weight, shift: Weight | None) -> str:
        """``x`` (1, C) or (1, W, C) times ``scale`` (C,) plus ``shift`` (C,): a depthwise_1d of one tap."""
        shape = self.shape(x)
        if len(shape) == 2:
            x = self.op("reshape", f"{out}/sample", [x], (1, 1, shape[1]))
        kernel = Weight(scale.path, scale.data.reshape(1, -1, 1), scale.part)
        attrs = {"stride": 1, "dilation": 1, "left": 0, "right": 0}
        if len(shape) == 3:
            return self.depthwise_1d(out, x, kernel, shift, **attrs)
        return self.op("reshape", out, [self.depthwise_1d(f"{out}/scaled", x, kernel, shift, **attrs)], shape)

    def fold(self, scale: Array, shift: Weight) -> bool:
        """Multiply ``value`` by ``scale`` (M,) and add ``shift`` (M,) in the layer with weights that wrote it.

        False, and nothing done, where there is none, it has an activation, or anything else reads ``value`` or the
        layer's weights, now or once the layer is applied again. A layer without a bias takes ``shift`` as its own.
        """
        index = next((i for i, op in enumerate(self._ops) if op.outputs == (self.value,)), None)
        if index is None or self.value in self.shared:
            return False
        op = self._ops[index]
        constants = set(op.inputs[1:])
        if not op.signature.is_weighted or op.attrs["activation"] != "none":
            return False
        if self.kept & {self._tensors[name].source for name in op.inputs[1:]}:
            return False
        if any(constants & set(other.inputs) for i, other in enumerate(self._ops) if i != index):
            return False
        weight = self._data(op.inputs[1])
        self._replace(op.inputs[1], weight * scale.reshape(-1, *[1] * (weight.ndim - 1)))
        if len(op.inputs) == 3:
            self._replace(op.inputs[2], self._data(op.inputs[2]) * scale + shift.data)
        else:
            self._ops[index] = replace(op, inputs=(*op.inputs, self._weight(shift, shift.data)))
        return True

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

    def viewed(self, x: str, shape: tuple[int, ...]) -> str:
        """The values of ``x`` in another ``shape``: what ``x`` was reshaped of where that has it, else a reshape."""
        made = {op.outputs[0]: op.inputs[0] for op in self._ops if op.kind == "reshape"}
        found = x
        while self.shape(found) != shape and found in made:
            found = made[found]
        if self.shape(found) != shape:
            found = f"{x}/{'x'.join(map(str, shape[1:]))}"
            if found not in self._tensors:
                self.op("reshape", found, [x], shape)
        if x in self.shared:
            self.shared.add(found)
        return found

    def op(
        self,
        kind: str,
        out: str,
        inputs: list[str],
        shape: tuple[int, ...] | None = None,
        *,
        attrs: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> str:
        """Add an operator that writes ``out``, of the first input's shape unless ``shape`` is given; return ``out``."""
        self._ops.append(Op(kind, tuple(inputs), (out,), {**(attrs or {}), **more}))
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
                if not op.signature.is_weighted or op.attrs["activation"] != "none" or self.value in self.shared:
                    return False
                self._ops[index] = replace(op, attrs={**op.attrs, "activation": activation})
                return True
        return False

    def finish(self) -> Graph:
        """The checked graph with ``value`` as its output; what becomes of its values is for the caller to say."""
        self._drop_unread()
        return self._graph(self.value).check()

    def _graph(self, output: str) -> Graph:
        whole, every = tuple(sorted(self.whole.items())), tuple(range(self.channels))
        forecast = Forecast(self.window, self.channels, self.recurrence, every, whole=whole)
        return Graph(self.name, self._tensors, tuple(self._ops), "x", output, tuple(self._states), forecast)

    def _data(self, name: str) -> Array:
        data = self._tensors[name].data
        assert data is not None
        return data

    def _replace(self, name: str, data: Array) -> None:
        self._tensors[name] = replace(self._tensors[name], data=np.ascontiguousarray(data, np.float32))

    def _join(self, out: str, parts: list[str], axis: int) -> str:
        first = self.shape(parts[0])
        size = sum(self.shape(part)[axis] for part in parts)
        return self.op("concat", out, parts, (*first[:axis], size, *first[axis + 1 :]), axis=axis)

    def _convolve(self, out: str, x: str, weights: list[str], **attrs: int) -> str:
        rows, taps, _ = self.shape(weights[0])
        shape = (1, conv_length(self.shape(x)[1], taps, attrs), rows)
        return self.op("conv_1d", out, [x, *weights], shape, attrs={"activation": "none", **attrs})

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
        # A layer that is applied again makes its parts and its folded scales again, of the same variable.
        same = known is weight or (weight.path in self.kept and np.array_equal(known.data, weight.data))
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
