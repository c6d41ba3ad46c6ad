"""The strict reader on its own; test_boards, test_project, test_plan and test_report have the files that it reads."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest

from edge_tqs import strict
from edge_tqs.errors import UsageError
from edge_tqs.strict import DISTINCT, FILLED, above, at_least, between, matching, nearest, one_of


@dataclass(frozen=True)
class Part:
    name: str
    size: Annotated[int, at_least(0)] = 1


@dataclass(frozen=True)
class Whole:
    ratio: Annotated[float, above(0)]
    port: Annotated[int, between(1, 5)] | None
    kind: Literal["a", "b"] = "a"
    level: Literal[1, 2] = 1
    parts: tuple[Part, ...] = ()
    words: Annotated[tuple[Annotated[str, matching("[a-z]+")], ...], FILLED, DISTINCT] = ("x",)
    size: int | str = 0
    sure: bool = False
    colour: Annotated[str, one_of(("red", "blue"))] = "red"
    path: str = dataclasses.field(default="", metadata={"key": False})


LEAST = {"ratio": 0.5, "port": None}


def read(complete: bool = False, **changes: Any) -> Whole:
    return strict.read(Whole, {**LEAST, **changes}, "file", "Do this.", complete=complete)


def test_all_kinds_of_values_arrive() -> None:
    whole = read(
        ratio=2, port=5, kind="b", level=2, parts=[{"name": "p", "size": 3}], words=["a", "b"], size="9", sure=True
    )
    assert whole == Whole(2.0, 5, "b", 2, (Part("p", 3),), ("a", "b"), "9", True)
    assert isinstance(whole.ratio, float)
    assert read() == Whole(0.5, None)


@dataclass(frozen=True)
class Figures:
    values: tuple[float | None, ...]
    parts: tuple[Part, ...] = ()


def test_what_is_dumped_is_read_without_what_is_not_finite() -> None:
    text = strict.dump(Figures((1.0, math.nan, math.inf), (Part("p"),)))
    value = strict.parse_json(text, "file", "")
    assert strict.read(Figures, value, "file", "", complete=True) == Figures((1.0, None, None), (Part("p"),))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ratio": math.nan}, "'ratio' must be a finite number, not nan"),
        ({"ratio": 10**400}, "'ratio' must be a finite number"),
        ({"ratio": True}, "'ratio' must be a number, not True"),
        ({"ratio": 0}, "'ratio' must be a number above 0, not 0"),
        ({"port": 6}, "'port' must be an integer from 1 to 5, not 6"),
        ({"port": 0}, "'port' must be an integer from 1 to 5, not 0"),
        ({"kind": None}, "'kind' must be one of a, b, not None"),
        ({"level": True}, "'level' must be one of 1, 2, not True"),
        ({"parts": {}}, "'parts' must be a list"),
        ({"parts": [{"name": "p", "size": -1}]}, "'parts[0] (p).size' must be a number of 0 or more, not -1"),
        ({"parts": [{}]}, "the key 'parts[0].name' is missing"),
        ({"words": []}, "'words' must be filled"),
        ({"words": ["a", "a"]}, "'words' must be a list without repetitions"),
        ({"words": ["a", "a1"]}, "'words[1]' must be a string of the form [a-z]+, not 'a1'"),
        ({"size": 1.5}, "'size' must be a string, not 1.5"),
        ({"sure": 1}, "'sure' must be true or false, not 1"),
        ({"colour": "green"}, "'colour' must be one of red, blue, not 'green'"),
        ({"path": "x"}, "unknown key 'path'"),
        ({"ratio": "x" * 100}, "'ratio' must be a number, not '" + "x" * 56 + "..."),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(**changes)
    assert caught.value.message.startswith("file: " + message)
    assert caught.value.hint


def test_a_complete_file_has_every_key_and_no_other() -> None:
    with pytest.raises(UsageError, match="the key 'kind' is missing"):
        read(complete=True)
    with pytest.raises(UsageError, match="unknown key 'knd'") as caught:
        read(complete=True, knd="a")
    assert caught.value.hint == "Do this."


@pytest.mark.parametrize("value", [{}, {"format": 2}, {"format": "1"}, {"format": True}])
def test_another_format_is_refused_before_its_keys(value: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="this version of edge-tqs reads 1"):
        strict.require_format(value, 1, "file", "Do this.")
    strict.require_format({"format": 1}, 1, "file", "Do this.")


def test_a_misspelt_name_is_recognised() -> None:
    assert nearest("bauds", ["baud", "base"], "None.", prefix="uart.") == "Did you mean 'uart.baud'?"
    assert nearest("picos", ["pico", "pico2", "host"], "None.", most=3) == "Did you mean 'pico' or 'pico2'?"
    assert nearest("zzz", ["pico"], "None.") == "None."
