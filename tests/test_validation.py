"""What a validation does beside closed-loop rollouts of one board, on the host board from the command line."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import termios
import time
import tomllib
import types
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from cobs import cobs
from device.fake import FakeDevice, FakeModel
from device.relay import Fault, Relay
from device.rfc2217_server import Rfc2217Server
from device.wire_model import RATES, Wire

from edge_tqs.boards.board import load_board
from edge_tqs.boards.bundle import PROGRAM
from edge_tqs.boards.emulator import emulator
from edge_tqs.building.folder import directory as build_dir
from edge_tqs.device import messages as wire
from edge_tqs.device.device import Device, open_port
from edge_tqs.device.messages import MessageType
from edge_tqs.device.trace_file import read_trace
from edge_tqs.graph.graph import Forecast
from edge_tqs.passes.interpret import float_rollout
from edge_tqs.quantization.simulate import decode, encode, integer_rollout
from edge_tqs.report.format import REPORT_HTML, VALIDATION_JSON, VALIDATIONS_JSON
from edge_tqs.report.validation_report import ValidationReport
from edge_tqs.validation import checks
from edge_tqs.validation.checks import check_protocol

Run = Callable[..., tuple[int, str, str]]
HORIZON = 10
pytestmark = pytest.mark.emulated
pytest_plugins = ["pytester"]


@pytest.fixture(scope="module")
def folder(keras: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds of a small GRU for the host, "windowed" and "stateful", of a CSV of two columns."""
    place = tmp_path_factory.mktemp("validation")
    keras.utils.set_random_seed(6)
    keras.Sequential([keras.Input((5, 2)), keras.layers.GRU(6), keras.layers.Dense(2)]).save(place / "model.keras")
    time = np.arange(400)
    table = np.stack([np.sin(time / 7), np.cos(time / 5) + np.sin(time / 31)], axis=1)
    (place / "data.csv").write_text("a,b\n" + "".join(f"{a:.6f},{b:.6f}\n" for a, b in table))
    for recurrence in ("windowed", "stateful"):
        command = [sys.executable, "-m", "edge_tqs", "build", place / "model.keras", "--board", "host"]
        command += ["--data", place / "data.csv", "--scaling", "standard"]
        command += ["--horizon", HORIZON, "--draws", 2, "--bits", 8]
        command += ["--recurrence", recurrence, "--out", place / recurrence]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return place


@pytest.fixture
def build(folder: Path, tmp_path: Path) -> Path:
    """The windowed build, unvalidated."""
    unvalidated = shutil.ignore_patterns("trace*", "validation*")
    shutil.copytree(folder / "windowed", tmp_path / "build", ignore=unvalidated)
    return tmp_path / "build"


def test_a_long_run_tells_how_its_error_grows(run: Run, build: Path) -> None:
    code, out, err = run("validate", build, "--rollouts", 2, "--horizon", 120, "--json")
    assert code == 0, err
    drift = json.loads(out)["drift"]
    built = build_dir.load(build)
    seeds = built.seeds[[0, -1]]
    outputs = decode(built.graph, integer_rollout(built.graph, encode(built.graph, seeds), 120).outputs)
    error = outputs - float_rollout(built.float_graph, seeds, 120).outputs
    assert drift["bias_vs_float"] == pytest.approx(
        [error[:, at : at + 12].mean() for at in range(0, 120, 12)], rel=1e-4
    )
    rmse = [np.sqrt(np.mean(error[:, at : at + 12] ** 2)) for at in range(0, 120, 12)]
    assert drift["rmse_vs_float"] == pytest.approx(rmse, rel=1e-4)
    assert drift["rmse_vs_host"] == [0] * 10
    assert len(drift["ticks"]) == 10
    assert min(drift["ticks"]) > 0
    code, out, err = run("validate", build, "--rollouts", 2, "--horizon", 99, "--json")
    assert (code, json.loads(out)["drift"]) == (0, None)


