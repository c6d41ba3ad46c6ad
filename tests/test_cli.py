"""The command line as its user meets it: the main job end to end on the host, and each wrong input.

Every wrong input must give one message (what, where, why), one line of what to try, the right exit code and no
traceback.
"""

from __future__ import annotations

import json
import os
import pty
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_tqs.boards.emulator import emulator
from edge_tqs.building.folder import directory as build_dir

Run = Callable[..., tuple[int, str, str]]
HORIZON = 12


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small Keras files: two good ones, one with NaN weights, one with a layer that is not supported."""
    import keras

    folder = tmp_path_factory.mktemp("models")
    for name, seed in (("good", 1), ("other", 2)):
        keras.utils.set_random_seed(seed)
        model = keras.Sequential([keras.Input((6, 2)), keras.layers.LSTM(32), keras.layers.Dense(2)])
        model.save(folder / f"{name}.keras")
    weights = model.get_weights()
    weights[1][0, 3] = np.nan
    model.set_weights(weights)
    model.save(folder / "nan.keras")
    x = keras.Input((6, 2))
    total = keras.layers.Flatten()(keras.ops.cumsum(x, axis=1))
    keras.Model(x, keras.layers.Dense(2)(total)).save(folder / "cumsum.keras")
    (folder / "text.keras").write_text("this is no model\n")
    return folder


@pytest.fixture(scope="session")
def builds(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two builds for the host board, "good" and "other"."""
    folder = tmp_path_factory.mktemp("builds")
    for name in ("good", "other"):
        command = [sys.executable, "-m", "edge_tqs", "build", models / f"{name}.keras", "--board", "host"]
        command += ["--horizon", str(HORIZON), "--draws", "4", "--out", folder / name, "--json"]
        command += ["--activations", "int8"]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["board"] == "host"
    return folder


@pytest.fixture
def silent_port() -> Iterator[str]:
    ours, theirs = pty.openpty()
    yield os.ttyname(theirs)
    os.close(ours)
    os.close(theirs)


def refused(result: tuple[int, str, str], code: int, *words: str) -> None:
    """``result`` is one error with a line of what to try, ``code``, and each of ``words`` in it."""
    got, out, err = result
    assert got == code, err
    assert "Traceback" not in err + out
    assert err.count("error:") == 1
    assert err.count("  try: ") == 1
    for word in words:
        assert word in err


def test_build_writes_everything_that_it_names(builds: Path) -> None:
    good = builds / "good"
    for name in ("model.tflite", "float.graph", "plan.json", "score.json", "report.json", "report.html", "board.toml"):
        assert (good / name).is_file(), name
    body = json.loads((good / "report.json").read_text())
    assert body["host"]["tflm_bit_exact"] is True
    assert body["host"]["float_vs_keras_max_abs"] < 1e-5
    assert body["bytes"]["mixed"] == body["bytes"]["int8"] < body["bytes"]["float32"]
    assert body["bytes"]["budget"] is None
    assert (body["choice"]["asked"], body["choice"]["chosen"]["narrow"]) == (False, 0)
    assert sum(tensor["bytes"] for tensor in body["tensors"]) == body["bytes"]["mixed"]
    assert {tensor["width"] for tensor in body["tensors"]} <= {4, 8}


def test_validate_passes_and_reports(run: Run, builds: Path) -> None:
    code, out, err = run("validate", builds / "good", "--rollouts", "3", "--json")
    assert code == 0, err
    body = json.loads(out)
    assert body["bit_exact"] is True
    assert body["first_divergence"] is None
    assert body["steps"] == 3 * HORIZON
    saved = json.loads((builds / "good" / "validation.json").read_text())
    assert saved == body
    trace = (builds / "good" / "trace.jsonl").read_text().splitlines()
    assert len(trace) == 1 + 3 * HORIZON


def test_each_command_says_what_comes_next(run: Run, models: Path, builds: Path, tmp_path: Path) -> None:
    model, few = models / "good.keras", ["--horizon", 4, "--draws", 2, "--no-cache"]
    code, out, err = run("score", model, *few, "--kind", "closed loop")
    assert code == 0, err
    last = "next        edge-tqs plan {} --horizon 4 --kind 'closed loop' --draws 2 --no-cache"
    assert out.splitlines()[-1] == last.format(model)
    code, out, err = run("plan", model, *few, "--no-refine", "--out", tmp_path / "plan.json")
    assert code == 0, err
    assert f"next        edge-tqs build {model} --horizon 4" in out.splitlines()[-1]
    # int8 activations add too much to this model: the plan file holds those that were chosen
    assert f"--plan {tmp_path / 'plan.json'} --board BOARD" in out.splitlines()[-1]
    assert json.loads((tmp_path / "plan.json").read_text())["activations"]["codes"] == "int16"
    assert "refine" not in out.splitlines()[-1]  # a plan file has settled it
    code, out, err = run("validate", builds / "good", "--rollouts", 1, "--horizon", 2)
    assert code == 0, err
    assert out.splitlines()[-1].startswith("next        ")


