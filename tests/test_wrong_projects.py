"""Projects that are wrong, or can be meant in several ways: each is refused or warned about, by what, where and why.

A row is a case: the model, what edge-tqs.toml says (csv and path apart), words of the answer, and the line that the
answer proposes with what the project then is. The models are computed, one layer each: they are what their rows say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fitted_models import ROWS, WINDOW, around, beside, fitted, labels, plant, scaled, write_csv

import edge_tqs
from edge_tqs.api.request import model_request
from edge_tqs.building.basis import bases
from edge_tqs.building.settle import open_requested
from edge_tqs.errors import CheckError, TqsError, UsageError
from edge_tqs.graph.graph import Array
from edge_tqs.project.file import load_project


@dataclass(frozen=True)
class Made:
    """A model: its inputs by one method of scaling, and what it predicts: (column, lead, method), least squares."""

    inputs: str
    outputs: tuple[tuple[str, int, str], ...]
    method: str = "standard"
    more: Callable[[Any, Any], Any] | None = None


def next_ones(*names: str, method: str = "standard", lead: int = 1) -> tuple[tuple[str, int, str], ...]:
    return tuple((name, lead, method) for name in names)


def softmax(keras: Any, y: Any) -> Any:
    return keras.layers.Softmax()(y)


def _sequence(keras: Any) -> Any:
    """A label for each sample: the same sensors again, half of them."""
    made = keras.layers.Conv1D(2, 1)
    model = keras.Sequential([keras.Input((WINDOW, 2)), made])
    made.set_weights([0.5 * np.eye(2)[None], np.zeros(2)])
    return model


def _same(keras: Any) -> Any:
    made = keras.layers.Conv1D(2, 1)
    made.build((None, WINDOW, 2))
    made.set_weights([0.98 * np.eye(2)[None], np.zeros(2)])
    return made


def _heads(keras: Any) -> Any:
    x = keras.Input((WINDOW, 2))
    flat = keras.layers.Flatten()(x)
    return keras.Model(x, [keras.layers.Dense(2, name="level")(flat), keras.layers.Dense(2, name="trend")(flat)])


def _static(keras: Any) -> Any:
    x, site = keras.Input((WINDOW, 2), name="past"), keras.Input((1,), name="site")
    return keras.Model([x, site], keras.layers.Dense(1)(keras.layers.Concatenate()([keras.layers.Flatten()(x), site])))


MODELS: dict[str, Made | Callable[[Any], Any]] = {
    "loop": Made("flow load", next_ones("flow", "load")),
    "loop_minmax": Made("flow load", next_ones("flow", "load", method="minmax"), "minmax"),
    "loop_raw": Made("flow load", next_ones("flow", "load", method="none"), "none"),
    "two_of_three": Made("flow load price", next_ones("flow", "load")),
    "one_of_three": Made("flow load price", next_ones("load")),
    "three_ahead": Made("flow load", next_ones("flow", "load", lead=3)),
    "block_as_sample": Made("flow load price", tuple(("flow", lead, "standard") for lead in (1, 2, 3))),
    "soft": Made("flow load", (("price", 0, "none"),)),
    "soft_scaled": Made("flow load", (("price", 0, "minmax"),)),
    "statistics": Made("flow", (*next_ones("flow"),), more=lambda keras, y: around(keras, y, (-0.3, 0.0, 0.3))),
    "mean_deviation": Made("flow", next_ones("flow"), more=lambda keras, y: beside(keras, y, 0.06)),
    "rough": Made("rough flow", next_ones("rough")),
    "rough_ahead": Made("rough", next_ones("rough", lead=3)),
    "again": lambda keras: keras.Sequential([keras.Input((WINDOW, 2)), _same(keras)]),
    "differences": Made("flow load", next_ones("flow", "load"), more=None),
    "lazy": Made("drift", next_ones("drift")),
    "classes": Made("flow load", (("flipped", 0, "none"), ("state", 0, "none")), more=softmax),
    "shares": Made("flow load", next_ones("flow", "load"), more=softmax),
    "five": Made("load price drift rough flow", next_ones("load", "price", "drift", "rough", "flow")),
    "wide": _sequence,
    "labels": lambda keras: labels(keras, [scaled(plant()[name], "standard") for name in ("flow", "load")]),
    "flat": lambda keras: keras.Sequential([keras.Input((2 * WINDOW,)), keras.layers.Dense(2 * WINDOW)]),
    "heads": _heads,
    "static": _static,
}


def _made(keras: Any, name: str) -> Any:
    what = MODELS[name]
    if not isinstance(what, Made):
        keras.utils.set_random_seed(0)
        return what(keras)
    series = columns()
    return fitted(
        keras,
        [scaled(series[column], what.method) for column in what.inputs.split()],
        [scaled(series[column], own) for column, _, own in what.outputs],
        [lead for _, lead, _ in what.outputs],
        differences=name == "differences",
        more=what.more,
    )


@pytest.fixture(scope="session")
def models(keras: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The file of a model, made when it is first asked for."""
    folder = tmp_path_factory.mktemp("wrong")
    made: dict[str, Path] = {}

    def file(name: str) -> Path:
        if name not in made:
            made[name] = folder / f"{name}.keras"
            _made(keras, name).save(made[name])
        return made[name]

    return file


