"""examples/uart-forecast: text in, forecasts out, on this host and on an emulated board."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import serial
from c_library import compile_c, include_flags, model_sources
from graphs import METADATA, quantized, random_graph

from edge_tqs.boards.board import load_board
from edge_tqs.boards.emulator.emulator import start
from edge_tqs.boards.firmware import assemble, compile_firmware
from edge_tqs.emit_c.emit import emit
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.graph.graph import Array, Graph, Scaling
from edge_tqs.quantization import simulate
from edge_tqs.templates import template_root

EXAMPLE = Path(__file__).parent.parent / "examples" / "uart-forecast"
HORIZON = 8  # the example's own


def tiny(recurrence: str) -> Graph:
    rng = np.random.default_rng(21)
    graph = random_graph(rng)
    while graph.forecast.recurrence != recurrence or graph.forecast.channels < 2:
        graph = random_graph(rng)
    channels = graph.forecast.channels
    scaling = Scaling(tuple(40.0 * i - 30 for i in range(channels)), tuple(2.0 * (i + 1) for i in range(channels)))
    return quantized(rng, replace(graph, forecast=replace(graph.forecast, scaling=scaling)))


def expected(graph: Graph) -> tuple[list[str], Array]:
    """(a window as lines, what the integer reference forecasts from it in physical units)."""
    forecast, quant = graph.forecast, graph.tensors[graph.input].quant
    assert forecast.scaling is not None
    assert quant is not None
    mean, std = np.array(forecast.scaling.mean), np.array(forecast.scaling.std)
    codes = np.random.default_rng(3).integers(-100, 100, (1, forecast.window, forecast.channels)).astype(np.int8)
    samples = (codes[0].astype(np.float64) - int(quant.zero_point)) * float(quant.scale[0]) * std + mean
    outputs = simulate.integer_rollout(graph, codes, HORIZON).outputs[0]
    channels = list(forecast.output_channels)
    lines = [",".join(f"{value:.6f}" for value in sample) for sample in samples]
    return lines, simulate.decode(graph, outputs).astype(np.float64) * std[channels] + mean[channels]


def converse(graph: Graph, ask: Callable[[str], list[str]]) -> None:
    """Feed a window twice, with lines between that are no samples; ask(line) gives the lines of the answer."""
    lines, wanted = expected(graph)
    for bad in ("", "1", "x," * graph.forecast.channels, lines[0] + ",1", lines[0].replace(",", ";"), "1e5,2"):
        assert ask(bad) == ["error not a sample"]
    assert ask("1" * 400) == ["error line too long"]
    for _ in range(2):
        for count, line in enumerate(lines[:-1], start=1):
            assert ask(line) == [f"wait {len(lines) - count}"]
        head, *rows = ask(f" {lines[-1].replace(',', ' , ')}\r" if len(lines[-1]) < 24 else lines[-1])
        assert head == f"forecast {HORIZON}"
        printed = np.array([[float(value) for value in row.split(",")] for row in rows])
        np.testing.assert_allclose(printed, wanted, rtol=1e-5, atol=2e-5)
        assert ask("reset") == [f"wait {len(lines)}"]


def answer_of(read_line: Callable[[], str]) -> list[str]:
    head = read_line()
    count = int(head.split()[1]) if head.startswith("forecast") else 0
    return [head, *(read_line() for _ in range(count))]


@pytest.mark.parametrize("recurrence", ["none", "windowed", "stateful"])
def test_on_the_host(recurrence: str, tmp_path: Path) -> None:
    graph = tiny(recurrence)
    sources = [*model_sources(graph, tmp_path), EXAMPLE / "main.c", EXAMPLE / "host_uart.c"]
    flags = ["-O2", "-fsanitize=undefined", "-fno-sanitize-recover=undefined"]
    program = compile_c(
        sources, tmp_path / "main", [*flags, *include_flags(tmp_path, template_root() / "drivers" / "uart")]
    )
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        reader = child.stdout

        def ask(line: str) -> list[str]:
            assert child.stdin is not None
            child.stdin.write(line + "\n")
            child.stdin.flush()
            return answer_of(lambda: reader.readline().rstrip("\n"))

        converse(graph, ask)
        child.stdin.close()
        assert child.wait(10) == 0


@pytest.mark.emulated
@pytest.mark.parametrize("recurrence", ["none", "stateful"])
def test_on_an_emulated_board(recurrence: str, tmp_path: Path) -> None:
    """As the README says: its main.c in place of the firmware folder's."""
    graph, board = tiny(recurrence), load_board("qemu-mps2-an386")
    digest = tflite_model.model_hash(tflite_model.write(graph, METADATA))
    generated = emit(graph, digest, graph.name, board.core)
    firmware = assemble(board, generated.files, generated.kernels, tmp_path / "firmware")
    shutil.copyfile(EXAMPLE / "main.c", tmp_path / "firmware" / "ports" / "bare" / "main.c")
    image = compile_firmware(firmware, extra_cflags="-Werror")
    with start(board, image.elf) as running, serial.Serial(running.port, timeout=20) as port:

        def ask(line: str) -> list[str]:
            port.write(line.encode("ascii") + b"\n")
            return answer_of(lambda: port.readline().decode("ascii").rstrip("\n"))

        converse(graph, ask)
