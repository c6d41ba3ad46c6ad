"""The bundle of a Linux board: its files, its agent behind a PTY and as a library, and its installer."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import serial
from bundles import write_bundle
from graphs import quantized, quantized16, random_codes, random_graph

from edge_tqs.boards.board import load_board
from edge_tqs.boards.bundle import unit_name
from edge_tqs.boards.emulator.emulator import start_agent
from edge_tqs.device import messages as wire
from edge_tqs.device.device import Device, Times, open_port
from edge_tqs.device.rollout import run_rollout
from edge_tqs.errors import ToolError, UsageError
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.graph.graph import Array, Graph, Scaling
from edge_tqs.graph.rollout import Rollout
from edge_tqs.quantization import simulate
from edge_tqs.quantization.runtimes import rollout_in
from edge_tqs.templates import template_root

BOARD = load_board("rpi4")
RECURRENCES = ("none", "windowed", "stateful")
HORIZON = 12


def model_of(recurrence: str, seed: int = 5) -> Graph:
    """A random integer graph of at least two channels, with a feedback that is no identity and a scaling."""
    rng = np.random.default_rng(seed)
    while True:
        graph = random_graph(rng)
        forecast = graph.forecast
        crossed = forecast.feedback != tuple(range(forecast.channels))
        if forecast.recurrence == recurrence and crossed:
            mean = tuple(10.0 * (i + 1) for i in range(forecast.channels))
            std = tuple(0.5 * (i + 1) for i in range(forecast.channels))
            return quantized(rng, replace(graph, forecast=replace(forecast, scaling=Scaling(mean, std))))


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Graph, bytes]]:
    """By recurrence: the directory, the graph and the bytes of its model."""
    made = {}
    for recurrence in RECURRENCES:
        graph, folder = model_of(recurrence), tmp_path_factory.mktemp("bundle")
        program = folder / "any.elf"
        program.write_bytes(b"#!/bin/sh\n")
        metadata = {"generator": "test", "plan": {}, "source_hash": "00" * 32}
        model = tflite_model.write(graph, metadata)
        write_bundle(folder / "bundle", model, program, BOARD)
        made[recurrence] = (folder / "bundle", graph, model)
    return made


def test_the_agent_serves_int16_codes(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    graph = quantized16(rng, random_graph(rng, "lstm"))
    program = tmp_path / "any.elf"
    program.write_bytes(b"#!/bin/sh\n")
    model = tflite_model.write(graph, {"generator": "test", "plan": {}, "source_hash": "00" * 32})
    write_bundle(tmp_path / "bundle", model, program, BOARD)
    seeds = random_codes(rng, graph, (2, graph.forecast.window, graph.forecast.channels))
    expected = on_this_host(model, graph, seeds)
    with served(tmp_path / "bundle") as device:
        assert device.info.code_size == 2
        for index, seed in enumerate(seeds):
            outputs, _, hashes = run_rollout(device, seed, HORIZON)
            np.testing.assert_array_equal(outputs, expected.outputs[index])
            np.testing.assert_array_equal(hashes, expected.state_hashes[index])


@pytest.mark.parametrize(("width", "refused"), [(4, True), (8, False)])
def test_the_agent_refuses_what_tflite_runtime_would_compute_wrongly(tmp_path: Path, width: int, refused: bool) -> None:
    rng = np.random.default_rng(9)
    graph = quantized16(rng, random_graph(rng, "tcn"), (width,))
    metadata = {"generator": "test", "plan": dict.fromkeys(graph.weights(), width), "source_hash": "00" * 32}
    write_bundle(tmp_path / "bundle", tflite_model.write(graph, metadata), None, BOARD)
    module: Any = library(tmp_path / "bundle")
    load = module.load_interpreter
    module.load_interpreter = lambda content: ("tflite", load(content)[1])
    if refused:
        with pytest.raises(module.ForecasterError, match="tflite-runtime computes"):
            module.Forecaster(tmp_path / "bundle" / "model.tflite")
    else:
        assert module.Forecaster(tmp_path / "bundle" / "model.tflite").runtime == "tflite"


@contextmanager
def served(bundle: Path) -> Iterator[Device]:
    with start_agent(BOARD, bundle) as running, Device(open_port(running.port), Times(answer=5)) as device:
        yield device


def seeds_of(graph: Graph, count: int) -> Array:
    shape = (count, graph.forecast.window, graph.forecast.channels)
    return np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)


def on_this_host(model: bytes, graph: Graph, seeds: Array, horizon: int = HORIZON) -> Rollout:
    return rollout_in("litert", model, graph, seeds, horizon)


def library(bundle: Path) -> ModuleType:
    """forecaster.py as a module; nothing is written beside it, so that other tests see the bundle as it was made."""
    module = ModuleType("forecaster")
    module.__file__ = str(bundle / "forecaster.py")
    exec(compile((bundle / "forecaster.py").read_bytes(), module.__file__, "exec"), module.__dict__)
    return module


@pytest.mark.parametrize("recurrence", RECURRENCES)
def test_the_agent_rolls_out_as_the_same_runtime_does_here(
    bundles: dict[str, tuple[Path, Graph, bytes]], recurrence: str
) -> None:
    """Outputs and state hashes of two seeds; a longer history; then a forecast resumed in its middle."""
    bundle, graph, model = bundles[recurrence]
    seeds = seeds_of(graph, 2)
    expected = on_this_host(model, graph, seeds)
    assert expected.state_hashes is not None
    with served(bundle) as device:
        info = device.require_model(tflite_model.model_hash(model))
        assert info.board == "rpi4+litert"
        assert (info.counter, info.counter_hz) == (wire.Counter.MONOTONIC, 10**9)
        assert (info.window, info.channels) == (graph.forecast.window, graph.forecast.channels)
        for index, seed in enumerate(seeds):
            outputs, ticks, hashes = run_rollout(device, seed, HORIZON)
            np.testing.assert_array_equal(outputs, expected.outputs[index])
            np.testing.assert_array_equal(hashes, expected.state_hashes[index])
            assert recurrence == "stateful" or ticks.min() > 0
        status = device.status()
        assert (status.stack_peak, status.frames_dropped) == (wire.UNKNOWN_SIZE, 0)
        again, _, _ = device.forecast(HORIZON)  # the forecast has left the history as it was
        np.testing.assert_array_equal(again, expected.outputs[1])


@pytest.mark.parametrize("recurrence", RECURRENCES)
def test_the_library_forecasts_in_physical_units(
    bundles: dict[str, tuple[Path, Graph, bytes]], recurrence: str
) -> None:
    bundle, graph, model = bundles[recurrence]
    forecast = graph.forecast
    assert forecast.scaling is not None
    mean, std = np.array(forecast.scaling.mean), np.array(forecast.scaling.std)
    seed = np.random.default_rng(3).normal(size=(forecast.window, forecast.channels)).astype(np.float32)
    expected = on_this_host(model, graph, simulate.encode(graph, seed)[None]).outputs[0]
    becomes = [forecast.feedback.index(channel) for channel in range(forecast.channels)]

    module = library(bundle)
    forecaster = module.Forecaster(bundle / "model.tflite")
    with pytest.raises(module.ForecasterError, match=f"0 samples were pushed, the model looks at {forecast.window}"):
        forecaster.forecast(1)
    for sample in seed:
        forecaster.push(sample * std + mean)
    got = forecaster.forecast(HORIZON)
    np.testing.assert_allclose(got, simulate.decode(graph, expected) * std[becomes] + mean[becomes], rtol=1e-6)
    np.testing.assert_array_equal(forecaster.forecast(HORIZON), got)
    forecaster.reset()
    assert not forecaster.ready


def _first(forecaster: Any) -> np.ndarray:
    """The codes of the first step of a forecast."""
    forecaster.begin()
    return forecaster.next_codes()[0]


def test_a_sample_out_of_range_saturates_and_nan_is_the_mean(
    bundles: dict[str, tuple[Path, Graph, bytes]],
) -> None:
    bundle, graph, model = bundles["none"]
    window, channels = graph.forecast.window, graph.forecast.channels
    forecaster = library(bundle).Forecaster(bundle / "model.tflite")
    quant = graph.tensors[graph.input].quant
    assert quant is not None
    for value, code in ((1e30, 127), (-np.inf, -128), (np.nan, quant.zero_point)):
        for _ in range(window):
            forecaster.push(np.full(channels, value))
        codes = np.full((1, window, channels), code, np.int8)
        np.testing.assert_array_equal(_first(forecaster), on_this_host(model, graph, codes, 1).outputs[0, 0])


def test_the_agent_answers_wrong_requests_as_the_protocol_says(
    bundles: dict[str, tuple[Path, Graph, bytes]],
) -> None:
    bundle, graph, _ = bundles["windowed"]
    channels, window = graph.forecast.channels, graph.forecast.window
    sample = bytes(channels)
    refused = [
        (wire.Frame(0x60, 9, b""), wire.NakCode.UNKNOWN_TYPE),
        (wire.Frame(wire.MessageType.HELLO, 9, b""), wire.NakCode.BAD_LENGTH),
        (wire.Frame(wire.MessageType.HELLO, 9, b"\x03\x01"), wire.NakCode.BAD_LENGTH),
        (wire.Frame(wire.MessageType.HELLO, 9, b"\x02\x01"), wire.NakCode.BAD_VERSION),
        (wire.Frame(wire.MessageType.RESET, 9, b"\x01"), wire.NakCode.BAD_LENGTH),
        (wire.Frame(wire.MessageType.PUSH, 9, b"\x02" + sample), wire.NakCode.BAD_LENGTH),
        (wire.Frame(wire.MessageType.PUSH, 9, b""), wire.NakCode.BAD_LENGTH),
        (wire.Frame(wire.MessageType.FORECAST, 9, b"\0\0\0"), wire.NakCode.BAD_LENGTH),
        (wire.Frame(wire.MessageType.FORECAST, 9, b"\xff\xff\x02\x00"), wire.NakCode.BAD_LENGTH),
        (wire.Frame(wire.MessageType.FORECAST, 9, b"\0\0\x01\0"), wire.NakCode.NOT_READY),
        (wire.Frame(wire.MessageType.STATUS, 9, b"\0"), wire.NakCode.BAD_LENGTH),
    ]
    with start_agent(BOARD, bundle) as running, serial.Serial(running.port, timeout=5) as port:
        reader = wire.FrameReader()

        def ask(data: bytes) -> wire.Frame:
            port.write(data)
            while not (frames := reader.feed(port.read_until(b"\0"))):
                pass
            return frames[0]

        for frame, code in refused:
            assert ask(wire.encode_frame(frame)) == wire.Frame(wire.MessageType.NAK, 9, bytes([code]))
        for damaged in (b"\x05ab\0", b"\x01\0", b"x" * 5000 + b"\0", wire.Reset().frame(1)[:-2] + b"\x7f\0"):
            assert ask(b"\0" + damaged) == wire.Frame(wire.MessageType.NAK, 0, b"\x01")
        assert wire.StatusReply.parse(ask(wire.Status().frame(1)).payload).frames_dropped == 4

        push = wire.Push(1, sample)
        assert wire.Ack.parse(ask(push.frame(7)).payload) == wire.Ack(1)
        assert wire.Ack.parse(ask(push.frame(7)).payload) == wire.Ack(1)  # a repeat: acknowledged, not carried out
        assert wire.Ack.parse(ask(push.frame(8)).payload) == wire.Ack(2)
        assert ask(wire.Hello().frame(8)).type == wire.MessageType.HELLO_REPLY
        assert wire.Ack.parse(ask(push.frame(8)).payload) == wire.Ack(3)  # HELLO has forgotten the last sequence

        # A byte ends a forecast that would take minutes, and the new request is served.
        ask(wire.Push(window, sample * window).frame(9))
        port.write(wire.ForecastRequest(0, 60000).frame(10))
        port.read_until(b"\0")
        port.write(wire.Reset().frame(11))
        frames: list[wire.Frame] = []
        while not frames or frames[-1].type != wire.MessageType.ACK:
            frames += reader.feed(port.read_until(b"\0"))
        done = next(frame for frame in frames if frame.type == wire.MessageType.DONE)
        assert 1 <= wire.Done.parse(done.payload).steps < 60000
        assert frames[-1] == wire.Frame(wire.MessageType.ACK, 11, bytes(4))


def test_the_files(bundles: dict[str, tuple[Path, Graph, bytes]]) -> None:
    bundle, graph, model = bundles["none"]
    names = ["README.txt", "agent.py", "edge-tqs.service", "forecaster", "install.sh", "model.json", "model.tflite"]
    names += [
        "edge-tqs-forecastd",
        "edge-tqs-forecastd.service",
        "forecastd",
        "forecastd.json",
        "forecaster.py",
        "gateway.json",
        "requirements.lock",
        "requirements.txt",
    ]
    assert sorted(path.name for path in bundle.iterdir()) == sorted(names)
    assert (bundle / "model.tflite").read_bytes() == model
    assert json.loads((bundle / "model.json").read_text())["model_hash"] == tflite_model.model_hash(model)
    for name in ("install.sh", "agent.py", "forecaster"):
        assert os.access(bundle / name, os.X_OK)
    requirements = (bundle / "requirements.txt").read_text()
    assert {"numpy", "pyserial", "cobs", "ai-edge-litert", "tflite-runtime"} <= {
        line.split(">")[0].split("=")[0].split(";")[0] for line in requirements.split()
    }
    readme = (bundle / "README.txt").read_text()
    assert "@" not in readme
    assert unit_name(graph.name) in readme


def test_the_same_input_gives_the_same_bytes_and_replaces_an_earlier_bundle(
    bundles: dict[str, tuple[Path, Graph, bytes]], tmp_path: Path
) -> None:
    bundle, _, model = bundles["none"]
    written = write_bundle(tmp_path / "b", bundles["stateful"][2], bundle / "forecaster", BOARD)
    assert written == write_bundle(tmp_path / "b", model, bundle / "forecaster", BOARD)
    (tmp_path / "b" / "forecastd" / "of_an_earlier_version.py").write_text("")
    assert written == write_bundle(tmp_path / "b", model, bundle / "forecaster", BOARD)
    assert not (tmp_path / "b" / "forecastd" / "of_an_earlier_version.py").exists()
    assert {path.relative_to(tmp_path / "b"): path.read_bytes() for path in written} == {
        path.relative_to(bundle): path.read_bytes() for path in bundle.rglob("*") if path.is_file()
    }
    without = write_bundle(tmp_path / "b", model, None, BOARD)
    assert "forecaster" not in [path.name for path in without]
    assert not (tmp_path / "b" / "forecaster").exists()


@pytest.mark.parametrize(
    ("file", "others"),
    [
        ("forecaster.py", {"numpy", "ai_edge_litert", "tflite_runtime"}),
        ("agent.py", {"numpy", "forecaster", "serial", "cobs"}),
    ],
)
def test_the_agent_knows_no_tensorflow_and_no_edge_tqs_and_runs_on_python_3_9(file: str, others: set[str]) -> None:
    source = (template_root() / "agent" / file).read_text()
    tree = ast.parse(source, feature_version=(3, 9))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module).split(".")[0])
    assert imported - set(sys.stdlib_module_names) == others


@pytest.mark.parametrize("damage", ["model", "description", "none there"])
def test_a_damaged_bundle_is_one_line(
    bundles: dict[str, tuple[Path, Graph, bytes]], tmp_path: Path, damage: str
) -> None:
    bundle, _, model = bundles["none"]
    agent = bundle / "agent.py"
    if damage != "none there":
        changed = bytearray(model)
        changed[-1] ^= damage == "model"
        (tmp_path / "model.tflite").write_bytes(changed)
        other = bundle if damage == "model" else bundles["stateful"][0]
        (tmp_path / "model.json").write_text((other / "model.json").read_text())
    command = [sys.executable, str(agent), "--pty", "--model", str(tmp_path / "model.tflite")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert ("damaged" if damage != "none there" else "cannot read") in line


def test_a_port_that_is_not_there_is_one_line(bundles: dict[str, tuple[Path, Graph, bytes]]) -> None:
    bundle, _, _ = bundles["none"]
    command = [sys.executable, str(bundle / "agent.py"), "--port", "/dev/ttyNowhere7"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "agent: cannot open /dev/ttyNowhere7" in done.stderr.splitlines()[-1]


def test_the_agent_on_a_serial_device(bundles: dict[str, tuple[Path, Graph, bytes]]) -> None:
    """The far end of a PTY stands for the board's UART; the agent ends when it is pulled out."""
    bundle, _, _ = bundles["none"]
    near, far = os.openpty()
    command = [sys.executable, str(bundle / "agent.py"), "--port", os.ttyname(far), "--baud", "9600"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        reader, frames = wire.FrameReader(), []
        os.set_blocking(near, False)
        for _ in range(200):
            os.write(near, b"\0" + wire.Hello().frame(1))
            try:
                process.wait(0.1)
            except subprocess.TimeoutExpired:
                try:
                    frames += reader.feed(os.read(near, 4096))
                except BlockingIOError:
                    continue
            if frames:
                break
        assert wire.HelloReply.parse(frames[0].payload).board == "linux+litert"
        os.close(far)
        os.close(near)
        assert process.wait(20) == 1
        assert process.stderr is not None
        assert "agent: the serial port is gone" in process.stderr.read()


def test_what_cannot_be_bundled(bundles: dict[str, tuple[Path, Graph, bytes]], tmp_path: Path) -> None:
    _, _, model = bundles["none"]
    with pytest.raises(UsageError, match="cannot be written"):
        write_bundle(tmp_path / "b", model, tmp_path / "no.elf", BOARD)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        write_bundle(tmp_path / "file", model, None, BOARD)
    with pytest.raises(UsageError, match="no such agent"), start_agent(BOARD, tmp_path):
        pass


@pytest.mark.parametrize(
    ("given", "name"),
    [("etth1_lstm", "etth1-lstm"), ("My Model (v2)", "my-model-v2"), ("../..", "model"), ("ä'; rm", "rm")],
)
def test_a_unit_name_is_safe_in_paths_and_units(given: str, name: str) -> None:
    assert unit_name(given) == name


# The installer


def install(bundle: Path, root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    places = ["--prefix", str(root / "opt"), "--units", str(root / "units"), "--no-start"]
    command = ["sh", str(bundle / "install.sh"), *places, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def contents(root: Path) -> dict[str, str]:
    files = [path for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def command_of(root: Path) -> list[str]:
    (unit,) = (root / "units").iterdir()
    text = unit.read_text()
    assert not re.search("@[A-Z]+@", text)
    (line,) = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    return line.removeprefix("ExecStart=").split()


@pytest.mark.parametrize("server", ["program", "agent"])
def test_installing_twice_and_uninstalling(
    bundles: dict[str, tuple[Path, Graph, bytes]], tmp_path: Path, server: str
) -> None:
    bundle, graph, _ = bundles["none"]
    options = ["--server", server, "--port", "/dev/ttyAMA0", "--baud", "57600", "--python", sys.executable]
    done = install(bundle, tmp_path, *options)
    assert (done.returncode, done.stderr) == (0, "")
    name = unit_name(graph.name)
    assert f"installed {server} as edge-tqs-{name}.service on /dev/ttyAMA0" in done.stdout
    first = contents(tmp_path)
    assert install(bundle, tmp_path, *options).returncode == 0
    assert contents(tmp_path) == first

    command = command_of(tmp_path)
    assert command[-2 - 2 * (server == "agent") :][:2] == ["--baud", "57600"]
    assert "/dev/ttyAMA0" in command
    served_by = command[1] if server == "agent" else command[0]
    assert Path(served_by).is_relative_to(tmp_path / "opt" / name)
    assert os.access(served_by, os.X_OK)

    assert install(bundle, tmp_path, "--uninstall").returncode == 0
    assert contents(tmp_path) == {}
    assert install(bundle, tmp_path, "--uninstall").returncode == 0


def test_what_was_not_installed_stays_and_others_may_read_what_was(
    bundles: dict[str, tuple[Path, Graph, bytes]], tmp_path: Path
) -> None:
    bundle, graph, _ = bundles["none"]
    folder = tmp_path / "opt" / unit_name(graph.name)
    folder.mkdir(parents=True)
    (folder / "mine.csv").write_text("1\n")
    assert "nothing of" in install(bundle, tmp_path, "--uninstall").stdout
    before = os.umask(0o077)
    try:
        private = tmp_path / "private"
        shutil.copytree(bundle, private)
        for file in private.rglob("*"):
            file.chmod(0o700)
        assert install(private, tmp_path).returncode == 0
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if private not in path.parents}
    assert modes[f"edge-tqs-{folder.name}.service"] & 0o044 == 0o044
    assert all(modes[name] & 0o044 == 0o044 for name in ("forecaster", "model.tflite", "model.json", "README.txt"))
    done = install(bundle, tmp_path, "--uninstall")
    assert (done.returncode, [*contents(folder)]) == (0, ["mine.csv"])
    assert "kept" in done.stdout


def test_live_forecasts_by_a_broker_alone(bundles: dict[str, tuple[Path, Graph, bytes]], tmp_path: Path) -> None:
    bundle, graph, _ = bundles["none"]
    shutil.copytree(bundle, tmp_path / "bundle")
    config = {**json.loads((bundle / "forecastd.json").read_text()), "period": "1h", "horizon": 2}
    config |= {"columns": {name: {} for name in graph.forecast.columns}, "source": {"kind": "stdin"}}
    config["sinks"] = [{"kind": "jsonl", "path": "-"}]
    (tmp_path / "bundle/forecastd.json").write_text(json.dumps(config))
    done = install(tmp_path / "bundle", tmp_path, "--broker", "10.0.0.1:1884")
    assert (done.returncode, done.stderr) == (0, "")
    assert command_of(tmp_path)[-3:] == [
        str(tmp_path / "opt" / unit_name(graph.name) / "edge-tqs-forecastd"),
        "--broker",
        "10.0.0.1:1884",
    ]


def test_an_edited_configuration_is_the_users(bundles: dict[str, tuple[Path, Graph, bytes]], tmp_path: Path) -> None:
    """Of an update the new one lies beside it, as Debian keeps files of /etc."""
    bundle, graph, _ = bundles["none"]
    shutil.copytree(bundle, tmp_path / "bundle")
    columns = {name: {} for name in graph.forecast.columns}
    source = {"kind": "csv", "path": "/measured.csv"}
    config = {"source": source, "sinks": [{"kind": "jsonl", "path": "-"}], "columns": columns, "period": "1h"}

    def update(horizon: int, *options: str) -> str:
        (tmp_path / "bundle/forecastd.json").write_text(json.dumps({**config, "horizon": horizon}))
        done = install(tmp_path / "bundle", tmp_path, "--server", "forecastd", *options)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    installed = tmp_path / "opt" / unit_name(graph.name) / "forecastd.json"
    update(2)
    assert "kept" not in update(3)
    assert json.loads(installed.read_text())["horizon"] == 3
    installed.write_text(json.dumps({**config, "horizon": 7}))
    assert f"kept {installed}, which was edited" in update(4)
    assert [json.loads(path.read_text())["horizon"] for path in (installed, Path(f"{installed}.new"))] == [7, 4]
    assert "kept" in update(5)
    assert "kept" not in update(6, "--replace-config")
    assert json.loads(installed.read_text())["horizon"] == 6
    assert not Path(f"{installed}.new").exists()
    assert install(tmp_path / "bundle", tmp_path, "--uninstall").returncode == 0
    assert not installed.parent.exists()


@pytest.mark.parametrize("unit", ["edge-tqs.service", "edge-tqs-forecastd.service"])
def test_the_units_give_little_away(bundles: dict[str, tuple[Path, Graph, bytes]], tmp_path: Path, unit: str) -> None:
    text = (bundles["none"][0] / unit).read_text()
    assert shutil.which("systemd-analyze"), "tools/setup installs systemd"
    (tmp_path / unit).write_text(text.replace("@COMMAND@", "/bin/true").replace("@FOLDER@", "/opt"))
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", str(tmp_path / unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "unknown" not in done.stderr.lower()
    assert done.returncode == 0, done.stdout.splitlines()[-1]


def test_a_unit_of_another_prefix_stays(bundles: dict[str, tuple[Path, Graph, bytes]], tmp_path: Path) -> None:
    bundle, graph, _ = bundles["none"]
    assert install(bundle, tmp_path).returncode == 0
    before = contents(tmp_path)
    for other in ("elsewhere", "opt/opt"):
        done = install(bundle, tmp_path, "--uninstall", "--prefix", str(tmp_path / other))
        assert (done.returncode, contents(tmp_path)) == (0, before)
        assert f"nothing of {unit_name(graph.name)} is installed in {tmp_path / other}" in done.stdout


def test_the_installed_agent_serves(bundles: dict[str, tuple[Path, Graph, bytes]], tmp_path: Path) -> None:
    bundle, graph, model = bundles["stateful"]
    assert install(bundle, tmp_path, "--server", "agent", "--python", sys.executable).returncode == 0
    with served(tmp_path / "opt" / unit_name(graph.name)) as device:
        device.require_model(tflite_model.model_hash(model))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--server", "robot"], "program, agent or forecastd"),
        (["--frobnicate"], "unknown option"),
        (["--port"], "needs a value"),
        (["--port", ""], "--port is empty"),
        (["--port", "/dev/tty; reboot"], "can stand in a unit"),
        (["--baud", "fast"], "not a number"),
        (["--broker", ""], "--broker is empty"),
        (["--broker", "10.0.0.1; reboot"], "can stand in a unit"),
        (["--server", "program", "--broker", "10.0.0.1"], "for live forecasts"),
        (["--prefix", "here"], "absolute"),
    ],
)
def test_wrong_use_of_the_installer(
    bundles: dict[str, tuple[Path, Graph, bytes]], tmp_path: Path, options: list[str], said: str
) -> None:
    done = install(bundles["none"][0], tmp_path, *options)
    assert done.returncode == 2
    assert said in done.stderr
    assert contents(tmp_path) == {}


def test_the_installer_without_a_program(bundles: dict[str, tuple[Path, Graph, bytes]], tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle", bundles["none"][2], None, BOARD)
    done = install(tmp_path / "bundle", tmp_path / "root")
    assert done.returncode == 2
    assert "--server agent" in done.stderr


def test_the_agent_is_not_installed_where_pip_has_no_runtime(
    bundles: dict[str, tuple[Path, Graph, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Raspberry Pi Zero says so before it makes an environment; the program, and a Python that is given, go on."""
    uname = tmp_path / "programs" / "uname"
    uname.parent.mkdir()
    uname.write_text("#!/bin/sh\necho armv6l\n")
    uname.chmod(0o755)
    monkeypatch.setenv("PATH", f"{uname.parent}:{os.environ['PATH']}")
    bundle = bundles["none"][0]
    done = install(bundle, tmp_path / "none", "--server", "agent")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "no wheels for ARMv6: use --server program" in done.stderr
    assert not list(tmp_path.rglob("venv"))
    assert install(bundle, tmp_path / "one").returncode == 0
    assert install(bundle, tmp_path / "two", "--server", "agent", "--python", sys.executable).returncode == 0


def test_the_installer_helps(bundles: dict[str, tuple[Path, Graph, bytes]], tmp_path: Path) -> None:
    done = install(bundles["none"][0], tmp_path, "--help")
    assert done.returncode == 0
    for option in (
        "--server",
        "--port",
        "--baud",
        "--broker",
        "--replace-config",
        "--prefix",
        "--units",
        "--python",
        "--no-start",
        "--uninstall",
    ):
        assert option in done.stdout


def test_an_agent_that_cannot_start_says_why(bundles: dict[str, tuple[Path, Graph, bytes]], tmp_path: Path) -> None:
    bundle, _, _ = bundles["none"]
    for file in ("agent.py", "forecaster.py"):
        (tmp_path / file).write_bytes((bundle / file).read_bytes())
    said = r"exit status 2; its last words:\n  agent: cannot read"
    with pytest.raises(ToolError, match=said), start_agent(BOARD, tmp_path):
        pass