def columns(rows: int = ROWS) -> dict[str, Array]:
    series = plant()
    states = (series["flow"] > 50).astype(float)
    rough = series["load"] + 12 * np.random.default_rng(4).normal(size=ROWS)
    found = {
        **series,
        "rough": rough,
        "state": states,
        "state_from_1": states + 1,
        "flipped": 1 - states,
        "site": np.ones(ROWS),
    }
    return {name: values[:rows] for name, values in found.items()} | {"flow_f": found["flow"][:rows] * 1.8 + 32}


NAMED = '{name = "flow", '
THREE = f"outputs = [{NAMED}quantile = 0.1}}, {NAMED}quantile = 0.5}}, {NAMED}quantile = 0.9}}]"
UPSIDE_DOWN = f"outputs = [{NAMED}quantile = 0.9}}, {NAMED}quantile = 0.5}}, {NAMED}quantile = 0.1}}]"
FLOW_LOAD = 'inputs = ["flow", "load"]'
PRICE, BOTH = f'{FLOW_LOAD}\noutputs = ["price"]', f'{FLOW_LOAD}\noutputs = ["flow", "load"]'
ALL = 'inputs = ["flow", "load", "price"]'
STANDARD = 'method = "standard"'
RAW_TARGET = f'{STANDARD}\noutputs = {{method = "none"}}'
CELSIUS = "mean = [50, 400]\nstd = [5.7, 63.5]"


@dataclass(frozen=True)
class Row:
    """wrong: what is. data, forecast, scaling: the lines of these tables; data None: no [data]. says: words of the
    answer. warned: it is a warning, else a refusal. line: where, and what the answer proposes, which the test writes,
    in place of ``without`` (and_line: a second one). then: words of what the project is with it, where no doubt is
    left. may_be_bad: it is only warned of, for the data do not say what else it is; every other warning keeps `build`
    from building."""

    wrong: str
    model: str
    data: str | None = None
    forecast: str = ""
    scaling: str = ""
    says: tuple[str, ...] = ()
    warned: bool = False
    line: tuple[str, str] | None = None
    and_line: tuple[str, str] | None = None
    without: str = ""
    then: str = ""
    may_be_bad: bool = False
    csv: str = "plant.csv"


def refused(wrong: str, model: str, data: str | None, forecast: str, scaling: str, *says: str, **more: Any) -> Row:
    return Row(wrong, model, data, forecast, scaling, says, **more)


def warned(wrong: str, model: str, data: str | None, forecast: str, scaling: str, *says: str, **more: Any) -> Row:
    return Row(wrong, model, data, forecast, scaling, says, warned=True, **more)


