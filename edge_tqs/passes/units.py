"""A graph pass: the same model in other units of its inputs and outputs, exact but for the last bits of float32.

    x = scale x' + offset,   y = scale y' + offset,   a channel each (Scaling: mean is the offset, std the scale)

From x on, what is an affine function of the new values element by element is followed: moves, means over time, sums,
scales and offsets of constants. A layer with weights ends it: W x = (W scale) x' + W offset. Scales and offsets by
constants on the way fall away. Towards y, the layers that write it take the inverse in their rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Graph, Op, Scaling, Tensor
from edge_tqs.operators import OPERATORS

MOVES = ("slice", "concat", "split", "reshape", "transpose")
#: relative difference that double precision leaves
SAME = 1e-9


@dataclass(frozen=True, eq=False)
class Affine:
    """value = scale * value' + offset, element by element; both of the tensor's shape, float64."""

    scale: Array
    offset: Array

    @property
    def identity(self) -> bool:
        return bool((np.abs(self.scale - 1) <= SAME).all() and (np.abs(self.offset) <= SAME).all())


def in_units(graph: Graph, x: Scaling, y: Scaling, *, drop: bool = True) -> Graph:
    """``graph`` (float) with its input in units of ``x`` (a value a channel) and its output in units of ``y`` (a value
    an output; each sample of a block alike). Nothing is said of them in its forecast: that is for the caller.

    drop: layers of one weight a channel may fall away; else every weight stays, in its order. Raises ModelError where
    an operator stands in the way, or what is fed back is in other units than what it becomes.
    """
    for channel, output in enumerate(graph.forecast.feedback):
        if output is not None and (x.mean[channel], x.std[channel]) != (y.mean[output], y.std[output]):
            raise ModelError(f"{graph.name}: output {output} becomes inputs of different units")
    return _Rewriter(graph, drop).build(x, y)


def scale_and_offset(graph: Graph, op: Op) -> tuple[str, Array, Array] | None:
    """(input, s, t) where ``op`` computes s * input + t with constants, float64, of its output's shape; else None."""
    shape = graph.tensors[op.outputs[0]].shape
    constants = [graph.tensors[name].data for name in op.inputs]
    if op.kind == "depthwise_1d":
        weight, fixed = constants[1], (op.attrs["activation"], op.attrs["left"], op.attrs["right"], op.attrs["stride"])
        if weight is None or fixed != ("none", 0, 0, 1) or weight.shape != (graph.tensors[op.inputs[0]].shape[-1], 1):
            return None
        bias = np.zeros(1) if len(constants) < 3 else constants[2]
        assert bias is not None
        return op.inputs[0], _spread(weight[:, 0], shape), _spread(bias, shape)
    if op.kind not in ("add", "sub", "mul") or [data is None for data in constants].count(True) != 1:
        return None
    place = 1 if constants[1] is None else 0
    constant = constants[1 - place]
    assert constant is not None
    if graph.tensors[op.inputs[place]].shape != shape:
        return None
    value, one = _spread(constant, shape), np.ones(shape)
    if op.kind == "mul":
        return op.inputs[place], value, np.zeros(shape)
    if op.kind == "add":
        return op.inputs[place], one, value
    return (op.inputs[0], one, -value) if place == 0 else (op.inputs[1], -one, value)


def moved(graph: Graph, op: Op, values: Sequence[Array]) -> tuple[Array, ...]:
    """``values``, one of the shape of each input, as an operator that moves lays them out."""
    found = OPERATORS[op.kind].compute(graph, op)(*values)
    return found if isinstance(found, tuple) else (found,)


def _spread(values: Array, shape: tuple[int, ...]) -> Array:
    return np.broadcast_to(np.asarray(values, np.float64), shape)


def _even(values: Array, what: str) -> Array:
    """``values`` (1, T, C) or (1, C) as (C,): the same at each time. Raises ModelError where they are not."""
    flat = values.reshape(-1, values.shape[-1])
    if (np.abs(flat - flat[:1]) > SAME * np.abs(flat).max(initial=1)).any():
        raise ModelError(f"{what} has other units from sample to sample")
    first: Array = flat[0]
    return first


