"""The one strict reader: parsed TOML or JSON to frozen dataclasses, which are the schema of the file.

A field's annotation says what a value must be: int, float, str, bool, Literal, a dataclass, tuple[X, ...], X | None
(null in JSON), or one of these with Rules in Annotated. An unknown, missing or wrong key is a UsageError that names the
file, the key by its path, and what is allowed. A field with ``metadata={"key": False}`` is no key of the file.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import re
import tomllib
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, TypeVar

from edge_tqs.errors import UsageError

T = TypeVar("T")
#: An answer shows at most this much of a wrong value.
MOST_SHOWN = 60
_SCALARS: dict[Any, str] = {int: "an integer", float: "a number", str: "a string", bool: "true or false"}


@dataclass(frozen=True)
class Rule:
    """What a value of the right type must satisfy; ``words`` follow "must be"."""

    holds: Callable[[Any], bool]
    words: str


def between(low: int, high: int) -> Rule:
    """An integer of a closed range."""
    return Rule(lambda value: low <= value <= high, f"an integer from {low} to {high}")


def at_least(low: int) -> Rule:
    """A number that is not smaller."""
    return Rule(lambda value: bool(value >= low), f"a number of {low} or more")


def above(low: float) -> Rule:
    """A number that is larger."""
    return Rule(lambda value: bool(value > low), f"a number above {low:g}")


def matching(pattern: str) -> Rule:
    """A string that the regular expression describes as a whole."""
    return Rule(lambda value: re.fullmatch(pattern, value) is not None, f"a string of the form {pattern}")


def one_of(choices: Iterable[object]) -> Rule:
    """One of a few values."""
    known = tuple(choices)
    return Rule(lambda value: value in known, f"one of {', '.join(map(str, known))}")


#: Of a string or a list.
FILLED = Rule(lambda value: len(value) > 0, "filled, not empty")
#: Of a list.
DISTINCT = Rule(lambda value: len(set(value)) == len(value), "a list without repetitions")


def nearest(name: str, known: Iterable[str], otherwise: str, *, most: int = 1, prefix: str = "") -> str:
    """The hint for a misspelt ``name``: up to ``most`` of the names that it is close to, else ``otherwise``."""
    near = difflib.get_close_matches(name, list(known), n=most, cutoff=0.5)
    return f"Did you mean {' or '.join(repr(prefix + each) for each in near)}?" if near else otherwise


def parse_toml(data: bytes, where: str, hint: str) -> dict[str, Any]:
    """TOML as it was written. Raises UsageError."""
    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:  # not UTF-8, not TOML, a number or nesting beyond all use
        raise UsageError(f"{where} is not TOML: {str(error) or type(error).__name__}", hint=hint) from error


def parse_json(text: str, where: str, hint: str) -> Any:
    """JSON as it was written. Raises UsageError."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where} is not JSON: {str(error) or type(error).__name__}", hint=hint) from error


def read(kind: type[T], value: object, where: str, hint: str, *, complete: bool = False) -> T:
    """An instance of the dataclass ``kind`` from parsed TOML or JSON.

    Args:
        kind: The schema.
        value: What `parse_toml` or `parse_json` gave.
        where: The file, for messages.
        hint: What to do about a key that is missing or wrong.
        complete: Every key must be there, those too that have a default: of files that a program writes.

    Raises:
        UsageError: An unknown, missing or wrong key.
    """
    return _Reading(where, hint, complete).table(kind, value, "")


def require_format(value: object, wanted: int, where: str, hint: str) -> None:
    """UsageError unless the table ``value`` says that it is of format ``wanted``: of another, no key means the same."""
    found = value.get("format") if isinstance(value, Mapping) else None
    if isinstance(value, Mapping) and (found != wanted or isinstance(found, bool)):
        raise UsageError(f"{where}: its format is {_shown(found)}, this version of edge-tqs reads {wanted}", hint=hint)