# fmt: off
TABLE = [
    # what values mean, said by nobody
    refused("two values of three channels", "two_of_three", None, "", "",
        "2 values from 3 channels, and nothing says what they are", "outputs = [...] under [data]", 'kind = "direct"',
        'kind = "classes"'),
    refused("one value of three channels", "one_of_three", None, "", "",
        "1 value from 3 channels, and nothing says what it is", "outputs = [...] under [data]", 'kind = "direct"'),
    refused("three values of one channel", "statistics", None, "", "",
        "3 values from 1 channel, and nothing says what they are", "steps = 3", "quantile = 0.1"),
    refused("a label for each sample, no data", "wide", None, "", "", "6 samples, as many as its window holds",
        'labels = "wide"', "steps = 6", 'kind = "reconstruction"', line=("forecast", 'labels = "wide"'),
        then="closed loop"),
    refused("a flat window of unknown length", "flat", None, "", "", "flat window of 12 values", "window = SAMPLES",
        line=("forecast", f"window = {WINDOW}\nsteps = {WINDOW}"), then="closed loop"),
    refused("a flat window that gives as much as it takes", "flat", None, "window = 6", "",
        "12 values from 2 channels", 'kind = "reconstruction"', "steps = 6",
        line=("forecast", 'kind = "reconstruction"'), then="reconstruction"),
    refused("two heads, none chosen", "heads", None, "", "", "level", "trend", "--output",
        line=("forecast", 'output = "level"'), then="closed loop"),
    refused("a static input beside the window", "static", None, "", "",
        "1 value from 2 channels beside 1 that is held", "outputs = [...] under [data]"),
    # values that are named, and cannot be that
    refused("one name for three values", "statistics", 'inputs = ["flow"]\noutputs = ["flow"]', "", STANDARD,
        "3 statistics of flow at lead 1", "quantile = 0.1", line=("forecast", THREE), without='outputs = ["flow"]',
        then="flow q0.5"),
    refused("one name for a mean and its deviation", "mean_deviation", 'inputs = ["flow"]\noutputs = ["flow"]', "",
        STANDARD, "flow at lead 1 and its deviation", "mean = true", "deviation = true",
        line=("forecast", f"outputs = [{NAMED}mean = true}}, {NAMED}deviation = true}}]"),
        without='outputs = ["flow"]', then="flow deviation"),
    refused("three names for two values", "loop", 'inputs = ["flow", "load"]\noutputs = ["flow", "load", "price"]',
        'kind = "direct"', STANDARD, "3 outputs are named (flow, load, price), and it predicts 2 values",
        "in the order of its values"),
    refused("more inputs than channels", "loop", ALL, "", STANDARD, "has 2 channels, the project names 3 columns",
        "in its order"),
    refused("a column that is not there", "soft", f'{FLOW_LOAD}\noutputs = ["prize"]', "", STANDARD,
        "no column 'prize'", "Did you mean 'price'"),
    refused("inputs and targets side by side", "loop", f'{FLOW_LOAD}\noutputs = ["flow", "price"]', "", STANDARD,
        "flow could be fed back, price not", 'kind = "direct"', 'kind = "closed loop"'),
    refused("quantiles without a median, fed back", "loop", None,
        f"outputs = [{NAMED}quantile = 0.1}}, {NAMED}quantile = 0.9}}]", "", "nothing says whether it is fed back",
        "--kind direct"),
    refused("outputs said twice", "loop", BOTH, THREE, STANDARD, "said twice", "Keep those under [forecast]"),
    refused("a lead said twice", "loop", FLOW_LOAD, f"lead = 3\noutputs = [{NAMED}lead = 2}}, {NAMED}lead = 3}}]",
        STANDARD, "lead is said of the forecast and of single outputs", "in one place"),
    refused("an input of two roles", "loop", f'{FLOW_LOAD}\noutputs = ["flow", "load"]\nknown_ahead = ["load"]', "",
        STANDARD, "load is predicted, fed back, and known ahead", "one role"),
    refused("a block that does not divide", "two_of_three", None, "steps = 4", "", "2 values, which are not 4 samples",
        "Change steps"),
    refused("a forecaster called a reconstruction", "loop", FLOW_LOAD, 'kind = "reconstruction"', STANDARD,
        "is not the window (6, 2) again", "Say another kind"),
    refused("a lead in a closed loop", "loop", BOTH, 'kind = "closed loop"\nlead = 3', STANDARD,
        "lead = 3: a closed loop predicts the next sample", 'kind = "direct"'),
    # classes
    refused("columns named of a classifier", "classes", BOTH, 'kind = "classes"', STANDARD,
        "a classifier predicts none", "classes = ["),
    refused("a classifier, its label not named", "classes", "", "", "",
        "If it is a classifier: state has the numbers 0",
        'label = "state" and inputs = ["flow", "load"] under [data]', csv="states.csv"),
    refused("classes numbered from 1", "classes", f'{FLOW_LOAD}\nlabel = "state_from_1"', "", STANDARD,
        "2 is no number of one of 2 classes", "from 0"),
    warned("classes in another order", "classes", f'{FLOW_LOAD}\nlabel = "flipped"', "", STANDARD, "is right in",
        "always saying the most frequent class", "numbered as the model's outputs are"),
    warned("shares of one taken for sensors", "shares", BOTH, "", STANDARD, "Its 2 values add up to one",
        'kind = "classes" under [forecast]', line=("forecast", 'kind = "classes"'),
        without='outputs = ["flow", "load"]', then="classes", csv="inputs.csv"),
    # time
    refused("a soft sensor, its time unsaid", "soft", PRICE, "", RAW_TARGET,
        "price: the float model's values fit lead 0", "lead = 0 under [forecast]", line=("forecast", "lead = 0"),
        then="lead 0"),
    warned("a soft sensor, another time said", "soft", PRICE, "lead = 2", RAW_TARGET, "fit lead 0", "not lead 2",
        "as was said"),
    refused("all sensors, three samples ahead", "three_ahead", BOTH, "", STANDARD,
        "flow, load: the float model's values fit lead 3", "lead = 3 under [forecast]", line=("forecast", "lead = 3"),
        then="lead 3"),
    refused("a noisy sensor, three samples ahead", "rough_ahead", 'inputs = ["rough"]\noutputs = ["rough"]', "",
        STANDARD,
        "fit lead 3", "lead = 3 under [forecast]", line=("forecast", "lead = 3"), then="lead 3", csv="rough.csv"),
    refused("a lead beyond the data", "soft", PRICE, "lead = 700", RAW_TARGET, "plant.csv", "rows"),
    # units and order
    warned("min-max, said to be standard", "loop_minmax", FLOW_LOAD, "", STANDARD, "where data are taken min-max",
        'method = "minmax" under [scaling]', line=("scaling", 'method = "minmax"'), without=STANDARD, then="min-max"),
    warned("standard, said to be as it is", "loop", FLOW_LOAD, "", 'method = "none"',
        "worse than repeating the last sample", f"{STANDARD} under [scaling]", line=("scaling", STANDARD),
        without='method = "none"', then="standardised"),
    warned("raw units, standardised", "loop_raw", FLOW_LOAD, "", STANDARD, "worse than repeating the last sample",
        'method = "none" under [scaling]', line=("scaling", 'method = "none"'), without=STANDARD, then="as it is"),
    warned("a file in Fahrenheit", "loop", 'inputs = ["flow_f", "load"]', "", CELSIUS, "flow_f",
        "the units and the order of columns"),
    warned("columns in another order", "loop", 'inputs = ["load", "flow"]', "", STANDARD,
        "With its columns in another order", FLOW_LOAD, line=("data", FLOW_LOAD),
        without='inputs = ["load", "flow"]', then="closed loop"),
    warned("columns and outputs in another order", "two_of_three",
        'inputs = ["load", "flow", "price"]\noutputs = ["load", "flow"]', "", STANDARD,
        f'{ALL}, outputs = ["flow", "load"] under [data]'),
    warned("outputs in another order", "two_of_three", f'{ALL}\noutputs = ["load", "flow"]', "", STANDARD,
        'write outputs = ["flow", "load"] under [data]', line=("data", 'outputs = ["flow", "load"]'),
        without='outputs = ["load", "flow"]', then="closed loop"),
    warned("one column of five in another place", "five", 'inputs = ["flow", "load", "price", "drift", "rough"]',
        "", STANDARD, 'inputs = ["load", "price", "drift", "rough", "flow"]'),
    warned("columns of a sensor in another order", "soft", 'inputs = ["load", "flow"]\noutputs = ["price"]', "lead = 0",
        RAW_TARGET, f"write {FLOW_LOAD} under [data]", line=("data", PRICE),
        without='inputs = ["load", "flow"]\noutputs = ["price"]', then="lead 0"),
    warned("a scaled target, said to be as it is", "soft_scaled", PRICE, "lead = 0", RAW_TARGET,
        "worse than the mean of the data", 'outputs = {method = "minmax"}',
        line=("scaling", 'outputs = {method = "minmax"}'), without='outputs = {method = "none"}', then="min-max"),
    warned("differences taken for values", "differences", FLOW_LOAD, "", STANDARD, "As differences to the last sample",
        'target = "delta"', line=("forecast", 'target = "delta"'), then="closed loop"),
    warned("a block read as one sample", "block_as_sample", f'{ALL}\noutputs = ["flow", "load", "price"]', "",
        STANDARD, "3 samples of flow at lead 1", 'outputs = ["flow"] under [data], kind = "direct" under [forecast]',
        line=("data", 'outputs = ["flow"]'), and_line=("forecast", 'kind = "direct"'),
        without='outputs = ["flow", "load", "price"]', then="flow +3"),
    warned("quantiles upside down", "statistics", 'inputs = ["flow"]', UPSIDE_DOWN, STANDARD,
        "of the truth lies below flow q0.9", line=("forecast", THREE), without=UPSIDE_DOWN, then="flow q0.9"),
    warned("mean and deviation exchanged", "mean_deviation", 'inputs = ["flow"]',
        f"outputs = [{NAMED}deviation = true}}, {NAMED}mean = true}}]", STANDARD, "flow deviation is", "negative",
        "in the model's order"),
    warned("a forecaster of labels called a reconstruction", "wide", 'inputs = ["load", "drift"]',
        'kind = "reconstruction"', 'method = "none"', "worse than the mean of the data", "the units", may_be_bad=True),
    warned("labels called a reconstruction", "labels", FLOW_LOAD, 'kind = "reconstruction"', STANDARD,
        "nearer to the sample after", 'labels = "wide" under [forecast]', line=("forecast", 'labels = "wide"'),
        without='kind = "reconstruction"', then="closed loop"),
    warned("a reconstruction called a block", "again", FLOW_LOAD, f"steps = {WINDOW}", STANDARD,
        "As its window again", 'kind = "reconstruction" under [forecast]',
        line=("forecast", 'kind = "reconstruction"'), without=f"steps = {WINDOW}", then="reconstruction"),
    # nothing said, and the data do not tell
    refused("a scaling that data cannot tell", "lazy", 'inputs = ["drift"]', "", "", "the data do not tell",
        'method = "standard"', 'method = "minmax"', line=("scaling", STANDARD), then="standardised"),
    refused("a target that is not in the file", "soft", "", "", "", "no column, lead and scaling is nearer",
        "Is the column that it predicts in the file", csv="inputs.csv"),
    refused("a model of another plant", "two_of_three", 'inputs = ["drift", "site", "state"]', "", "",
        "the data do not tell", "standard deviations"),
]
# fmt: on


