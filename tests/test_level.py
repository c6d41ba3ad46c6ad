"""Differences and centred windows: the closed loop is what a loop over Keras' own predictions gives, in every form."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tflite_models
from c_library import Forecaster
from graphs import METADATA, needs_tflm
from test_inspection import blocks, call, known_ahead, wide_tcn, windowed_lstm
from tflite_models import CHANNELS, WINDOW

from edge_tqs.api.request import model_request
from edge_tqs.building.request import ModelRequest
from edge_tqs.errors import ModelError, UsageError
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.graph.graph import Array, Centre, Graph, Target
from edge_tqs.graph.rollout import Rollout
from edge_tqs.passes.interpret import float_rollout
from edge_tqs.passes.level import with_level
from edge_tqs.project.file import load_project
from edge_tqs.quantization import simulate
from edge_tqs.quantization.calibration import calibrate
from edge_tqs.quantization.quantize import quantize
from edge_tqs.quantization.runtimes import rollout_in
from edge_tqs.read.opening import Opened, open_model
from edge_tqs.system.reading import Said
from edge_tqs.system.tensorflow import import_tensorflow

HORIZON, SEEDS = 11, 3


def open_gru(keras: Any) -> Any:
    return keras.Sequential([keras.Input((None, CHANNELS)), keras.layers.GRU(6), keras.layers.Dense(CHANNELS)])


def last_head(keras: Any) -> Any:
    """One output, which becomes the last of three inputs."""
    x = keras.Input((WINDOW, CHANNELS))
    return keras.Model(x, keras.layers.Dense(1)(keras.layers.Flatten()(x)))


@dataclass(frozen=True)
class Case:
    """history: the model says what it says after all samples since the first, not after the latest W."""

    make: Callable[[Any], Any]
    settings: dict[str, Any]
    target: Target = "level"
    centre: Centre = "none"
    window: int = WINDOW
    history: bool = False
    tflite: bool = False


KNOWN = {"said": Said(feedback=(0, None, 1))}
CASES = {
    "delta": Case(tflite_models.mlp, {}, "delta"),
    "delta-windowed": Case(windowed_lstm, {}, "delta"),
    "delta-stateful": Case(open_gru, {"recurrence": "stateful", "window": 7}, "delta", window=7, history=True),
    "delta-streamed": Case(wide_tcn, {"recurrence": "stateful"}, "delta", window=32),
    "delta-blocks": Case(blocks, {}, "delta"),
    "delta-known-ahead": Case(known_ahead, KNOWN, "delta"),
    "delta-one-of-three": Case(last_head, {"said": Said(feedback=(None, None, 0))}, "delta"),
    "delta-swapped": Case(tflite_models.mlp, {"said": Said(feedback=(2, 0, 1))}, "delta"),
    "delta-tflite": Case(tflite_models.mlp, {}, "delta", tflite=True),
    "last": Case(tflite_models.mlp, {}, centre="last"),
    "mean": Case(tflite_models.tcn, {}, centre="mean"),
    "mean-blocks": Case(blocks, {}, centre="mean"),
    "mean-known-ahead": Case(known_ahead, KNOWN, centre="mean"),
    "mean-tflite": Case(tflite_models.mlp, {}, centre="mean", tflite=True),
    "delta-mean": Case(tflite_models.nbeats, {}, "delta", "mean"),
    "delta-last": Case(tflite_models.mlp, {}, "delta", "last"),
}


@dataclass(frozen=True, eq=False)
class OpenedCase:
    """A case's Keras model, and what was opened of its file."""

    case: Case
    keras: Any
    opened: Opened

    @property
    def graph(self) -> Graph:
        return self.opened.need_graph()[1]


def make(case: Case, folder: Path) -> OpenedCase:
    keras = import_tensorflow().keras
    keras.utils.clear_session()
    keras.utils.set_random_seed(3)
    model = case.make(keras)
    path = folder / f"model.{'tflite' if case.tflite else 'keras'}"
    if case.tflite:
        path.write_bytes(tflite_models.convert(model))
    else:
        model.save(path)
    return OpenedCase(case, model, open_model(path, target=case.target, centre=case.centre, **case.settings))


@pytest.fixture(scope="module", params=CASES)
def opened_case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> OpenedCase:
    return make(CASES[request.param], tmp_path_factory.mktemp("level"))


def seeds_of(graph: Graph) -> Array:
    """Windows far from zero, each at a level of its own."""
    rng, forecast = np.random.default_rng(2), graph.forecast
    shape = (SEEDS, forecast.seed_length(HORIZON), forecast.channels)
    return (rng.normal(size=shape) * 0.5 + rng.normal(size=(SEEDS, 1, shape[2])) * 2).astype(np.float32)