def test_a_run_is_resumed_only_where_it_was_interrupted_and_with_what_it_was(
    run: Run, builds: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(builds / "good", copy)
    for name in ("trace.jsonl", "validation.json"):
        (copy / name).unlink(missing_ok=True)
    refused(run("validate", copy, "--resume"), 2, "no trace of a run", "Leave --resume out")
    code, whole, err = run("validate", copy, "--rollouts", "3", "--json")
    assert code == 0, err
    refused(run("validate", copy, "--rollouts", "3", "--resume"), 2, "is finished")
    trace = copy / "trace.jsonl"
    lines = trace.read_text().splitlines(keepends=True)
    trace.write_text(
        "".join(lines[: 1 + HORIZON + 5]) + lines[1 + HORIZON + 5][:-9]
    )  # in mid-line, as a kill leaves it
    (copy / "validation.json").unlink()
    refused(run("validate", copy, "--rollouts", "2", "--resume"), 2, "of another run", "rollouts 3, now 2")
    code, out, err = run("validate", copy, "--rollouts", "3", "--resume", "--json")
    assert code == 0, err
    before, after = json.loads(whole), json.loads(out)
    assert (before["line"]["resumes"], after["line"]["resumes"]) == (0, 1)
    assert (after["bit_exact"], after["steps"], after["curves"]) == (True, 3 * HORIZON, before["curves"])
    kept = trace.read_text().splitlines(keepends=True)
    assert kept[: 1 + HORIZON + 5] == lines[: 1 + HORIZON + 5]
    assert len(kept) == len(lines) + 1  # and that it was resumed


def test_a_disk_that_takes_the_trace_and_not_the_report(run: Run, builds: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(builds / "good", copy)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        refused(run("validate", copy, "--rollouts", "2"), 1, "report cannot be written", "trace.jsonl", "--resume")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (copy / "validation.json").exists()
    code, out, err = run("validate", copy, "--rollouts", "2", "--resume", "--json")
    assert code == 0, err
    assert json.loads(out)["bit_exact"] is True
    assert (copy / "report.html").stat().st_size > 20_000


@pytest.mark.parametrize(("bits", "tflm"), [("8", True), ("4", None)])
def test_int16_activations_are_built_and_validated(
    run: Run, models: Path, builds: Path, tmp_path: Path, bits: str, tflm: bool | None
) -> None:
    """tflite-micro refuses int4 weights beside them, and the build says so."""
    settings = ("--board", "host", "--horizon", HORIZON, "--draws", 2, "--bits", bits, "--out", tmp_path / "wide")
    code, out, err = run("build", models / "good.keras", "--activations", "int16", *settings, "--json")
    assert code == 0, err
    body = json.loads(out)
    assert body["model"]["activations"] == "int16"
    assert body["host"]["tflm_bit_exact"] is tflm
    assert any("does not run in tflm" in warning for warning in body["warnings"]) == (tflm is None)
    narrow = json.loads((builds / "good" / "report.json").read_text())["host"]["causes"]["activations"]
    assert body["host"]["causes"]["activations"]["int8"] < 0.2 * narrow["int8"]
    code, out, err = run("validate", tmp_path / "wide", "--rollouts", "2", "--json")
    assert code == 0, err
    assert json.loads(out)["bit_exact"] is True


def test_the_same_input_gives_the_same_bytes(run: Run, models: Path, builds: Path, tmp_path: Path) -> None:
    code, _, err = run(
        *("build", models / "good.keras", "--board", "host", "--horizon", HORIZON, "--draws", 4, "--out", tmp_path),
        *("--activations", "int8"),
    )
    assert code == 0, err
    for name in ("model.tflite", "plan.json", "score.json", "float.graph", "seeds.npz", "firmware/model.c"):
        assert (tmp_path / name).read_bytes() == (builds / "good" / name).read_bytes(), name


def test_a_planted_wrong_weight_is_caught(run: Run, builds: Path, tmp_path: Path) -> None:
    """The firmware is built again from a model.c with the sign of one weight changed: same hash, other numbers."""
    broken = tmp_path / "broken"
    shutil.copytree(builds / "good", broken)
    source = broken / "firmware" / "model.c"
    text = source.read_text()
    head = re.search(r"dense\w*_y_weights\[", text)  # Keras counts its layers for as long as a process lives
    assert head is not None
    weight = re.compile(r"-?\d{2,}(?=,)").search(text, text.index("{", head.end()))  # the first of two digits
    assert weight is not None
    source.write_text(text[: weight.start()] + str(-int(weight[0])) + text[weight.end() :])
    subprocess.run(["make", "-C", str(broken / "firmware")], check=True, capture_output=True)
    shutil.copy(broken / build_dir.IMAGE, broken / "bundle" / "forecaster")
    refused(run("validate", broken, "--rollouts", "2"), 2, "is not what the build wrote", "remove manifest.json")
    (broken / "manifest.json").unlink()
    code, out, _ = run("validate", broken, "--rollouts", "2", "--json")
    assert code == 1
    body = json.loads(out)
    assert body["bit_exact"] is False
    assert body["first_divergence"]["step"] <= HORIZON


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("text.keras", ["text.keras"]),
        ("missing.keras", ["missing.keras"]),
        ("nan.keras", ["NaN", "kernel"]),
        ("cumsum.keras", ["layer cumsum", "ops.Cumsum"]),
    ],
)
def test_a_model_that_cannot_be_built(run: Run, models: Path, tmp_path: Path, name: str, words: list[str]) -> None:
    refused(run("build", models / name, "--board", "host", "--out", tmp_path / "out"), 2, *words)
    assert not (tmp_path / "out").exists()


