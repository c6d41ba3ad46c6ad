"""Forecasters drawn at random from all layers: each is built and right in every form, or refused for a true reason."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_library import Forecaster
from graphs import METADATA, needs_tflm
from hypothesis import HealthCheck, assume, given, seed, settings
from hypothesis import strategies as st

from edge_tqs.errors import ModelError
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.graph.graph import Graph
from edge_tqs.passes.interpret import float_rollout
from edge_tqs.quantization import runtimes, simulate
from edge_tqs.quantization.calibration import calibrate
from edge_tqs.quantization.quantize import quantize
from edge_tqs.quantization.support import emitted, reason_against
from edge_tqs.read.keras.layers import READERS
from edge_tqs.read.keras.model import load
from edge_tqs.system.tensorflow import import_tensorflow, quiet

#: Architectures a run; spread over PARTS tests so that two processes share them. 304 take five minutes of a core.
EXAMPLES, PARTS = int(os.environ.get("EDGE_TQS_FORECASTERS", "160")), 4
TOLERANCE = 1e-5
#: One in so many is built with int16 activations too, as its seed says.
WIDE = 4

Config = dict[str, Any]


def choice(**options: st.SearchStrategy[Any]) -> st.SearchStrategy[Config]:
    """A layer's config, of which each option is drawn."""
    return st.fixed_dictionaries(options)


SMALL, BOOL = st.integers(1, 4), st.booleans()
ACTIVATIONS = st.sampled_from(
    [
        None,
        "relu",
        "tanh",
        "sigmoid",
        "elu",
        "leaky_relu",
        "silu",
        "relu6",
        "gelu",
        "softplus",
        "hard_sigmoid",
        "hard_silu",
        "selu",
        "softsign",
        "mish",
        "exponential",
        "softmax",
    ]
)
PADDING = st.sampled_from(["valid", "same", "causal"])
CELL = choice(
    units=SMALL, use_bias=BOOL, return_sequences=st.just(True), go_backwards=st.sampled_from([False] * 5 + [True])
)

#: Keras class -> its config; all take a sequence and give a sequence.
OVER_SEQUENCES: dict[str, st.SearchStrategy[Config]] = {
    "Dense": choice(units=SMALL, activation=ACTIVATIONS, use_bias=BOOL),
    "Conv1D": choice(
        filters=SMALL,
        kernel_size=SMALL,
        padding=PADDING,
        dilation_rate=st.integers(1, 3),
        activation=ACTIVATIONS,
        use_bias=BOOL,
    ),
    "DepthwiseConv1D": choice(
        kernel_size=SMALL,
        depth_multiplier=st.integers(1, 2),
        padding=st.sampled_from(["valid", "same"]),
        activation=ACTIVATIONS,
    ),
    "Conv1DTranspose": choice(
        filters=SMALL,
        kernel_size=st.integers(2, 4),
        strides=st.integers(1, 2),
        padding=st.sampled_from(["valid", "same"]),
        activation=ACTIVATIONS,
    ),
    "SeparableConv1D": choice(filters=SMALL, kernel_size=SMALL, padding=PADDING, activation=ACTIVATIONS),
    "LSTM": CELL,
    "GRU": st.builds(lambda a, b: a | b, CELL, choice(reset_after=BOOL)),
    "SimpleRNN": CELL,
    "AveragePooling1D": choice(
        pool_size=st.integers(1, 3), strides=st.integers(1, 2), padding=st.sampled_from(["valid", "same"])
    ),
    "MaxPooling1D": choice(
        pool_size=st.integers(1, 3), strides=st.integers(1, 2), padding=st.sampled_from(["valid", "same"])
    ),
    "BatchNormalization": choice(center=BOOL, scale=BOOL),
    "LayerNormalization": choice(center=BOOL, scale=BOOL),
    "Rescaling": choice(scale=st.sampled_from([0.5, 2.0]), offset=st.sampled_from([0.0, -0.25])),
    "Permute": choice(dims=st.sampled_from([(2, 1), (1, 2)])),
    "ZeroPadding1D": choice(padding=st.sampled_from([(1, 0), (0, 2), (1, 1)])),
    "Cropping1D": choice(cropping=st.sampled_from([(1, 0), (0, 1), (2, 0)])),
    "UpSampling1D": choice(size=st.integers(1, 3)),
    "Dropout": choice(rate=st.just(0.3)),
    "SpatialDropout1D": choice(rate=st.just(0.3)),
    "GaussianNoise": choice(stddev=st.just(0.1)),
    "ReLU": choice(max_value=st.sampled_from([None, 6.0, 2.0]), negative_slope=st.sampled_from([0.0, 0.2])),
    "LeakyReLU": choice(negative_slope=st.just(0.1)),
    "ELU": choice(alpha=st.sampled_from([1.0, 0.5])),
    "Softmax": choice(),
    "Activation": choice(activation=ACTIVATIONS.filter(bool)),
}
#: Layers of two sequences of one shape: the value, and a Conv1D of one tap beside it.
MERGING = ("Add", "Subtract", "Multiply", "Average", "Concatenate")
#: How the last sample, or all of them, come into the last Dense layer.
HEADS = (
    "Flatten",
    "last",
    "GlobalAveragePooling1D",
    "GlobalMaxPooling1D",
    "LSTM",
    "GRU",
    "SimpleRNN",
    "encoder-decoder",
)


