"""Operators that move values without computing any: each is arithmetic on the index of a view, and writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edge_tqs.flatbuffer.tables import FileOperator
from edge_tqs.graph.graph import Array
from edge_tqs.read.tflite.views import ZERO, Import, ImportedGraph, View, canonical, refuse

ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")
#: How MIRROR_PAD repeats what lies at the ends, as numpy calls it.
MIRRORS = ("reflect", "symmetric")


def fused_activation(op: FileOperator) -> str:
    """The activation that ``op`` has fused in, as the schema names it."""
    return ACTIVATIONS[getattr(op.options, "fusedActivationFunction", None) or 0]


def _moved(move: Callable[[FileOperator, ImportedGraph, Array], Array]) -> Import:
    """The import of an operator that gives some values of its first input."""

    def read(op: FileOperator, imported: ImportedGraph) -> None:
        view = imported.view(op, op.inputs[0])
        imported.views[op.outputs[0]] = View(view.names, move(op, imported, view.index))

    return read


def _reshape(op: FileOperator, imported: ImportedGraph, index: Array) -> Array:
    """RESHAPE and SQUEEZE: the same values in the same order.

    Of an open batch the file says 1, which it may not be between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND.
    """
    shape = imported.shape(op.outputs[0])
    return index.reshape(shape if int(np.prod(shape)) == index.size else (-1, *shape[1:]))


def _expand(op: FileOperator, imported: ImportedGraph, index: Array) -> Array:
    return np.expand_dims(index, int(imported.data(op, 1, "axis").reshape(-1)[0]))


def _transpose(op: FileOperator, imported: ImportedGraph, index: Array) -> Array:
    return index.transpose([int(axis) for axis in imported.data(op, 1, "order of axes")])


def _pad(op: FileOperator, imported: ImportedGraph, index: Array) -> Array:
    """PAD, and PADV2 with zeros."""
    if len(op.inputs) > 2 and np.any(imported.data(op, 2, "value")):
        raise refuse(op, "it pads with other numbers than zeros")
    return np.pad(index, imported.data(op, 1, "padding"), constant_values=ZERO)


def _mirror_pad(op: FileOperator, imported: ImportedGraph, index: Array) -> Array:
    mode: Any = MIRRORS[op.options.mode]
    padded: Array = np.pad(index, imported.data(op, 1, "padding"), mode)
    return padded


def _space_to_batch(op: FileOperator, imported: ImportedGraph, index: Array) -> Array:
    """How converters write a dilation: every d-th sample into a row of the batch."""
    block, paddings = imported.data(op, 1, "block"), imported.data(op, 2, "padding")
    around = [(0, 0), *paddings.tolist(), *[(0, 0)] * (index.ndim - 1 - len(block))]
    index = np.pad(index, around, constant_values=ZERO)
    count, rest = len(block), index.shape[1 + len(block) :]
    pairs = [part for size, step in zip(index.shape[1:], block.tolist(), strict=False) for part in (size // step, step)]
    apart = index.reshape(index.shape[0], *pairs, *rest)
    steps, sizes = [2 + 2 * n for n in range(count)], [1 + 2 * n for n in range(count)]
    after = range(1 + 2 * count, apart.ndim)
    moved = apart.transpose([*steps, 0, *sizes, *after])
    return moved.reshape(-1, *moved.shape[count + 1 :])


def _batch_to_space(op: FileOperator, imported: ImportedGraph, index: Array) -> Array:
    block, crops = imported.data(op, 1, "block").tolist(), imported.data(op, 2, "crops").tolist()
    count, batch = len(block), index.shape[0] // int(np.prod(block))
    apart = index.reshape(*block, batch, *index.shape[1:])
    order = [count]
    for n in range(count):
        order += [count + 1 + n, n]
    together = apart.transpose([*order, *range(2 * count + 1, apart.ndim)])
    sizes = [size * step for size, step in zip(index.shape[1:], block, strict=False)]
    whole = together.reshape(batch, *sizes, *index.shape[1 + count :])
    cropped: Array = whole[(slice(None), *(slice(a, size - b) for (a, b), size in zip(crops, sizes, strict=True)))]
    return cropped


def _slice(op: FileOperator, imported: ImportedGraph, index: Array) -> Array:
    begins, sizes = ([int(v) for v in imported.data(op, place, "begin or size")] for place in (1, 2))
    return index[tuple(slice(b, None if s < 0 else b + s) for b, s in zip(begins, sizes, strict=True))]


def _strided_slice(op: FileOperator, imported: ImportedGraph, index: Array) -> Array:
    options = op.options
    given = [[int(v) for v in imported.data(op, place, "begin, end or stride")] for place in (1, 2, 3)]
    if getattr(options, "offset", False):
        raise refuse(op, "its ends are offsets")
    picks: list[Any] = []
    for axis, (begin, end, stride) in enumerate(zip(*given, strict=True)):
        if options.ellipsisMask >> axis & 1:
            picks.append(Ellipsis)
        elif options.newAxisMask >> axis & 1:
            picks.append(None)
        elif options.shrinkAxisMask >> axis & 1:
            picks.append(begin)
        else:
            first = None if options.beginMask >> axis & 1 else begin
            last = None if options.endMask >> axis & 1 else end
            picks.append(slice(first, last, stride))
    picked: Array = index[tuple(picks)]
    return picked


def _gather(op: FileOperator, imported: ImportedGraph, index: Array) -> Array:
    """Of places that are constants."""
    if getattr(op.options, "batchDims", 0):
        raise refuse(op, "it has batch dimensions")
    taken: Array = np.take(index, imported.data(op, 1, "places"), int(op.options.axis))
    return taken


def _gather_nd(op: FileOperator, imported: ImportedGraph, index: Array) -> Array:
    places = imported.data(op, 1, "places")
    taken: Array = index[tuple(np.moveaxis(places, -1, 0))]
    return taken


def _reverse(op: FileOperator, imported: ImportedGraph, index: Array) -> Array:
    return np.flip(index, tuple(int(axis) for axis in imported.data(op, 1, "axes").reshape(-1)))


def _tile(op: FileOperator, imported: ImportedGraph, index: Array) -> Array:
    return np.tile(index, imported.data(op, 1, "counts"))


def _broadcast(op: FileOperator, imported: ImportedGraph, index: Array) -> Array:
    return np.broadcast_to(index, imported.shape(op.outputs[0]))


def _fill(op: FileOperator, imported: ImportedGraph) -> None:
    """Of one number, as the zeros that a state of an open batch starts from."""
    number, shape = imported.data(op, 1, "value").reshape(-1)[0], imported.shape(op.outputs[0])
    name = imported.constant("fill", np.full(canonical(shape), number))
    imported.views[op.outputs[0]] = imported.whole(name, shape)


# --- several from one, one from several -------------------------------------------------------------------------------


def _shared(op: FileOperator, imported: ImportedGraph, view: View, parts: Sequence[Array]) -> None:
    for out, part in zip(op.outputs, parts, strict=True):
        imported.views[out] = View(view.names, part)


def _split(op: FileOperator, imported: ImportedGraph) -> None:
    axis, view = int(imported.data(op, 0, "axis").reshape(-1)[0]), imported.view(op, op.inputs[1])
    _shared(op, imported, view, np.split(view.index, len(op.outputs), axis))


def _split_v(op: FileOperator, imported: ImportedGraph) -> None:
    axis, sizes = int(imported.data(op, 2, "axis").reshape(-1)[0]), [int(v) for v in imported.data(op, 1, "sizes")]
    view = imported.view(op, op.inputs[0])
    rest = view.index.shape[axis] - sum(size for size in sizes if size > 0)
    ends = np.cumsum([rest if size < 0 else size for size in sizes])
    _shared(op, imported, view, np.split(view.index, ends[:-1].tolist(), axis))


def _unpack(op: FileOperator, imported: ImportedGraph) -> None:
    view, axis = imported.view(op, op.inputs[0]), int(op.options.axis)
    _shared(op, imported, view, list(np.moveaxis(view.index, axis, 0)))


def _join(op: FileOperator, imported: ImportedGraph, join: Callable[[list[Array]], Array]) -> None:
    views = [imported.view(op, index) for index in op.inputs]
    imported.views[op.outputs[0]] = imported.joined(views, join)


def _pack(op: FileOperator, imported: ImportedGraph) -> None:
    _join(op, imported, lambda parts: np.stack(parts, int(op.options.axis)))


def _concatenation(op: FileOperator, imported: ImportedGraph) -> None:
    _join(op, imported, lambda parts: np.concatenate(parts, int(op.options.axis)))
    fused = fused_activation(op)
    if fused != "NONE":
        raise refuse(op, f"activation {fused}, fused into it, is not supported here")


MOVES: dict[str, Import] = {
    **dict.fromkeys(("RESHAPE", "SQUEEZE"), _moved(_reshape)),
    "EXPAND_DIMS": _moved(_expand),
    **dict.fromkeys(("PAD", "PADV2"), _moved(_pad)),
    "TRANSPOSE": _moved(_transpose),
    "MIRROR_PAD": _moved(_mirror_pad),
    "SPACE_TO_BATCH_ND": _moved(_space_to_batch),
    "BATCH_TO_SPACE_ND": _moved(_batch_to_space),
    "SLICE": _moved(_slice),
    "STRIDED_SLICE": _moved(_strided_slice),
    "GATHER": _moved(_gather),
    "GATHER_ND": _moved(_gather_nd),
    "REVERSE_V2": _moved(_reverse),
    "TILE": _moved(_tile),
    "BROADCAST_TO": _moved(_broadcast),
    "FILL": _fill,
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "UNPACK": _unpack,
    "PACK": _pack,
    "CONCATENATION": _concatenation,
}