def test_a_budget_below_all_int4(run: Run, models: Path) -> None:
    refused(run("plan", models / "good.keras", "--budget", "100", "--horizon", 4, "--draws", 2), 2, "100", "smallest")


def test_a_budget_that_is_no_number(run: Run, models: Path) -> None:
    refused(run("plan", models / "good.keras", "--budget", "lots"), 2, "lots")


def test_a_board_name_with_a_typo(run: Run, models: Path) -> None:
    refused(run("build", models / "good.keras", "--board", "qemu-mps2-an368"), 2, "qemu-mps2-an386")


def test_a_missing_compiler(run: Run, models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    refused(
        run("build", models / "good.keras", "--board", "qemu-microbit", "--out", tmp_path / "out"),
        2,
        "arm-none-eabi-gcc",
        "apt",
    )


def test_a_port_that_does_not_exist(run: Run, builds: Path) -> None:
    refused(run("validate", builds / "good", "--port", "/dev/ttyNOSUCH7"), 2, "/dev/ttyNOSUCH7")


def test_a_board_that_runs_another_model(run: Run, builds: Path) -> None:
    other = build_dir.load(builds / "other")
    with emulator.start_server(other.board, builds / "other", "program") as port:
        refused(run("validate", builds / "good", "--port", port), 1, other.model_hash[:8], "flash")


def test_a_board_that_stays_silent(run: Run, builds: Path, silent_port: str) -> None:
    refused(run("validate", builds / "good", "--port", silent_port), 1, silent_port)


def test_a_directory_that_is_no_build(run: Run, tmp_path: Path) -> None:
    refused(run("validate", tmp_path), 2, "report.json")


def test_a_board_that_is_not_named(run: Run) -> None:
    code, _, err = run("build", "good.keras")
    assert code == 2
    assert "Missing option '--board'. `edge-tqs boards` lists them" in err


def test_no_model_and_no_project(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused(run("build", "--board", "host"), 2, "edge-tqs.toml")


def test_a_project_is_enough(run: Run, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    time = np.arange(300)
    rows = np.stack([np.sin(time / 5), np.cos(time / 7)], axis=1)
    hours = np.datetime64("2024-03-01T00") + np.arange(300) + 5 * (np.arange(300) >= 100)
    lines = [f"{hour},{a:.4f};{b:.4f}".replace(",", ";") for hour, (a, b) in zip(hours, rows, strict=True)]
    (tmp_path / "series.csv").write_text("\n".join(["when;a;b", *lines]) + "\n")
    monkeypatch.chdir(tmp_path)
    code, out, err = run("init", models / "good.keras", "--data", "series.csv", "--json")
    assert code == 0, err
    even, hole, unknown, lines = json.loads(out)["found"]
    assert json.loads(out)["next"] == "write what was not found out into it, then edge-tqs inspect"
    assert "Not found out: nothing says how series.csv becomes the model's units" in unknown
    assert "under [scaling]" in lines
    text = (tmp_path / "edge-tqs.toml").read_text()
    (tmp_path / "edge-tqs.toml").write_text(text.replace('# method = "standard"', 'method = "standard"'))
    assert "300 rows 1h apart by column 'when'" in even
    assert "1 hole" in hole
    assert 'period = "1h"' in (tmp_path / "edge-tqs.toml").read_text()
    code, out, err = run("build", "--board", "host", "--horizon", HORIZON, "--draws", 2, "--json")
    assert code == 0, err
    body = json.loads(out)
    assert body["host"]["mse_vs_truth"]["float"] > 0
    assert body["model"]["columns"] == ["a", "b"]
    assert body["data"] == [even]
    hole, left_out, doubt = body["warnings"]
    assert "One step ahead the float model is worse than repeating the last sample" in doubt  # it was never trained
    assert "series.csv has 1 hole in its times (5 samples), before line 102" in hole
    crossing = 6 + HORIZON - 1
    assert f"{crossing} of {300 - 60 - crossing + 60 - HORIZON + 1} windows" in left_out
    code, out, err = run("validate", "build/host", "--rollouts", 2, "--json")
    assert code == 0, err
    assert json.loads(out)["mse_vs_truth"] > 0
