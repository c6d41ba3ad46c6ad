"""Where each tensor of an integer graph lives while the generated C runs.

Three things keep the arena small: views (split, reshape, slices of one piece) are offsets into their source,
element-wise operators write over an input that dies with them, and the buffers that remain are packed by their
lifetimes.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from edge_tqs.graph.graph import CODE_TYPES, Graph, Op
from edge_tqs.operators import OPERATORS

WORD = 4
#: orders of buffers that are tried, at most; and with that many times the square of how many they are
MOST_ORDERS, ORDERS_WORK = 12000, 24_000_000
#: bytes of a code, and what every offset of codes of that type is a multiple of
CODE_BYTES = {name: code_type.itemsize for name, code_type in CODE_TYPES.items()}
#: operators whose kernels may write over an input of the output's size (tqs_kernels.h)
IN_PLACE = frozenset(kind for kind, operator in OPERATORS.items() if operator.in_place)


def view_begin(graph: Graph, op: Op) -> int | None:
    """The code of its input from which on the outputs of ``op`` lie, in place; None where they lie elsewhere."""
    view = OPERATORS[op.kind].view
    return None if view is None else view(graph, op)


def is_view(graph: Graph, op: Op) -> bool:
    """Whether the outputs of ``op`` are pieces of its input, in place, one after another."""
    return view_begin(graph, op) is not None


@dataclass(frozen=True)
class Buffer:
    """``size`` bytes at a multiple of ``align``, in use from operator ``first`` to operator ``last``, both included."""

    name: str
    size: int
    first: int
    last: int
    align: int = 1

    def meets(self, other: Buffer) -> bool:
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Arena:
    """Offsets by buffer name, and the bytes needed."""

    offsets: Mapping[str, int]
    size: int


@dataclass(frozen=True)
class Place:
    """``size`` bytes from ``offset`` in a region: "x" (read only), "state", "y" or "arena"."""

    region: str
    offset: int
    size: int


@dataclass(frozen=True)
class Copy:
    """Bytes to be moved once the operators have run."""

    source: Place
    target: Place


@dataclass(frozen=True)
class MemoryPlan:
    """places: by tensor, constants excluded. copies: in order, for outputs that could not be written where they belong.

    arena_size: bytes. arena_bound: the most bytes that are live at one operator, scratch included: no arena can be
    smaller. state_offsets: by State.name, in graph order. scratch: offset in the arena by index of the
    operator, a multiple of WORD, for the operators that need some.
    """

    places: Mapping[str, Place]
    copies: tuple[Copy, ...]
    arena_size: int
    arena_bound: int
    state_offsets: Mapping[str, int]
    state_size: int
    scratch: Mapping[int, int]


def pack(buffers: Iterable[Buffer], *, thorough: bool = True) -> Arena:
    """Offsets such that no two buffers alive at once overlap: the largest first, each as low as it fits.

    Greedy by size (Pisarchyk and Lee, 2020, arXiv:2001.03288), as tflite-micro's planner; ties by start, then name.
    Where that takes more than must be, those that are large for long first, if they need less so: attention's keys.
    Where that does too, and it should be ``thorough``, other orders are tried, each some steps from the best so far.
    """
    return _packed(tuple(buffers), thorough)


@lru_cache(maxsize=64)
def _packed(buffers: tuple[Buffer, ...], thorough: bool) -> Arena:
    bound = lower_bound(buffers)
    best, order = Arena({}, 1 << 62), list(buffers)
    for key in (_by_size, _by_size_and_time):
        tried = sorted(buffers, key=key)
        arena = _lowest(tried)
        if arena.size < best.size:
            best, order = arena, tried
    rng = random.Random(0)
    for _ in range(min(MOST_ORDERS, ORDERS_WORK // max(1, len(buffers)) ** 2) if thorough else 0):
        if best.size == bound:
            break
        tried = list(order)
        for _ in range(rng.randint(1, 3)):
            moved = tried.pop(rng.randrange(len(tried)))
            tried.insert(rng.randrange(len(tried) + 1), moved)
        arena = _lowest(tried)
        if arena.size <= best.size:
            best, order = arena, tried
    return best


def _by_size(buffer: Buffer) -> tuple[int, int, str]:
    return -buffer.size, buffer.first, buffer.name


def _by_size_and_time(buffer: Buffer) -> tuple[int, int, str]:
    return -buffer.size * (buffer.last - buffer.first + 1), buffer.first, buffer.name


def _lowest(buffers: Iterable[Buffer]) -> Arena:
    """Each as low as it fits, in turn."""
    offsets: dict[str, int] = {}
    placed: list[Buffer] = []
    for buffer in buffers:
        offset = 0
        for other in sorted((p for p in placed if p.meets(buffer)), key=lambda p: offsets[p.name]):
            if offsets[other.name] >= offset + buffer.size:
                break
            offset = max(offset, -(-(offsets[other.name] + other.size) // buffer.align) * buffer.align)
        offsets[buffer.name] = offset
        placed.append(buffer)
    return Arena(offsets, max((offsets[b.name] + b.size for b in placed), default=0))


def lower_bound(buffers: Iterable[Buffer]) -> int:
    """The most bytes in use at one operator: no arena can be smaller."""
    held = list(buffers)
    return max((sum(b.size for b in held if b.first <= step <= b.last) for step in {b.first for b in held}), default=0)


def needed_ops(graph: Graph, outputs: Iterable[str]) -> tuple[int, ...]:
    """Indices of the operators that ``outputs`` depend on, in execution order."""
    wanted = set(outputs)
    needed: list[int] = []
    for index in range(len(graph.ops) - 1, -1, -1):
        op = graph.ops[index]
        if wanted.intersection(op.outputs):
            needed.append(index)
            wanted.update(op.inputs)
    return tuple(reversed(needed))


def plan_memory(graph: Graph, scratch: Mapping[int, int] | None = None, *, thorough: bool = True) -> MemoryPlan:
    """Place every tensor of ``graph``, and ``scratch[index]`` bytes for the time that operator ``index`` runs.
    thorough: as `pack` has it.

    A state's output is written straight into the state where nothing reads the old value any more; y into the caller's
    y unless a state depends on it (a warm-up step has no y). What cannot be is copied at the end.
    """
    return _Planner(graph).plan(scratch or {}, thorough=thorough)


@dataclass
class _Root:
    """Memory that tensors share: the graph's input, a state, y, or a buffer of the arena."""

    region: str
    offset: int
    size: int
    first: int


