"""A graph pass: a recurrent layer that a converter unrolled over the window, as one step with states again.

A converter that knows no recurrent layers (litert-torch, tf.lite with unroll=True) writes the cell W times. Here every
value is traced back to single samples of the window: what is computed of a whole sequence sample by sample becomes what
is computed of one. Then each value has a time, the newest sample that it depends on, and the values of one time that
the next reads are states. If all times compute their states alike, from the sample and the states before, one of them
is the step, and the forecast is read off the last. The first times may differ: zeros that the states start from are
folded into them. So the step must be compared with the whole graph, as the reader of a file does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from edge_tqs.graph.graph import Graph, Op, State, Tensor
from edge_tqs.passes.positions import BY_SAMPLE

#: How many times back a value is told by. States that differ only further back are told apart by none.
DEPTH = 2
#: States that are taken one operator further back, to where the last time has its own.
PUSHES = 8
#: What works on samples with each other.
ACROSS = frozenset({"batch_matmul"})


class _NotRolledError(Exception):
    """The graph is no cell that is applied to one sample after the other."""


@dataclass(frozen=True, eq=False)
class _Value:
    """What one operator computes at one time, or a constant, or a sample of the input (kind "x").

    newest: the newest sample that it depends on, -1 for none. name, shape: of the tensor, which has one sample. made,
    part: of what operator it is which output, None for a constant, which has a ``tensor``, and for a sample.
    """

    kind: str
    name: str
    shape: tuple[int, ...]
    newest: int
    made: _Made | None = None
    part: int = 0
    tensor: Tensor | None = None

    @cached_property
    def content(self) -> str:
        """A digest of a constant."""
        assert self.tensor is not None
        assert self.tensor.data is not None
        data = np.ascontiguousarray(self.tensor.data)
        return f"{data.shape} {hashlib.sha256(data.tobytes()).hexdigest()}"


@dataclass(frozen=True, eq=False)
class _Made:
    """An operator at one time."""

    op: Op
    inputs: tuple[_Value, ...]
    attrs: tuple[tuple[str, object], ...]
    outputs: list[_Value] = field(default_factory=list)


def rolled_up(graph: Graph) -> Graph | None:
    """The step of a float ``graph`` that takes the whole window (recurrence "none"), with recurrence "windowed"; None
    where it is no cell that is applied to every sample of the window, or the window is too short to tell."""
    if graph.forecast.recurrence != "none" or graph.forecast.window < DEPTH + 4:
        return None
    try:
        return _step(graph, _Samples(graph).output())
    except _NotRolledError:
        return None


class _Samples:
    """Values of single samples, made of a graph's tensors as they are asked for."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._makers = {name: op for op in graph.ops for name in op.outputs}
        self._known: dict[tuple[str, int], _Value] = {}

    def output(self) -> _Value:
        for op in self._graph.ops:  # in their order, so that no chain of recursions is as long as the window
            for name in op.outputs:
                if self._length(name) == 1:
                    self.at(name, 0)
        return self.at(self._graph.output, 0)

    def at(self, name: str, place: int) -> _Value:
        """Sample ``place`` of a tensor: (1, L, C) has L of them, (1, C) one."""
        key = name, place
        if key not in self._known:
            self._known[key] = self._made(name, place)
        return self._known[key]

    def _length(self, name: str) -> int:
        shape = self._graph.tensors[name].shape
        return shape[1] if len(shape) == 3 else 1

    def _made(self, name: str, place: int) -> _Value:
        tensor = self._graph.tensors[name]
        if tensor.data is not None:
            return self._constant(tensor, place)
        if name == self._graph.input:
            return _Value("x", name, (1, tensor.shape[-1]), place)
        op = self._makers[name]
        x = op.inputs[0]
        flat = len(self._graph.tensors[x].shape) < 3
        if op.kind == "reshape":
            if self._graph.tensors[x].shape[-1] != tensor.shape[-1]:
                raise _NotRolledError
            return self.at(x, place)
        if op.kind == "slice" and op.attrs["axis"] == 1 and not flat:
            return self.at(x, op.attrs["begin"] + place)
        if op.kind == "concat" and op.attrs["axis"] == 1 and not flat:
            for part in op.inputs:
                if place < self._length(part):
                    return self.at(part, place)
                place -= self._length(part)
        return self._computed(op, name, place)

    def _computed(self, op: Op, name: str, place: int) -> _Value:
        tensors = self._graph.tensors
        kind, attrs, inputs = op.kind, dict(op.attrs), op.inputs
        if kind == "conv_1d":
            moves = (attrs.pop(key) for key in ("stride", "dilation", "left", "right"))
            if tensors[inputs[1]].shape[1] != 1 or [*moves][0::2] != [1, 0]:
                raise _NotRolledError
            kind = "fully_connected"
        elif kind in ("slice", "concat"):
            attrs["axis"] = 1
        elif kind not in {*BY_SAMPLE, "split", "fully_connected"} - ACROSS:
            raise _NotRolledError
        values = tuple(self.at(x, min(place, self._length(x) - 1)) for x in inputs)
        made = _Made(Op(kind, op.inputs, op.outputs), values, tuple(sorted(attrs.items())))
        newest = max(value.newest for value in values)
        for part, out in enumerate(op.outputs):
            shape = (1, tensors[out].shape[-1])
            made.outputs.append(_Value(kind, out, shape, newest, made, part))
            self._known[out, place] = made.outputs[-1]
        return self._known[name, place]

    def _constant(self, tensor: Tensor, place: int) -> _Value:
        assert tensor.data is not None
        data = tensor.data
        reader = next(
            (op for op in self._graph.ops if tensor.name in op.inputs[1:2] and op.signature.is_weighted), None
        )
        if reader is not None and data.ndim == 3:  # a convolution of one tap, as a dense layer's
            data = data.reshape(len(data), -1)
        elif data.ndim == 3:
            data = data[:, place]
        name = tensor.name if self._length(tensor.name) == 1 or reader else f"{tensor.name}/{place}"
        held = replace(tensor, name=name, shape=data.shape, data=data)
        return _Value("constant", name, data.shape, -1, tensor=held)


