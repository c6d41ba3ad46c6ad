"""SELECT: of two functions of one value, as litert-torch writes ELU and softplus; nothing else."""

from __future__ import annotations

import numpy as np

from edge_tqs.flatbuffer.tables import FileOperator
from edge_tqs.read.tflite.elementwise import Values, written
from edge_tqs.read.tflite.views import Import, ImportedGraph, View, refuse

COMPARED = frozenset({"GREATER", "GREATER_EQUAL"})
#: From here on softplus is x in float32's sight, and PyTorch gives x.
SOFTPLUS_IS_X = 15.0


def _select(op: FileOperator, imported: ImportedGraph) -> None:
    """Of two functions of one value, as converters write ELU and softplus; nothing else."""
    values = Values(op, imported, first=1)
    condition = next((each for each in imported.file.operators if op.inputs[0] in each.outputs), None)
    above, below = values.operand(1), values.operand(2)
    if (
        condition is None
        or condition.kind not in COMPARED
        or not isinstance(above, View)
        or not isinstance(below, View)
    ):
        raise refuse(op, "its condition is not x > c")
    compared, limit = (Values(condition, imported).operand(place) for place in (0, 1))
    if not isinstance(compared, View) or isinstance(limit, View) or limit.size != 1 or not _alike(compared, above):
        raise refuse(op, "its condition is not x > c of the x that it selects")
    at, made = float(limit.reshape(-1)[0]), _Chain(imported, below)
    if at == 0.0:
        alpha = made.factor()
        if made.added(-1.0) and made.is_function("exponential") and _alike(made.view, above):
            plain = alpha == 1.0
            written(op, imported, values.one("elu", above) if plain else values.function("elu", above, (alpha,)))
            return
    log = at >= SOFTPLUS_IS_X and made.is_function("log")
    if log and made.added(1.0) and made.is_function("exponential") and _alike(made.view, above):
        written(op, imported, values.function("softplus", above))
        return
    raise refuse(op, "what it selects is neither ELU nor softplus")


def _alike(a: View, b: View) -> bool:
    return a.names == b.names and np.array_equal(a.index.reshape(-1), b.index.reshape(-1))


class _Chain:
    """What a value was made of, operator by operator, backwards; ``view`` is what is left."""

    def __init__(self, imported: ImportedGraph, view: View) -> None:
        self._imported, self.view = imported, view

    def is_function(self, name: str) -> bool:
        made = self._imported.made_by(self.view)
        if made is None or made.kind != "function" or made.attrs["name"] != name:
            return False
        self.view = View(made.inputs, self.view.index)
        return True

    def added(self, number: float) -> bool:
        found = self._constant({"add": 1.0, "sub": -1.0})
        if found is None or found[0] != number:
            return False
        self.view = found[1]
        return True

    def factor(self) -> float:
        found = self._constant({"mul": 1.0})
        if found is None:
            return 1.0
        number, self.view = found
        return number

    def _constant(self, signs: dict[str, float]) -> tuple[float, View] | None:
        """(the one number that was added or multiplied, what it was added to)."""
        made = self._imported.made_by(self.view)
        if made is None or made.kind not in signs:
            return None
        for place in (0, 1) if made.kind != "sub" else (1,):
            data = self._imported.tensors[made.inputs[place]].data
            if data is not None and (data == data.reshape(-1)[0]).all():
                kept = View((made.inputs[1 - place],), self.view.index)
                return signs[made.kind] * float(data.reshape(-1)[0]), kept
        return None


SELECTING: dict[str, Import] = dict.fromkeys(("SELECT", "SELECT_V2"), _select)
