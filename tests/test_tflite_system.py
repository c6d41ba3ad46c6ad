"""A foreign .tflite as a black box: against Keras, operator by operator, and what is refused."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tflite_by_hand as by_hand
import tflite_models
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_tqs.errors import ModelError, UsageError
from edge_tqs.flatbuffer.in_child import _Child, check_runs
from edge_tqs.flatbuffer.litert import interpreter
from edge_tqs.flatbuffer.tables import parse
from edge_tqs.planning.divergence import add_rounding_noise
from edge_tqs.planning.score import score
from edge_tqs.read.keras.system import keras_system
from edge_tqs.read.opening import open_model
from edge_tqs.read.tflite import system as module
from edge_tqs.read.tflite.system import tflite_system
from edge_tqs.read.tflite.weights import OPERANDS
from edge_tqs.system.reading import Said
from edge_tqs.system.system import System
from edge_tqs.system.tensorflow import import_tensorflow

ROOT = Path(__file__).parent.parent
BY_HAND: dict[str, Callable[[], bytes]] = {
    "dense": by_hand.dense_model,
    "lstm": by_hand.lstm_model,
    "product": by_hand.product_model,
    "product transposed": lambda: by_hand.product_model(transposed=True),
    "product left": lambda: by_hand.product_model(left=True),
    "product left transposed": lambda: by_hand.product_model(left=True, transposed=True),
    "upsampling": by_hand.upsampling_model,
}


def spearman(one: list[float], other: list[float]) -> float:
    ranks = np.array([np.argsort(np.argsort(values)) for values in (one, other)])
    return float(np.corrcoef(ranks)[0, 1])


def one_by_one(model: bytes, seeds: np.ndarray, horizon: int) -> np.ndarray:
    """The closed loop in the plainest way: a fresh interpreter for each seed, output i fed back to input i."""
    outputs = []
    for seed in seeds:
        ready, window, row = interpreter(model), seed[None].copy(), []
        for _ in range(horizon):
            ready.reset_all_variables()
            ready.set_tensor(ready.get_input_details()[0]["index"], window)
            ready.invoke()
            y = ready.get_tensor(ready.get_output_details()[0]["index"]).reshape(1, -1)
            row.append(y[0])
            window = np.concatenate([window[:, 1:], y[:, None, : seeds.shape[2]]], axis=1)
        outputs.append(row)
    return np.array(outputs, np.float32)


def seeds_for(system: System, count: int = 3) -> np.ndarray:
    return np.random.default_rng(7).normal(size=(count, system.window, system.channels)).astype(np.float32)


@pytest.mark.parametrize("name", tflite_models.MODELS)
def test_ten_models_rank_their_tensors_as_keras_does(name: str) -> None:
    model = tflite_models.build(name)
    box, keras = tflite_system(tflite_models.convert(model), name), keras_system(model)
    pairs = {
        ours: [theirs for theirs, (other,) in keras.weights.items() if np.array_equal(part.rows(), other.rows())]
        for ours, (part,) in box.weights.items()
    }
    assert [len(matches) for matches in pairs.values()] == [1] * len(keras.weights)
    scores = [{t.name: t.tqs for t in score(system, horizon=48).tensors} for system in (box, keras)]
    ours = [scores[0][name] for name in pairs]
    theirs = [scores[1][match] for (match,) in pairs.values()]
    assert spearman(ours, theirs) >= 0.95
    np.testing.assert_allclose(ours, theirs, rtol=0.2)  # the same noise, so the same figures but for rounding
    assert (box.output_bias is None) == (keras.output_bias is None)


@pytest.mark.parametrize("name", [*BY_HAND, "depthwise", "attention", "loop"])
def test_every_weight_counts_and_is_restored_bit_for_bit(name: str) -> None:
    model = BY_HAND[name]() if name in BY_HAND else loop_model() if name == "loop" else converted(name)
    system = tflite_system(model, name)
    seeds = seeds_for(system)
    rollout, nominal = system.trace(4, len(seeds)), one_by_one(model, seeds, 4)
    np.testing.assert_allclose(rollout({}, seeds), nominal, rtol=1e-5, atol=1e-6)
    original = rollout({}, seeds)
    for source, (part,) in system.weights.items():
        noisy = add_rounding_noise(part, np.random.default_rng(1))
        edited = model.replace(part.data.tobytes(), noisy.tobytes())
        assert edited != model
        changed = rollout({source: noisy}, seeds)
        np.testing.assert_allclose(changed, one_by_one(edited, seeds, 4), rtol=1e-5, atol=1e-6)
        assert np.abs(changed - original).max() > 1e-6, source
        np.testing.assert_array_equal(rollout({}, seeds), original)
        np.testing.assert_array_equal(rollout({source: part.data}, seeds), original)
    np.testing.assert_array_equal(system.roll(seeds, 4), original)


def converted(name: str) -> bytes:
    return tflite_models.convert(tflite_models.build(name))


def loop_model() -> bytes:
    """An LSTM that the converter leaves as a WHILE, its kernels handed to the body from outside or held there."""
    keras = import_tensorflow().keras
    keras.utils.set_random_seed(3)
    return tflite_models.convert(keras.Sequential([keras.Input((6, 2)), keras.layers.LSTM(4), keras.layers.Dense(2)]))


def test_weights_of_a_loop_are_found() -> None:
    shapes = sorted(parts[0].data.shape for parts in tflite_system(loop_model(), "loop").weights.values())
    assert shapes == [(2, 4), (16, 2), (16, 4)]


def test_kinds_of_weights_are_all_seen() -> None:
    """Each kind in the tests above, so that none is believed untested; what LiteRT's float kernels share is listed."""
    alike = {"LSTM", "RNN", "UNIDIRECTIONAL_SEQUENCE_RNN", "BIDIRECTIONAL_SEQUENCE_LSTM", "SVDF", "CONV_3D"}
    files = [*(make() for make in BY_HAND.values()), converted("depthwise")]
    kinds = {op.kind for file in files for op in parse(file).graphs[0].operators}
    assert set(OPERANDS) - kinds == alike


