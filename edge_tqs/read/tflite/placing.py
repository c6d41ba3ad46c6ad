"""Values of a view put side by side: the reshapes, slices, transposes and concatenations that a graph needs for it.

Every way is priced before one is taken, and the cheapest is written. A way is a piece of a tensor, cut out along its
rows and its columns and perhaps turned; or several of them, joined along rows or columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import MOST_JOINED, Array
from edge_tqs.read.tflite.views import ZERO, ImportedGraph, Shape, View

#: Pieces that one tensor is joined of at most.
MOST_PIECES = 512
#: What moving values costs: a reshape moves none, a slice of rows none, a transpose all of them.
RESHAPE, CUT, TURN, JOIN = 0.01, 1.0, 3.0, 1.0
#: Of a sequence seen as one of other samples: a cut of rows and one of columns are rather taken.
OTHER_ROWS = 1.1


@dataclass(frozen=True)
class _Way:
    """What it costs, what writes it (gives the name of the tensor), and how many pieces it joins."""

    cost: float
    write: Callable[[], str]
    pieces: int = 1


def read(imported: ImportedGraph, view: View, shape: Shape) -> str:
    """The name of a tensor of just that ``shape``, (1, N) or (1, W, C), with the values of ``view`` in row-major order.

    Raises ModelError where that takes more than MOST_PIECES pieces.
    """
    known = imported.known(view)
    if known is not None:
        return imported.constant(view.names[0], known.reshape(shape))
    names, index = _used(imported, view)
    key = ("placed", names, shape, index.tobytes())
    if key not in imported.cached:
        way = _Placing(imported, names).way(index.reshape(shape))
        if way is None:
            raise ModelError(
                f"it reorders the values of {names[0]} in another way than by cutting, joining and exchanging rows and "
                "columns"
            )
        imported.cached[key] = way.write()
    return imported.cached[key]


def price(imported: ImportedGraph, view: View, shape: Shape) -> float:
    """What ``read`` would cost; infinity where it would raise."""
    if imported.known(view) is not None:
        return 0.0
    names, index = _used(imported, view)
    way = _Placing(imported, names).way(index.reshape(shape))
    return math.inf if way is None else way.cost


def padded(imported: ImportedGraph, view: View) -> tuple[str, int, int]:
    """(name, left, right) of a sequence (1, L, C) without the zero samples before and after it.

    Raises ModelError as read does.
    """
    rows = (view.index.reshape(view.index.shape[-2:]) == ZERO).all(axis=1)
    inner = np.flatnonzero(~rows)
    if not len(inner):
        raise ModelError("it reads nothing but zeros")
    first, last = int(inner[0]), int(inner[-1]) + 1
    part = View(view.names, view.index[:, first:last])
    return read(imported, part, part.index.shape), first, len(rows) - last


def _used(imported: ImportedGraph, view: View) -> tuple[tuple[str, ...], Array]:
    """Only the tensors that ``view`` reads, and its index among their values."""
    index = view.index.reshape(-1).astype(np.int64)
    names, begin, moved = [], 0, index.copy()
    kept = 0
    for name in view.names:
        size = imported.tensors[name].size
        inside = (index >= begin) & (index < begin + size)
        if inside.any():
            moved[inside] += kept - begin
            names.append(name)
            kept += size
        begin += size
    return tuple(names), moved


class _Placing:
    """Ways to values of the tensors ``names``, of which each value is known by its number."""

    def __init__(self, imported: ImportedGraph, names: tuple[str, ...]) -> None:
        self._imported = imported
        self._sizes = [imported.tensors[name].size for name in names]
        self._starts = [0, *np.cumsum(self._sizes).tolist()]
        self._names = names

    def way(self, target: Array) -> _Way | None:
        """To (1, N) or (1, A, B)."""
        if target.ndim == 3:
            return self._plane(target[0])
        return self._flat(target)

    def _flat(self, target: Array) -> _Way | None:
        """(1, N): as it is, cut out of a flat tensor, or rows of some width one behind another."""
        size, row = target.size, target.reshape(-1)
        name = self._piece(row)
        ways = []
        if name is not None:
            begin, tensor = int(row[0]) - self._start(name), self._imported.tensors[name]
            if (np.diff(row) == 1).all() and len(tensor.shape) == 2:
                return _Way(
                    CUT if size < tensor.size else 0.0, lambda: self._cut(name, (1, tensor.size), 1, begin, size)
                )
            if size == tensor.size and (np.diff(row) == 1).all():
                return _Way(RESHAPE, lambda: self._reshaped(name, (1, size)))
            widths = [tensor.shape[-1], *_divisors(size)]
        else:
            widths = _divisors(size)
        for width in dict.fromkeys(widths):
            if size % width == 0 and (plane := self._plane(target.reshape(-1, width))) is not None:
                ways.append(self._then_reshaped(plane, (1, size)))
                if plane.cost <= CUT:
                    break
        return min(ways, key=lambda way: way.cost, default=None)

    def _plane(self, target: Array) -> _Way | None:
        """(A, B), as (1, A, B)."""
        zeros = target == ZERO
        if zeros.all():
            shape = (1, *target.shape)
            return _Way(0.0, lambda: self._imported.constant("zeros", np.zeros(shape)))
        ways = [] if zeros.any() else [*self._pieces(target)]
        if not ways:
            ways += [way for axis in (0, 1) if (way := self._blocks(target, axis)) is not None]
        return min(ways, key=lambda way: way.cost, default=None)

    # --- one piece ----------------------------------------------------------------------------------------------------

    def _start(self, name: str) -> int:
        return int(self._starts[self._names.index(name)])

    def _piece(self, target: Array) -> str | None:
        """The tensor that all values lie in; None where they lie in several."""
        first, last = int(target.min()), int(target.max())
        place = int(np.searchsorted(self._starts, first, side="right")) - 1
        return self._names[place] if first >= 0 and last < self._starts[place + 1] else None

    def _pieces(self, target: Array) -> Iterator[_Way]:
        """Of rows and columns of one tensor, in the widths that it can be seen in."""
        name = self._piece(target)
        if name is None:
            return
        tensor, inside = self._imported.tensors[name], target - self._start(name)
        steps = [int(inside[1, 0] - inside[0, 0])] if len(inside) > 1 else []
        steps += [int(inside[0, 1] - inside[0, 0])] if inside.shape[1] > 1 else []  # that of a turned one
        for width in dict.fromkeys([tensor.shape[-1], target.shape[1], target.shape[0], *steps, tensor.size]):
            if width < 1 or tensor.size % width:
                continue
            seen = (1, tensor.size // width, width)
            changed = (OTHER_ROWS if len(tensor.shape) == 3 else RESHAPE) if seen != tensor.shape else 0.0
            for turned in (False, True):
                found = _rows_and_columns(inside.T if turned else inside, width)
                if found is None:
                    continue
                yield self._cut_out(name, seen, *found, turned=turned, more=changed)
                if not turned and not changed:
                    return  # there is nothing cheaper

    def _cut_out(
        self, name: str, seen: Shape, rows: tuple[int, int], columns: tuple[int, int], *, turned: bool, more: float
    ) -> _Way:
        """``rows`` and ``columns`` are (begin, size) of ``name``, seen as ``seen``."""
        shape = (1, rows[1], columns[1])
        flat = 1 in shape[1:]
        cost = more + CUT * (shape[1] < seen[1]) + CUT * (shape[2] < seen[2])
        cost += (RESHAPE if flat else TURN) * turned

        def write() -> str:
            made = self._cut(name, seen, 1, *rows)
            made = self._cut(made, (1, rows[1], seen[2]), 2, *columns)
            if not turned:
                return self._reshaped(made, shape)
            back = (1, shape[2], shape[1])
            if flat:
                return self._reshaped(made, back)
            return self._once("transpose", self._reshaped(made, shape), back)

        return _Way(cost, write)

    # --- several pieces -----------------------------------------------------------------------------------------------

    def _blocks(self, target: Array, axis: int, *, across: bool = True) -> _Way | None:
        """Blocks along ``axis``: the fewest of a size each, else runs of rows or columns.

        Each is one piece, or blocks along the other axis where ``across``.
        """
        length = target.shape[axis]
        best: _Way | None = None
        for size in [n for n in _divisors(length)[::-1] if n < length]:
            if length // size > MOST_PIECES:
                break
            best = self._join(
                [np.take(target, range(at, at + size), axis) for at in range(0, length, size)], axis, False
            )
            if best is not None:
                break
        if length == 1 or length > MOST_PIECES:
            return best
        ways = [best, self._join(_runs(target, axis), axis, across)]
        if across and ways == [None, None]:
            ways.append(self._join(np.split(target, length, axis), axis, across))
        return min((way for way in ways if way is not None), key=lambda way: way.cost, default=None)

    def _join(self, blocks: Sequence[Array], axis: int, across: bool) -> _Way | None:
        ways = []
        if len(blocks) < 2:
            return None
        for block in blocks:
            zeros = block == ZERO
            found = self._plane(block) if zeros.all() else None
            if not zeros.any():
                found = min(self._pieces(block), key=lambda way: way.cost, default=None)
            if found is None and across:
                found = self._blocks(block, 1 - axis, across=False)
            if found is None:
                return None
            ways.append(found)
        pieces = sum(way.pieces for way in ways)
        if pieces > MOST_PIECES:
            return None
        cost = sum(way.cost for way in ways) + JOIN + 0.01 * len(ways)
        return _Way(cost, lambda: self._joined([way.write() for way in ways], axis + 1), pieces)

    def _joined(self, names: list[str], axis: int) -> str:
        """``names`` one behind another along ``axis``, in steps where there are many."""
        while len(names) > 1:
            groups = [names[at : at + MOST_JOINED] for at in range(0, len(names), MOST_JOINED)]
            names = [self._group(group, axis) for group in groups]
        return names[0]

    def _group(self, names: list[str], axis: int) -> str:
        tensors = [self._imported.tensors[name] for name in names]
        if len(names) == 1:
            return names[0]
        constants = [tensor.data for tensor in tensors if tensor.data is not None]
        if len(constants) == len(names):
            return self._imported.constant(f"{names[0]}/joined", np.concatenate(constants, axis))
        first = tensors[0].shape
        shape = (*first[:axis], sum(tensor.shape[axis] for tensor in tensors), *first[axis + 1 :])
        return self._once("concat", names, shape, f"{next(n for n in names if n != 'zeros')}/joined", axis=axis)

    # --- operators, each once -----------------------------------------------------------------------------------------

    def _then_reshaped(self, way: _Way, shape: Shape) -> _Way:
        return _Way(way.cost + RESHAPE, lambda: self._reshaped(way.write(), shape), way.pieces)

    def _reshaped(self, name: str, shape: Shape) -> str:
        return name if self._imported.tensors[name].shape == shape else self._once("reshape", name, shape)

    def _cut(self, name: str, seen: Shape, axis: int, begin: int, size: int) -> str:
        if size == seen[axis]:
            return name
        shape = (*seen[:axis], size, *seen[axis + 1 :])
        return self._once("slice", self._reshaped(name, seen), shape, axis=axis, begin=begin, size=size)

    def _once(self, kind: str, inputs: str | list[str], shape: Shape, name: str = "", **attrs: int) -> str:
        names = [inputs] if isinstance(inputs, str) else inputs
        if all(self._imported.tensors[each].data is not None for each in names):
            return self._folded(kind, names[0], shape, attrs)
        key = (kind, tuple(names), shape, tuple(attrs.items()))
        if key not in self._imported.cached:
            made = self._imported.op(kind, name or f"{names[0]}/{kind}", names, shape, **attrs)
            self._imported.cached[key] = made
        return self._imported.cached[key]

    def _folded(self, kind: str, name: str, shape: Shape, attrs: dict[str, int]) -> str:
        """What an operator makes of a constant."""
        data = self._imported.tensors[name].data
        assert data is not None
        if kind == "slice":
            data = np.take(data, range(attrs["begin"], attrs["begin"] + attrs["size"]), attrs["axis"])
        elif kind == "transpose":
            data = data.swapaxes(1, 2)
        return self._imported.constant(f"{name}/{kind}", data.reshape(shape))


def _divisors(size: int) -> list[int]:
    small = [n for n in range(1, math.isqrt(size) + 1) if size % n == 0]
    return sorted({*small, *(size // n for n in small)})


def _rows_and_columns(target: Array, width: int) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """((first row, rows), (first column, columns)) of a tensor of that ``width`` that ``target`` is; None if it is
    none."""
    row, column = divmod(int(target[0, 0]), width)
    count, across = target.shape
    if column + across > width:
        return None
    wanted = (np.arange(row, row + count) * width)[:, None] + np.arange(column, column + across)
    return ((row, count), (column, across)) if np.array_equal(target, wanted) else None


def _runs(target: Array, axis: int) -> list[Array]:
    """``target`` cut along ``axis`` wherever the step from one to the next is another than before, or of no tensor."""
    along = np.moveaxis(target, axis, 0)
    steps = np.diff(along, axis=0)
    cuts, begin = [], 0
    for at in range(1, len(along)):
        same = (steps[at - 1] == steps[begin]).all() and ((along[at] == ZERO) == (along[begin] == ZERO)).all()
        if not same or ((steps[at - 1] <= 0).any() and not (along[at] == ZERO).all()):
            cuts.append(at)
            begin = at
    parts: list[Array] = np.split(target, cuts, axis)
    return parts