def _step(graph: Graph, output: _Value) -> Graph:
    times = _Times(output, graph.forecast.window)
    for _ in range(PUSHES):
        states = times.states()
        if states is not None:
            return _Writing(graph, states).graph(output)
        times.push()
    raise _NotRolledError


def _walk(roots: list[_Value], ends: frozenset[int] = frozenset()) -> Iterator[_Value]:
    """What ``roots`` are computed of and they themselves, each once, inputs first; nothing of what is in ``ends``."""
    seen: set[int] = set(ends)
    stack = [(root, False) for root in reversed(roots)]
    while stack:
        value, ready = stack.pop()
        if ready:
            yield value
        elif id(value) not in seen:
            seen.add(id(value))
            stack.append((value, True))
            stack += [(each, False) for each in reversed(value.made.inputs if value.made else ())]


class _Times:
    """The values that ``output`` is computed of, each at a time of its own, from 0 to the window's last sample."""

    def __init__(self, output: _Value, window: int) -> None:
        self._last = window - 1
        if output.newest != self._last or output.made is None:
            raise _NotRolledError
        self._values = list(_walk([output]))
        self._time = {id(value): value.newest for value in self._values}
        self._missing: frozenset[str] = frozenset()

    def states(self) -> list[tuple[_Value, _Value]] | None:
        """(what the last time reads of the one before, its own of that kind); None where it has none of that kind."""
        between = self._between()
        told = [self._digests(depth) for depth in (DEPTH - 1, DEPTH)]
        of = told[-1]
        seen = {of[id(value)]: value for value in between.get(self._last - 1, ())}
        for time in range(DEPTH + 1, self._last):
            kinds = [{by_depth[id(value)] for value in between.get(time, ())} for by_depth in told]
            # States are told apart by what is seen of them from the next time, which is less far back.
            if any(len(kind) != len(seen) for kind in kinds) or kinds[-1] != seen.keys():
                raise _NotRolledError
        if not seen:
            raise _NotRolledError
        own = [value for value in self._values if value.made and self._time[id(value)] == self._last]
        now = {of[id(value)]: value for value in own}
        self._missing = frozenset(self._by_itself(seen[kind]) for kind in seen.keys() - now.keys())
        if self._missing:
            return None
        order = list(now)
        return [(seen[kind], now[kind]) for kind in sorted(seen, key=order.index)]

    def push(self) -> None:
        """Let the next time compute those states that the last has none of, as of a layer of a state: U h of h."""
        for value in [value for values in self._between().values() for value in values]:
            if value.made and self._by_itself(value) in self._missing:
                computed = [read for read in value.made.inputs if read.newest >= 0]
                if len(computed) != 1 or computed[0].made is None:
                    raise _NotRolledError
                for part in value.made.outputs:
                    self._time[id(part)] += 1

    def _between(self) -> dict[int, list[_Value]]:
        """The values of each time that the next one reads. Raises where one reads older ones, or older samples."""
        found: dict[int, dict[int, _Value]] = {}
        for value in self._values:
            for read in value.made.inputs if value.made else ():
                time = self._time[id(read)]
                if 0 <= time < self._time[id(value)]:
                    if time != self._time[id(value)] - 1 or read.made is None:
                        raise _NotRolledError
                    found.setdefault(time, {})[id(read)] = read
        return {time: list(values.values()) for time, values in found.items()}

    def _digests(self, depth: int) -> dict[int, str]:
        """What tells each value: alike for values of two times that are computed alike, ``depth`` times back."""
        before = self._digests(depth - 1) if depth else {}
        told: dict[int, str] = {}
        for value in self._values:  # inputs first
            reads = value.made.inputs if value.made else ()
            older = [0 <= self._time[id(read)] < self._time[id(value)] for read in reads]
            parts = [
                (before[id(read)] if depth else "state") if past else told[id(read)]
                for read, past in zip(reads, older, strict=True)
            ]
            told[id(value)] = _digest(value, parts)
        return told

    def _by_itself(self, value: _Value) -> str:
        """What tells the operator and its constants alone."""
        reads = value.made.inputs if value.made else ()
        return _digest(value, ["" if read.newest >= 0 else _digest(read, []) for read in reads])


