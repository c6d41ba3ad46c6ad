"""When a build is refused because the quantised model is no longer the float one, and what is never refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import quantized, random_graph

import edge_tqs
from edge_tqs.building import sanity
from edge_tqs.errors import CheckError
from edge_tqs.graph.graph import Forecast, Output
from edge_tqs.quantization.simulate import encode
from edge_tqs.report.host_report import OutputDistance

Run = Callable[..., tuple[int, str, str]]
#: Cheap: the widths are given, and nothing is refined.
CHEAP = ("--board", "host", "--horizon", 6, "--draws", 2, "--bits", 8)


def driven(outputs: int, **said: Any) -> Forecast:
    return Forecast(4, 2, "none", (None, None), outputs=outputs, **said)


# --- the rule, by hand ----------------------------------------------------------------------------------------------


def test_the_distance_is_the_error_over_the_deviation_of_each_output() -> None:
    floats = np.array([[[1, 10], [3, 10]], [[1, 30], [3, 30]]], float)  # deviations 1 and 10
    outputs = floats + np.array([2, 5])
    first, second = sanity.distances(driven(2), outputs, floats)
    assert (first.name, first.rmse_vs_float, first.spread, first.ratio) == ("output 0", 2, 1, 2)
    assert (second.rmse_vs_float, second.spread, second.ratio) == (5, 10, 0.5)
    (said,) = sanity.too_far([first, second])
    assert "output 0 is 2 of the float forecast's standard deviations" in said
    assert "output 1" not in said


def test_an_output_that_never_moves_and_a_predicted_deviation_are_measured_by_their_size() -> None:
    floats = np.array([[[4.0, 0.5], [4.0, 0.5001]]])
    said = driven(2, predicted=(Output("t"), Output("t", statistic="deviation")))
    still, deviation = sanity.distances(said, floats + 0.1, floats)
    assert still.ratio == pytest.approx(0.1 / 4)
    assert deviation.ratio == pytest.approx(0.1 / 0.5, rel=1e-3)


def test_classes_are_judged_together_and_a_reconstruction_by_channel() -> None:
    floats = np.zeros((2, 3, 8))
    floats[1, :, 0] = 1.0  # a class that comes, seven that never do
    assert [item.name for item in sanity.distances(driven(8, task="classes"), floats, floats)] == ["the classes"]
    (item,) = sanity.distances(driven(8, task="classes"), floats + 0.01, floats)
    assert item.spread == pytest.approx(np.sqrt(0.25 / 8))
    floats[:] = np.arange(8) % 2  # window 4 of channels 0 and 1
    both = sanity.distances(driven(8, task="reconstruction"), floats + [0.5, 0] * 4, floats)
    assert [(item.name, item.rmse_vs_float) for item in both] == [("channel 0", 0.5), ("channel 1", 0)]


@pytest.mark.parametrize("value", [np.inf, np.nan, 1e200])
def test_what_is_not_finite_is_never_near(value: float) -> None:
    floats = np.array([[[1.0], [2.0]]])
    (item,) = sanity.distances(driven(1), np.full((1, 2, 1), value), floats)
    assert sanity.too_far([item])
    read = OutputDistance("a", None, 1.0)  # as JSON holds it
    assert read.ratio == np.inf
    assert sanity.too_far([read]) == ["The error of a from float is not finite."]


def test_only_codes_that_should_not_be_at_an_end_are_saturated() -> None:
    rng = np.random.default_rng(3)
    graph = quantized(rng, random_graph(rng, "window"))
    scale, zero = float(graph.quant(graph.input).scale[0]), graph.quant(graph.input).zero_point
    most = scale * (127 - zero)
    seeds = np.full((1, graph.forecast.window, graph.forecast.channels), most)
    assert sanity.saturated_inputs(graph, seeds) == 0
    seeds[0, 0] = most + 2 * scale
    assert sanity.saturated_inputs(graph, seeds) == pytest.approx(1 / graph.forecast.window)
    y = graph.quant(graph.output)
    top = np.full((1, 4, graph.forecast.outputs), 127, np.int8)
    value = float(y.scale[0]) * (127 - y.zero_point)
    assert sanity.saturated_outputs(graph, top, np.full(top.shape, value)) == 0  # float is there too
    assert sanity.saturated_outputs(graph, top, np.full(top.shape, value + 3 * float(y.scale[0]))) == 1
    assert sanity.saturated_outputs(graph, top - 1, np.zeros(top.shape)) == 0
    assert encode(graph, seeds).max() == 127
    none = np.zeros((1, 4, graph.forecast.outputs))
    failures = sanity.examine(graph, np.full_like(seeds, 2 * most), none, none.astype(np.int8), real=True).failures
    assert f"c0 runs from {2 * most:.4g} to {2 * most:.4g}, its codes from" in failures[-1]


# --- builds ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hopeless(keras: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pascal, kelvin and percent on one scale: two of the three move by less than a code.

    A hundredth of the pressure comes from its square, so that channels cannot be given scales of their own.
    """
    place = tmp_path_factory.mktemp("hopeless")
    keras.utils.set_random_seed(1)
    x = keras.Input((4, 3))
    flat = keras.layers.Flatten()(x)
    again, square = keras.layers.Dense(3), keras.layers.Dense(3)
    squares = square(keras.layers.Multiply()([flat, flat]))
    model = keras.Model(x, keras.layers.Add()([again(flat), squares]))
    newest = np.concatenate([np.zeros((9, 3)), np.eye(3)]).astype(np.float32)
    of_square = np.zeros((12, 3), np.float32)
    newest[9, 0], of_square[9, 0] = 0.99, 0.01 / 101325
    again.set_weights([newest, np.zeros(3, np.float32)])
    square.set_weights([of_square, np.zeros(3, np.float32)])
    model.save(place / "model.keras")
    time = np.arange(600)
    table = [101325 + 900 * np.sin(time / 9), 288 + 6 * np.sin(time / 7), 0.5 + 0.2 * np.cos(time / 5)]
    rows = "".join(f"{a:.3f},{b:.3f},{c:.5f}\n" for a, b, c in zip(*table, strict=True))
    (place / "data.csv").write_text("pressure,temperature,humidity\n" + rows)
    (place / "edge-tqs.toml").write_text(
        '[model]\npath = "model.keras"\n[data]\ncsv = "data.csv"\n[scaling]\nmethod = "none"\n'
    )
    return place