def dump(record: Any) -> str:
    """The dataclass ``record`` as JSON that `read` takes; figures that are not finite become null."""
    return json.dumps(_plain(dataclasses.asdict(record)), indent=2, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


@dataclass(frozen=True)
class _Reading:
    where: str
    hint: str
    complete: bool

    def table(self, kind: type[T], value: object, key: str) -> T:
        """An instance of ``kind`` from the table at ``key``, "" for the file itself."""
        if not isinstance(value, Mapping):
            raise self.wrong(key, "a table", value)
        fields = {f.name: f for f in dataclasses.fields(kind) if f.metadata.get("key", True)}  # type: ignore[arg-type]
        prefix = f"{key}." if key else ""
        for name in value:
            if name not in fields:
                # nobody misspells a key of a file that a program wrote: it is of another version
                known = f"Known here: {', '.join(fields)}."
                hint = self.hint if self.complete else nearest(name, fields, known, prefix=prefix)
                raise UsageError(f"{self.where}: unknown key {prefix + name!r}", hint=hint)
        hints, arguments = _hints(typing.cast(Any, kind)), {}
        for name, field in fields.items():
            if name in value:
                arguments[name] = self.value(hints[name], value[name], prefix + name)
            elif self.complete or (
                field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            ):
                raise UsageError(f"{self.where}: the key {prefix + name!r} is missing", hint=self.hint)
        return kind(**arguments)

    def value(self, wanted: Any, value: object, key: str) -> Any:
        """``value`` as what the annotation ``wanted`` says."""
        origin, args = typing.get_origin(wanted), typing.get_args(wanted)
        if origin is Annotated:
            rules = [rule for rule in args[1:] if isinstance(rule, Rule)]
            read = self.value(args[0], value, key)
            for rule in rules:
                if read is not None and not rule.holds(read):
                    raise self.wrong(key, rule.words, value)
            return read
        if origin in (types.UnionType, typing.Union):
            if value is None and type(None) in args:
                return None
            return self.alternatives([arg for arg in args if arg is not type(None)], value, key)
        if origin is Literal:
            if value not in args or isinstance(value, bool):
                raise self.wrong(key, f"one of {', '.join(map(str, args))}", value)
            return value
        if origin is tuple:
            if not isinstance(value, list):
                raise self.wrong(key, "a list", value)
            return tuple(self.value(args[0], item, f"{key}[{i}]{_named(item)}") for i, item in enumerate(value))
        if dataclasses.is_dataclass(wanted):
            return self.table(typing.cast(type[Any], wanted), value, key)
        return self.scalar(wanted, value, key)

    def alternatives(self, wanted: list[Any], value: object, key: str) -> Any:
        """``value`` as the first of several annotations that takes it."""
        *first, last = wanted
        for choice in first:
            try:
                return self.value(choice, value, key)
            except UsageError:
                continue
        return self.value(last, value, key)

    def scalar(self, wanted: Any, value: object, key: str) -> Any:
        """A string, a truth, or a number; a whole number where one with a fraction is wanted too, NaN nowhere."""
        accepted = (int, float) if wanted is float else wanted
        if not isinstance(value, accepted) or (isinstance(value, bool) and wanted is not bool):
            raise self.wrong(key, _SCALARS[wanted], value)
        if wanted is float:
            number = float(typing.cast(float, value)) if _is_finite(value) else math.nan
            if math.isnan(number):
                raise self.wrong(key, "a finite number", value)
            return number
        return value

    def wrong(self, key: str, wanted: str, value: object) -> UsageError:
        """The error of a value at ``key``."""
        what = f"{self.where}: {key!r}" if key else self.where
        return UsageError(f"{what} must be {wanted}, not {_shown(value)}", hint=self.hint)


def _is_finite(value: object) -> bool:
    try:
        return math.isfinite(typing.cast(float, value))
    except OverflowError:  # an integer beyond all floats
        return False


def _named(item: object) -> str:
    """The name of a table in a list, so that a person finds it."""
    name = item.get("name") if isinstance(item, Mapping) else None
    return f" ({name})" if isinstance(name, str) else ""


def _shown(value: object) -> str:
    try:
        shown = repr(value)
    except (ValueError, RecursionError):  # an integer too long to print, tables nested too deep
        shown = f"something of type {type(value).__name__}"
    return shown if len(shown) <= MOST_SHOWN else shown[: MOST_SHOWN - 3] + "..."
