"""Probe builds: what each operator computed is told as it was, and the images that are shipped know nothing of it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from device.lossy_line import LossyLine
from graphs import quantized, quantized16, random_codes, random_graph
from test_blocks_and_ahead import drawn, integer

from edge_tqs.boards.board import Board, load_board
from edge_tqs.boards.emulator.emulator import start
from edge_tqs.boards.firmware import Image, assemble, compile_firmware
from edge_tqs.device.device import Device, Times, UnknownRequestError, open_port
from edge_tqs.device.messages import Probe
from edge_tqs.emit_c.emit import emit, probe_points
from edge_tqs.errors import DeviceError
from edge_tqs.graph.graph import Array, Graph
from edge_tqs.validation.operator_probe import OperatorProbe

HASH = "00" * 32
ROLLOUTS, STEPS = 2, 5


def model(kind: str, recurrence: str, seed: int = 3, *, wide: bool = False) -> Graph:
    rng = np.random.default_rng(seed)
    while True:
        graph = random_graph(rng, kind)
        if graph.forecast.recurrence == recurrence:
            return quantized16(rng, graph) if wide else quantized(rng, graph)


def image_of(graph: Graph, board: Board, folder: Path, *, probe: bool = True) -> Image:
    generated = emit(graph, HASH, "model", board.core)
    firmware = assemble(board, generated.files, generated.kernels, folder, probe=probe)
    return compile_firmware(firmware, extra_cflags="-Werror")


def seeds_of(graph: Graph) -> Array:
    length = graph.forecast.seed_length(STEPS)
    return random_codes(np.random.default_rng(1), graph, (ROLLOUTS, length, graph.forecast.channels))


@contextmanager
def running(board: Board, image: Image) -> Iterator[Device]:
    with start(board, image.elf) as emulated, Device(open_port(emulated.port)) as device:
        device.hello()
        yield device


@pytest.mark.emulated
@pytest.mark.parametrize(
    ("kind", "recurrence", "board", "wide"),
    [
        ("tcn", "none", "host", False),
        ("lstm", "windowed", "host", True),
        ("gru", "stateful", "host", False),
        ("lstm", "windowed", "qemu-mps2-an386", False),
        ("gru", "stateful", "qemu-microbit", False),
    ],
)
def test_every_point_of_every_evaluation_is_what_the_reference_computes(
    kind: str, recurrence: str, board: str, wide: bool, tmp_path: Path
) -> None:
    graph, target = model(kind, recurrence, wide=wide), load_board(board)
    with running(target, image_of(graph, target, tmp_path)) as device:
        told = check_every_point(device, graph, seeds_of(graph), STEPS)
    assert told <= set(probe_points(graph))
    if board == "host":  # portable kernels fuse nothing
        assert told == set(probe_points(graph))


@pytest.mark.emulated
@pytest.mark.parametrize("recurrence", ["none", "windowed", "stateful"])
def test_blocks_of_samples_and_what_is_known_ahead(recurrence: str, tmp_path: Path) -> None:
    graph, codes, _ = integer(drawn(recurrence, 4, 1, (None, 0, None)))
    board = load_board("host")
    with running(board, image_of(graph, board, tmp_path)) as device:
        assert check_every_point(device, graph, codes[:ROLLOUTS], 6) == set(probe_points(graph))


def check_every_point(device: Device, graph: Graph, seeds: Array, steps: int) -> set[str]:
    """All that is told of any evaluation is right; which tensors that are."""
    probe, told = OperatorProbe(device, graph, seeds), set()
    for rollout in range(ROLLOUTS):
        inputs = probe._expected_inputs(rollout, steps)
        assert sorted({e for step in range(steps) for e in probe._evaluations_of(step)}) == list(range(len(inputs)))
        for evaluation, begin in enumerate(inputs):
            tensors = probe._tensors(*begin)
            points = probe._points(rollout, evaluation)
            assert probe._differing(points, tensors) == set()
            told |= points.keys()
    assert {graph.output, *(state.output for state in graph.states)} <= told
    for name in points:
        np.testing.assert_array_equal(probe._values(rollout, evaluation, name, tensors[name]), tensors[name])
    assert probe.locate(1, steps - 1).wrong == ()
    return told


def test_each_operator_takes_the_same_ticks_each_time(tmp_path: Path) -> None:
    graph, board = model("lstm", "windowed"), load_board("qemu-mps2-an386")
    with running(board, image_of(graph, board, tmp_path)) as device:
        probe = OperatorProbe(device, graph, seeds_of(graph))
        first, again = probe.times(), probe.times()
    names = [time.tensor for time in first]
    assert names == [name for name in probe_points(graph)[1 + len(graph.states) :] if name in names]
    assert {op.outputs[0] for op in graph.ops if op.kind == "fully_connected"} <= set(names)
    for one, other in zip(first, again, strict=True):
        assert abs(one.ticks - other.ticks) <= 2
        assert one.ticks > 0
    dense = {time.tensor: time.ticks for time in first if time.kind == "fully_connected"}
    assert max(dense.values()) == max(time.ticks for time in first)


@pytest.mark.parametrize("name", ["host", "qemu-mps2-an386", "qemu-microbit"])
def test_a_shipped_image_has_the_instructions_that_it_has_without_the_lines_of_the_probe(
    name: str, tmp_path: Path
) -> None:
    graph, board = model("lstm", "windowed"), load_board(name)
    shipped = image_of(graph, board, tmp_path / "shipped", probe=False)
    generated = emit(graph, HASH, "model", board.core)
    without, count = re.subn(r"    TQS_PROBE_POINT\(.*\);\n", "", generated.files["model.c"])
    files = {**generated.files, "model.c": without}
    assert count > len(graph.ops) // 2
    plain = compile_firmware(assemble(board, files, generated.kernels, tmp_path / "plain"))

    def sections(image: Image) -> bytes:
        loaded = image.elf.with_suffix(".loaded")
        command = [f"{board.toolchain}objcopy", "-O", "binary", "--strip-all", str(image.elf), str(loaded)]
        subprocess.run(command, check=True)
        return loaded.read_bytes()

    assert sections(shipped) == sections(plain)
    assert image_of(graph, board, tmp_path / "probe").text > shipped.text


def test_the_makefile_alone_makes_a_probe_build_and_back(tmp_path: Path) -> None:
    graph, board = model("mlp", "none"), load_board("host")
    shipped = image_of(graph, board, tmp_path, probe=False).elf.read_bytes()
    elf = tmp_path / "build" / "firmware.elf"
    for flags, same in ((["PROBE=1"], False), ([], True)):
        subprocess.run(["make", "-s", "clean", "all", *flags], cwd=tmp_path, check=True)
        assert (elf.read_bytes() == shipped) is same
    image_of(graph, board, tmp_path)
    assert (tmp_path / "build" / "firmware.elf").read_bytes() != shipped


def test_a_build_without_a_probe_does_not_know_the_request(tmp_path: Path) -> None:
    graph, board = model("mlp", "none"), load_board("host")
    with running(board, image_of(graph, board, tmp_path, probe=False)) as device:
        with pytest.raises(UnknownRequestError, match="UNKNOWN_TYPE"):
            OperatorProbe(device, graph, seeds_of(graph)).times()
        device.push(seeds_of(graph)[0])
        assert len(device.forecast(2)[0]) == 2


def test_a_request_that_is_wrong_is_refused_and_a_reset_ends_one_that_waits(tmp_path: Path) -> None:
    graph, board = model("mlp", "none"), load_board("host")
    seed = seeds_of(graph)[0]
    with running(board, image_of(graph, board, tmp_path)) as device:
        with pytest.raises(DeviceError, match="BAD_LENGTH"):
            device.acknowledge(Probe(0xFFFFFFFE))
        told = []
        device.acknowledge(Probe(0))
        device.reset()
        device.push(seed)
        device.observer = told.append
        device.forecast(1)
        assert [frame.type.name for frame in told if frame.type >= 0x87] == []


@pytest.mark.parametrize("way", ["to the board", "to the host"])
def test_what_is_lost_on_the_way_is_asked_for_again(way: str, tmp_path: Path) -> None:
    graph, board = model("gru", "stateful"), load_board("host")
    lost = {3, *np.random.default_rng(0).integers(0, 1000, 25).tolist()}

    def quiet(number: int, frame: bytes) -> list[bytes]:
        return [frame]

    def lossy(number: int, frame: bytes) -> list[bytes]:
        return [] if number in lost else [frame]

    ways = (lossy, quiet) if way == "to the board" else (quiet, lossy)
    with start(board, image_of(graph, board, tmp_path).elf) as emulated, LossyLine(emulated.port, *ways) as line:
        with Device(open_port(line.path), Times(answer=0.2, step=0.2)) as device:
            device.hello()
            probe = OperatorProbe(device, graph, seeds_of(graph))
            assert probe.locate(0, 2).wrong == ()
            assert probe.locate(1, 0).wrong == ()
        assert line.frames[ways.index(lossy)] > 3