def _digest(value: _Value, reads: list[str]) -> str:
    if value.tensor is not None:
        return value.content
    if value.made is None:
        return "x"
    parts = [value.kind, str(value.part), repr(value.made.attrs), *reads]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


class _Writing:
    """Writes the last time's values as a graph. states: (what it reads of the time before, its own of that kind)."""

    def __init__(self, graph: Graph, states: list[tuple[_Value, _Value]]) -> None:
        self._old, self._states = graph, states
        self._tensors: dict[str, Tensor] = {}
        self._ops: list[Op] = []
        self._named: dict[int, str] = {}

    def graph(self, output: _Value) -> Graph:
        forecast = replace(self._old.forecast, recurrence="windowed")
        self._tensor(self._old.input, (1, forecast.channels))
        names = []
        for number, (before, now) in enumerate(self._states):
            self._named[id(before)] = name = f"state{number}/before"
            self._tensor(name, now.shape)
            names.append(name)
        for value in self._walk_of_last([output, *(now for _, now in self._states)]):
            self._write(value)
        states = tuple(
            State(f"state{number}", name, self._named[id(now)])
            for number, (name, (_, now)) in enumerate(zip(names, self._states, strict=True))
        )
        made = replace(
            self._old,
            tensors=self._tensors,
            ops=tuple(self._ops),
            output=self._named[id(output)],
            states=states,
            forecast=forecast,
        )
        return made.check()

    def _walk_of_last(self, roots: list[_Value]) -> Iterator[_Value]:
        """As _walk, and no further than the states."""
        return _walk(roots, frozenset(id(before) for before, _ in self._states))

    def _write(self, value: _Value) -> None:
        if id(value) in self._named:
            return
        if value.kind == "x":
            self._named[id(value)] = self._old.input
        elif value.tensor is not None:
            self._named[id(value)] = value.name
            self._tensors[value.name] = value.tensor
        else:
            made = value.made
            assert made is not None
            self._ops.append(
                Op(
                    made.op.kind,
                    tuple(self._named[id(each)] for each in made.inputs),
                    made.op.outputs,
                    dict(made.attrs),
                )
            )
            for name, part in zip(made.op.outputs, made.outputs, strict=True):
                self._named[id(part)] = name
                self._tensor(name, part.shape)

    def _tensor(self, name: str, shape: tuple[int, ...]) -> None:
        group = self._old.tensors[name].group if name in self._old.tensors else ""
        self._tensors[name] = Tensor(name, shape, "float32", group=group)
