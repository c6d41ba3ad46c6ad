"""Real firmware for an emulated board with one bug planted in it: `edge-tqs validate` fails, and names the bug."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from edge_tqs.boards.board import load_board
from edge_tqs.boards.emulator import emulator
from edge_tqs.building.folder import directory as build_dir
from edge_tqs.cli.main import cli, main
from edge_tqs.device.device import Device, open_port
from edge_tqs.quantization.simulate import integer_rollout
from edge_tqs.validation.findings import probe_findings

pytestmark = pytest.mark.emulated

BOARD = "qemu-microbit"
HORIZON, ROLLOUTS = 6, 8
Run = Callable[..., tuple[int, dict[str, Any], str]]
Plant = Callable[[Path], None]


@pytest.fixture(scope="module")
def builds(keras: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Probe builds: "mlp" looks at the window, "gru" runs through it for each step, "tcn" is streamed."""
    folder, layers = tmp_path_factory.mktemp("planted"), keras.layers
    keras.utils.set_random_seed(4)
    convolutions = [
        layers.Conv1D(8, 2, dilation_rate=d, padding="causal", activation="relu", name=f"conv_{d}") for d in (1, 2)
    ]
    models = {
        "mlp": ("auto", [layers.Flatten(), layers.Dense(32, "relu", name="hidden"), layers.Dense(2, name="head")]),
        "gru": ("windowed", [layers.GRU(16, name="gru"), layers.Dense(2, name="head")]),
        "tcn": ("stateful", [*convolutions, layers.Cropping1D((7, 0)), layers.Flatten(), layers.Dense(2, name="head")]),
    }
    for name, (recurrence, inner) in models.items():
        path = folder / f"{name}.keras"
        keras.Sequential([keras.Input((8, 2)), *inner]).save(path)
        options = f"--board {BOARD} --horizon {HORIZON} --draws 2 --bits 4 --no-refine --no-cache --probe"
        options += f" --recurrence {recurrence}"
        done = CliRunner().invoke(cli, ["build", str(path), "--out", str(folder / name), *options.split()])
        assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def validate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """(exit code, validation.json's content or nothing, what was printed)."""

    def call(path: Path, *options: str) -> tuple[int, dict[str, Any], str]:
        monkeypatch.setattr(sys, "argv", ["edge-tqs", "validate", str(path), "--rollouts", str(ROLLOUTS), *options])
        with pytest.raises(SystemExit) as leaving:
            main()
        out, err = capsys.readouterr()
        saved = path / "validation.json"
        return int(leaving.value.code or 0), json.loads(saved.read_text()) if saved.is_file() else {}, out + err

    return call


def planted(builds: Path, name: str, tmp_path: Path, plant: Plant) -> Path:
    """A copy of a build whose firmware was edited by ``plant`` and made again."""
    copy = tmp_path / name
    shutil.copytree(builds / name, copy)
    (copy / "validation.json").unlink(missing_ok=True)
    (copy / "manifest.json").unlink()  # it is no longer what was built
    plant(copy / "firmware")
    subprocess.run(["make", "-s"], cwd=copy / "firmware", check=True)
    return copy


def edit(file: str, *changes: tuple[str, str | Callable[[re.Match[str]], str]]) -> Plant:
    """Replace each regular expression in a file of the firmware, wherever it occurs; it must."""

    def plant(firmware: Path) -> None:
        text = (firmware / file).read_text()
        for pattern, replacement in changes:
            text, count = re.subn(pattern, replacement, text, flags=re.M | re.S)
            assert count > 0, pattern
        (firmware / file).write_text(text)

    return plant


def test_without_a_bug_all_agree_and_each_operator_is_timed(builds: Path, validate: Run) -> None:
    for name in ("mlp", "gru", "tcn"):
        code, body, said = validate(builds / name)
        assert (code, body["bit_exact"], body["diagnosis"], body["first_divergence"]) == (0, True, None, None), said
        assert {"fully_connected"} <= {item["operator"] for item in body["operators"]}
        assert all(item["instructions"] > 0 for item in body["operators"])