def test_weights_are_found_with_their_channels_and_biases_are_not() -> None:
    found = tflite_system(by_hand.lstm_model(), "lstm").weights
    assert list(found) == [*(f"kernel {n}" for n in range(4)), *(f"recurrent {n}" for n in range(4)), "head weight"]
    assert {parts[0].channel_axes for parts in found.values()} == {(0,)}
    axes = {}
    for name, transposed, left in (("r", False, False), ("rt", True, False), ("l", False, True), ("lt", True, True)):
        system = tflite_system(by_hand.product_model(transposed=transposed, left=left), name)
        axes[name] = system.weights["product weight"][0].channels
    assert axes == {"r": 5, "rt": 5, "l": 6, "lt": 6}
    deep = tflite_system(converted("depthwise"), "depthwise")
    assert [(p.data.shape, p.channels) for (p,) in deep.weights.values() if p.data.shape[0] == 1] == [
        ((1, 1, 3, 6), 6),
        ((1, 1, 3, 6), 6),
    ]
    system = tflite_system(by_hand.dense_model(), "dense")
    assert system.output_bias is not None
    assert system.output_bias.name == "head bias"


def test_the_output_bias_shifts_the_forecast() -> None:
    model = by_hand.dense_model()
    system = tflite_system(model, "dense")
    seeds, bias = seeds_for(system), system.output_bias
    assert bias is not None
    shifted = system.trace(1, 3)({bias.name: bias.data + np.float32(0.25)}, seeds)
    np.testing.assert_allclose(shifted, system.roll(seeds, 1) + 0.25, atol=1e-6)


@pytest.mark.parametrize("name", ["mlp", "tcn", "depthwise", "attention"])
def test_an_open_batch_is_rolled_out_side_by_side_and_means_the_same(name: str, monkeypatch: Any) -> None:
    model = tflite_models.build(name)
    wide = tflite_system(tflite_models.convert(model, batch=None), name)
    narrow = tflite_system(tflite_models.convert(model), name)
    seeds = seeds_for(wide, 5)
    made: list[int | None] = []

    def opened(content: bytes, batch: int | None) -> Any:
        made.append(batch)
        return interpreter(content, batch)

    monkeypatch.setattr(module, "interpreter", opened)
    np.testing.assert_allclose(wide.roll(seeds, 6), narrow.roll(seeds, 6), atol=1e-5)
    assert made == [5, None]
    assert wide.roll(seeds[:0], 6).shape == narrow.roll(seeds[:0], 6).shape == (0, 6, 3)


def test_inputs_that_are_known_ahead_are_taken_from_the_seeds() -> None:
    model = by_hand.dense_model(4, 2)
    system = tflite_system(model, "dense", Said(feedback=(1, None)))
    assert system.exogenous == (1,)
    seeds = np.random.default_rng(3).normal(size=(2, 4 + 5, 2)).astype(np.float32)
    found = system.trace(5, 2)({}, seeds)
    window = seeds[:, :4].copy()
    plain = tflite_system(model, "dense")
    for t in range(5):
        y = plain.roll(window, 1)[:, 0]
        np.testing.assert_allclose(found[:, t], y, atol=1e-6)
        window = np.concatenate([window[:, 1:], np.stack([y[:, 1], seeds[:, 4 + t, 1]], axis=1)[:, None]], axis=1)


