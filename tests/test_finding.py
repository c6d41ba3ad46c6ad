"""What data tell of a model: scaling, column and lead are found where they are beyond doubt, else refused by figures.

The models are computed, not trained: each is what its column really is, in the units that it is said to be in.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fitted_models import TRAIN, WINDOW, fitted, plant, scaled, write_csv

from edge_tqs.api.request import model_request
from edge_tqs.building.inspection import describe, inspect_model
from edge_tqs.building.request import ModelRequest
from edge_tqs.building.settle import open_requested
from edge_tqs.errors import ModelError, TqsError, UsageError

Make = Callable[..., ModelRequest]


@pytest.fixture
def asked(keras: Any, tmp_path: Path) -> Make:
    """(names of inputs, [(column, lead, its method)], method) -> what is asked for of the fitted model."""

    def make(inputs: str, outputs: list[tuple[str, int, str]], method: str, **said: Any) -> ModelRequest:
        series = plant()
        names = said.pop("columns_of_file", "flow load price").split()
        write_csv(tmp_path / "d.csv", {name: series[name] for name in names})
        taken = [scaled(series[name], method) for name in inputs.split()]
        given = [scaled(series[name], own) for name, _, own in outputs]
        fitted(keras, taken, given, [lead for _, lead, _ in outputs]).save(tmp_path / "m.keras")
        return model_request(tmp_path / "m.keras", None, data=tmp_path / "d.csv", **said)

    return make


def opened(request: ModelRequest) -> ModelRequest:
    return open_requested(request, lambda *_: None)[0]


@pytest.mark.parametrize("method", ["none", "standard", "minmax"])
def test_the_scaling_is_found(asked: Make, method: str) -> None:
    outputs = [("flow", 1, method), ("load", 1, method)]
    found = opened(asked("flow load", outputs, method, columns_of_file="flow load"))
    (text,) = found.findings
    assert "standard deviation" in text
    assert "the last sample repeated" in text
    if method == "none":
        assert found.scaling is None
        return
    train = np.stack([plant()["flow"], plant()["load"]])[:, :TRAIN]
    low, width = (train.mean(1), train.std(1)) if method == "standard" else (train.min(1), np.ptp(train, axis=1))
    assert found.scaling is not None
    np.testing.assert_allclose((found.scaling.mean, found.scaling.std), (low, width), rtol=1e-4)


@pytest.mark.parametrize(("lead", "own"), [(0, "none"), (3, "minmax")])
def test_a_target_that_is_no_input_is_found_with_its_lead_and_its_scaling(asked: Make, lead: int, own: str) -> None:
    found = opened(asked("flow load", [("price", lead, own)], "standard"))
    assert (found.columns, found.said.kind, found.said.targets) == (("flow", "load"), "direct", ("price",))
    assert (1 if found.said.lead is None else found.said.lead) == lead
    assert found.output_scaling is not None
    assert found.output_scaling.mean[0] == pytest.approx(
        0 if own == "none" else plant()["price"][:TRAIN].min(), rel=1e-4
    )
    assert f"price at lead {lead}" in found.findings[0]


def test_a_column_among_the_inputs_is_found(asked: Make) -> None:
    found = opened(asked("flow load price", [("load", 2, "standard")], "standard"))
    assert (found.said.kind, found.said.targets, found.said.lead) == ("direct", ("load",), 2)
    assert found.output_scaling is None


def test_columns_that_are_each_other_later_are_told_apart(asked: Make) -> None:
    """The cosine of the hour is its sine, six hours later: alone, either value fits either column."""
    outputs = [("hour_cos", 1, "none"), ("hour_sin", 1, "none")]
    found = opened(asked("flow hour_sin hour_cos", outputs, "none", columns_of_file="flow hour_sin hour_cos"))
    assert (found.said.kind, found.said.targets, found.said.lead) == ("direct", ("hour_cos", "hour_sin"), None)


def test_what_is_said_is_taken_and_only_the_rest_is_found(asked: Make) -> None:
    said: dict[str, Any] = {"targets": ["price"], "lead": 0, "scaling": "standard"}
    found = opened(asked("flow load", [("price", 0, "none")], "standard", **said))
    assert found.said.targets == ("price",)
    assert "outputs as it is" in found.findings[0]
    said["output_scaling"] = "none"
    assert opened(asked("flow load", [("price", 0, "none")], "standard", **said)).findings == ()
    # an input that is predicted, without a list of inputs: all columns are inputs
    said = {"targets": ["load"], "kind": "direct", "lead": 2, "scaling": "standard"}
    found = opened(asked("flow load price", [("load", 2, "standard")], "standard", **said))
    assert (found.columns, found.said.columns) == (("flow", "load", "price"),) * 2


def test_a_model_that_knows_nothing_is_refused_with_figures_and_lines(keras: Any, asked: Make, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    request = asked("flow load price", [("load", 2, "standard")], "standard")
    layers = keras.layers
    keras.Sequential([keras.Input((WINDOW, 3)), layers.Flatten(), layers.Dense(1)]).save(tmp_path / "m.keras")
    with pytest.raises(ModelError, match="data do not tell") as refused:
        opened(request)
    assert refused.value.message.count("naive") >= 3
    assert 'outputs = [{name = "' in refused.value.hint
    keras.Sequential([keras.Input((WINDOW, 3)), layers.Flatten(), layers.Dense(3)]).save(tmp_path / "m.keras")
    with pytest.raises(UsageError, match="the float model's one-step error is") as unsaid:
        opened(request)
    assert "last sample repeated" in unsaid.value.message
    assert "--scaling standard" in unsaid.value.hint


def test_quantiles_are_not_taken_for_samples(keras: Any, tmp_path: Path) -> None:
    """Three values about the next sample: the data cannot tell which statistics they are."""
    series = plant()["flow"]
    write_csv(tmp_path / "d.csv", {"flow": series})
    one = scaled(series, "standard")
    model = fitted(keras, [one], [one - 0.1, one, one + 0.1], [1, 1, 1])
    model.save(tmp_path / "m.keras")
    with pytest.raises(TqsError, match="3 statistics of flow at lead 1") as refused:
        opened(model_request(tmp_path / "m.keras", None, data=tmp_path / "d.csv", scaling="standard"))
    assert "quantile = 0.1" in refused.value.hint


def test_what_was_found_is_shown(asked: Make) -> None:
    text = describe(inspect_model(asked("flow load", [("price", 0, "none")], "standard"), lambda *_: None))
    assert "not fed back: price +0" in text
    assert "found       Outputs are price at lead 0" in text
    assert "measured: pushed with each step" in text
