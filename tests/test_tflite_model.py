"""The flatbuffer: what is written is read back, bytes are the same each time, damage is refused."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import KINDS, METADATA, Builder, quantized, quantized16, random_graph, random_seeds, rescaled_graph

from edge_tqs.errors import ModelError
from edge_tqs.flatbuffer import lower as tflite_lower
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.graph.graph import Forecast, Graph, Output, Scaling
from edge_tqs.quantization import runtimes, simulate
from edge_tqs.quantization.calibration import calibrate
from edge_tqs.quantization.quantize import quantize

FORMAT = Path(__file__).parent.parent / "docs" / "format.md"


def drawn(number: int) -> Graph:
    rng = np.random.default_rng([21, number])
    return quantized(rng, random_graph(rng, KINDS[number % len(KINDS)]))


def with_curves() -> Graph:
    """One with int16 activations and functions of one value: the first that is drawn."""
    for number in range(100):
        rng = np.random.default_rng([22, number])
        graph = quantized16(rng, random_graph(rng, "mlp"))
        if any(op.kind == "curve" for op in graph.ops):
            return graph
    raise AssertionError("none has an elu")


def parse(model: bytes):  # the objects of the schema's Python API
    schema = tflite_lower.schema()
    return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(model, 0))


def rehash(model: bytes) -> bytes:
    """``model`` with the hash that belongs to its bytes, as an attacker or another tool would leave it."""
    found = re.search(rb'"model_hash":"(.{64})"', model, re.DOTALL)
    if found is None:
        return model
    zeroed = model[: found.start(1)] + b"0" * 64 + model[found.end(1) :]
    return model[: found.start(1)] + hashlib.sha256(zeroed).hexdigest().encode() + model[found.end(1) :]


def assert_equal(a: Graph, b: Graph) -> None:
    assert (a.name, a.ops, a.input, a.output, a.states, a.forecast) == (
        b.name, b.ops, b.input, b.output, b.states, b.forecast,
    )  # fmt: skip
    assert list(a.tensors) == list(b.tensors)
    for name, first in a.tensors.items():
        second = b.tensors[name]
        assert (first.shape, first.dtype) == (second.shape, second.dtype)
        assert (first.data is None) == (second.data is None)
        if first.data is not None:
            np.testing.assert_array_equal(first.data, second.data)
            assert first.data.dtype == second.data.dtype
        np.testing.assert_array_equal(first.quant.scale, second.quant.scale)
        assert first.quant.zero_point == second.quant.zero_point
    assert {s: [t.name for t in ts] for s, ts in a.weights().items()} == {
        s: [t.name for t in ts] for s, ts in b.weights().items()
    }


# --- round trip -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(18))
def test_what_is_written_is_read_back(number):
    graph = drawn(number)
    scaling = Scaling((0.5,) * graph.forecast.channels, (2.25,) * graph.forecast.channels)
    graph = replace(graph, forecast=replace(graph.forecast, scaling=scaling if number % 2 else None))
    model = tflite_model.write(graph, METADATA)
    again, metadata = tflite_model.read(model)
    assert_equal(graph, again)
    assert metadata["model_hash"] == tflite_model.model_hash(model)
    assert tflite_model.write(again, METADATA) == model


def test_names_and_units_beyond_ascii_survive():
    graph = drawn(1)
    columns = tuple(f'Zürich °C {i} "quoted"' for i in range(graph.forecast.channels))
    graph = replace(graph, name="Wärmepumpe", forecast=replace(graph.forecast, columns=columns))
    again, metadata = tflite_model.read(tflite_model.write(graph, METADATA))
    assert again.name == "Wärmepumpe"
    assert again.forecast.columns == columns
    assert metadata["columns"] == list(columns)


def test_two_int4_layers_of_one_input_share_its_reshape():
    b = Builder(np.random.default_rng(3))
    x = b.tensor("x", (1, 4))
    y = b.op(
        "add", (b.dense(x, b.weight("p", 4, 4), "p_y"), b.dense(x, b.weight("q", 4, 4), "q_y", b.bias("c", 4))), "y"
    )
    graph = Graph("pair", b.tensors, tuple(b.ops), x, y, (), Forecast(1, 4, "stateful", (0, 1, 2, 3))).check()
    seeds = random_seeds(np.random.default_rng(4), graph, 3)
    graph = quantize(graph, {"p": 4, "q": 4}, calibrate(graph, seeds, 5))
    model = tflite_model.write(graph, METADATA)
    assert kinds_of(model) == ["RESHAPE", "CONV_2D", "RESHAPE", "CONV_2D", "RESHAPE", "ADD"]
    assert_equal(graph, tflite_model.read(model)[0])


def test_a_vector_between_int4_layers_stays_an_image():
    b = Builder(np.random.default_rng(3))
    x = b.tensor("x", (1, 4))
    first = b.op("tanh", (b.dense(x, b.weight("p", 4, 4), "p_y"),), "h")
    y = b.dense(b.op("add", (first, first), "twice"), b.weight("q", 4, 4), "y")
    graph = Graph("chain", b.tensors, tuple(b.ops), x, y, (), Forecast(1, 4, "stateful", (0, 1, 2, 3))).check()
    seeds = random_seeds(np.random.default_rng(4), graph, 3)
    ranges = calibrate(graph, seeds, 5)
    int4, half = (quantize(graph, {"p": 4, "q": width}, ranges) for width in (4, 8))
    model = tflite_model.write(int4, METADATA)
    assert kinds_of(model) == ["RESHAPE", "CONV_2D", "TANH", "ADD", "CONV_2D", "RESHAPE"]
    assert_equal(int4, tflite_model.read(model)[0])
    codes = simulate.encode(int4, seeds)
    expected = runtimes.rollout_in("tflm", model, int4, codes, 8).outputs
    np.testing.assert_array_equal(simulate.integer_rollout(int4, codes, 8).outputs, expected)
    plain = ["RESHAPE", "CONV_2D", "RESHAPE", "TANH", "ADD", "FULLY_CONNECTED"]
    assert kinds_of(tflite_model.write(half, METADATA)) == plain


def kinds_of(model: bytes) -> list[str]:
    parsed, builtin = parse(model), tflite_lower.schema().BuiltinOperator
    names = {getattr(builtin, known.builtin): known.builtin for known in tflite_lower.BUILTINS.values()}
    return [names[parsed.operatorCodes[op.opcodeIndex].builtinCode] for op in parsed.subgraphs[0].operators]


def test_a_weight_that_two_int4_layers_share_is_stored_once():
    b = Builder(np.random.default_rng(3))
    x = b.tensor("x", (1, 4))
    w = b.weight("w", 4, 4)
    y = b.dense(b.dense(x, w, "first"), w, "second")
    graph = Graph("tied", b.tensors, tuple(b.ops), x, y, (), Forecast(1, 4, "stateful", (0, 1, 2, 3))).check()
    graph = quantize(graph, {"w": 4}, calibrate(graph, random_seeds(np.random.default_rng(4), graph, 3), 5))
    shared = graph.ops[0].inputs[1]
    graph = replace(graph, ops=tuple(replace(op, inputs=(op.inputs[0], shared)) for op in graph.ops))
    again, _ = tflite_model.read(tflite_model.write(graph, METADATA))
    assert again.ops == graph.ops
    assert again.tensors[shared].shape == (4, 4)


# --- bytes ----------------------------------------------------------------------------------------------------------


def test_equal_graphs_give_equal_bytes():
    for number in range(3):
        assert tflite_model.write(drawn(number), METADATA) == tflite_model.write(drawn(number), METADATA)


@pytest.mark.parametrize("number", range(6))
def test_every_buffer_is_aligned(number):
    model = tflite_model.write(drawn(number), METADATA)
    root = tflite_lower.schema().Model.GetRootAsModel(model, 0)
    filled = 0
    for index in range(root.BuffersLength()):
        data = root.Buffers(index).DataAsNumpy()
        if not isinstance(data, int):  # an empty buffer answers 0
            start = data.__array_interface__["data"][0] - np.frombuffer(model, np.uint8).__array_interface__["data"][0]
            assert start % 16 == 0
            filled += 1
    assert filled >= 3


def test_tensors_that_nobody_reads_are_left_out():
    graph = drawn(0)
    extra = replace(graph.tensors[graph.input], name="idle")
    with_extra = replace(graph, tensors=dict(graph.tensors) | {"idle": extra})
    assert tflite_model.write(with_extra, METADATA) == tflite_model.write(graph, METADATA)


def test_the_signature_names_each_state_on_both_sides():
    graph = drawn(1)
    parsed = parse(tflite_model.write(graph, METADATA))
    (signature,) = parsed.signatureDefs
    tensors = parsed.subgraphs[0].tensors
    assert signature.signatureKey == b"serving_default"
    sides = [
        {e.name.decode(): tensors[e.tensorIndex].name.decode() for e in side}
        for side in (signature.inputs, signature.outputs)
    ]
    assert sides[0] == {"x": graph.input} | {s.name: s.input for s in graph.states}
    assert sides[1] == {"y": graph.output} | {s.name: s.output for s in graph.states}
    assert [e.tensorIndex for e in signature.inputs] == list(parsed.subgraphs[0].inputs)


def test_the_metadata_is_what_the_document_says():
    graph = drawn(1)
    model = tflite_model.write(graph, METADATA | {"plan": {"k": 4}})
    parsed = parse(model)
    (entry,) = parsed.metadata
    text = bytes(parsed.buffers[entry.buffer].data)
    described = json.loads(text)
    rows = re.findall(r"^\| (\w+) \|", FORMAT.read_text(encoding="utf-8").split("## Metadata")[1], re.MULTILINE)
    assert entry.name == b"edge_tqs"
    kinds = {"held", "output_scaling", "predicted", "task", "whole"}
    assert sorted(set(rows) - {"key", "sources"} - kinds) == list(described)
    assert described["format_version"] == 2
    named = tuple(Output(f"y{i}", channel=i) for i in range(graph.forecast.outputs))
    units = Scaling((0.0,) * len(named), (1.0,) * len(named))
    said = replace(graph.forecast, held=(0,), predicted=named, output_scaling=units, whole=((0, 3),))
    parsed = parse(tflite_model.write(replace(graph, forecast=said), METADATA))
    full = json.loads(bytes(parsed.buffers[parsed.metadata[0].buffer].data))
    assert sorted(set(rows) - {"key", "sources"}) == list(full)
    assert full["format_version"] == 3
    assert text == json.dumps(described, sort_keys=True, separators=(",", ":")).encode()
    assert text.startswith(b'{"channels":')
    assert model.count(b'{"channels":') == 1
    assert described["plan"] == {"k": 4}
    assert described["window"] == graph.forecast.window


@pytest.mark.parametrize(
    ("plan", "version", "sources"),
    [({"whole": 8}, 5, None), ({"whole/1": 8, "whole": 8}, 2, {"whole/1": "whole"}), ({}, 2, {"whole/1": "whole"})],
)
def test_a_part_of_a_weight_is_told_by_its_name_where_that_is_enough(plan, version, sources):
    rng = np.random.default_rng(3)
    b = Builder(rng)
    x = b.op("reshape", (b.tensor("x", (1, 1, 2)),), "flat", 2)
    y = b.dense(x, b.weight("whole", 2, 2, "whole/1"), "y")
    graph = quantized(rng, Graph("parts", b.tensors, tuple(b.ops), "x", y, (), Forecast(1, 2, "none", (0, 1))))
    model = tflite_model.write(graph, METADATA | {"plan": plan})
    read, described = tflite_model.read(model)
    assert list(read.weights()) == ["whole"]
    assert (described["format_version"], described.get("sources")) == (version, sources)


def test_the_document_names_every_operator():
    text = FORMAT.read_text(encoding="utf-8")
    listed = re.search(r"^### Operators\n\n([A-Z0-9_,\s]*)\.$", text, re.MULTILINE)
    named = listed.group(1).replace("\n", " ").split(", ")
    assert sorted(named) == sorted(known.builtin for known in tflite_lower.BUILTINS.values())


@pytest.mark.parametrize("number", [*range(6), "rescaled"])
def test_the_example_of_the_document_runs(number, tmp_path, monkeypatch, capsys):
    graph = rescaled_graph("stateful", 4) if number == "rescaled" else drawn(number)
    (code,) = re.findall(r"```python\n(.*?)```", FORMAT.read_text(encoding="utf-8"), re.DOTALL)
    assert len(code.splitlines()) <= 32
    shape = (1, graph.forecast.seed_length(96), graph.forecast.channels)
    seed = np.random.default_rng(len(str(number))).normal(size=shape).astype(np.float32)
    model = tflite_model.write(graph, METADATA)
    (tmp_path / "model.tflite").write_bytes(model)
    np.save(tmp_path / "seed.npy", seed[0])
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    exec(compile(code, "format.md", "exec"), scope)
    rollout = runtimes.rollout_in("litert", model, graph, simulate.encode(graph, seed), 96)
    np.testing.assert_array_equal(np.array(scope["forecast"]), rollout.outputs[0])
    assert capsys.readouterr().out.startswith("[[")


# --- the hash -------------------------------------------------------------------------------------------------------


def test_the_hash_is_that_of_the_file_with_its_digits_as_zeros():
    model = tflite_model.write(drawn(2), METADATA)
    digits = tflite_model.model_hash(model)
    assert hashlib.sha256(model.replace(digits.encode(), b"0" * 64)).hexdigest() == digits


def test_another_plan_has_another_hash():
    graph = drawn(2)
    hashes = {tflite_model.model_hash(tflite_model.write(graph, METADATA | {"plan": {"k": w}})) for w in (4, 8)}
    assert len(hashes) == 2


# --- refusals -------------------------------------------------------------------------------------------------------


def test_a_float_graph_is_not_written():
    with pytest.raises(ModelError, match="only an integer graph"):
        tflite_model.write(random_graph(np.random.default_rng(0)), METADATA)


def test_metadata_of_other_fields_is_not_written():
    with pytest.raises(ModelError, match="generator"):
        tflite_model.write(drawn(0), {"plan": {}})


@pytest.mark.parametrize(
    "content", [b"", b"TFL3", b"a,b\n1,2\n", b"\x00" * 4 + b"TFL3", b"\x1c\x00\x00\x00TFL3" + bytes(99)]
)
def test_what_is_no_model_of_ours_is_refused(content):
    with pytest.raises(ModelError) as error:
        tflite_model.read(content)
    assert "edge-tqs build" in error.value.hint


def test_a_model_of_another_tool_is_refused():
    parsed = parse(tflite_model.write(drawn(0), METADATA))
    parsed.metadata = []
    parsed.buffers.pop()
    with pytest.raises(ModelError, match="did not write it"):
        tflite_model.read(tflite_model._pack(parsed))


def edited(graph: Graph, change) -> bytes:
    parsed = parse(tflite_model.write(graph, METADATA))
    change(parsed)
    return rehash(tflite_model._pack(parsed))


def test_a_changed_model_is_refused():
    model = bytearray(tflite_model.write(drawn(0), METADATA))
    model[-1] ^= 1
    with pytest.raises(ModelError, match="changed after it was built"):
        tflite_model.read(bytes(model))


def test_an_operator_that_we_never_write_is_refused():
    def change(parsed):
        parsed.operatorCodes[0].builtinCode = parsed.operatorCodes[0].deprecatedBuiltinCode = 7  # EMBEDDING_LOOKUP

    with pytest.raises(ModelError, match="operator 7"):
        tflite_model.read(edited(drawn(0), change))


def test_a_newer_format_is_refused():
    model = tflite_model.write(drawn(0), METADATA).replace(b'"format_version":2', b'"format_version":6')
    with pytest.raises(ModelError, match="format version 6; this edge-tqs reads 1 to 5") as error:
        tflite_model.read(rehash(model))
    assert "build it again" in error.value.hint


def test_more_tables_than_the_file_has_room_for_are_refused_before_they_are_read():
    model = bytearray(tflite_model.write(drawn(0), METADATA))
    tables = tflite_lower.schema().Model.GetRootAsModel(model, 0).Subgraphs(0)._tab
    struct.pack_into("<I", model, tables.Vector(tables.Offset(4)) - 4, len(model) // 4 + 1)  # how many tensors it has
    with pytest.raises(ModelError, match="claims more tables"):
        tflite_model.read(rehash(bytes(model)))


@pytest.mark.parametrize("scale", [float("nan"), 0.0, -1.0, float("inf")])
def test_an_impossible_scale_is_refused(scale):
    def change(parsed):
        parsed.subgraphs[0].tensors[0].quantization.scale = np.array([scale], np.float32)

    with pytest.raises(ModelError, match="impossible scale"):
        tflite_model.read(edited(drawn(0), change))


def test_a_missing_signature_is_refused():
    def change(parsed):
        parsed.signatureDefs = []

    with pytest.raises(ModelError, match="no signature"):
        tflite_model.read(edited(drawn(0), change))


@pytest.mark.parametrize("number", range(3))
def test_no_truncated_model_is_read(number):
    model = tflite_model.write(drawn(number), METADATA)
    for size in range(0, len(model), 97):
        with pytest.raises(ModelError):
            tflite_model.read(model[:size])


@pytest.mark.parametrize("number", range(4))
def test_damage_is_refused_even_where_the_hash_was_made_to_fit(number):
    """Each damaged file is refused with a message or gives a graph that passed its checks; nothing else is raised."""
    model = tflite_model.write(drawn(number) if number < 3 else with_curves(), METADATA)
    rng = np.random.default_rng(number)
    refused = 0
    for _ in range(400):
        damaged = bytearray(model)
        for place in rng.integers(0, len(model), rng.integers(1, 5)):
            damaged[place] = int(rng.choice((0, 1, 0x7F, 0x80, 0xFF, int(rng.integers(256)))))
        for content in (bytes(damaged), rehash(bytes(damaged))):
            try:
                graph, _ = tflite_model.read(content)
            except ModelError:
                refused += 1
            else:
                assert graph.check() is graph
    assert refused > 400