@dataclass(frozen=True)
class _Part:
    """``size`` bytes from ``offset`` of a root."""

    root: int
    offset: int
    size: int

    def overlaps(self, other: _Part) -> bool:
        return (
            self.root == other.root
            and self.offset < other.offset + other.size
            and other.offset < self.offset + self.size
        )


class _Planner:
    """One pass over the operators; ``parts`` grows by each output."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.roots: list[_Root] = []
        self.parts: dict[str, _Part] = {}
        self.held: dict[int, list[str]] = {}  # root -> the tensors in it
        self.last_use = _last_uses(graph)
        self.state_offsets: dict[str, int] = {}
        offset = 0
        for state in graph.states:
            self.state_offsets[state.name] = offset
            offset += self._bytes(state.input)
        self.state_size = offset
        self.for_states = frozenset(needed_ops(graph, [state.output for state in graph.states]))

    def plan(self, scratch: Mapping[int, int], *, thorough: bool) -> MemoryPlan:
        graph = self.graph
        self._open(graph.input, "x", 0)
        for state in graph.states:
            self._open(state.input, "state", self.state_offsets[state.name])
        for index, op in enumerate(graph.ops):
            begin = view_begin(graph, op)
            if begin is None:
                self._place_result(index, op)
            else:
                self._place_views(op, begin)
        spare = [Buffer(f"scratch {i}", size, i, i, WORD) for i, size in scratch.items() if size > 0]
        arena = pack([*self._buffers(), *spare], thorough=thorough)
        places = {name: self._locate(part, arena) for name, part in self.parts.items()}
        copies, arena_size = self._copies(places, arena.size)
        offsets = {buffer.first: arena.offsets[buffer.name] for buffer in spare}
        return MemoryPlan(
            places, copies, arena_size, self._bound(scratch), self.state_offsets, self.state_size, offsets
        )

    def _bytes(self, name: str) -> int:
        return self.graph.tensors[name].size * self._code_bytes(name)

    def _code_bytes(self, name: str) -> int:
        return CODE_BYTES[self.graph.tensors[name].dtype]

    def _open(self, name: str, region: str, offset: int, first: int = 0) -> None:
        size = self._bytes(name)
        self.roots.append(_Root(region, offset, size, first))
        self._put(name, _Part(len(self.roots) - 1, 0, size))

    def _put(self, name: str, part: _Part) -> None:
        self.parts[name] = part
        self.held.setdefault(part.root, []).append(name)

    def _place_views(self, op: Op, begin: int) -> None:
        source = self.parts[op.inputs[0]]
        offset = source.offset + begin * self._code_bytes(op.inputs[0])
        for name in op.outputs:
            size = self._bytes(name)
            self._put(name, _Part(source.root, offset, size))
            offset += size

    def _place_result(self, index: int, op: Op) -> None:
        name = op.outputs[0]
        target = self._target(index, op)
        if target is not None:
            self._open(name, *target, first=index)
            return
        operands = [self.parts[source] for source in op.inputs if source in self.parts]
        same_type = self.graph.type_of(op) == self.graph.tensors[name].dtype
        for part in operands if op.kind in IN_PLACE and same_type else ():
            # Another operand must be the same bytes or none of them, or it would change while it is read.
            apart = all(other == part or not other.overlaps(part) for other in operands)
            fits = part.size == self._bytes(name)
            if fits and apart and self.roots[part.root].region == "arena" and self._dies(part, index):
                self._put(name, part)
                return
        self._open(name, "arena", 0, first=index)

    def _target(self, index: int, op: Op) -> tuple[str, int] | None:
        """The state or y that the result of ``op`` may be written into at once."""
        name = op.outputs[0]
        for state in self.graph.states:
            if state.output == name and self._state_is_free(state.input, index, op):
                return "state", self.state_offsets[state.name]
        return ("y", 0) if name == self.graph.output and index not in self.for_states else None

    def _state_is_free(self, old: str, index: int, op: Op) -> bool:
        part = self.parts[old]
        if self._dies(part, index):
            reads = [self.parts[name] for name in op.inputs if name in self.parts and self.parts[name].overlaps(part)]
            return all(op.kind in IN_PLACE and read == part for read in reads) or self._moves_down(op, part)
        return False

    def _moves_down(self, op: Op, part: _Part) -> bool:
        """Whether ``op`` is a concat of one block whose pieces of ``part`` lie where they go to, or behind it.

        Moved one after the other, from the first on, no piece is written over before it is moved: a delay line, which
        drops its oldest sample and takes the newest, is moved within its state.
        """
        if op.kind != "concat" or math.prod(self.graph.tensors[op.outputs[0]].shape[: op.attrs["axis"]]) != 1:
            return False
        target = part.offset
        for name in op.inputs:
            piece = self.parts.get(name)
            if piece is not None and piece.overlaps(part) and piece.offset < target:
                return False
            target += self._bytes(name)
        return True

    def _dies(self, part: _Part, index: int) -> bool:
        """Whether nothing reads ``part`` after operator ``index``."""
        return all(self.last_use[name] <= index for name in self.held[part.root] if self.parts[name].overlaps(part))

    def _buffers(self) -> list[Buffer]:
        last = [root.first for root in self.roots]
        for name, part in self.parts.items():
            last[part.root] = max(last[part.root], self.last_use[name])
        return [
            Buffer(str(number), root.size, root.first, last[number], max(map(self._code_bytes, self.held[number])))
            for number, root in enumerate(self.roots)
            if root.region == "arena"
        ]

    def _bound(self, scratch: Mapping[int, int]) -> int:
        """The most bytes live at one operator: of memory that tensors share, each byte that one of them still needs."""
        live: list[list[_Part]] = [[] for _ in self.graph.ops]
        for index, op in enumerate(self.graph.ops):
            for name in op.outputs:
                for step in range(index, min(self.last_use[name], len(live) - 1) + 1):
                    live[step].append(self.parts[name])
        return max((self._covered(parts) + scratch.get(step, 0) for step, parts in enumerate(live)), default=0)

    def _covered(self, parts: Iterable[_Part]) -> int:
        """Bytes of the arena that ``parts`` cover together."""
        total, root, end = 0, -1, 0
        for part in sorted(parts, key=lambda p: (p.root, p.offset)):
            if self.roots[part.root].region != "arena":
                continue
            if part.root != root:
                root, end = part.root, 0
            total += max(0, part.offset + part.size - max(end, part.offset))
            end = max(end, part.offset + part.size)
        return total

    def _locate(self, part: _Part, arena: Arena) -> Place:
        root = self.roots[part.root]
        start = arena.offsets[str(part.root)] if root.region == "arena" else root.offset
        return Place(root.region, start + part.offset, part.size)

    def _copies(self, places: Mapping[str, Place], arena_size: int) -> tuple[tuple[Copy, ...], int]:
        """Copies for y and for states that are not in place yet.

        y is copied first, while all states are as the operators left them. A state that becomes another state's old
        value goes through spare bytes behind the arena, so that states may swap.
        """
        spare: list[Copy] = []
        final: list[Copy] = []
        y = places[self.graph.output]
        if y.region != "y":
            spare.append(Copy(y, Place("y", 0, y.size)))
        for state in self.graph.states:
            source = places[state.output]
            target = Place("state", self.state_offsets[state.name], source.size)
            if source == target:
                continue
            if source.region == "state":
                code_bytes = self._code_bytes(state.output)
                parked = Place("arena", -(-arena_size // code_bytes) * code_bytes, source.size)
                arena_size = parked.offset + source.size
                spare.append(Copy(source, parked))
                source = parked
            final.append(Copy(source, target))
        return (*spare, *final), arena_size


def _last_uses(graph: Graph) -> dict[str, int]:
    """Index of the last operator that reads each tensor; len(ops) for the graph's outputs, -1 for what nothing reads.

    A view is a read of its source at the view's own index; later reads are the view's.
    """
    last = dict.fromkeys(graph.tensors, -1)
    for index, op in enumerate(graph.ops):
        last.update(dict.fromkeys(op.inputs, index))
    last.update(dict.fromkeys([graph.output, *(state.output for state in graph.states)], len(graph.ops)))
    return last