#: Rounded once, where tflite-micro rounds twice.
ONCE = r"""\1    const int64_t product = (int64_t)(doubled >> 1) * multiplier;

    return tqs_saturate_s8((int32_t)((product + ((int64_t)1 << (31 + shift))) >> (32 + shift)) + (offset >> 1));
}"""

BUGS: dict[str, tuple[str, Plant, str, str | None]] = {
    # the eighth nibble of the first word belongs to output 0; a wrong nibble is another weight
    "one wrong weight nibble": (
        "mlp",
        edit("model.c", (r"(hidden_y_weights\[\d+\] = \{\s+0x)(\w)", lambda m: f"{m[1]}{int(m[2], 16) ^ 4:x}")),
        r"wrong weight in hidden/kernel: output \d+, input \d+ is -?\d+, not -?\d+; the first wrong operator is "
        r"fully_connected, which writes hidden/y",
        "hidden/y",
    ),
    "state not reset": (
        "gru",
        edit("model.c", (r"^    memset\(state, .*?\);$", "    (void)state;")),
        r"state not reset: state gru_h does not begin with zeros; \d+ of 16 codes differ",
        "gru/h",
    ),
    "swapped gate": (
        "gru",
        edit(
            "model.c",
            (r"&gru_rh_layer, arena \+ 16, arena \+ 80, arena \+ 16", "&gru_rh_layer, arena, arena + 80, arena"),
            (r"&gru_pre_layer, arena \+ 32, arena \+ 16,", "&gru_pre_layer, arena + 32, arena,"),
            (r"&gru_kept_layer, arena, arena \+ 48, arena\b", "&gru_kept_layer, arena + 16, arena + 48, arena + 16"),
            (r"&gru_h_next_layer, arena \+ 32, arena,", "&gru_h_next_layer, arena + 32, arena + 16,"),
            (r"POINT\(6u, arena \+ 16,", "POINT(6u, arena,"),
            (r"POINT\(10u, arena,", "POINT(10u, arena + 16,"),
        ),
        # r multiplies what is still the same for each unit, in the first evaluation, so that z shows first
        r"swapped gates: gru/kept is computed from gru/r instead of gru/z; the first wrong operator is mul",
        "gru/kept",
    ),
    "delay line read one sample late": (
        "tcn",
        edit("model.c", (r"memcpy\((arena[ +\d]*), state \+ 2, 8\)", r"memcpy(\1, state + 10, 8)")),
        r"delay line off by one: \S+ is computed from the sample after \S+ instead of \S+; .* concat",
        "conv_1/y/taps_2_2",
    ),
    "delay line that does not move": (
        "tcn",
        edit("model.c", (r"memmove\(state \+ 2, state \+ 10, 8\)", "memmove(state + 2, state + 2, 8)")),
        r"delay line off by one: \S+ is computed from the sample before \S+ instead of \S+; .* concat",
        "conv_1/y/moved",
    ),
    "single instead of double rounding": (
        "gru",
        edit("kernels/arm/tqs_arm.h", (r"(int32_t tqs_rescale\([^)]*\) \{\n).*?^\}", ONCE)),
        r"single instead of double rounding: rounded once, fully_connected gives gru/zx as it was measured",
        "gru/zx",
    ),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_caught_and_named(bug: str, builds: Path, tmp_path: Path, validate: Run) -> None:
    name, plant, diagnosis, tensor = BUGS[bug]
    code, body, said = validate(planted(builds, name, tmp_path, plant))
    assert code == 1, said
    assert re.search(diagnosis, body["diagnosis"]), body["diagnosis"]
    first = body["first_divergence"]
    assert first["operator"]["tensor"] == tensor
    assert first["operator"]["expected"] != first["operator"]["got"]
    assert first["operator"]["wrong"] > 0
    assert body["diagnosis"] in said
    assert f"step {first['step']}" in said
    assert tensor in (tmp_path / name / "report.html").read_text()


@pytest.mark.parametrize("bug", ["one wrong weight nibble", "swapped gate", "delay line read one sample late"])
def test_a_teacher_forced_run_names_the_bug_too(bug: str, builds: Path, tmp_path: Path, validate: Run) -> None:
    name, plant, diagnosis, tensor = BUGS[bug]
    data = tmp_path / "data.csv"
    rows = np.random.default_rng(3).normal(size=(200, 2))
    data.write_text("a,b\n" + "".join(f"{a:.4f},{b:.4f}\n" for a, b in rows))
    code, body, said = validate(planted(builds, name, tmp_path, plant), "--teacher-forced", "--data", str(data))
    assert code == 1, said
    assert re.search(diagnosis, body["diagnosis"]), body["diagnosis"]
    assert body["first_divergence"]["operator"]["tensor"] == tensor


@pytest.mark.parametrize("name", ["mlp", "gru", "tcn"])
def test_a_teacher_forced_step_is_probed_after_the_true_samples_before_it(
    name: str, builds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step 3 of rollout 1 is said to differ: every operator is asked there, and computes what it should."""
    graph = build_dir.load(builds / name).graph
    window = graph.forecast.window
    samples = np.random.default_rng(4).integers(-90, 90, (3, window + HORIZON, 2)).astype(np.int8)
    expected = integer_rollout(graph, samples[:, :window], HORIZON, samples[:, window:])
    outputs = expected.outputs.copy()
    outputs[1, 3, 0] ^= 1
    pushed: list[np.ndarray] = []
    push = Device.push

    def told(device: Device, codes: np.ndarray) -> None:
        pushed.append(codes)
        push(device, codes)

    monkeypatch.setattr(Device, "push", told)
    with emulator.start_server(load_board(BOARD), builds / name) as port, Device(open_port(port)) as device:
        measured = replace(expected, outputs=outputs)
        found = probe_findings(device, graph, samples, expected, measured, "c", "teacher-forced")
    assert found.diverged is not None
    assert (found.diverged.rollout, found.diverged.step, found.diverged.operator) == (1, 3, None)
    assert "every operator computes what it should" in (found.diagnosis or "")
    first = 0 if graph.forecast.recurrence == "stateful" else 3
    assert [rows.tolist() for rows in pushed[1:]] == [samples[1, first : window + 3].tolist()] * len(pushed[1:])
    assert len(pushed) > 1


def test_stale_firmware_is_caught_and_named(builds: Path, tmp_path: Path, validate: Run) -> None:
    def other(firmware: Path) -> None:
        shutil.rmtree(firmware)
        shutil.copytree(builds / "tcn" / "firmware", firmware)

    code, body, said = validate(planted(builds, "gru", tmp_path, other))
    assert (code, body) == (1, {})
    assert re.search(r"the board runs model \w{8}…, this build is \w{8}…", said)
    assert "edge-tqs flash" in said


def test_without_a_probe_the_message_says_how_to_get_one(builds: Path, tmp_path: Path, validate: Run) -> None:
    def without(firmware: Path) -> None:
        edit("Makefile", (r"^(PROBE +\?= )1$", r"\g<1>0"))(firmware)
        BUGS["one wrong weight nibble"][1](firmware)

    code, body, said = validate(planted(builds, "mlp", tmp_path, without))
    assert code == 1
    assert body["first_divergence"]["operator"] is None
    assert body["operators"] is None
    assert "edge-tqs build --probe" in said


def test_two_gates_whose_weights_are_exchanged_are_named(builds: Path, tmp_path: Path, validate: Run) -> None:
    """The tables of z and r, each in the other's place: what a wrong order of the gates does."""

    def exchange(firmware: Path) -> None:
        text = (firmware / "model.c").read_text()
        for table, parts in (("gru_zx_weights", 3), ("gru_zh_weights", 3), ("gru_zx_rows", 3), ("gru_zh_rows", 3)):
            head, body = re.search(rf"(\w+ {table}\[\d+\] = \{{\n)(.*?)\n\}};", text, re.S).groups()
            pattern = r"0x\w+u" if table.endswith("weights") else r"\{\{.*?\}\}"
            items = re.findall(pattern, body)
            size = len(items) // parts
            ordered = [*items[size : 2 * size], *items[:size], *items[2 * size :]]
            text = text.replace(head + body, head + ", ".join(ordered))
        (firmware / "model.c").write_text(text)

    code, body, _ = validate(planted(builds, "gru", tmp_path, exchange))
    assert code == 1
    assert "swapped gates: parts 0 and 1 of gru/zx are in each other's place" in body["diagnosis"]