def test_scoring_a_black_box_never_imports_tensorflow(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(by_hand.lstm_model())
    code = (
        "import sys\nsys.modules.update({'tensorflow': None, 'keras': None})\n"
        "from pathlib import Path\nfrom edge_tqs.read.tflite.system import tflite_system\n"
        "from edge_tqs.planning.score import score\n"
        f"found = score(tflite_system(Path({str(path)!r}).read_bytes(), 'model'), horizon=8, draws=3)\n"
        "assert len(found.tensors) == 9, found\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


# --- what is refused --------------------------------------------------------------------------------------------------


def refused(model: bytes, says: str, hint: str = "", feedback: Any = None) -> None:
    with pytest.raises(ModelError, match=says) as error:
        tflite_system(model, "m.tflite", feedback)
    assert error.value.message.startswith("m.tflite ")
    assert error.value.hint
    assert hint in error.value.hint


def test_a_file_that_ends_litert_ends_in_a_sentence() -> None:
    """One changed byte of a converter's file: LiteRT 2.3 ends with SIGSEGV. A process of its own asks, so that this one
    would be told, too, if it did not."""
    command = [sys.executable, "-m", "edge_tqs", "score", str(ROOT / "tests/golden/segfault.tflite")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert re.search(r"error: .*segfault.tflite (ends LiteRT with SIG|cannot be run by LiteRT)", done.stderr)


def test_a_file_may_take_so_much_time_and_memory_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_tqs.flatbuffer.in_child._child", _Child())  # which has yet to be started
    monkeypatch.setattr("edge_tqs.flatbuffer.in_child._SECONDS", 0)
    with pytest.raises(ModelError, match="takes LiteRT more than 0 s"):
        check_runs(by_hand.dense_model())
    monkeypatch.undo()
    check_runs(b"no model")  # which is refused in words
    crash = (ROOT / "tests/golden/segfault.tflite").read_bytes()
    for _ in range(2):
        with pytest.raises(ModelError, match="ends LiteRT with SIG"):
            check_runs(crash)
        check_runs(by_hand.dense_model())


def test_files_that_are_no_models() -> None:
    refused(b"", "is not a TensorFlow Lite model")
    refused(b"PK\x03\x04 something else", "is not a TensorFlow Lite model")


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(8, len(by_hand.dense_model()) - 1))
def test_a_truncated_file_is_damaged_or_still_whole(cut: int) -> None:
    whole = by_hand.dense_model()
    try:
        system = tflite_system(whole[:cut], "m.tflite")
    except ModelError:
        refused(whole[:cut], "is damaged|holds NaN|cannot be run by LiteRT|its input|has ")
    else:  # what was cut off was padding
        np.testing.assert_array_equal(
            system.roll(seeds_for(system), 2), tflite_system(whole, "whole").roll(seeds_for(system), 2)
        )


def test_a_quantised_model() -> None:
    refused(
        tflite_models.convert(wide_dense(), quantised=True), "is quantised: its tensor .* is INT8", "no optimizations"
    )


@pytest.mark.parametrize("dtype", ["FLOAT16", "INT8", "INT4"])
def test_constants_of_another_type(dtype: str) -> None:
    made = by_hand.Maker()
    x = made.value("x", (1, 4, 2))
    made.constant("codes", np.zeros(16, np.int8), dtype)
    y = made.dense(made.reshape(x, "flat", (1, 8)), "head", by_hand.normal(2, 8), by_hand.normal(2))
    refused(made.file([x], [y]), f"is quantised: its tensor codes is {dtype}", "no optimizations")


def test_a_window_of_open_length() -> None:
    keras = import_tensorflow().keras
    x = keras.Input((None, 3))
    model = keras.Model(x, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling1D()(x)))
    refused(tflite_models.convert(model), "leaves the length of its window open", "fixed shape")


def test_several_processes_give_the_same_scores(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(by_hand.lstm_model())
    opened = open_model(path)
    alone, together = (
        score(opened.system, horizon=6, draws=2, workers=workers, opener=opened.opener) for workers in (1, 2)
    )
    assert alone == together


def wide_dense() -> Any:
    keras = import_tensorflow().keras  # weights below 1,024 values are left alone by the converter
    return keras.Sequential(
        [keras.Input((8, 4)), keras.layers.Flatten(), keras.layers.Dense(64), keras.layers.Dense(4)]
    )


def test_weights_in_variables() -> None:
    refused(tflite_models.convert(tflite_models.build("dlinear"), frozen=False), "variables", "Freeze")


def test_not_a_number() -> None:
    weight = by_hand.normal(2, 8, scale=0.3)
    broken = weight.copy()
    broken[1, 3] = np.nan
    refused(by_hand.dense_model().replace(weight.tobytes(), broken.tobytes()), "head weight holds NaN", "frozen")
    broken[1, 3] = np.inf
    refused(by_hand.dense_model().replace(weight.tobytes(), broken.tobytes()), "head weight holds infinite", "check")


def test_two_inputs_and_two_outputs() -> None:
    made = by_hand.Maker()
    x, other = made.value("x", (1, 4, 2)), made.value("other", (1, 4, 2))
    both = made.op("ADD", [x, other], [made.value("both", (1, 4, 2))], "AddOptions")
    y = made.dense(made.reshape(both, "flat", (1, 8)), "head", by_hand.normal(2, 8), by_hand.normal(2))
    refused(made.file([x, other], [y]), "has 2 inputs", "one input")
    refused(made.file([x], [y, both]), "has 2 outputs: ", "--output")


@pytest.mark.parametrize("shape", [(8,), (4, 2), (2, 4, 2), (1, 2, 4, 2)])
def test_another_input(shape: tuple[int, ...]) -> None:
    made = by_hand.Maker()
    x = made.value("x", shape)
    flat = made.reshape(x, "flat", (int(np.prod(shape)) // 8, 8))
    y = made.dense(flat, "head", by_hand.normal(2, 8), by_hand.normal(2))
    refused(made.file([x], [y]), r"its input is \(.*, not \(1, W, F\)", "one input")


def test_an_output_that_is_no_sample() -> None:
    made = by_hand.Maker()
    x = made.value("x", (1, 4, 2))
    weight = made.constant("w", by_hand.normal(2, 2))
    y = made.op("BATCH_MATMUL", [x, weight], [made.value("y", (1, 4, 2))], "BatchMatMulOptions")
    refused(made.file([x], [y]), "as many as its window holds", "steps = 4")


def test_no_weights() -> None:
    made = by_hand.Maker()
    x = made.value("x", (1, 1, 2))
    refused(made.file([x], [made.reshape(x, "y", (1, 2))]), "has no weights", "FULLY_CONNECTED")


def test_a_custom_operator_is_named() -> None:
    made = by_hand.Maker()
    x = made.value("x", (1, 4, 2))
    h = made.op("CUSTOM", [x], [made.value("h", (1, 8))])
    made.codes[-1].customCode = b"FancyOp"
    y = made.dense(h, "head", by_hand.normal(2, 8), by_hand.normal(2))
    refused(made.file([x], [y]), "cannot be run by LiteRT.*FancyOp", "built-in operators")


def test_a_feedback_that_does_not_fit() -> None:
    with pytest.raises(UsageError, match="does not say for each of 2 inputs"):
        tflite_system(by_hand.dense_model(), "m.tflite", Said(feedback=(0,)))
    with pytest.raises(UsageError, match="no output becomes an input"):
        tflite_system(by_hand.dense_model(), "m.tflite", Said(feedback=(None, None)))


def test_constants_that_share_a_buffer_are_one_weight_and_names_are_told_apart() -> None:
    made = by_hand.Maker()
    x = made.value("x", (1, 4, 2))
    h = made.reshape(x, "flat", (1, 8))
    first = made.constant("same", by_hand.normal(8, 8, scale=0.3))
    for name, weight in (
        ("a", first),
        ("b", made.value("again", (8, 8), buffer=made.subgraph.tensors[first].buffer)),
        ("c", made.constant("same", by_hand.normal(8, 8, scale=0.3, seed=2))),
    ):
        h = made.op("FULLY_CONNECTED", [h, weight, -1], [made.value(name, (1, 8))], "FullyConnectedOptions")
    y = made.dense(h, "head", by_hand.normal(2, 8), by_hand.normal(2))
    assert list(tflite_system(made.file([x], [y]), "m").weights) == ["same#0", "same#1", "head weight"]


def test_an_activation_after_the_bias_makes_it_no_output_bias() -> None:
    made = by_hand.Maker()
    x = made.value("x", (1, 4, 2))
    y = made.dense(made.reshape(x, "flat", (1, 8)), "head", by_hand.normal(2, 8), by_hand.normal(2))
    made.subgraph.operators[-1].builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.RELU
    assert tflite_system(made.file([x], [y]), "m").output_bias is None
