"""Files for some runtimes alone, and files without names: what they save, and that they are the same model."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import KINDS, METADATA, needs_tflm, quantized, random_graph, random_seeds

from edge_tqs.errors import CheckError, UsageError
from edge_tqs.flatbuffer import lower
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.flatbuffer.form import FOR_ALL, FileForm
from edge_tqs.graph.graph import Graph
from edge_tqs.quantization import runtimes, simulate

MICRO, STRIPPED = FileForm(("tflm", "c")), FileForm(strip=True)


Run = Callable[..., tuple[int, str, str]]


def drawn(number: int) -> Graph:
    rng = np.random.default_rng([31, number])
    return quantized(rng, random_graph(rng, KINDS[number % len(KINDS)]))


def written(graph: Graph, form: FileForm) -> bytes:
    plan = {source: 8 if tensors[0].dtype == "int8" else 4 for source, tensors in graph.weights().items()}
    return tflite_model.write(graph, METADATA | {"plan": plan}, form)


def tables(model: bytes) -> list[Any]:
    root = lower.schema().Model.GetRootAsModel(model, 0).Subgraphs(0)
    return [root.Tensors(index) for index in range(root.TensorsLength())]


@pytest.mark.parametrize("number", range(4))
def test_what_is_equal_is_written_once(number: int) -> None:
    """Of all vectors of scales and zero points: those of equal numbers lie at one place."""
    places: dict[bytes, set[int]] = {}
    for tensor in tables(written(drawn(number), FOR_ALL)):
        quantization = tensor.Quantization()
        if quantization is None:  # an operand
            continue
        for slot, values in ((8, quantization.ScaleAsNumpy()), (10, quantization.ZeroPointAsNumpy())):
            table = quantization._tab
            places.setdefault(values.tobytes(), set()).add(int(table.Vector(table.Offset(slot))))
    assert len(places) > 5
    assert all(len(found) == 1 for found in places.values())


@needs_tflm
@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("form", [MICRO, STRIPPED, FileForm(("tflm",), strip=True)])
def test_each_form_computes_the_same_and_is_smaller(number: int, form: FileForm) -> None:
    graph = drawn(number)
    codes = simulate.encode(graph, random_seeds(np.random.default_rng(number), graph, 2))
    model = written(graph, form)
    assert len(model) < len(written(graph, FOR_ALL))
    expected = simulate.integer_rollout(graph, codes, 12)
    again, metadata = tflite_model.read(model)
    np.testing.assert_array_equal(simulate.integer_rollout(again, codes, 12).outputs, expected.outputs)
    np.testing.assert_array_equal(runtimes.rollout_in("tflm", model, graph, codes, 12).outputs, expected.outputs)
    assert written_again(again, metadata, form) == model
    if form is STRIPPED:
        litert = runtimes.rollout_in("litert", model, graph, codes, 12).outputs
        np.testing.assert_array_equal(
            litert, runtimes.rollout_in("litert", written(graph, FOR_ALL), graph, codes, 12).outputs
        )


def written_again(graph: Graph, metadata: dict[str, Any], form: FileForm) -> bytes:
    return tflite_model.write(graph, {key: metadata[key] for key in METADATA}, form)


def test_a_stripped_file_names_no_weight() -> None:
    graph = drawn(1)
    model, plain = written(graph, STRIPPED), written(graph, FOR_ALL)
    names = [name for tensors in graph.weights().values() for name in (tensors[0].name, tensors[0].source)]
    assert all(name.encode() in plain and name.encode() not in model for name in names if name and len(name) > 3)
    again, metadata = tflite_model.read(model)
    assert metadata["plan"].keys() == again.weights().keys()
    assert [tensors[0].shape for tensors in again.weights().values()] == [
        tensors[0].shape for tensors in graph.weights().values()
    ]


def test_litert_refuses_what_is_written_for_tflite_micro_alone() -> None:
    graph = drawn(1)
    codes = simulate.encode(graph, random_seeds(np.random.default_rng(0), graph, 1))
    with pytest.raises(CheckError, match="ai-edge-litert refuses"):
        runtimes.rollout_in("litert", written(graph, MICRO), graph, codes, 1)


def test_a_runtime_that_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match="there is no runtime tflite") as error:
        FileForm(("litert", "tflite"))
    assert "litert, tflite-runtime, tflm, c" in error.value.hint
    with pytest.raises(UsageError, match="no runtime is named"):
        FileForm(())


@pytest.mark.emulated
def test_build_leaves_out_what_is_not_asked_for(keras: Any, tmp_path: Path, run: Run) -> None:
    keras.utils.set_random_seed(0)
    model = tmp_path / "model.keras"
    keras.Sequential([keras.Input((6, 2)), keras.layers.Flatten(), keras.layers.Dense(2)]).save(model)
    asked = ("build", str(model), "--bits", "8", "--horizon", "8", "--runtimes", "tflm, c")
    code, _, error = run(*asked, "--board", "rpi4", "--out", str(tmp_path / "linux"))
    assert code == 2
    assert "--runtimes litert,tflm,c" in error
    out = str(tmp_path / "micro")
    code, printed, error = run(*asked, "--board", "qemu-mps2-an386", "--out", out, "--strip")
    assert code == 0, error
    assert "tflite-micro bit for bit" in printed
    assert "LiteRT not compared" in printed
    (time,) = re.findall("^time +(.*)$", printed, re.MULTILINE)
    assert re.fullmatch(r"modelled: \d\S* ms a step at 25 MHz, \N{PLUS-MINUS SIGN}\d+ %", time)
    assert run("validate", out, "--rollouts", "1")[0] == 0
    assert "Modelled, not measured" in Path(out, "report.html").read_text(encoding="utf-8")
    code, printed, error = run(*asked, "--board", "qemu-mps2-an386", "--dry-run")
    assert f"time        {time}" in printed.splitlines(), error
    code, printed, error = run(*asked, "--board", "qemu-mps2-an386", "--dry-run", "--latency", "1us")
    assert code == 2
    assert re.search(r"--latency 0.001 ms cannot be kept: the fastest that was tried takes 0\.0\d+ ms, modelled", error)
