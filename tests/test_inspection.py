"""What `inspect` says of models, each built differently; tests/golden/inspect.txt holds the text.

Run this module as a script to write that file anew.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tflite_models

from edge_tqs.building.inspection import Behaviour, Inspection, describe, inspect_model
from edge_tqs.building.request import ModelRequest
from edge_tqs.cli.main import main
from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Scaling
from edge_tqs.read.keras.model import SUPPORTED
from edge_tqs.system.reading import Said
from edge_tqs.system.tensorflow import import_tensorflow

GOLDEN = Path(__file__).parent / "golden" / "inspect.txt"
WINDOW, CHANNELS = tflite_models.WINDOW, tflite_models.CHANNELS


def windowed_lstm(keras: Any) -> Any:
    return keras.Sequential([keras.Input((WINDOW, CHANNELS)), keras.layers.LSTM(8), keras.layers.Dense(CHANNELS)])


def stateful_gru(keras: Any) -> Any:
    first = keras.Input(batch_shape=(1, 1, CHANNELS))
    return keras.Sequential([first, keras.layers.GRU(8, stateful=True), keras.layers.Dense(CHANNELS)])


def wide_tcn(keras: Any) -> Any:
    x = keras.Input((32, CHANNELS))
    h = keras.layers.Conv1D(6, 3, padding="causal", activation="relu")(x)
    h = keras.layers.Conv1D(6, 3, padding="causal", dilation_rate=4, activation="relu")(h)
    last = keras.layers.Flatten()(keras.layers.Cropping1D((31, 0))(h))
    return keras.Model(x, keras.layers.Dense(CHANNELS)(last))


def centred_lstm(keras: Any) -> Any:
    x = keras.Input((WINDOW, CHANNELS))
    mean = keras.layers.GlobalAveragePooling1D()(x)
    centred = keras.layers.Subtract()([x, keras.layers.RepeatVector(WINDOW)(mean)])
    h = keras.layers.LSTM(6)(centred)
    return keras.Model(x, keras.layers.Add()([mean, keras.layers.Dense(CHANNELS)(h)]))


def blocks(keras: Any) -> Any:
    x = keras.Input((WINDOW, CHANNELS))
    h = keras.layers.Dense(10, activation="relu")(keras.layers.Flatten()(x))
    return keras.Model(x, keras.layers.Reshape((4, CHANNELS))(keras.layers.Dense(4 * CHANNELS)(h)))


def known_ahead(keras: Any) -> Any:
    x = keras.Input((WINDOW, CHANNELS))
    h = keras.layers.Dense(10, activation="tanh")(keras.layers.Flatten()(x))
    return keras.Model(x, keras.layers.Dense(CHANNELS - 1)(h))


def two_inputs(keras: Any) -> Any:
    inputs = [keras.Input((WINDOW, 2), name="sensors"), keras.Input((WINDOW, 1), name="valve")]
    parts = [keras.layers.Dense(5)(keras.layers.Flatten()(x)) for x in inputs]
    return keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Concatenate()(parts)))


def own_layer(keras: Any) -> Any:
    from own_layers import Squeeze

    x = keras.Input((WINDOW, CHANNELS))
    h = Squeeze()(keras.layers.Dense(10)(keras.layers.Flatten()(x)))
    return keras.Model(x, keras.layers.Dense(CHANNELS)(h))


@dataclass(frozen=True)
class Case:
    """A model and what the project says of it. tflite: it is converted."""

    make: Callable[[Any], Any]
    settings: dict[str, Any]
    tflite: bool = False


COLUMNS = ("temperature", "load", "humidity")
CASES = {
    "mlp": Case(tflite_models.mlp, {"columns": COLUMNS, "scaling": Scaling((20.0, 5.0, 0.5), (4.0, 2.0, 0.25))}),
    "windowed_lstm": Case(windowed_lstm, {}),
    "stateful_gru": Case(stateful_gru, {"window": 24}),
    "causal_tcn": Case(wide_tcn, {}),
    "short_tcn": Case(tflite_models.tcn, {}),
    "streamed_tcn": Case(wide_tcn, {"recurrence": "stateful"}),
    "centred_lstm": Case(centred_lstm, {}),
    "nbeats": Case(tflite_models.nbeats, {}),
    "blocks": Case(blocks, {}),
    "known_ahead": Case(known_ahead, {"columns": COLUMNS, "said": Said(feedback=(0, None, 1))}),
    "two_inputs": Case(two_inputs, {"said": Said(feedback=(0, 1, None))}),
    "differences": Case(windowed_lstm, {"target": "delta"}),
    "without_mean": Case(tflite_models.mlp, {"centre": "mean"}),
    "converted": Case(tflite_models.mlp, {}, tflite=True),
    "own_layer": Case(own_layer, {"custom_objects": ("own_layers:Squeeze",)}),
    "own_layer_unknown": Case(own_layer, {}),
}


def save(name: str, folder: Path) -> Path:
    case, keras = CASES[name], import_tensorflow().keras
    keras.utils.clear_session()
    keras.utils.set_random_seed(1)
    model = case.make(keras)
    path = folder / f"{name}.{'tflite' if case.tflite else 'keras'}"
    if case.tflite:
        path.write_bytes(tflite_models.convert(model))
    else:
        model.save(path)
    return path


def inspected(name: str, folder: Path) -> Inspection:
    return inspect_model(ModelRequest(save(name, folder), **CASES[name].settings), lambda *_: None)


def shown(name: str, inspection: Inspection, folder: Path) -> str:
    """The text, without the folder and the list of layers, which grows."""
    text = f"=== {name}\n{describe(inspection)}\n"
    return text.replace(f"{folder}/", "").replace(SUPPORTED, "Supported layers: [...].")


@pytest.fixture(scope="module")
def inspections(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Inspection]]:
    folder = tmp_path_factory.mktemp("inspected")
    return folder, {name: inspected(name, folder) for name in CASES}


def test_the_text_is_the_golden_one(inspections: tuple[Path, dict[str, Inspection]]) -> None:
    folder, found = inspections
    text = "\n".join(shown(name, inspection, folder) for name, inspection in found.items())
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_the_page_on_rollouts_shows_what_is_printed(inspections: tuple[Path, dict[str, Inspection]]) -> None:
    page = (Path(__file__).parent.parent / "docs" / "rollout.md").read_text(encoding="utf-8")
    printed = describe(inspections[1]["known_ahead"]).splitlines()
    assert "\n".join(f"    {line}".rstrip() for line in printed) in page


def test_what_is_said_is_what_the_models_are(inspections: tuple[Path, dict[str, Inspection]]) -> None:
    _, found = inspections
    facts = {name: one.behaviour for name, one in found.items() if isinstance(one.behaviour, Behaviour)}
    assert {name: behaviour.recurrence for name, behaviour in facts.items()} == {
        **{name: "none" for name in CASES if name != "own_layer_unknown"},
        "windowed_lstm": "windowed",
        "differences": "windowed",
        "stateful_gru": "stateful",
        "streamed_tcn": "stateful",
        "own_layer": None,
    }
    assert [channel.source for channel in facts["known_ahead"].channels] == [0, None, 1]
    assert [channel.source for channel in facts["two_inputs"].channels] == [0, 1, None]
    assert facts["two_inputs"].inputs == (2, 1)
    assert (facts["blocks"].steps, facts["blocks"].outputs) == (4, CHANNELS)
    for name in ("causal_tcn", "streamed_tcn"):  # 3 taps at dilations 1 and 4: 1 + 2 * (1 + 4) samples
        streaming = facts[name].streaming
        assert streaming is not None
        assert streaming.receptive_field == 11
    # 3 taps at dilations 1, 2 and 4, twice each: 1 + 2 * 2 * (1 + 2 + 4) samples
    assert "29 samples (the receptive field)" in str(facts["short_tcn"].streaming)
    assert [name for name, one in found.items() if not one.can_be_built] == ["own_layer", "own_layer_unknown"]
    assert [name for name, one in found.items() if not one.can_be_scored] == ["own_layer_unknown"]
    for one in found.values():
        json.dumps(one.to_body())


def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["edge-tqs", *map(str, args)])
    with pytest.raises(SystemExit) as leaving:
        main()
    out, err = capsys.readouterr()
    return int(leaving.value.code or 0), out, err


def test_the_command_reads_the_project(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    save("known_ahead", tmp_path)
    rows = np.random.default_rng(0).normal(size=(60, CHANNELS))
    lines = [",".join(COLUMNS), *(",".join(f"{value:.3f}" for value in row) for row in rows)]
    (tmp_path / "data.csv").write_text("\n".join(lines))
    (tmp_path / "edge-tqs.toml").write_text(
        '[model]\npath = "known_ahead.keras"\n[data]\ncsv = "data.csv"\n'
        'inputs = ["temperature", "load", "humidity"]\noutputs = ["temperature", "humidity"]\n'
        '[scaling]\nmethod = "standard"\n'
    )
    monkeypatch.chdir(tmp_path)
    code, out, _ = call(monkeypatch, capsys, "inspect")
    assert code == 0
    assert "load         known ahead" in out
    assert "temperature: mean" in out
    code, out, _ = call(monkeypatch, capsys, "inspect", "--json")
    assert code == 0
    assert json.loads(out)["behaviour"]["channels"][1] == {"number": 1, "name": "load", "source": None}
    code, _, err = call(monkeypatch, capsys, "inspect", "missing.keras")
    assert code == 2
    assert "missing.keras" in err
    (tmp_path / "text.keras").write_text("this is no model")
    code, out, _ = call(monkeypatch, capsys, "inspect", "text.keras")
    assert code == 1
    assert "neither be scored nor built" in out


def test_a_file_that_is_not_there_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        inspect_model(ModelRequest(tmp_path / "none.keras"), lambda *_: None)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        text = "\n".join(shown(name, inspected(name, root), root) for name in CASES)
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(text, encoding="utf-8")