# --- teacher-forced -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recurrence", ["windowed", "stateful"])
def test_a_teacher_forced_run_is_exact_and_tells_the_errors_of_one_step(
    run: Run, folder: Path, recurrence: str
) -> None:
    path = folder / recurrence
    code, out, err = run("validate", path, "--teacher-forced", "--rollouts", 8, "--json")
    assert code == 0, err
    body = json.loads(out)
    assert (body["mode"], body["bit_exact"], body["steps"]) == ("teacher-forced", True, 8 * HORIZON)
    built = build_dir.load(path)
    seeds, truth = built.seeds, built.truth
    assert truth is not None
    chosen = np.linspace(0, len(seeds) - 1, 8).round().astype(int)
    seeds, truth = seeds[chosen], truth[chosen]
    # Each step by itself: a rollout of one step from the true samples before it.
    outputs, floats = [], []
    for step in range(HORIZON):
        seen = np.concatenate([seeds, truth[:, :step]], axis=1)
        graph, float_graph = built.graph, built.float_graph
        if recurrence == "windowed":
            seen = seen[:, -5:]
        else:
            graph, float_graph = (_longer(each, seen.shape[1]) for each in (graph, float_graph))
        outputs.append(decode(graph, integer_rollout(graph, encode(graph, seen), 1).outputs[:, 0]))
        floats.append(float_rollout(float_graph, seen, 1).outputs[:, 0])
    by_step = [float(np.mean((y - truth[:, step]) ** 2)) for step, y in enumerate(outputs)]
    assert body["curves"]["mse_vs_truth"] == pytest.approx(by_step, rel=1e-5)
    assert body["mse_vs_truth"] == pytest.approx(np.mean(by_step), rel=1e-5)
    apart = np.sqrt(np.mean((np.array(outputs) - np.array(floats)) ** 2))
    assert body["rmse_vs_float"] == pytest.approx(apart, rel=1e-4)
    code, out, err = run("validate", path, "--rollouts", 8, "--json")
    assert code == 0, err
    free = json.loads(out)
    assert (free["mode"], free["closed_loop"]) == ("free-running", None)
    assert body["closed_loop"] == {name: free[name] for name in ("rmse_vs_float", "mse_vs_truth")}
    assert body["mse_vs_truth"] != free["mse_vs_truth"]


def _longer(graph: Any, window: int) -> Any:
    """A stateful model that has seen more samples is one of a longer window."""
    return replace(graph, forecast=replace(graph.forecast, window=window))


def test_a_teacher_forced_run_is_resumed_as_what_it_was(run: Run, build: Path) -> None:
    asked = ("validate", build, "--teacher-forced", "--rollouts", 3)
    code, whole, err = run(*asked, "--json")
    assert code == 0, err
    trace = build / "trace.jsonl"
    assert read_trace(trace).header.mode == "teacher-forced"
    lines = trace.read_text().splitlines(keepends=True)
    trace.write_text("".join(lines[: 1 + HORIZON + 4]))
    (build / VALIDATION_JSON).unlink()
    code, _, err = run(*asked[:2], "--rollouts", 3, "--resume")
    assert (code, "mode teacher-forced, now free-running" in err) == (2, True)
    code, out, err = run(*asked, "--resume", "--json")
    assert code == 0, err
    before, after = json.loads(whole), json.loads(out)
    assert (after["curves"], after["line"]["resumes"], after["bit_exact"]) == (before["curves"], 1, True)


def test_the_summary_and_the_page_say_how_much_the_loop_amplifies(run: Run, build: Path) -> None:
    code, out, err = run("validate", build, "--teacher-forced", "--data", build.parent / "none.csv")
    assert (code, "does not exist" in err) == (2, True)
    code, out, err = run("validate", build, "--teacher-forced", "--rollouts", 2)
    assert code == 0, err
    assert "against the truth; in closed loop, on the host, RMSE" in out
    page = (build / REPORT_HTML).read_text()
    assert "on the board, 2 rollouts, teacher-forced" in page
    assert "MSE against truth in closed loop, on the host" in page
    assert all(name in page for name in CHECKS)


