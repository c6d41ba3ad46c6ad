"""examples/: what their READMEs say is so, of the Keras model and of the build: judged by LiteRT and their train.py."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import edge_tqs
from edge_tqs.graph.graph import Array

EXAMPLES = Path(__file__).parent.parent / "examples"
#: Where the project has none.
BUDGET: dict[str, Any] = {"greenhouse": {"budget": 8432}}
Predict = Callable[[Array], Array]  # windows (N, W, F) -> outputs (N, ...), both in the model's units


@pytest.fixture
def example(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, keras: Any) -> ModuleType:
    """The train.py of an example, imported without running."""
    folder = EXAMPLES / request.param
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "simulate", raising=False)
    spec = importlib.util.spec_from_file_location(f"train_{folder.name.replace('-', '_')}", folder / "train.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def of_keras(keras: Any, folder: Path) -> Predict:
    model = keras.models.load_model(folder / "model.keras")
    return lambda windows: model.predict(windows.astype(np.float32), batch_size=512, verbose=0)


def of_build(folder: Path, out: Path) -> Predict:
    """A mixed build of an example as LiteRT runs it, one window a call, nothing of edge_tqs between."""
    from ai_edge_litert.interpreter import Interpreter

    built = edge_tqs.build(folder, board="host", out=out, **BUDGET.get(folder.name, {}))
    file = (built.path / "model.tflite").read_bytes()
    assert (
        4
        in json.JSONDecoder()
        .raw_decode(file[file.index(b'{"channels":') :].decode("utf-8", "replace"))[0]["plan"]
        .values()
    ), "a mix of widths is what the example shows"
    call = Interpreter(model_content=file, num_threads=1).get_signature_runner("serving_default")
    x, y = call.get_input_details()["x"], call.get_output_details()["y"]
    (scale, zero), (out_scale, out_zero) = x["quantization"], y["quantization"]

    def predict(windows: Array) -> Array:
        codes = np.clip(np.rint(windows / scale) + zero, -128, 127).astype(np.int8)
        outputs = np.stack([call(x=window.reshape(x["shape"]))["y"] for window in codes])
        found: Array = (outputs.reshape(len(windows), -1).astype(np.float32) - out_zero) * out_scale
        return found

    return predict


def greenhouse(train: ModuleType, predict: Predict, every: int) -> str:
    """The table of its README, of windows that lie ``every`` rows apart."""
    sensors = train.read_sensors()
    rows = len(sensors) - train.TEST_ROWS
    mean, std = sensors[:rows].mean(axis=0), sensors[:rows].std(axis=0)
    values = (sensors - mean) / std
    seeds, truth = (part[::every] for part in train.windows(values, rows, len(values), train.HORIZON))
    window, steps = seeds, []
    for _ in range(train.HORIZON):
        steps.append(predict(window))
        window = np.concatenate([window[:, 1:], steps[-1][:, None]], axis=1)
    found = {"model": np.stack(steps, axis=1)}
    found |= {name: forecast[::every] for name, forecast in train.baselines(values, rows, len(values)).items()}
    return str(train.table(found, truth, std, parameters(EXAMPLES / "greenhouse")))


def electricity_demand(train: ModuleType, predict: Predict, every: int) -> str:
    demand = train.read_demand()
    rows = len(demand) - train.TEST_ROWS
    mean, std = demand[:rows].mean(), demand[:rows].std()
    seeds, truth = (part[::every] for part in train.windows((demand - mean) / std, rows, len(demand)))
    found = {"model": predict(seeds).reshape(truth.shape), **train.baselines(seeds)}
    errors = train.errors({name: forecast * std + mean for name, forecast in found.items()}, truth * std + mean)
    return str(train.table(errors, len(seeds), parameters(EXAMPLES / "electricity-demand"), demand.mean()))


def reactor_concentration(train: ModuleType, predict: Predict, every: int) -> str:
    assert every == 1, "its weeks are counted in rows"
    sensors, target = train.read_reactor()
    rows = len(sensors) - train.TEST_ROWS
    mean, std = target[:rows].mean(), target[:rows].std()
    values = (sensors - sensors[:rows].mean(axis=0)) / sensors[:rows].std(axis=0)
    fitted, known = train.windows(values, (target - mean) / std, 0, rows)
    seeds, truth = train.windows(values, (target - mean) / std, rows, len(values))
    found = {
        "model": predict(seeds).reshape(truth.shape),
        "linear, the window": train.apply(train.linear(fitted, known, 1.0), seeds),
        "linear, newest sample": train.apply(train.linear(fitted[:, -1], known, 1.0), seeds[:, -1]),
        "mean of the training part": np.zeros_like(truth),
    }
    found = {name: estimate * std + mean for name, estimate in found.items()}
    return str(train.table(found, truth * std + mean, parameters(EXAMPLES / "reactor-concentration")))


def pump_anomaly(train: ModuleType, predict: Predict, every: int) -> str:
    assert every == 1, "its alarms are counted in rows"

    class Model:
        @staticmethod
        def predict(windows: Array, verbose: int) -> Array:
            return predict(windows).reshape(windows.shape)

    sensors, codes = train.read_pump()
    rows = len(sensors) - train.TEST_ROWS
    values = (sensors - sensors[:rows].mean(axis=0)) / sensors[:rows].std(axis=0)
    text, threshold = train.tables(train.scores(Model, values), codes, parameters(EXAMPLES / "pump-anomaly"))
    return f"{text}\nThe autoencoder's threshold is {threshold:.4f} squared standard deviations.\n"


def parameters(folder: Path) -> int:
    import keras

    return int(keras.models.load_model(folder / "model.keras").count_params())


#: windows of the held-out weeks that lie this far apart are judged: each row of the tables of Keras, fewer of the build
JUDGES = [
    ("greenhouse", greenhouse, 6),
    ("electricity-demand", electricity_demand, 2),
    ("reactor-concentration", reactor_concentration, 1),
    ("pump-anomaly", pump_anomaly, 1),
]


#: the figures of the mixed build: in the judge's table, and in the README
SAID = {
    "greenhouse": (r"all, standard deviations \| model \|(.*)\|", r"`--budget 8432`[^|]*\|(.*)\|"),
    "electricity-demand": (r"\| model \|.* (\S+) \|", r"mixed build has an RMSE of (\S+) MW"),
    "reactor-concentration": (r"\| model \| (\S+) \|", r"mixed build has an RMSE of (\S+) mol/l"),
    "pump-anomaly": (r"\| autoencoder \|((?:[^|]*\|){4})", r"by its budget \|(.*)\|"),
}


def numbers(pattern: str, text: str) -> list[float]:
    said = re.search(pattern, text)
    assert said is not None, pattern
    return [float(number.replace(",", "")) for number in re.findall(r"\d[\d,]*\.?\d*", said.group(1))]


@pytest.mark.parametrize(("example", "judge", "every"), JUDGES, indirect=["example"])
def test_the_readme_says_what_its_model_does(
    example: ModuleType, judge: Callable[..., str], every: int, keras: Any
) -> None:
    """table() raises SystemExit where a naive forecast is better at any horizon."""
    written = (example.HERE / "README.md").read_text().partition(example.BEGIN)[2].partition(example.END)[0]
    wanted = [line for line in written.splitlines() if not line.startswith("|  | linear autoregression")]
    found = judge(example, of_keras(keras, example.HERE), 1).splitlines()
    words = re.compile(r"-?\d[\d,]*\.?\d*")
    assert [words.sub("#", line) for line in found] == [words.sub("#", line) for line in wanted]
    numbers = [[float(n.replace(",", "")) for n in words.findall("\n".join(part))] for part in (found, wanted)]
    np.testing.assert_allclose(numbers[0], numbers[1], rtol=0.01, atol=0.0101)


@pytest.mark.slow
@pytest.mark.parametrize(("example", "judge", "every"), JUDGES, indirect=["example"])
def test_the_build_of_an_example_beats_the_naive_forecasts_too(
    example: ModuleType, judge: Callable[..., str], every: int, keras: Any, tmp_path: Path
) -> None:
    found = judge(example, of_build(example.HERE, tmp_path / "build"), every)
    of_judge, of_readme = SAID[example.HERE.name]
    readme = (example.HERE / "README.md").read_text()
    np.testing.assert_allclose(numbers(of_judge, found), numbers(of_readme, readme), rtol=0.03)
