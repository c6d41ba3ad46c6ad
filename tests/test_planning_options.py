"""`edge-tqs plan` and the planning options of `build`: each does what it says, and none breaks a budget."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_tqs.api.request import plan_request
from edge_tqs.cli.settings import parse_pin
from edge_tqs.errors import UsageError

Plan = Callable[..., dict]
QUICK = ("--horizon", "8", "--draws", "2")


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers of which int4 saves bytes, and a small head."""
    import keras

    keras.utils.set_random_seed(4)
    path = tmp_path_factory.mktemp("planned") / "net.keras"
    layers = [keras.layers.Flatten(), keras.layers.Dense(40, "tanh"), keras.layers.Dense(40, "tanh")]
    keras.Sequential([keras.Input((12, 2)), *layers, keras.layers.Dense(2)]).save(path)
    return path


@pytest.fixture
def plan(run: Callable[..., tuple[int, str, str]], model: Path) -> Plan:
    def call(*args: str | Path) -> dict:
        code, out, err = run("plan", model, *QUICK, "--json", *args)
        assert code == 0, err
        return json.loads(out)

    return call


def size(body: dict) -> int:
    return sum(tensor["bytes"] for tensor in body["tensors"])


def marked(body: dict, mark: str) -> dict:
    (point,) = [point for point in body["frontier"] if point["mark"] == mark]
    return point


def test_a_budget_is_refined_unless_told_otherwise(plan: Plan) -> None:
    refined, a_priori = plan("--budget", "6KB"), plan("--budget", "6KB", "--no-refine")
    assert refined["evidence"]["stages"] == ["gram", "clip", "verify", "bias_correction", "candidates"]
    assert refined["evidence"]["measured_rmse"] > 0
    assert a_priori["evidence"]["method"] == "a-priori"
    assert a_priori["evidence"]["measured_rmse"] is None
    assert refined["budget_bytes"] == a_priori["budget_bytes"]
    for body in (refined, a_priori):
        assert size(body) <= body["budget_bytes"]
        assert marked(body, "chosen")["bytes"] == size(body)
        assert marked(body, "all-int4")["bytes"] < marked(body, "all-int8")["bytes"]
    assert marked(refined, "all-int8")["measured_rmse"] < marked(refined, "all-int4")["measured_rmse"]


def test_budget_and_pins(plan: Plan) -> None:
    names = [tensor["name"] for tensor in plan("--no-refine")["tensors"]]
    body = plan("--pin", f"{names[0]}=4", "--pin", f"{names[2]}=8")
    widths = {tensor["name"]: tensor["width"] for tensor in body["tensors"]}
    assert widths[names[0]] == 4
    assert widths[names[2]] == 8
    all_int8 = marked(body, "all-int8")["bytes"]
    assert size(plan("--budget", all_int8)) <= all_int8


@pytest.mark.parametrize("refine", ["--refine", "--no-refine"])
@pytest.mark.parametrize("wanted", [4, 5.5, 8])
def test_mean_bits(plan: Plan, wanted: float, refine: str) -> None:
    body = plan("--mean-bits", wanted, refine)
    assert marked(body, "chosen")["mean_bits"] <= wanted
    assert body["budget_bytes"] is None
    if wanted == 4:
        assert {tensor["width"] for tensor in body["tensors"]} == {4}


