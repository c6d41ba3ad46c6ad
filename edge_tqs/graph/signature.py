"""What each kind of operator takes, so that a graph can be checked without what computes it.

The operators' files say it: importing edge_tqs.operators registers them all. Nothing here imports them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_tqs.errors import ModelError

Shape = tuple[int, ...]
#: (attributes, shapes of the inputs, shapes of the outputs) -> whether they go together; batch 1 is part of every shape
Rule = Callable[[Mapping[str, Any], Sequence[Shape], Sequence[Shape]], bool]


def same_shape(attrs: Mapping[str, Any], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> bool:
    """The rule of an operator that keeps its input's shape."""
    return outputs == [inputs[0]]


@dataclass(frozen=True)
class Signature:
    """least, most: inputs. attributes: their names, all of which an operator has. fit: the shapes that go together.

    is_weighted: the second input is a weight, quantised by rows, and the third, which may be left out, its bias.
    is_convolution: it has taps, and the attributes stride, dilation, left and right.
    """

    least: int = 1
    most: int = 1
    attributes: frozenset[str] = frozenset()
    fit: Rule = same_shape
    is_weighted: bool = False
    is_convolution: bool = False


_SIGNATURES: dict[str, Signature] = {}


def register(kind: str, signature: Signature) -> None:
    """Make ``kind`` known. Raises ValueError where it is already."""
    if kind in _SIGNATURES:
        raise ValueError(f"two operators are called {kind}")
    _SIGNATURES[kind] = signature


def signature_of(kind: str, where: str = "") -> Signature:
    """What ``kind`` takes.

    Raises ModelError, which begins with ``where``, where there is no such kind; RuntimeError where none is registered.
    """
    if not _SIGNATURES:
        raise RuntimeError("no operator is known: import edge_tqs.operators first")
    if kind not in _SIGNATURES:
        raise ModelError(f"{where or kind}: no such operator kind")
    return _SIGNATURES[kind]