def test_a_hopeless_build_fails_with_its_figures_and_leaves_nothing(
    run: Run, hopeless: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(hopeless)
    out = tmp_path / "build"
    code, said, err = run("build", *CHEAP, "--out", out)
    assert (code, said) == (1, "")
    assert "quantised, it is no longer the float model" in err
    assert "temperature is" in err
    assert "deviation of float  RMSE of int8" in err
    assert "--force" in err
    assert not out.exists()


@pytest.mark.emulated
def test_force_builds_it_and_validate_does_not_pass_it(
    run: Run, hopeless: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(hopeless)
    out = tmp_path / "build"
    code, said, err = run("build", *CHEAP, "--out", out, "--force")
    assert code == 0, err
    assert "warning     Built by force: " in said
    built = json.loads((out / "report.json").read_text())
    assert built["host"]["sanity"]["failures"]
    code, said, err = run("validate", out, "--rollouts", 2, "--json")
    body = json.loads(said)
    assert (code, body["passed"], body["bit_exact"]) == (1, False, True)
    assert "temperature is" in body["failures"][0]
    assert "failed: " in (out / "report.html").read_text()


def test_the_python_interface_asks_for_force_too(hopeless: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckError, match="no longer the float model") as failed:
        edge_tqs.build(edge_tqs.open_model(hopeless, horizon=6), board="host", out=tmp_path / "build", bits=8)
    assert "temperature" in failed.value.figures
    assert not (tmp_path / "build").exists()


def test_a_variant_that_is_only_shown_does_not_end_a_build(
    run: Run, keras: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The all-int4 graph overflows in one row; that is a line."""
    from edge_tqs.building.selection import prepared
    from edge_tqs.errors import ModelError
    from edge_tqs.quantization.quantize import quantize

    def refuse(graph: Any, widths: Any, *rest: Any, **more: Any) -> Any:
        if set(widths.values()) == {4}:
            raise ModelError("dense: the 32-bit accumulator can overflow")
        return quantize(graph, widths, *rest, **more)

    monkeypatch.setattr(prepared, "quantize", refuse)
    keras.utils.set_random_seed(2)
    keras.Sequential([keras.Input((4, 2)), keras.layers.Flatten(), keras.layers.Dense(2)]).save(tmp_path / "m.keras")
    code, said, err = run("build", tmp_path / "m.keras", *CHEAP, "--out", tmp_path / "build")
    assert code == 0, err
    assert "Not compared with all-int4: dense: the 32-bit accumulator can overflow." in said
    host = json.loads((tmp_path / "build" / "report.json").read_text())["host"]
    assert host["divergence"]["int4"] is None
    assert host["divergence"]["int8"] is not None
    code, _, err = run("build", tmp_path / "m.keras", *CHEAP[:-1], 4, "--out", tmp_path / "build4")
    assert code == 2
    assert "overflow" in err