def test_without_what_followed_nothing_is_forced(run: Run, build: Path) -> None:
    built = build_dir.load(build)
    (build / "manifest.json").unlink()  # it is no longer what was built
    np.savez(build / "seeds.npz", seeds=built.seeds)
    code, _, err = run("validate", build, "--teacher-forced")
    assert (code, "was built with no data" in err, "--data" in err) == (2, True, True)
    np.savez(build / "seeds.npz", seeds=built.seeds, truth=built.truth)
    code, _, err = run("validate", build, "--teacher-forced", "--horizon", HORIZON + 1)
    assert (code, f"was built with {HORIZON} steps of what followed" in err) == (2, True)


# --- what a board promises ------------------------------------------------------------------------------------------

CHECKS = ("reset", "persistence", "forecast in pieces", "push in pieces")


def spoils(name: str) -> Callable[[FakeDevice, wire.ForecastRequest], bool]:
    """A board that breaks one promise: its forecast is another one then."""

    def spoil(device: FakeDevice, request: wire.ForecastRequest) -> bool:
        types = [frame.type for frame in device.requests]
        last_push = next(frame for frame in reversed(device.requests) if frame.type == MessageType.PUSH)
        return {
            "reset": types.count(MessageType.RESET) == 3,
            "persistence": request.steps > 1 and types[-2] == MessageType.FORECAST,
            "forecast in pieces": request.first > 0,
            "push in pieces": last_push.payload[0] == 1,
        }[name]

    return spoil


@pytest.mark.parametrize("broken", [*CHECKS, None])
def test_a_board_that_breaks_a_promise_is_named(broken: str | None) -> None:
    forecast = Forecast(4, 3, "none", (0, 1, 2), outputs=3)
    codes = np.arange(-9, 3, dtype=np.int8).reshape(4, 3)
    with FakeDevice(spoils=lambda *_: False) if broken is None else FakeDevice(spoils=spoils(broken)) as fake:
        with Device(open_port(fake.path)) as device:
            found = check_protocol(device, forecast, codes)
        steps = sum(frame.payload[2] for frame in fake.requests if frame.type == MessageType.FORECAST)
    assert tuple(check.name for check in found) == CHECKS
    assert [check.name for check in found if not check.passed] == ([] if broken is None else [broken])
    assert all("step" in check.detail for check in found)
    assert steps == 40


