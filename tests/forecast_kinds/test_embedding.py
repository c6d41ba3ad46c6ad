"""Embedding of a whole number, an hour or the number of a sensor: as a channel, an own input, or a static one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from litert_alone import Runner
from saving import save
from whole_way import HORIZON, check_on_board, seeds_of, series, written

from edge_tqs.building.request import ModelRequest, SeriesRequest
from edge_tqs.building.settle import open_requested
from edge_tqs.errors import ModelError, UsageError
from edge_tqs.graph.graph import Graph, Scaling, same_units
from edge_tqs.passes.interpret import float_rollout
from edge_tqs.project.rollouts import ProjectData
from edge_tqs.project.scales import Method, scaling_of_inputs
from edge_tqs.project.series import read_series
from edge_tqs.quantization.calibration import calibrate
from edge_tqs.quantization.channel_scales import on_own_scales
from edge_tqs.quantization.quantize import Activations, quantize
from edge_tqs.read.keras.system import keras_system
from edge_tqs.read.opening import open_model
from edge_tqs.system.reading import Said
from edge_tqs.system.seeds import zero_data_seeds

W, F, ROWS = 6, 2, 24


@dataclass(frozen=True)
class Form:
    """make: the Keras model. given: windows (N, W, F + 1) as it is called. fed: whether its outputs become inputs."""

    make: Callable[[Any], Any]
    said: Said
    given: Callable[[np.ndarray], Any]
    recurrence: str
    fed: bool = True


def channel(keras: Any) -> Any:
    layers, x = keras.layers, keras.Input((W, F + 1))
    hour = layers.Embedding(ROWS, 3, name="hour")(keras.ops.cast(x[:, :, F], "int32"))
    return keras.Model(x, layers.Dense(F)(layers.LSTM(4)(layers.Concatenate()([x[:, :, :F], hour]))))


def own_input(keras: Any) -> Any:
    layers = keras.layers
    past, hour = keras.Input((W, F), name="past"), keras.Input((W,), dtype="int32", name="number")
    both = layers.Concatenate()([past, layers.Embedding(ROWS, 3, name="hour")(hour)])
    seen = layers.Flatten()(layers.Conv1D(4, 3, padding="causal", activation="relu")(both))
    return keras.Model([past, hour], layers.Dense(1)(seen))


def static(keras: Any) -> Any:
    layers = keras.layers
    past, site = keras.Input((W, F), name="past"), keras.Input((1,), dtype="int32", name="site")
    of_site = layers.Flatten()(layers.Embedding(ROWS, 3, name="hour")(site))
    return keras.Model([past, site], layers.Dense(F)(layers.Concatenate()([layers.GRU(4)(past), of_site])))


FORMS = {
    "channel": Form(channel, Said(known_ahead=(F,)), lambda x: x, "windowed"),
    "own input": Form(
        own_input,
        Said(kind="direct", targets=("load",)),
        lambda x: [x[..., :F], x[..., F].round().astype(np.int32)],
        "none",
        fed=False,
    ),
    "static": Form(static, Said(), lambda x: [x[..., :F], x[:, -1, F:].round().astype(np.int32)], "windowed"),
}


def folded(graph: Graph, activations: Activations = "int8") -> tuple[Graph, Scaling, Scaling]:
    """The integer graph as a build makes it, and its units of x and y in those of ``graph``."""
    ranges, x, y = calibrate(graph, seeds_of(graph, 64, 1), HORIZON), same_units(F + 1), same_units(1)
    made, _ = on_own_scales(graph, ranges)
    if made is not None:
        x, y, kept = made.x, made.y, ranges.kept
        graph = replace(made.graph, forecast=graph.forecast.in_units(x, y)).check()
        ranges = calibrate(graph, x.scaled(kept), HORIZON)
    return quantize(graph, dict.fromkeys(graph.weights(), 8), ranges, activations=activations), x, y


def rolled(form: Form, says: Callable[[np.ndarray], np.ndarray], samples: np.ndarray) -> np.ndarray:
    """(HORIZON, values): what a model says after each window of ``samples`` (W + HORIZON, F + 1); where its outputs are
    fed back, of its own forecasts beside the numbers of ``samples``."""
    found, window = [], samples[:W].copy()
    for following in samples[W:]:
        found.append(says(window))
        new = following.copy()
        if form.fed:
            new[:F] = found[-1]
        window = np.concatenate([window[1:], new[None]])
    return np.stack(found)


@pytest.mark.parametrize("name", FORMS)
def test_from_keras_to_the_board(name: str, keras: Any, tmp_path: Path) -> None:
    form = FORMS[name]
    made = form.make(keras)
    opened = open_model(save(made, tmp_path / "m.keras"), said=form.said)
    graph = opened.need_graph()[1]
    assert (graph.forecast.whole, graph.forecast.recurrence) == (((F, ROWS),), form.recurrence)
    assert opened.system.size("hour/embeddings") == ROWS * 3  # scored and planned as any weight

    numbers = np.arange(ROWS, dtype=np.float32)
    windows = np.random.default_rng(0).normal(size=(ROWS, W + 1, F + 1)).astype(np.float32)
    windows[..., F] = numbers[:, None]
    says = np.asarray(made(form.given(windows[:, :W])))
    assert np.ptp(says, axis=0).min() > 0.01
    seeds = windows[:, : graph.forecast.seed_length(1)]
    np.testing.assert_allclose(float_rollout(graph, seeds, 1).outputs[:, 0], says, atol=1e-5)

    integer, x, y = folded(graph)
    model = written(integer, tmp_path)
    alone = Runner(model)
    samples = series(1, W + HORIZON, F + 1, 7)[0]
    samples[:, F] = 17 if name == "static" else (np.arange(W + HORIZON) + 20) % ROWS
    expected = rolled(form, lambda window: np.asarray(made(form.given(window[None])))[0], samples)
    found = rolled(form, lambda window: alone.says(x.scaled(window)) * np.array(y.std) + y.mean, samples)
    assert np.sqrt(np.mean(((found - expected) / y.std) ** 2)) < alone.step
    check_on_board("qemu-mps2-an386", model)


def test_what_is_scored_without_a_graph_is_the_same(keras: Any, tmp_path: Path) -> None:
    for form in FORMS.values():
        made = form.make(keras)
        opened = open_model(save(made, tmp_path / "m.keras"), said=form.said)
        system = keras_system(made, form.said)
        assert system.weights.keys() == opened.system.weights.keys()
        assert system.whole == opened.system.whole
        seeds = zero_data_seeds(opened.system, 8, 4, 0)
        np.testing.assert_array_equal(np.unique(seeds[..., F] % 1), 0)
        assert np.unique(seeds[..., F]).size > ROWS / 2
        assert (seeds[..., F].min(), seeds[..., F].max()) >= (0, 0)
        assert seeds[..., F].max() < ROWS
        np.testing.assert_allclose(system.roll(seeds, 4), opened.system.roll(seeds, 4), atol=1e-5)


@pytest.mark.parametrize(("rows", "activations"), [(200, "int8"), (400, "int16")])
def test_many_rows_have_codes_of_their_own(rows: int, activations: Activations, keras: Any, tmp_path: Path) -> None:
    graph = open_model(save(many(rows)(keras), tmp_path / "m.keras")).need_graph()[1]
    folded(graph, activations)
    if activations == "int16":
        with pytest.raises(ModelError, match="400 rows by channel 2, and the int8 codes") as refused:
            folded(graph)
        assert "--activations int16" in refused.value.hint


def many(rows: int) -> Callable[[Any], Any]:
    def make(keras: Any) -> Any:
        layers = keras.layers
        past, site = keras.Input((W, F)), keras.Input((1,), dtype="int32")
        table = layers.Flatten()(layers.Embedding(rows, 2)(site))
        return keras.Model([past, site], layers.Dense(F)(layers.Concatenate()([layers.Flatten()(past), table])))

    return make


def computed(keras: Any) -> Any:
    layers, x = keras.layers, keras.Input((W, F + 1))
    hour = layers.Embedding(ROWS, 3)(keras.ops.cast(x[:, :, F] * 2.0, "int32"))
    return keras.Model(x, layers.Dense(F)(layers.LSTM(4)(layers.Concatenate()([x, hour]))))


def masked(keras: Any) -> Any:
    layers = keras.layers
    past, hour = keras.Input((W, F)), keras.Input((W,), dtype="int32")
    both = layers.Concatenate()([past, layers.Embedding(ROWS, 3, mask_zero=True)(hour)])
    return keras.Model([past, hour], layers.Dense(F)(layers.LSTM(F)(both)))


def counted(keras: Any) -> Any:
    layers = keras.layers
    past, hour = keras.Input((W, F)), keras.Input((1,), dtype="int32")
    return keras.Model([past, hour], layers.Dense(F)(layers.LSTM(3)(past)) + layers.Flatten()(hour))


def fed_back(keras: Any) -> Any:
    layers, x = keras.layers, keras.Input((W, F + 1))
    hour = layers.Embedding(ROWS, 3)(x[:, :, F])
    return keras.Model(x, layers.Dense(F + 1)(layers.LSTM(4)(layers.Concatenate()([x[:, :, :F], hour]))))


@pytest.mark.parametrize(
    ("make", "match", "line"),
    [
        (computed, "by what other layers made, not by a channel", r"ops.cast(x[:, :, 3], 'int32')"),
        (masked, "with mask_zero it skips samples", "mask_zero=False"),
        (counted, "it works on whole numbers", "float32"),
        (fed_back, "looks channel 2 up, and in this closed loop", 'known_ahead = ["COLUMN"] under [data]'),
        (many(1100), "it has 1100 rows", "two tables"),
    ],
)
def test_what_cannot_be_looked_up_is_refused(
    make: Callable[[Any], Any], match: str, line: str, keras: Any, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=match) as refused:
        open_model(save(make(keras), tmp_path / "m.keras"), said=Said()).need_graph()
    assert line in refused.value.hint


def test_an_embedding_within_a_nested_model_has_a_graph_and_is_no_black_box(keras: Any, tmp_path: Path) -> None:
    layers = keras.layers
    hour, x = keras.Input((W,), dtype="int32"), keras.Input((W, F + 1))
    nested = keras.Model(hour, layers.Embedding(ROWS, 3)(hour))
    both = layers.Concatenate()([x[..., :F], nested(keras.ops.cast(x[:, :, F], "int32"))])
    made = keras.Model(x, layers.Dense(F)(layers.Flatten()(both)))
    said = Said(feedback=(*range(F), None))
    assert open_model(save(made, tmp_path / "m.keras"), said=said).system.whole == ((F, ROWS),)
    with pytest.raises(ModelError, match=r"\(Embedding\): it lies within another layer or model"):
        keras_system(made, said)


def test_a_number_that_is_measured_is_held_as_it_is(keras: Any, tmp_path: Path) -> None:
    path, loop = save(channel(keras), tmp_path / "m.keras"), (*range(F), None)
    measured = open_model(path, said=Said(feedback=loop, held=(F,))).system
    ahead = open_model(path, said=Said(feedback=loop)).system
    seeds = zero_data_seeds(measured, 3, 4, 0)
    assert seeds.shape[1] == W
    known = np.concatenate([seeds, np.repeat(seeds[:, -1:], 4, axis=1)], axis=1)
    np.testing.assert_array_equal(measured.roll(seeds, 4), ahead.roll(known, 4))
    known[:, W:, F] = (known[:, W:, F] + 1) % ROWS
    assert not np.allclose(measured.roll(seeds, 4), ahead.roll(known, 4))


def test_data_are_looked_up_as_they_are(keras: Any, tmp_path: Path) -> None:
    path = save(own_input(keras), tmp_path / "m.keras")

    def opened(hours: np.ndarray, scaling: Method | Scaling) -> ModelRequest:
        a = np.sin(np.arange(len(hours)) / 5)
        rows = [f"{v},{v * 9},{hour:g},{v}" for v, hour in zip(a, hours, strict=True)]
        (tmp_path / "d.csv").write_text("\n".join(["a,b,hour,load", *rows]))
        inputs, data = ("a", "b", "hour"), read_series(tmp_path / "d.csv")
        scaled = scaling_of_inputs(scaling, data, 150, inputs)
        series = SeriesRequest(ProjectData(data, 150, scaled, inputs), scaling, "none")
        said = FORMS["own input"].said
        request = ModelRequest(path, columns=inputs, said=replace(said, columns=inputs), series=series, scaling=scaled)
        return open_requested(request, lambda *_: None)[0]

    hours = np.arange(200) % ROWS
    found = opened(hours, "standard").scaling
    assert found is not None
    assert (found.mean[2], found.std[2]) == (0, 1)
    assert found.std[1] > 2
    for wrong, value in ((24, "24"), (2.5, "2.5"), (-1, "-1")):
        with pytest.raises(UsageError, match=rf"d.csv, line 102: column hour holds {value}, .*from 0 to 23"):
            opened(np.where(np.arange(200) == 100, wrong, hours), "none")
    with pytest.raises(UsageError, match=r"hour mean 11\.5 and std 7"):
        opened(hours, Scaling((0.0, 0.0, 11.5), (1.0, 9.0, 7.0)))
