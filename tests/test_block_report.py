"""What the reports say of a model whose evaluation predicts a block of samples, from `build` to `compare`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_inspection import call

from edge_tqs.report.format import REPORT_HTML, VALIDATION_JSON
from edge_tqs.report.validation_report import ValidationReport


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A window of 8 samples of 3 channels to a block of 4 samples of 2."""
    import keras

    keras.utils.set_random_seed(5)
    layers = [keras.Input((8, 3)), keras.layers.Flatten(), keras.layers.Dense(16, "relu"), keras.layers.Dense(8)]
    keras.Sequential(layers).save(tmp_path / "block.keras")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "block.keras"


@pytest.mark.emulated
def test_the_evaluation_is_not_hidden_behind_the_steps_that_hand_out(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*args: str) -> Any:
        code, out, err = call(monkeypatch, capsys, *args)
        assert code == 0, err
        return out

    quick = ("--steps", "4", "--exogenous", "2", "--draws", "2", "--horizon", "8", "--no-refine", "--no-cache")
    run("build", str(model), "--board", "qemu-mps2-an386", "--out", "b", *quick)
    page = Path("b", REPORT_HTML).read_text()
    assert "an evaluation predicts 4 samples; known ahead: 2." in page
    latency = json.loads(run("validate", "b", "--rollouts", "2", "--horizon", "8", "--json"))["latency"]
    # A step that hands out costs a few hundred instructions, an evaluation of 512 products thousands.
    assert latency["p50"] < latency["mean"] < latency["evaluation"] <= latency["p99"] <= latency["max"]
    assert latency["instructions"] * 3 < latency["evaluation_instructions"]
    assert latency["mean"] == pytest.approx((latency["evaluation"] + 3 * latency["p50"]) / 4, rel=0.2)
    assert "one evaluation (a block of steps): median" in Path("b", REPORT_HTML).read_text()
    assert "latency_evaluation" in run("compare", "b", "b", "--limit", "latency=0%")
    report = ValidationReport.from_json(Path("b", VALIDATION_JSON).read_text())
    assert report.latency.evaluation == latency["evaluation"]


def test_the_build_says_how_its_model_is_rolled_out(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = ("--draws", "2", "--horizon", "8", "--no-refine", "--no-cache", "--board", "host", "--out", "b")
    asked = ("--steps", "4", "--exogenous", "2", "--target", "delta", "--centre", "mean")
    code, out, err = call(monkeypatch, capsys, "build", str(model), *asked, *quick)
    assert code == 0, err
    assert "rollout     4 samples an evaluation, 2 outputs, 1 inputs known ahead, target delta, centre mean" in out
    found = json.loads(Path("b", "report.json").read_text())["model"]
    expected = {"outputs": 2, "steps": 4, "exogenous": [2], "target": "delta", "centre": "mean", "streamed": False}
    assert {name: found[name] for name in expected} == expected
