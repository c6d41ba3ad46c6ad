"""What a project says of inputs and outputs: names in edge-tqs.toml to numbers, scalings to each value, by columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_tqs.api.request import model_request
from edge_tqs.building.units import units_of_outputs
from edge_tqs.errors import UsageError
from edge_tqs.graph.graph import Scaling
from edge_tqs.project.file import load_project, read_data
from edge_tqs.project.roles import NamedOutput, Roles, said_of
from edge_tqs.project.series_format import SeriesFormat
from edge_tqs.system.reading import Said, read_output

ROWS = 20
SERIES = "a,b,price,state\n" + "".join(f"{i},{10 * i},{100 + i * i},{i % 2}\n" for i in range(ROWS))
ABC = ("a", "b", "c")


@pytest.mark.parametrize(
    ("roles", "said"),
    [
        (Roles(ABC), Said()),
        (Roles(ABC, ABC), Said(feedback=(0, 1, 2))),
        (Roles(ABC, ("a", "c")), Said(feedback=(0, None, 1))),
        (Roles(ABC, ("c", "a")), Said(feedback=(1, None, 0))),
        (Roles(ABC, ("a",), measured=("b",)), Said(feedback=(0, None, None), held=(1,))),
        (
            Roles(ABC, ("a",), ("b",), static=("c",)),
            Said(feedback=(0, None, None), known_ahead=(1,), held=(2,), static=(2,)),
        ),
        (Roles(ABC, known_ahead=("1",), measured=("c",)), Said(known_ahead=(1,), held=(2,))),
        (Roles(ABC, ("price",)), Said(kind="direct", targets=("price",))),
        (Roles(ABC, ("a",), lead=12), Said(kind="direct", targets=("a",), lead=12)),
        (Roles(ABC, ("a",), lead=0), Said(kind="direct", targets=("a",), lead=0)),
        (Roles(ABC, label="state"), Said(kind="classes")),
        (Roles(ABC, label="state", classes=("on", "off")), Said(kind="classes", targets=("on", "off"))),
        (Roles(ABC, kind="reconstruction"), Said(kind="reconstruction")),
        (Roles((), ("price",), kind="direct"), Said(kind="direct", targets=("price",))),
        (Roles(ABC, ("a",), kind="driven"), Said(kind="direct", targets=("a",), lead=0)),
        (Roles(ABC, ("a",), kind="driven", lead=2), Said(kind="direct", targets=("a",), lead=2)),
    ],
)
def test_names_become_numbers(roles: Roles, said: Said) -> None:
    found = said_of(roles)
    for field in ("kind", "feedback", "held", "known_ahead", "static", "lead", "targets", "predicted"):
        assert getattr(found, field) == getattr(said, field), field
    assert found.columns == roles.inputs


def test_outputs_one_by_one() -> None:
    temperature = tuple(NamedOutput("a", quantile=level) for level in (0.1, 0.5, 0.9))
    said = said_of(Roles(("a",), predicted=temperature))
    assert [output.label for output in said.predicted] == ["a q0.1", "a q0.5", "a q0.9"]
    assert read_output((3,), 5, 1, said).feedback == (1,)
    # mean and deviation of an input beside a target: only what is said to be a loop is one
    mixed = (NamedOutput("a", mean=True), NamedOutput("a", deviation=True), NamedOutput("price"))
    loop = read_output((3,), 5, 2, said_of(Roles(("a", "b"), predicted=mixed, kind="closed loop", measured=("b",))))
    assert (loop.feedback, loop.held) == ((0, None), (1,))
    assert [output.channel for output in loop.predicted] == [0, 0, None]
    late = read_output(
        (2,), 5, 2, said_of(Roles(("a", "b"), predicted=(NamedOutput("a", lead=3), NamedOutput("b", lead=6))))
    )
    assert (late.driven, [output.lead for output in late.predicted]) == (True, [3, 6])


@pytest.mark.parametrize(
    ("roles", "match", "line"),
    [
        (Roles(ABC, ("a", "price")), "a could be fed back, price not", 'kind = "direct"'),
        (
            Roles(ABC, predicted=(NamedOutput("a"), NamedOutput("a", lead=3))),
            r"a could be fed back, a \+3 not",
            "kind =",
        ),
        (Roles((), ("price",)), "price: nothing says whether it is fed back", "--kind direct"),
        (Roles(ABC, ("a",), ("a", "b", "c")), "a is predicted, fed back, and known ahead", "one role"),
        (Roles(ABC, ("a",), ("b",)), "c is not predicted, and not among known_ahead", "one of these roles"),
        (Roles(ABC, ("a",), measured=("price",)), r"measured price \(--measured\) is no input column", "a, b, c"),
        (Roles(ABC, ("a",), predicted=(NamedOutput("a"),)), "outputs are said twice", "under"),
        (Roles(ABC, predicted=(NamedOutput("a", 0.5, mean=True),)), "several of quantile, mean", "one entry"),
        (Roles(ABC, predicted=(NamedOutput("p", lead=2),), lead=3), "lead is said of the forecast and", "lead = 3"),
        (Roles(ABC, label="state", kind="direct"), "label says which class", 'kind = "classes"'),
        (Roles(ABC, label="a"), "label a is among the inputs", "Leave it out"),
        (Roles(ABC, ("a",), label="state"), "a classifier predicts none", "classes ="),
        (Roles(ABC, classes=("x", "y")), "classes are named, and kind is not said", 'kind = "classes"'),
    ],
)
def test_what_contradicts_itself_or_can_be_meant_in_two_ways_is_refused(roles: Roles, match: str, line: str) -> None:
    with pytest.raises(UsageError, match=match) as refused:
        said_of(roles)
    assert line in refused.value.hint


def project(folder: Path, data: str = "", scaling: str = "", forecast: str = "") -> Path:
    (folder / "d.csv").write_text(SERIES)
    text = f'[model]\npath = "m.keras"\n[forecast]\n{forecast}\n[data]\ncsv = "d.csv"\n{data}\n[scaling]\n{scaling}\n'
    (folder / "edge-tqs.toml").write_text(text)
    return folder


def test_targets_that_are_no_inputs_are_read_beside_them(tmp_path: Path) -> None:
    data = read_data(load_project(project(tmp_path, 'inputs = ["b", "a"]\noutputs = ["price"]', 'method = "none"')))
    assert data is not None
    assert (data.inputs, data.series.columns) == (("b", "a"), ("b", "a", "price"))
    assert (data.scaling, data.output_scaling) == (None, Scaling((0.0,), (1.0,)))
    data = read_data(load_project(project(tmp_path, 'label = "state"', 'method = "none"')))
    assert data is not None
    assert (data.inputs, data.output_scaling) == (("a", "b", "price"), None)
    with pytest.raises(UsageError, match="no column of numbers 'cost'"):
        read_data(load_project(project(tmp_path, 'outputs = ["cost"]')))


def test_scalings_of_inputs_and_of_outputs(tmp_path: Path) -> None:
    names = 'inputs = ["a", "b"]\noutputs = ["price"]\ntest_rows = 10'
    said = 'method = "minmax"\noutputs = {method = "standard"}'
    data = read_data(load_project(project(tmp_path, names, said)))
    price = 100 + np.arange(10) ** 2
    assert data is not None
    assert data.scaling == Scaling((0.0, 0.0), (9.0, 90.0))
    assert data.output_scaling == Scaling((price.mean(),), (price.std(),))
    said = "min = [1, 2]\nmax = [3, 5]\noutputs = {mean = [7], std = [2]}"
    data = read_data(load_project(project(tmp_path, names, said)))
    assert data is not None
    assert (data.scaling, data.output_scaling) == (Scaling((1.0, 2.0), (2.0, 3.0)), Scaling((7.0,), (2.0,)))
    # an output that is an input has its scaling; a deviation has no offset
    forecast = 'kind = "direct"\noutputs = [{name = "a"}, {name = "a", deviation = true}, {name = "price"}]'
    data = read_data(load_project(project(tmp_path, 'inputs = ["a", "b"]', "mean = [1, 2]\nstd = [3, 4]", forecast)))
    assert data is not None
    assert data.output_scaling == Scaling((1.0, 0.0, 0.0), (3.0, 3.0, 1.0))
    assert units_of_outputs(data.output_scaling, 6) == Scaling((1.0, 0.0, 0.0) * 2, (3.0, 3.0, 1.0) * 2)
    assert units_of_outputs(None, 6) is None


@pytest.mark.parametrize(
    ("names", "scaling", "match"),
    [
        ('inputs = ["a", "b"]\noutputs = ["a", "b"]', "outputs = {mean = [1, 2], std = [1, 1]}", "a is fed back"),
        ('inputs = ["a"]\noutputs = ["price"]', "outputs = {mean = [1, 2], std = [1, 1]}", "is for 2 values, 1"),
        ('inputs = ["a"]\nlabel = "state"', 'outputs = {method = "standard"}', "no columns are named"),
        ('inputs = ["a"]\noutputs = ["price"]', "mean = [1, 2]\nstd = [1, 2]", r"for 2 columns, .* has 1 inputs \(a\)"),
    ],
)
def test_scalings_that_do_not_fit_are_refused(tmp_path: Path, names: str, scaling: str, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        read_data(load_project(project(tmp_path, names, scaling)))


def test_what_is_asked_for_counts_over_the_project(tmp_path: Path) -> None:
    said = project(tmp_path, 'inputs = ["a", "b"]\noutputs = ["a", "b"]', 'method = "none"')
    request = model_request(None, load_project(said), known_ahead=["b"])
    assert (request.said.feedback, request.said.held) == ((0, None), ())
    request = model_request(None, load_project(said), targets=["price"], lead=0)
    assert (request.said.kind, request.said.targets, request.columns) == ("direct", ("price",), ("a", "b"))
    assert request.output_scaling == Scaling((0.0,), (1.0,))
    bare = model_request(Path("m.keras"), None, data=tmp_path / "d.csv", targets=["price"], scaling="minmax")
    assert (bare.said.kind, bare.columns) == ("direct", ("a", "b", "state"))
    assert bare.scaling is not None


def test_how_a_file_is_read_can_be_said_in_python(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("a;b\n" + "".join(f"{i},000;{2 * i},000\n" for i in range(1, ROWS)))
    with pytest.raises(UsageError, match="no cell tells which"):
        model_request(Path("m.keras"), None, data=tmp_path / "d.csv")
    request = model_request(
        Path("m.keras"), None, data=tmp_path / "d.csv", series_format=SeriesFormat(decimal=","), scaling="minmax"
    )
    assert request.scaling == Scaling((1.0, 2.0), (14.0, 28.0))
    with pytest.raises(UsageError, match="there is none"):
        model_request(Path("m.keras"), None, series_format=SeriesFormat(decimal=","))