@dataclass(frozen=True)
class Spec:
    """An architecture: window, channels, (layer, config) in order, the head."""

    window: int
    channels: int
    layers: tuple[tuple[str, Config], ...]
    head: str
    seed: int = field(default=0, compare=False)


@st.composite
def specs(draw: Callable[..., Any]) -> Spec:
    """At most four layers over a small window, with sums, attention and recurrent layers in both directions between."""
    layers = []
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from([*OVER_SEQUENCES, *MERGING, "Bidirectional", "MultiHeadAttention", "ops"]))
        if kind in OVER_SEQUENCES:
            layers.append((kind, draw(OVER_SEQUENCES[kind])))
        elif kind == "Bidirectional":
            inner = draw(st.sampled_from(["LSTM", "GRU", "SimpleRNN"]))
            layers.append(
                (kind, {"inner": inner, "merge_mode": draw(st.sampled_from(["concat", "sum", "mul", "ave"]))})
            )
        elif kind == "MultiHeadAttention":
            layers.append((kind, {"num_heads": draw(st.integers(1, 2)), "key_dim": draw(st.integers(2, 3))}))
        elif kind == "ops":
            layers.append((kind, {"name": draw(st.sampled_from(["centre on mean", "centre on last", "scale"]))}))
        else:
            layers.append((kind, {}))
    return Spec(
        draw(st.integers(4, 9)),
        draw(st.integers(1, 3)),
        tuple(layers),
        draw(st.sampled_from(HEADS)),
        draw(st.integers(0, 2**16)),
    )


def apply(keras: Any, kind: str, config: Config, y: Any) -> Any:
    layers = keras.layers
    if kind in MERGING:
        return getattr(layers, kind)()([y, layers.Conv1D(y.shape[-1], 1)(y)])
    if kind == "Bidirectional":
        cell = getattr(layers, config["inner"])(2, return_sequences=True)
        return layers.Bidirectional(cell, merge_mode=config["merge_mode"])(y)
    if kind == "MultiHeadAttention":
        return layers.MultiHeadAttention(**config)(y, y)
    if kind == "ops":
        return {
            "centre on mean": lambda: y - keras.ops.mean(y, axis=1, keepdims=True),
            "centre on last": lambda: y - y[:, -1:, :],
            "scale": lambda: y * 0.5,
        }[config["name"]]()
    return getattr(layers, kind)(**config)(y)


def head(keras: Any, kind: str, y: Any) -> Any:
    layers = keras.layers
    if kind == "last":
        return layers.Flatten()(layers.Cropping1D((y.shape[1] - 1, 0))(y))
    if kind == "encoder-decoder":
        y = layers.LSTM(3, return_sequences=True)(layers.RepeatVector(2)(layers.LSTM(3)(y)))
        return layers.Flatten()(layers.TimeDistributed(layers.Dense(2))(y))
    if kind in ("LSTM", "GRU", "SimpleRNN"):
        return getattr(layers, kind)(3)(y)
    return getattr(layers, kind)()(y)