class _Rewriter:
    """Rewrites operator by operator. Tensors are known by the names that they have in the graph as it was."""

    def __init__(self, graph: Graph, drop: bool) -> None:
        self._old, self._drop = graph, drop
        self._tensors = dict(graph.tensors)
        self._ops: list[Op] = []
        self._units: dict[str, Affine] = {}
        self._stands: dict[str, str] = {}  # whose operator fell away -> the tensor in its place
        self._base: dict[str, str] = {}  # constant that was made -> the one that it was made of
        self._made: dict[tuple[str, bytes], str] = {}
        self._delays = {state.input: state.delays for state in graph.states if state.delays}
        self._readers = Counter(name for op in graph.ops for name in op.inputs)
        self._readers.update([graph.output, *(state.output for state in graph.states)])

    def build(self, x: Scaling, y: Scaling) -> Graph:
        old = self._old
        shape, out = old.tensors[old.input].shape, old.tensors[old.output].shape
        self._set(old.input, Affine(_spread(np.array(x.std), shape), _spread(np.array(x.mean), shape)))
        for op in old.ops:
            self._rewrite(op)
        for state in old.states:
            self._check_state(state.input, state.output, bool(state.delays))
        times = old.forecast.steps
        self._settle_output(Affine(np.tile(y.std, times).reshape(out), np.tile(y.mean, times).reshape(out)))
        return self._finished()

    # --- from x on --------------------------------------------------------------------------------------------------

    def _set(self, name: str, units: Affine) -> None:
        if not units.identity:
            self._units[name] = units

    def _of(self, name: str) -> Affine:
        shape = self._old.tensors[name].shape
        return self._units.get(name) or Affine(np.ones(shape), np.zeros(shape))

    def _rewrite(self, op: Op) -> None:
        for name in op.inputs:
            delayed = self._units.get(self._delays.get(name, ""))
            if delayed is not None:
                self._set_delay(name, delayed)
        affine = scale_and_offset(self._old, op)
        if affine is not None and (self._drop or not op.signature.is_weighted) and affine[0] in self._units:
            self._fall_away(op, *affine)
        elif not any(name in self._units for name in op.inputs):
            self._emit(op)
        elif op.kind in MOVES:
            self._move(op)
        elif op.signature.is_weighted:
            self._weigh(op)
        elif op.kind in ("add", "sub"):
            self._sum(op)
        elif op.kind == "mean":
            units = self._of(op.inputs[0])
            scale = _spread(_even(units.scale, op.inputs[0]), self._old.tensors[op.outputs[0]].shape)
            self._emit(op)
            self._set(op.outputs[0], Affine(scale, units.offset.mean(axis=1, keepdims=True)))
        elif op.kind == "function" and op.attrs["name"] == "pulse":
            self._pulse(op)
        else:
            raise ModelError(f"{self._old.name}: {op.kind} to {op.outputs[0]} reads the channels as they are")

    def _set_delay(self, state: str, units: Affine) -> None:
        scale, offset = (_even(values, state) for values in (units.scale, units.offset))
        if np.any(offset):
            raise ModelError(f"{self._old.name}: {state} begins with zeros, which are not those of other units")
        shape = self._old.tensors[state].shape
        self._set(state, Affine(np.resize(scale, shape), np.zeros(shape)))

    def _emit(self, op: Op, inputs: Sequence[str] | None = None) -> None:
        names = op.inputs if inputs is None else inputs
        self._ops.append(replace(op, inputs=tuple(self._stands.get(name, name) for name in names)))

    def _fall_away(self, op: Op, source: str, scale: Array, offset: Array) -> None:
        if not scale.all():
            raise ModelError(f"{self._old.name}: {op.outputs[0]} is constant in a channel")
        units, out = self._of(source), op.outputs[0]
        self._stands[out] = self._stands.get(source, source)
        self._set(out, Affine(scale * units.scale, scale * units.offset + offset))

    def _move(self, op: Op) -> None:
        known = next(self._units[name] for name in op.inputs if name in self._units)
        units, inputs = [], []
        for name in op.inputs:
            data, of, now = self._old.tensors[name].data, self._of(name), name
            if data is not None and op.kind == "concat" and op.attrs["axis"] == 1:  # padding: in the units beside it
                of = Affine(*(_spread(_even(v, name), data.shape) for v in (known.scale, known.offset)))
                now = self._constant(name, (data - of.offset) / of.scale)
            units.append(of)
            inputs.append(now)
        self._emit(op, inputs)
        scales = moved(self._old, op, [of.scale for of in units])
        offsets = moved(self._old, op, [of.offset for of in units])
        for name, scale, offset in zip(op.outputs, scales, offsets, strict=True):
            self._set(name, Affine(scale, offset))

    def _weigh(self, op: Op) -> None:
        units, weight = self._of(op.inputs[0]), self._value(op.inputs[1])
        scale, offset = (_even(values, op.inputs[0]) for values in (units.scale, units.offset))
        if np.any(offset) and op.signature.is_convolution and (op.attrs["left"] or op.attrs["right"]):
            raise ModelError(f"{self._old.name}: {op.outputs[0]} pads with zeros, which are not those of other units")
        if op.kind == "depthwise_1d":
            scale, offset = (np.repeat(v, len(weight) // len(scale))[:, None] for v in (scale, offset))
        bias = (weight * offset).reshape(len(weight), -1).sum(axis=1)
        self._emit(op, [op.inputs[0], *self._weights(op, weight * scale, bias, np.ones(1))])

    def _pulse(self, op: Op) -> None:
        """Which whole number it is, in units: a pulse of another size, about where the number lies in them."""
        name, (size,) = op.inputs[0], op.attrs["parameters"]
        units = self._of(name)
        scale, offset = (_even(values, name) for values in (units.scale, units.offset))
        if np.ptp(scale):
            raise ModelError(f"{self._old.name}: {name} has other units from number to number")
        at, like = f"{op.outputs[0]}/numbers", self._old.tensors[name]
        while {at, f"{at}/x"} & self._tensors.keys():
            at += "_"
        self._tensors[f"{at}/x"] = replace(like, name=f"{at}/x")
        constant = (offset / scale).reshape(*[1] * (len(like.shape) - 1), -1)
        self._tensors[at] = Tensor(at, constant.shape, "float32", constant.astype(np.float32))
        self._emit(Op("add", (name, at), (f"{at}/x",)))
        self._emit(replace(op, attrs={**op.attrs, "parameters": (size / float(scale[0]),)}), [f"{at}/x"])

    def _weights(self, op: Op, weight: Array, more: Array, divisor: Array) -> list[str]:
        """Names of ``weight`` and (bias + more) / divisor as constants of ``op``."""
        names = [self._constant(op.inputs[1], weight)]
        if len(op.inputs) == 3:
            names.append(self._constant(op.inputs[2], (self._value(op.inputs[2]) + more) / divisor))
        elif np.any(more):
            names.append(self._constant(f"{op.inputs[1]}/offset", more / divisor))
        return names

    def _sum(self, op: Op) -> None:
        shape, first = self._old.tensors[op.outputs[0]].shape, op.inputs[0]
        known = self._units[next(name for name in op.inputs if name in self._units)]
        for name in op.inputs:
            if self._old.tensors[name].data is not None:
                raise ModelError(f"{self._old.name}: {op.outputs[0]} adds a constant of another shape")
            if name not in self._units:
                own = self._old.tensors[name].shape
                scale = known.scale if known.scale.shape == own else _spread(_even(known.scale, name), own)
                self._push(name, Affine(scale, np.zeros(own)))
        scales = [_spread(self._of(name).scale, shape) for name in op.inputs]
        offsets = [_spread(self._of(name).offset, shape) for name in op.inputs]
        if not np.allclose(scales[0], scales[1], rtol=1e-6, atol=0):
            raise ModelError(f"{self._old.name}: {op.outputs[0]} is of {first} and of other units")
        self._emit(op)
        self._set(op.outputs[0], Affine(scales[0], offsets[0] + (1 if op.kind == "add" else -1) * offsets[1]))

    # --- back from a tensor to what writes it -----------------------------------------------------------------------

    def _push(self, name: str, units: Affine) -> None:
        """Let ``name`` be in ``units``, which nothing but the reader at hand reads."""
        if units.identity:
            return
        index = next((i for i, op in enumerate(self._ops) if name in op.outputs), None)
        if index is None or self._readers[name] != 1 or name in self._units:
            raise ModelError(f"{self._old.name}: {name} cannot be had in other units")
        op = self._ops[index]
        if op.kind in ("reshape", "transpose"):
            source = op.inputs[0]
            before = self._tensors[source].shape
            turned = [v.reshape(before) if op.kind == "reshape" else v.swapaxes(1, 2) for v in _both(units)]
            self._push(source, Affine(*turned))
        elif op.kind == "concat":
            ends = np.cumsum([self._tensors[part].shape[op.attrs["axis"]] for part in op.inputs])[:-1]
            parts = [np.split(values, ends, axis=op.attrs["axis"]) for values in _both(units)]
            pairs = zip(op.inputs, *parts, strict=True)
            self._ops[index] = replace(op, inputs=tuple(self._part(part, Affine(s, t)) for part, s, t in pairs))
        elif op.kind in ("add", "sub"):
            sign = -1 if op.kind == "sub" else 1
            self._ops[index] = replace(op, inputs=self._terms(op, units, sign))
        elif op.signature.is_weighted:
            self._push_weights(index, op, units)
        else:
            raise ModelError(f"{self._old.name}: {op.kind} to {name} has units of its own")
        self._set(name, units)

    def _part(self, name: str, units: Affine) -> str:
        data = self._tensors[name].data
        if data is not None:
            return self._constant(name, (data - units.offset) / units.scale)
        self._push(name, units)
        return name

    def _terms(self, op: Op, units: Affine, sign: int) -> tuple[str, ...]:
        """The operands of a sum in ``units``: the first that is of its shape, and no constant, takes the offset."""
        tensors = [self._tensors[name] for name in op.inputs]
        fit = [t.data is None and t.shape == units.scale.shape for t in tensors]
        if not any(fit):
            raise ModelError(f"{self._old.name}: {op.outputs[0]} cannot be had in other units")
        taker, names = fit.index(True), []
        for place, tensor in enumerate(tensors):
            scale = units.scale
            if tensor.shape != scale.shape:
                scale = _spread(_even(scale, tensor.name), tensor.shape)
            offset = units.offset * (sign if place == 1 else 1) if place == taker else np.zeros(scale.shape)
            names.append(self._part(tensor.name, Affine(scale, offset)))
        return tuple(names)

    def _push_weights(self, index: int, op: Op, units: Affine) -> None:
        affine = scale_and_offset(replace(self._old, tensors=self._tensors), op) if self._drop else None
        if affine is not None and affine[1].all():
            source, scale, offset = affine
            before = list(self._ops), dict(self._tensors), dict(self._units)
            try:
                self._push(source, Affine(units.scale / scale, (units.offset - offset) / scale))
            except ModelError:
                self._ops, self._tensors, self._units = before
            else:
                self._ops = [
                    replace(o, inputs=tuple(source if name == op.outputs[0] else name for name in o.inputs))
                    for o in self._ops
                    if o is not op
                ]
                self._stands[op.outputs[0]] = source
                return
        scale, offset = (_even(values, op.outputs[0]) for values in _both(units))
        linear = op.attrs["activation"] == "none"
        if not linear and (op.attrs["activation"] != "relu" or np.any(offset) or scale.min() <= 0):
            raise ModelError(f"{self._old.name}: the activation of {op.outputs[0]} has units of its own")
        weight = self._value(op.inputs[1])
        rows = weight / scale.reshape(-1, *[1] * (weight.ndim - 1))
        self._ops[index] = replace(op, inputs=(op.inputs[0], *self._weights(op, rows, -offset, scale)))

    # --- the ends ---------------------------------------------------------------------------------------------------

    def _check_state(self, state: str, updated: str, delay: bool) -> None:
        of, then = self._of(state), self._of(updated)
        if not delay and updated in self._units:
            raise ModelError(f"{self._old.name}: state {state} has units of its own")
        if not np.allclose(of.scale, then.scale, rtol=1e-6) or not np.allclose(of.offset, then.offset):
            raise ModelError(f"{self._old.name}: state {state} changes its units")

    def _settle_output(self, wanted: Affine) -> None:
        output = self._old.output
        if output not in self._units:
            self._push(output, wanted)
        found = self._of(output)
        span = np.abs(wanted.scale)
        off = np.abs(found.scale - wanted.scale) + np.abs(found.offset - wanted.offset)
        if (off > 1e-6 * span).any() or self._stands.get(output) == self._old.input:
            raise ModelError(f"{self._old.name}: its output is in other units than what is fed back")

    def _finished(self) -> Graph:
        """The graph with what stands for what fell away, without a reshape and its inverse that this leaves."""
        old, stands, ops = self._old, dict(self._stands), list[Op]()
        reshaped = {op.outputs[0]: op.inputs[0] for op in self._ops if op.kind == "reshape"}
        beside = set(stands.values())
        for emitted in self._ops:
            op = replace(emitted, inputs=tuple(_through(stands, name) for name in emitted.inputs))
            if op.kind == "reshape" and op.inputs[0] in beside and op.inputs[0] in reshaped:
                source, out = _through(stands, reshaped[op.inputs[0]]), op.outputs[0]
                if self._tensors[source].shape == self._tensors[out].shape and (source, out) != (old.input, old.output):
                    stands[out] = source
                    continue
            ops.append(op)
        states = tuple(
            replace(s, output=_through(stands, s.output), delays=s.delays and _through(stands, s.delays))
            for s in old.states
        )
        return self._named(replace(old, ops=tuple(ops), output=_through(stands, old.output), states=states))

    def _named(self, graph: Graph) -> Graph:
        """``graph`` with what is read alone; a constant in place of one that is read no more takes its name."""
        wanted, ops = {graph.output, *(s.output for s in graph.states)}, list[Op]()
        for op in reversed(graph.ops):
            if wanted.intersection(op.outputs):
                wanted.update(op.inputs)
                ops.insert(0, op)
        wanted |= {graph.input, *(s.input for s in graph.states), *(name for op in ops for name in op.outputs)}
        heirs: dict[str, str] = {}
        for name, base in self._base.items():
            if name in wanted and base not in wanted:
                heirs.setdefault(base, name)
        names = {heir: base for base, heir in heirs.items()}
        ops = [replace(op, inputs=tuple(names.get(name, name) for name in op.inputs)) for op in ops]
        tensors = {}
        for name in (*self._old.tensors, *heirs, *self._tensors):
            kept = heirs.get(name, name)
            if kept in wanted and name not in names:
                tensors[name] = replace(self._tensors[kept], name=name)
        return replace(graph, ops=tuple(ops), tensors=tensors).check()

    def _value(self, name: str) -> Array:
        data = self._tensors[name].data
        if data is None:
            raise ModelError(f"{self._old.name}: {name} is not a constant")
        return data.astype(np.float64)

    def _constant(self, name: str, data: Array) -> str:
        """The constant ``data`` (float64), which stands for ``name``; equal ones are one."""
        base, values = self._base.get(name, name), np.ascontiguousarray(data, np.float32)
        key = base, values.tobytes()
        if key not in self._made:
            number = sum(b == base for b, _ in self._made)
            made = f"{base}?{number}"
            like = self._tensors.get(base, Tensor(made, values.shape, "float32"))
            self._tensors[made] = replace(like, name=made, data=values, shape=values.shape)
            self._made[key], self._base[made] = made, base
        return self._made[key]


def _both(units: Affine) -> tuple[Array, Array]:
    return units.scale, units.offset


def _through(stands: dict[str, str], name: str) -> str:
    while name in stands:
        name = stands[name]
    return name