def loop_over_keras(opened_case: OpenedCase, seed: Array) -> Array:
    """One rollout as the words say it, by the Keras model's own predictions."""
    case, forecast = opened_case.case, opened_case.graph.forecast
    samples, outputs = list(seed[: case.window]), []
    fed = [source is not None for source in forecast.feedback]
    # the input channel that each output predicts; every output of these models becomes an input
    channel_of = [forecast.feedback.index(output) for output in range(forecast.outputs)]
    while len(outputs) < HORIZON:
        window = np.array(samples if case.history else samples[-case.window :])
        level = {"none": 0 * window[-1], "last": window[-1], "mean": window.mean(axis=0)}[case.centre]
        given = window - np.where(fed, level, 0)
        block = np.asarray(opened_case.keras(given[None].astype(np.float32))).reshape(forecast.steps, forecast.outputs)
        base = (window[-1] if case.target == "delta" else level)[channel_of]
        for predicted in block + base:
            t = len(outputs)
            outputs.append(predicted)
            ahead = seed[case.window + t] if forecast.exogenous and t < HORIZON else samples[-1]
            following = [ahead[i] if j is None else predicted[j] for i, j in enumerate(forecast.feedback)]
            samples.append(np.array(following, np.float32))
            if len(outputs) == HORIZON:
                break
    return np.array(outputs)


def test_the_float_loop_is_a_loop_over_keras(opened_case: OpenedCase) -> None:
    seeds = seeds_of(opened_case.graph)
    expected = np.stack([loop_over_keras(opened_case, seed) for seed in seeds])
    np.testing.assert_allclose(float_rollout(opened_case.graph, seeds, HORIZON).outputs, expected, atol=2e-4, rtol=1e-4)


def test_what_is_scored_is_that_graph(opened_case: OpenedCase) -> None:
    seeds = seeds_of(opened_case.graph)
    expected = float_rollout(opened_case.graph, seeds, HORIZON).outputs
    system = opened_case.opened.system
    np.testing.assert_allclose(system.roll(seeds, HORIZON), expected, atol=1e-5)
    np.testing.assert_allclose(system.trace(HORIZON, SEEDS)({}, seeds), expected, atol=2e-4, rtol=1e-4)


def integer(graph: Graph, activations: str, width: int = 8) -> tuple[Graph, Array, Rollout]:
    seeds = seeds_of(graph)
    widths = dict.fromkeys(graph.weights(), width)
    quantized = quantize(graph, widths, calibrate(graph, seeds, HORIZON), activations=activations)  # type: ignore[arg-type]
    codes = simulate.encode(quantized, seeds)
    return quantized, codes, simulate.integer_rollout(quantized, codes, HORIZON)


@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_the_c_computes_the_integer_reference(opened_case: OpenedCase, activations: str, tmp_path: Path) -> None:
    graph, codes, expected = integer(opened_case.graph, activations)
    forecaster, window, ahead = Forecaster(graph, tmp_path), graph.forecast.window, list(graph.forecast.exogenous)
    for n in range(SEEDS):
        forecaster.reset()
        forecaster.push_codes(codes[n, :window])
        forecaster.begin()
        for t in range(HORIZON):
            y = np.zeros(graph.forecast.outputs, forecaster.code_type)
            out = y.ctypes.data_as(ctypes.c_void_p)
            if ahead:
                known = np.ascontiguousarray(codes[n, window + t, ahead])
                given = known.ctypes.data_as(ctypes.c_void_p)
                forecaster.library.tqs_forecast_next_ahead(forecaster.model, given, out)
            else:
                forecaster.library.tqs_forecast_next(forecaster.model, out)
            np.testing.assert_array_equal(y, expected.outputs[n, t])


@needs_tflm
@pytest.mark.parametrize("width", [8, 4])
def test_tflite_micro_computes_the_integer_reference(opened_case: OpenedCase, width: int) -> None:
    graph, codes, expected = integer(opened_case.graph, "int8", width)
    model = tflite_model.write(graph, METADATA)
    np.testing.assert_array_equal(rollout_in("tflm", model, graph, codes, HORIZON).outputs, expected.outputs)


def test_the_comparison_with_keras_is_of_the_model_itself(tmp_path: Path) -> None:
    make(CASES["delta"], tmp_path)
    targets: tuple[Target, ...] = ("level", "delta")
    found = [open_model(tmp_path / "model.keras", target=target) for target in targets]
    assert len({opened.need_graph()[0].float_vs_keras_max_abs for opened in found}) == 1
    assert len({opened.model_hash for opened in found}) == 1