def keras_model(spec: Spec) -> Any:
    """The Keras model with random weights that keep values near 1. What Keras itself refuses is no example."""
    keras = import_tensorflow().keras
    keras.backend.clear_session()
    x = keras.Input((spec.window, spec.channels))
    try:
        y = x
        for kind, config in spec.layers:
            y = apply(keras, kind, config, y)
        model = keras.Model(x, keras.layers.Dense(spec.channels)(head(keras, spec.head, y)))
    except (ValueError, TypeError):
        assume(False)
    rng = np.random.default_rng(spec.seed)
    values = []
    for variable in model.weights:
        drawn = rng.normal(0, 1 / np.sqrt(max(1, np.prod(variable.shape[:-1]))), variable.shape)
        name = variable.path.rsplit("/", 1)[-1]
        values.append((0.5 + drawn**2 if "variance" in name else drawn + 1 if name == "gamma" else drawn).astype("f"))
    model.set_weights(values)
    return model


#: What a refusal says -> whether it is true of an architecture.
TRUE_REASONS: dict[str, Callable[[Spec, re.Match[str]], bool]] = {
    r"\((\w+)\): this layer is not supported": lambda spec, found: found[1] not in READERS,
}


def is_true(spec: Spec, message: str) -> bool:
    for pattern, holds in TRUE_REASONS.items():
        found = re.search(pattern, message)
        if found:
            return holds(spec, found)
    return False


def loaded(path: Path) -> tuple[Any, ModelError | None]:
    """The graph, or why there is none."""
    try:
        return load(path).graph, None
    except ModelError as error:
        return None, error


def check(spec: Spec, folder: Path) -> bool:
    """Whether it was built; AssertionError for anything but right in every form, or refused for a true reason."""
    path = folder / "model.keras"
    with quiet():
        model = keras_model(spec)
        model.save(path)
    graph, refusal = loaded(path)
    if refusal is not None:
        assert is_true(spec, refusal.message), f"refused, and that is no true reason: {refusal.message}"
        assert refusal.hint, refusal.message
        return False
    rng = np.random.default_rng(spec.seed)
    windows = rng.normal(size=(4, spec.window, spec.channels)).astype(np.float32)
    expected = np.asarray(model(windows, training=False))
    apart = np.abs(float_rollout(graph, windows, 1).outputs[:, 0] - expected).max()
    assert apart <= TOLERANCE * (1 + np.abs(expected).max()), f"float differs from Keras by {apart}"

    ranges = calibrate(graph, windows, 2)
    widths = {source: int(rng.choice([4, 8])) for source in graph.weights()}
    check_integer(quantize(graph, widths, ranges), windows, folder)
    if spec.seed % WIDE == 0:  # int8 weights: tflite-micro takes no others there
        wide = folder / "int16"
        wide.mkdir()
        check_integer(quantize(graph, dict.fromkeys(widths, 8), ranges, activations="int16"), windows, wide)
    return True


def check_integer(integer: Graph, windows: np.ndarray, folder: Path) -> None:
    """The C and tflite-micro equal the reference bit for bit, and the flatbuffer is read back as it was."""
    codes = simulate.encode(integer, windows)
    outputs = simulate.integer_rollout(integer, codes, 4).outputs
    forecaster = Forecaster(integer, folder, ("-O1",))
    for window, rollout in zip(codes, outputs, strict=True):
        forecaster.reset()
        forecaster.push_codes(window)
        np.testing.assert_array_equal(forecaster.forecast_codes(4)[0], rollout, err_msg="C")
    file = tflite_model.write(integer, METADATA)
    assert tflite_model.read(file)[0].ops == integer.ops
    if all(reason_against("tflm", kernel) is None for op in integer.ops for kernel in emitted(integer, op, "tflm")):
        np.testing.assert_array_equal(
            runtimes.rollout_in("tflm", file, integer, codes, 4).outputs, outputs, err_msg="tflite-micro"
        )


@pytest.mark.slow
@needs_tflm
@pytest.mark.usefixtures("keras")
@pytest.mark.filterwarnings("ignore::UserWarning")  # Keras': a softmax of one channel is likely not what was meant
@pytest.mark.parametrize("part", range(PARTS))
def test_drawn_forecasters(part: int) -> None:
    @seed(part)
    @settings(max_examples=EXAMPLES // PARTS, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(specs())
    def run(spec: Spec) -> None:
        with tempfile.TemporaryDirectory() as folder:
            built.append(check(spec, Path(folder)))

    built: list[bool] = []
    run()
    assert len(built) >= EXAMPLES // PARTS
    # Refusing everything would pass the above. All these layers are read: next to nothing may be refused.
    assert sum(built) >= 0.95 * len(built)
