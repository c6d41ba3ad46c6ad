"""Frozen dataclasses as JSON, read back strictly: an unknown, missing or mistyped key is refused by its path."""

from __future__ import annotations

import json
import math
import types
import typing
from dataclasses import asdict, fields, is_dataclass
from typing import Any, Literal, TypeVar

T = TypeVar("T")


def dump(record: Any) -> str:
    """The dataclass ``record`` as a JSON object; figures that are not finite become null."""
    return json.dumps(_plain(asdict(record)), indent=2, allow_nan=False) + "\n"


def load(kind: type[T], text: str) -> T:
    """A dataclass of ``kind`` from what `dump` made of one. Raises ValueError or TypeError, saying what is wrong."""
    decoded: T = _decode(kind, json.loads(text), "")
    return decoded


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity: both become null, which every such field allows."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _decode(kind: Any, value: Any, path: str) -> Any:
    """``value`` as ``kind``: a dataclass, tuple[X, ...], a union, a Literal or a scalar. Raises ValueError."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in args:
            return None
        return _decode(next(arg for arg in args if arg is not type(None)), value, path)
    if origin is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{path} is not a list")
        return tuple(_decode(args[0], item, f"{path}[{index}]") for index, item in enumerate(value))
    if origin is Literal:
        if value not in args:
            raise ValueError(f"{path} is {value!r}, not one of {', '.join(map(repr, args))}")
        return value
    if is_dataclass(kind):
        return _decode_fields(kind, value, path)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{path} is {value!r}, not {kind.__name__}")
    return value


def _decode_fields(kind: Any, value: Any, path: str) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"{path or 'the file'} is not an object")
    known = {item.name for item in fields(kind)}
    wrong = sorted(known ^ set(value))
    if wrong:
        raise ValueError(f"{path or 'the file'} lacks or should not have {', '.join(wrong)}")
    hints = typing.get_type_hints(kind)
    decoded = {name: _decode(hints[name], value[name], f"{path}.{name}".lstrip(".")) for name in known}
    return kind(**decoded)