def test_nothing_asked_for_changes_nothing(tmp_path: Path) -> None:
    graph = make(Case(tflite_models.mlp, {}), tmp_path).graph
    assert with_level(graph, "level", "none") is graph


@pytest.mark.parametrize(
    ("case", "why"),
    [
        (Case(windowed_lstm, {}, centre="mean"), "only the last of 12 completes the window"),
        (Case(open_gru, {"recurrence": "stateful", "window": 7}, centre="last"), "its states are carried on"),
        (Case(wide_tcn, {"recurrence": "stateful"}, centre="mean"), "in stateful recurrence"),
    ],
)
def test_a_step_cannot_be_centred(case: Case, why: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="needs the whole window") as caught:
        make(case, tmp_path)
    assert why in caught.value.message
    assert "Subtract" in caught.value.hint
    assert ("Leave recurrence" in caught.value.hint) == ("recurrence" in case.settings)


def centred_inside(keras: Any, level: Callable[[Any], Any]) -> Any:
    x = keras.Input((WINDOW, CHANNELS))
    base = level(x)
    h = keras.layers.LSTM(5)(keras.layers.Subtract()([x, keras.layers.RepeatVector(WINDOW)(base)]))
    return keras.Model(x, keras.layers.Add()([base, keras.layers.Dense(CHANNELS)(h)]))


@pytest.mark.parametrize("centre", ["mean", "last"])
def test_what_the_refusal_advises_is_unrolled(centre: str, tmp_path: Path) -> None:
    layers = import_tensorflow().keras.layers
    levels = {
        "mean": layers.GlobalAveragePooling1D(),
        "last": lambda x: layers.Flatten()(layers.Cropping1D((WINDOW - 1, 0))(x)),
    }
    opened = make(Case(lambda keras: centred_inside(keras, levels[centre]), {}), tmp_path).opened
    loaded, graph = opened.need_graph()
    assert graph.forecast.recurrence == "none"
    assert loaded.unrolled_by


def test_a_model_that_is_scored_alone_takes_neither(tmp_path: Path) -> None:
    from test_inspection import own_layer

    case = Case(own_layer, {"custom": ("own_layers:Squeeze",)})
    assert make(case, tmp_path).opened.loaded is None
    with pytest.raises(ModelError, match="could only be scored as a black box") as caught:
        make(replace(case, target="delta", centre="mean"), tmp_path)
    assert 'target = "delta" and centre = "mean"' in caught.value.message
    assert "Squeeze" in caught.value.message


def project(folder: Path, forecast: str) -> Path:
    path = folder / "edge-tqs.toml"
    path.write_text(f'[model]\npath = "model.keras"\n[forecast]\n{forecast}\n')
    return path


def test_the_project_says_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make(Case(tflite_models.mlp, {}), tmp_path)
    read = load_project(project(tmp_path, 'target = "delta"\ncentre = "mean"'))
    asked = model_request(None, read, data=None, horizon=None, window=None, recurrence=None, draws=2, seed=0)
    assert (asked.target, asked.centre) == ("delta", "mean")
    assert asked.variant != ModelRequest(tmp_path / "model.keras").variant  # kept scores are of another system
    monkeypatch.chdir(tmp_path)
    code, out, _ = call(monkeypatch, capsys, "inspect")
    assert code == 0
    assert "difference to the last sample" in out
    assert "its mean over time is taken off" in out
    quick = ("--draws", "2", "--horizon", "6", "--no-refine")
    code, _, err = call(monkeypatch, capsys, "build", "--board", "host", *quick)
    assert code == 0, err


def test_an_option_says_it_over_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make(Case(tflite_models.mlp, {}), tmp_path)
    project(tmp_path, 'target = "delta"\ncentre = "mean"')
    monkeypatch.chdir(tmp_path)
    code, out, _ = call(monkeypatch, capsys, "inspect", "--target", "level", "--centre", "last", "--json")
    body = json.loads(out)["behaviour"]
    assert (code, body["target"], body["centre"]) == (0, "level", "last")
    quick = ("--draws", "2", "--horizon", "6", "--no-cache", "--json")
    scores = [
        json.loads(call(monkeypatch, capsys, "score", *options, *quick)[1])
        for options in ((), ("--target", "delta", "--centre", "mean"), ("--target", "level", "--centre", "none"))
    ]
    assert scores[0] == scores[1] != scores[2]
    code, _, err = call(monkeypatch, capsys, "inspect", "--target", "differences")
    assert code == 2
    assert "differences" in err


@pytest.mark.parametrize("line", ['target = "differences"', 'centre = "median"', "target = true"])
def test_another_word_is_refused(line: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=line.split(maxsplit=1)[0]):
        load_project(project(tmp_path, line))