@pytest.mark.parametrize("broken", [*CHECKS, None])
def test_a_slow_board_is_asked_for_fewer_steps_of_the_same_checks(
    broken: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 10 s a step, by this clock, two remain of eight; what is broken shows in them too."""
    forecast = Forecast(4, 3, "none", (0, 1, 2), outputs=3)
    codes = np.arange(-9, 3, dtype=np.int8).reshape(4, 3)
    seconds = itertools.count(0, 10)
    monkeypatch.setattr(checks, "time", types.SimpleNamespace(monotonic=lambda: next(seconds)))
    with FakeDevice(spoils=lambda *_: False) if broken is None else FakeDevice(spoils=spoils(broken)) as fake:
        with Device(open_port(fake.path)) as device:
            found = check_protocol(device, forecast, codes)
        steps = sum(frame.payload[2] for frame in fake.requests if frame.type == MessageType.FORECAST)
    assert [check.name for check in found if not check.passed] == ([] if broken is None else [broken])
    assert steps == 8 + 4 * 2


@pytest.mark.parametrize(("pace", "steps"), [(0, 8), (0.5, 8), (0.51, 7), (1.8, 3), (60, 2)])
def test_the_steps_of_the_checks_go_by_the_pace_of_the_board(pace: float, steps: int) -> None:
    """60 steps that the board computes after the first eight are half a minute at 0.5 s each."""
    assert checks.affordable_steps(8, pace) == steps


# --- a slow board ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stalled", "given", "retries"),
    [
        (2.0, 5, 0),
        pytest.param(11.0, None, 1, marks=pytest.mark.slow),
        pytest.param(11.0, 15, 0, marks=pytest.mark.slow),
    ],
)
def test_a_step_may_take_as_long_as_step_timeout_says(
    run: Run, build: Path, stalled: float, given: float | None, retries: int
) -> None:
    """A line that stalls in the first forecast of a board. Only a step that takes longer is asked for again."""
    options = () if given is None else ("--step-timeout", given)
    with (
        emulator.start_server(load_board("host"), build) as port,
        Relay(port, (), (Fault("stall", 200),), 0, stall_seconds=stalled) as line,
    ):
        code, _, err = run("validate", build, "--port", line.path, "--rollouts", 2, *options)
    assert code == 0, err
    assert [fault.at for fault in line.happened] == [200]
    body = json.loads((build / VALIDATION_JSON).read_text())
    assert (body["bit_exact"], body["line"]["retries"]) == (True, retries)


def test_a_board_slower_than_step_timeout_ends_the_run_with_that_name(run: Run, build: Path) -> None:
    def dawdle(_: int, frame: bytes) -> list[bytes]:
        if cobs.decode(frame[:-1])[0] == MessageType.STEP:
            time.sleep(0.4)
        return [frame]

    with FakeDevice(FakeModel(5, 2), board="host", model_hash=build_dir.load(build).model_hash, say=dawdle) as fake:
        code, out, err = run("validate", build, "--port", fake.path, "--rollouts", 1, "--step-timeout", 0.1)
    assert (code, err.count("error:"), "Traceback" in out + err) == (1, 1, False)
    assert "no step 0 of the forecast came, asked for 3 times, 0.1 s each" in err
    assert "give --step-timeout" in err


@pytest.mark.parametrize("name", ["pico", "host-2", "pico+litert"])
def test_another_board_than_the_builds_is_refused(run: Run, build: Path, name: str) -> None:
    digest = build_dir.load(build).model_hash
    with FakeDevice(FakeModel(5, 2), board=name, model_hash=digest) as fake:
        code, out, err = run("validate", build, "--port", fake.path, "--rollouts", 1)
    assert (code, err.count("error:"), "Traceback" in out + err) == (1, 1, False)
    assert f"the board calls itself {name.partition('+')[0]}, and this build is for host" in err


def test_a_broken_promise_fails_a_run_that_is_bit_exact(run: Run, build: Path, tmp_path: Path) -> None:
    """A firmware that counts one step too few where a forecast goes on: no undisturbed rollout asks for that."""
    wrong = build / "firmware"
    source = wrong / "core" / "tqs_server.c"
    text = source.read_text()
    assert text.count("uint32_t step = 0;") == 1
    source.write_text(text.replace("uint32_t step = 0;", "uint32_t step = first == 0u ? 0u : 1u;"))
    subprocess.run(["make", "-s", "-C", str(wrong)], check=True)
    shutil.copy(build / build_dir.IMAGE, build / "bundle" / "forecaster")
    (build / "manifest.json").unlink()  # it is no longer what was built
    code, out, err = run("validate", build, "--rollouts", 2, "--junit", tmp_path / "run.xml")
    assert code == 1, err
    assert "FAILED" in out
    assert "failed      forecast in pieces: " in out
    body = json.loads((build / VALIDATION_JSON).read_text())
    assert (body["bit_exact"], body["passed"]) == (True, False)
    assert [check["passed"] for check in body["checks"]] == [True, True, False, True]
    assert "does not keep its protocol: forecast in pieces" in (build / REPORT_HTML).read_text()
    assert '<testcase classname="edge-tqs.host" name="forecast in pieces">' in (tmp_path / "run.xml").read_text()


# --- the rate of the wire -------------------------------------------------------------------------------------------


#: pyserial's client of RFC 2217 sets up its thread in the old way.
@pytest.mark.filterwarnings("ignore:set(Daemon|Name).. is deprecated:DeprecationWarning")
@pytest.mark.parametrize(("most", "used"), [(921_600, 921_600), (300_000, 230_400), (0, 115_200)])
def test_the_rate_is_raised_used_and_said(run: Run, build: Path, most: int, used: int) -> None:
    """Through a serial server, to a program at a device file: the server sets the rate of one end, the program its."""
    near, far = os.openpty()

    def rate() -> int:
        return RATES.get(termios.tcgetattr(near)[5], 300)

    process = subprocess.Popen([build / "bundle" / PROGRAM, "--port", os.ttyname(far)])
    try:
        with Wire(near, rate) as line, Rfc2217Server(line.path) as server:
            options = ("--rollouts", "1", "--port", server.url, "--max-baud", str(most))
            code, out, _ = run("validate", build, *options)
        assert code == 0
        assert f"\nline        {used} baud, undisturbed\n" in out
        found = ValidationReport.from_json((build / VALIDATION_JSON).read_text())
        assert (found.line.baud, found.line.slowdowns, found.bit_exact) == (used, 0, True)
        assert f"{used} baud, undisturbed" in (build / REPORT_HTML).read_text()
        assert (used, used) in line.rates
        assert max(max(ends) for ends in line.rates) == used
    finally:
        process.terminate()
        process.wait(5)
        os.close(near)
        os.close(far)


# --- several boards at once -----------------------------------------------------------------------------------------


@pytest.fixture
def silent() -> Iterator[str]:
    """A port at which nobody answers."""
    ours, theirs = os.openpty()
    yield os.ttyname(theirs)
    os.close(ours)
    os.close(theirs)


def test_several_boards_are_validated_side_by_side(run: Run, build: Path, tmp_path: Path) -> None:
    """The generated C and the Python agent: boards of two kinds, each against what the host expects of its runtime."""
    board = load_board("host")
    with emulator.start_server(board, build) as one, emulator.start_agent(board, build / "bundle") as two:
        ports = ("--port", one, "--port", two.port)
        code, out, err = run("validate", build, *ports, "--rollouts", 3, "--json", "--junit", tmp_path / "runs.xml")
        assert code == 0, err
        body = json.loads(out)
        assert [each["port"] for each in body["boards"]] == [one, two.port]
        names = [each["report"]["board"] for each in body["boards"]]
        assert names == ["host", "host+litert"]
        for number, each in enumerate(body["boards"], 1):
            assert json.loads((build / f"validation-{number}.json").read_text()) == each["report"]
            header = read_trace(build / f"trace-{number}.jsonl").header
            assert (header.board, header.rollouts) == (names[number - 1], 3)
            assert each["report"]["bit_exact"]
        # Its image is not what the agent runs.
        assert [each["report"]["memory"]["flash"] is None for each in body["boards"]] == [False, True]
        assert not (build / "trace.jsonl").exists()
        assert json.loads((build / VALIDATIONS_JSON).read_text()) == body
        page = re.sub("<td[^>]*>", "<td>", (build / REPORT_HTML).read_text())
        assert "All 2 boards passed" in page
        assert all(
            f'<th scope="row">{port}</th><td>{name}</td>' in page for port, name in zip(ports[1::2], names, strict=True)
        )
        suites = ElementTree.parse(tmp_path / "runs.xml").getroot()
        assert [suite.get("name") for suite in suites] == [f"edge-tqs validate {name}" for name in names]
        code, _, err = run("validate", build, *ports, "--rollouts", 3, "--resume")
        assert (code, "is finished" in err) == (2, True)
        code, _, err = run("validate", build, "--port", one, "--rollouts", 2)
        assert code == 0, err
    assert not (build / VALIDATIONS_JSON).exists()
    assert "Boards side by side" not in (build / REPORT_HTML).read_text()


def test_a_board_that_fails_neither_stops_nor_hides_the_others(
    run: Run, build: Path, tmp_path: Path, silent: str
) -> None:
    asked = ("validate", build, "--rollouts", 2)
    board = load_board("host")
    with emulator.start_server(board, build) as one, emulator.start_server(board, build) as two:
        ports = ("--port", one, "--port", silent, "--port", tmp_path / "none")
        code, out, err = run(*asked, *ports, "--junit", tmp_path / "runs.xml")
        assert (code, "Traceback" in out + err) == (1, False)
        assert re.search(rf"^passed +{one} +host", out, re.M)
        assert re.search(rf"^FAILED +{silent} ", out, re.M)
        assert re.search(rf"^{silent}: .*no answer.*Check", out, re.M)
        assert re.search(rf"^{tmp_path}/none: .*no such port", out, re.M)
        suites = ElementTree.parse(tmp_path / "runs.xml").getroot()
        assert [suite.get("failures") for suite in suites] == ["0", "1", "1"]
        page = (build / REPORT_HTML).read_text()
        assert f"2 of 3 boards failed: {silent}, {tmp_path}/none" in page
        assert "no answer" in page
        finished = (build / "validation-1.json").read_bytes()
        assert not (build / "validation-2.json").exists()
        # Another board in the place of the silent one: only what is missing runs.
        code, out, err = run(*asked, "--resume", "--port", one, "--port", two)
        assert code == 0, err
        assert (build / "validation-1.json").read_bytes() == finished
        assert (build / "validation-2.json").exists()
        (build / "validation-2.json").unlink()
        code, out, err = run(*asked, "--resume", "--port", two, "--port", one)
        assert (code, f"is of the board at {one}, not of {two}" in out) == (1, True)


def test_a_port_is_named_once_and_resumed_where_there_is_a_run(run: Run, build: Path) -> None:
    code, _, err = run("validate", build, "--port", "a", "--port", "b", "--port", "a")
    assert (code, "--port a is given twice" in err) == (2, True)
    code, _, err = run("validate", build, "--port", "a", "--port", "b", "--resume")
    assert (code, "no run of several boards" in err) == (2, True)


# --- hardware tests of one's own ------------------------------------------------------------------------------------

DOCS = Path(__file__).parent.parent / "docs" / "hardware-tests.md"


def documented_tests(build: Path) -> str:
    """The example of the documentation, for ``build``."""
    code = DOCS.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    assert code.count('"build/qemu-mps2-an386"') == 1
    return code.replace('"build/qemu-mps2-an386"', repr(str(build)))


PLUGIN = ("-p", "edge_tqs.validation.pytest_plugin")


def test_the_documented_hardware_tests_pass_emulated_and_at_a_port(pytester: pytest.Pytester, build: Path) -> None:
    pytester.makepyfile(documented_tests(build))
    pytester.runpytest_inprocess(*PLUGIN).assert_outcomes(passed=2)
    with emulator.start_server(load_board("host"), build) as port:
        options = (f"--edge-tqs-port={port}", "--edge-tqs-baud=9600")
        pytester.runpytest_inprocess(*PLUGIN, *options).assert_outcomes(passed=2)
        saved = json.loads((build / VALIDATION_JSON).read_text())
        assert (saved["port"], saved["rollouts"]) == (port, 4)


def test_a_hardware_test_fails_where_its_board_does(pytester: pytest.Pytester, build: Path, silent: str) -> None:
    pytester.makepyfile(documented_tests(build))
    done = pytester.runpytest_inprocess(*PLUGIN, f"--edge-tqs-port={silent}")
    done.assert_outcomes(failed=2)
    done.stdout.fnmatch_lines(["*no answer*"])


def test_loading_the_plugin_loads_nothing_else() -> None:
    code = (
        "import sys\nimport edge_tqs.validation.pytest_plugin\nprint({'numpy', 'serial', 'click'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
    project = tomllib.loads((DOCS.parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {PLUGIN[1]: PLUGIN[1]}