def test_max_divergence_takes_the_smallest_plan_that_keeps_it(plan: Plan) -> None:
    points = [point for point in plan()["frontier"] if not point["mark"]]
    loose = points[len(points) // 2]["measured_rmse"] * 1.001
    body = plan("--max-divergence", loose)
    assert body["evidence"]["measured_rmse"] <= loose
    assert size(body) <= points[len(points) // 2]["bytes"]
    loosest = plan("--max-divergence", 1e6)  # its frontier has weights with one scale too, and so smaller plans
    assert size(loosest) == min(point["bytes"] for point in loosest["frontier"] if not point["mark"])
    assert size(loosest) < points[0]["bytes"]


def test_a_part_that_is_left_out_is_not_in_the_plan(plan: Plan) -> None:
    body = plan("--without", "clip", "--without", "bias-correction")
    assert body["evidence"]["stages"] == ["gram", "verify", "candidates"]
    assert {tensor["clip"] for tensor in body["tensors"]} == {1.0}
    assert body["bias_correction"] == []


def test_the_table_and_the_picture(run: Callable[..., tuple[int, str, str]], model: Path, tmp_path: Path) -> None:
    code, out, err = run("plan", model, *QUICK, "--plot", tmp_path / "frontier.svg")
    assert code == 0, err
    for words in ("all-int4", "all-int8", "chosen", "predicted", "measured", "mean bits"):
        assert words in out
    svg = (tmp_path / "frontier.svg").read_text()
    ElementTree.fromstring(svg)
    for words in (">all-int4<", ">all-int8<", ">chosen<", ">predicted<", ">measured<"):
        assert words in svg
    run("plan", model, *QUICK, "--plot", tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_text() == svg


def test_a_plan_file_is_built_as_it_is_and_after_editing(
    run: Callable[..., tuple[int, str, str]], model: Path, tmp_path: Path
) -> None:
    file = tmp_path / "plan.json"
    assert run("plan", model, *QUICK, "--without", "verify", "--out", file)[0] == 0
    body = json.loads(file.read_text())
    build = ("build", model, *QUICK, "--board", "host", "--out", tmp_path / "out", "--plan", file, "--json")
    code, out, err = run(*build)
    assert code == 0, err
    assert json.loads((tmp_path / "out" / "plan.json").read_text()) == body
    body["tensors"][1]["width"] = 12 - body["tensors"][1]["width"]
    body["tensors"][1]["clip"] = 0.7
    body["bias_correction"] = [0.01, 0.02]
    file.write_text(json.dumps(body))
    code, out, err = run(*build)
    assert code == 0, err
    assert any("bias correction" in warning for warning in json.loads(out)["warnings"])
    built = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert built["tensors"][1]["clip"] == 0.7
    assert built["tensors"][1]["width"] == body["tensors"][1]["width"]
    assert built["bias_correction"] == []
    assert built["evidence"] is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"budget": "1000", "bits": 8}, "--budget and --bits exclude each other"),
        ({"mean_bits": 5.0, "max_divergence": 0.1}, "--mean-bits and --max-divergence"),
        ({"bits": 8, "pins": {"a": 8}}, "nothing to --pin"),
        ({"refine": False, "without": ("clip",)}, "--without has no meaning"),
        ({"refine": False, "max_divergence": 0.1}, "has to measure"),
        ({"pins": {"a": 6}}, "6 bits for a cannot be had"),
        ({"bits": 6}, "6 bits cannot be had"),
        ({"without": ("rounding",)}, "rounding is no part"),
        ({"budget": "lots"}, "number of bytes"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        plan_request(**options)
    assert caught.value.hint


@pytest.mark.parametrize("text", ["a", "a=6", "=8"])
def test_a_pin_is_a_weight_and_a_width(text: str) -> None:
    assert parse_pin("dense/kernel=4") == ("dense/kernel", 4)
    with pytest.raises(UsageError, match=f"--pin {text} is not a weight and a width") as caught:
        parse_pin(text)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--pin", "dense/kernle=8"), ("dense/kernle", "Did you mean")),
        (("--max-divergence", "1e-9"), ("best that was found", "--bits 8")),
        (("--mean-bits", "4", "--pin", "dense/kernel=8"), ("bits a weight on average",)),
        (("--plot", "/nonexistent/x.svg"), ("/nonexistent/x.svg", "--plot")),
    ],
)
def test_requests_that_cannot_be_met(
    run: Callable[..., tuple[int, str, str]], model: Path, options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    _, out, _ = run("plan", model, *QUICK, "--no-refine", "--json")
    name = json.loads(out)["tensors"][0]["name"]
    given = [option.replace("dense/kernel=", f"{name}=") for option in options]
    code, _, err = run("plan", model, *QUICK, *given)
    assert code == 2
    assert err.count("error:") == 1
    assert err.count("  try: ") == 1
    for word in words:
        assert word in err


def board_with(folder: Path, flash_bytes: int) -> Path:
    """The micro:bit with another size of flash."""
    text = (Path(__file__).parent.parent / "boards" / "qemu-microbit.toml").read_text(encoding="utf-8")
    path = folder / f"flash-{flash_bytes}.toml"
    text = text.replace("0x0004_0000", str(flash_bytes)).replace('"qemu-microbit"', f'"flash-{flash_bytes}"')
    path.write_text(text, encoding="utf-8")
    return path


def test_the_budget_is_what_the_flash_of_the_board_leaves(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    import keras

    keras.utils.set_random_seed(4)
    model = tmp_path / "wide.keras"
    layers = [keras.layers.Flatten(), keras.layers.Dense(64, "tanh"), keras.layers.Dense(64, "tanh")]
    keras.Sequential([keras.Input((12, 2)), *layers, keras.layers.Dense(2)]).save(model)

    def do(command: str, *arguments: str | Path) -> dict:
        code, out, err = run(command, model, *QUICK, "--json", *arguments)
        assert code == 0, err
        return json.loads(out)

    roomy = do("plan", "--budget", "flash", "--board", "qemu-microbit", "--no-refine")
    assert {tensor["width"] for tensor in roomy["tensors"]} == {8}
    assert marked(roomy, "all-int4")["flash"] < marked(roomy, "all-int8")["flash"] == marked(roomy, "chosen")["flash"]
    image = do("build", "--bits", "8", "--board", "qemu-microbit", "--out", tmp_path / "wide")["image"]
    small = board_with(tmp_path, image["text"] + image["rodata"] + image["data"] - 500)
    arguments = ("--budget", "flash", "--board", small)
    assert {tensor["width"] for tensor in do("plan", *arguments)["tensors"]} == {4, 8}
    built = do("build", "--board", small, "--out", tmp_path / "small")  # which refuses an image that does not fit
    assert (built["choice"]["asked"], built["choice"]["chosen"]["narrow"] > 0) == (False, True)
    code, _, err = run("plan", model, *QUICK, "--budget", "flash", "--board", board_with(tmp_path, 4096))
    assert code == 2
    assert "room for 0 bytes of weights" in err


def test_a_dry_run_predicts_the_image_and_refuses_one_that_does_not_fit(
    run: Callable[..., tuple[int, str, str]], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = (model, *QUICK, "--bits", "8", "--json", "--board")
    before = sorted(tmp_path.rglob("*"))
    code, out, err = run("build", *arguments, "qemu-microbit", "--dry-run")
    assert code == 0, err
    assert sorted(tmp_path.rglob("*")) == before
    predicted = json.loads(out)
    code, out, err = run("build", *arguments, "qemu-microbit", "--out", tmp_path / "built")
    assert code == 0, err
    image, made = json.loads(out)["image"], json.loads(out)["model"]
    assert predicted["model_hash"] == made["hash"]
    assert predicted["flash"] == image["text"] + image["rodata"] + image["data"]
    assert predicted["ram"] == image["data"] + image["bss"]
    assert (predicted["stack"], predicted["stack_bound"]) == (image["stack"], image["stack_bound"])
    assert (predicted["fits"], predicted["flash_size"], predicted["ram_size"]) == (True, 262144, 16384)

    small = board_with(tmp_path, predicted["flash"] - 100)
    small.write_text(small.read_text(encoding="utf-8").replace("0x4000", "2560"), encoding="utf-8")
    code, out, err = run("build", *arguments, small, "--dry-run")
    assert code == 2
    again, size = json.loads(out), predicted["flash"] - 100
    assert (again["fits"], again["flash_size"], again["ram"]) == (False, size, predicted["ram"])
    assert 0 < again["flash"] - size <= 104  # the image holds the board's name, which is shorter
    assert f"{again['flash']:,} bytes of flash, {again['flash'] - size:,} more than its {size:,}" in err
    needed = predicted["ram"] + predicted["stack"]
    assert f"{needed:,} bytes of RAM, {needed - 2560:,} more than its 2,560" in err
    assert "--budget" in err

    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = run("build", *arguments, "qemu-microbit", "--dry-run")
    assert code == 2
    assert "apt install" in err


def test_a_flash_budget_needs_a_board_that_has_flash(run: Callable[..., tuple[int, str, str]], model: Path) -> None:
    code, _, err = run("plan", model, *QUICK, "--budget", "flash")
    assert code == 2
    assert "--board" in err
    code, _, err = run("plan", model, *QUICK, "--budget", "flash", "--board", "rpi4")
    assert code == 2
    assert "no microcontroller" in err


def test_the_frontier_is_drawn_as_png_too(
    run: Callable[..., tuple[int, str, str]], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge_tqs.report import png

    code, _, err = run("plan", model, *QUICK, "--no-refine", "--plot", tmp_path / "frontier.png")
    assert code == 0, err
    picture = (tmp_path / "frontier.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    code, _, err = run("plan", model, *QUICK, "--no-refine", "--plot", tmp_path / "frontier.svg")
    wordless = (tmp_path / "frontier.svg").read_text(encoding="utf-8").replace("chosen", "")
    assert png.render(wordless) != picture  # its words are drawn
    monkeypatch.setattr(png, "_FONT_FOLDERS", ())
    monkeypatch.setenv("HOME", str(tmp_path))
    code, _, err = run("plan", model, *QUICK, "--no-refine", "--plot", tmp_path / "other.png")
    assert code == 2
    assert "font" in err


def test_a_model_that_cannot_be_built_is_scored_and_planned(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    import keras

    keras.utils.set_random_seed(4)
    x = keras.Input((6, 3))
    h = keras.layers.Conv1D(8, 3, padding="causal", name="tcn")(x)
    h = keras.layers.GroupNormalization(1)(keras.layers.MultiHeadAttention(2, 4)(h, h))
    h = h + keras.ops.cumsum(0.0 * h, axis=1)
    path = tmp_path / "attention.keras"
    keras.Model(x, keras.layers.Dense(2)(keras.layers.Flatten()(h))).save(path)
    data = tmp_path / "data.csv"
    rows = [f"{i % 7},{i % 5},{i % 3}" for i in range(200)]
    data.write_text("a,b,known\n" + "\n".join(rows) + "\n", encoding="utf-8")
    arguments = (path, *QUICK, "--data", data, "--scaling", "standard", "--exogenous", "known")
    for seeds in ("zero-data", "data"):
        code, out, err = run("score", *arguments, "--seeds", seeds, "--json")
        assert code == 0, err
        assert "not built" in err
        assert len(json.loads(out)["tensors"]) == 6
    assert json.loads(out)["seeds_kind"] == "given"
    code, out, err = run("plan", *arguments, "--json")
    assert code == 0, err
    code, _, err = run("build", *arguments, "--board", "host", "--out", tmp_path / "build")
    assert code == 2
    assert "group_normalization" in err
    code, _, err = run("score", *arguments[:-1], "power")
    assert code == 2
    assert "known_ahead power (--known-ahead) is no input column" in err


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_score_goes_on_where_it_stopped(model: Path, tmp_path: Path, workers: int) -> None:
    command = [sys.executable, "-m", "edge_tqs", "score", model, "--horizon", "256", "--draws", "400", "--json"]
    command += ["--workers", str(workers)]
    place = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}

    def start() -> subprocess.Popen[str]:
        # a background job of a shell would hand down that SIGINT is ignored
        texts = ["env", "--default-signal=INT", *map(str, command)]
        return subprocess.Popen(texts, env=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    running = start()
    deadline = time.monotonic() + 120
    while not list(tmp_path.rglob("*.npy")):
        assert running.poll() is None, "it ended before it could be interrupted"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert "Traceback" not in err
    assert "interrupted" in err
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    assert kept
    resumed, err = start().communicate(timeout=120)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    command += ["--no-cache"]
    afresh, _ = start().communicate(timeout=120)
    assert json.loads(resumed) == json.loads(afresh), err