def write(folder: Path, model: Path, tables: Mapping[str, str | None], csv: str) -> Path:
    lines = ["[model]", f'path = "{model}"']
    for name, said in tables.items():
        if said is not None:
            lines += [f"[{name}]", *([f'csv = "{csv}"'] if name == "data" else []), said]
    (folder / "edge-tqs.toml").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def plant_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plant")
    files = {
        "plant.csv": tuple(columns()),
        "inputs.csv": ("flow", "load"),
        "rough.csv": ("rough", "flow"),
        "one.csv": ("rough",),
        "states.csv": ("flow", "load", "state"),
    }
    for name, names in files.items():
        write_csv(folder / name, {column: columns()[column] for column in names})
    return folder


@dataclass(frozen=True)
class Answer:
    refused: bool
    text: str
    doubts: tuple[str, ...] = ()
    refuted: tuple[str, ...] = ()


def ask(folder: Path) -> Answer:
    """What `inspect` would say of the project, without its tables of weights and runtimes."""
    try:
        request, opened = open_requested(model_request(None, load_project(folder)), lambda *_: None)
    except TqsError as error:
        return Answer(True, f"{error.message}\n{error.hint}")
    of = opened.system.reading.predicted
    said = [f"{basis.what} {basis.how}: {basis.text}" for basis in bases(request, opened.system)]
    return Answer(
        False, "\n".join([*said, *request.doubts, *(output.label for output in of)]), request.doubts, request.refuted
    )


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.wrong.replace(" ", "_"))
def test_it_is_refused_or_warned_about_and_its_own_line_mends_it(
    row: Row, models: Callable[[str], Path], plant_csv: Path, tmp_path: Path
) -> None:
    csv = str(plant_csv / row.csv)
    tables = {"data": row.data, "forecast": row.forecast, "scaling": row.scaling}
    answer = ask(write(tmp_path, models(row.model), tables, csv))
    assert answer.refused is not row.warned, answer.text
    for words in row.says:
        assert words in answer.text
    if row.warned:
        assert answer.doubts
        assert bool(answer.refuted) is not row.may_be_bad  # then it builds with --force alone
    if row.line is None:
        return
    mended = {name: said.replace(row.without, "") if said and row.without else said for name, said in tables.items()}
    for where, line in filter(None, (row.line, row.and_line)):
        mended[where] = f"{mended[where]}\n{line}"
    after = ask(write(tmp_path, models(row.model), mended, csv))
    assert not after.refused, after.text
    assert not after.doubts
    assert row.then in after.text


def test_the_table_has_what_was_asked_of_it() -> None:
    assert len(TABLE) >= 30
    assert len({row.wrong for row in TABLE}) == len(TABLE)
    assert sum(row.line is not None for row in TABLE) >= 10


Run = Callable[..., tuple[int, str, str]]


def test_on_the_command_line(
    models: Callable[[str], Path], plant_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("inspect", models("two_of_three"))
    assert code == 1
    assert "2 values from 3 channels, and nothing says what they are" in out
    code, out, _ = run("inspect", models("loop"), "--data", plant_csv / "inputs.csv", "--scaling", "none")
    assert code == 0
    assert "kind        assumed: closed loop" in out
    assert "columns     assumed: in the order of inputs.csv" in out
    assert "scaling     said: as it is" in out
    assert "warning     One step ahead the float model is worse than repeating the last sample" in out
    assert "built with --force alone" in out
    assert out.splitlines()[-1] == "next        write that line into edge-tqs.toml, then edge-tqs inspect"
    code, _, err = run("inspect", models("lazy"), "--data", plant_csv / "inputs.csv")
    assert code == 2
    assert "the project names 2 columns" in err
    # what a refusal proposes on the command line
    code, out, _ = run("inspect", models("soft"), "--kind", "driven")
    assert code == 0
    assert "known ahead" not in out
    assert f"next        edge-tqs build {models('soft')} --kind driven --board BOARD" in out.splitlines()[-1]


def test_init_writes_what_fits_best_and_says_what_it_found(
    models: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    write_csv("d.csv", {name: columns()[name] for name in ("flow", "load", "price")})
    code, out, _ = run("init", models("soft"), "--data", "d.csv")
    assert code == 0
    assert "price at lead 0" in out
    answer = ask(tmp_path)
    assert not answer.refused, answer.text
    assert not answer.doubts
    for words in ("kind said: direct", "outputs said: price", "time said: lead 0", "scaling said: standardised"):
        assert words in answer.text


def test_a_doubt_is_a_warning_of_the_build(models: Callable[[str], Path], plant_csv: Path, tmp_path: Path) -> None:
    tables = {"data": FLOW_LOAD, "forecast": "horizon = 4", "scaling": 'method = "none"'}
    request = model_request(None, load_project(write(tmp_path, models("loop"), tables, str(plant_csv / "plant.csv"))))
    quantized = edge_tqs.quantize(request, bits=8)
    assert any("worse than repeating the last sample" in warning for warning in quantized.warnings)
    with pytest.raises(CheckError, match="forecasts another thing than was said") as caught:
        edge_tqs.build(quantized, board="host", out=tmp_path / "build")
    assert f"{STANDARD} under [scaling]" in caught.value.message
    assert "--force" in caught.value.hint
    assert not (tmp_path / "build").exists()


@pytest.mark.parametrize("name", ["horizon", "window", "steps"])
def test_no_samples_are_not_the_default(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} = 0"):
        model_request(Path("model.keras"), None, **{name: 0})  # type: ignore[arg-type]


FOUND = [
    ("rough", "rough.csv", None, "rough at lead 1, not fed back, inputs standardised"),
    ("rough_ahead", "one.csv", None, "rough at lead 3, not fed back, inputs standardised"),
    ("again", "inputs.csv", "standard", "its window again"),
]


@pytest.mark.parametrize(("model", "csv", "scaling", "words"), FOUND)
def test_a_noisy_forecast_and_a_window_again_are_found(
    model: str, csv: str, scaling: Any, words: str, models: Callable[[str], Path], plant_csv: Path
) -> None:
    request, _ = open_requested(
        model_request(models(model), None, data=plant_csv / csv, scaling=scaling), lambda *_: None
    )
    assert words in request.findings[0]
    assert not request.doubts
