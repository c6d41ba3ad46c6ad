"""Each kind of forecast, from Keras to the board: what goes in beyond the window, what is fed back, what comes out.

The judge rolls the Keras model and LiteRT out itself, by the words of each row below: nothing of the tool takes part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from litert_alone import Runner
from saving import save
from whole_way import HORIZON, as_int8, check_on_board, series, written

from edge_tqs.graph.graph import Output
from edge_tqs.read.opening import open_model
from edge_tqs.system.reading import Said

W = 6
BOARD = "qemu-mps2-an386"


@dataclass(frozen=True)
class Kind:
    """make: the Keras model of ``channels``. said: what its user says. fed: for inputs the value that becomes them.
    held: inputs kept at their last value; all others are given. samples: of one evaluation, in a closed loop. carried:
    whether its states are never reset. spread: deviation of its weights, small enough for the loop not to run away."""

    make: Callable[[Any, int], Any]
    said: Said
    channels: int
    fed: dict[int, int]
    held: tuple[int, ...] = ()
    samples: int = 1
    window: int | None = None
    carried: bool = False
    spread: float = 0.4


def gru(values: int) -> Callable[[Any, int], Any]:
    def make(keras: Any, channels: int) -> Any:
        layers = keras.layers
        return keras.Sequential([keras.Input((W, channels)), layers.GRU(4), layers.Dense(values)])

    return make


def taps(*shape: int) -> Callable[[Any, int], Any]:
    def make(keras: Any, channels: int) -> Any:
        layers = keras.layers
        first = [layers.Conv1D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(int(np.prod(shape)))]
        last = [layers.Reshape(shape)] if len(shape) > 1 else []
        return keras.Sequential([keras.Input((W, channels)), *first, *last])

    return make


def heads(keras: Any, channels: int) -> Any:
    layers = keras.layers
    x = keras.Input((W, channels))
    seen = layers.LSTM(4)(x)
    return keras.Model(x, layers.Concatenate()([layers.Dense(1)(seen), layers.Dense(2)(seen)]))


def filter_of_samples(keras: Any, channels: int) -> Any:
    layers = keras.layers
    first = keras.Input(batch_shape=(1, 1, channels))
    return keras.Sequential([first, layers.GRU(4, stateful=True), layers.Dense(1)])


def quantiles(channel: int | None = 0) -> tuple[Output, ...]:
    return tuple(Output("temp", 1, "quantile", level, channel) for level in (0.1, 0.5, 0.9))


KINDS = {
    "every input predicted": Kind(taps(2), Said(), 2, {0: 0, 1: 1}),
    "a block of samples": Kind(taps(2, 2), Said(), 2, {0: 0, 1: 1}, samples=2, spread=0.2),
    "known ahead, and measured": Kind(gru(1), Said(known_ahead=(1,), held=(2,)), 3, {0: 0}, held=(2,)),
    "quantiles of which the median is fed back": Kind(
        taps(3), Said(predicted=quantiles(), known_ahead=(1,)), 2, {0: 1}
    ),
    "a mean fed back, with its deviation": Kind(
        gru(2), Said(predicted=(Output("a", 1, "deviation", None, 0), Output("a", 1, "mean", None, 0))), 1, {0: 1}
    ),
    "a block of one of several columns, direct": Kind(
        taps(3), Said(kind="direct", targets=("a",), columns=("a", "b"), steps=3), 2, {}
    ),
    "one value at a lag": Kind(
        gru(1), Said(kind="direct", targets=("b",), columns=("a", "b"), lead=12), 2, {}, spread=0.6
    ),
    "a soft sensor of two heads": Kind(heads, Said(kind="direct", targets=("yield", "loss", "purity"), lead=0), 3, {}),
    "quantiles, direct": Kind(taps(3), Said(kind="direct", predicted=quantiles(None)), 2, {}),
    "a filter of one sample, with its states": Kind(
        filter_of_samples, Said(kind="direct", targets=("level",), lead=0), 2, {}, window=1, carried=True, spread=0.9
    ),
    "classes by logits": Kind(taps(4), Said(kind="classes"), 2, {}),
}

Call = Callable[[np.ndarray], np.ndarray]  # the newest window (1, W, F) -> its values


def rolled(kind: Kind, call: Call, given: np.ndarray, window: int) -> np.ndarray:
    """What ``call`` says over a rollout after the first ``window`` of the samples ``given`` (T, F)."""
    seen, said = given[:window].copy(), []
    while len(said) < HORIZON // kind.samples:
        said.append(call(seen[None]).reshape(kind.samples if kind.fed else 1, -1))
        for sample in said[-1]:
            after = given[len(seen)].copy()
            for channel, source in kind.fed.items():
                after[channel] = sample[source]
            after[list(kind.held)] = given[window - 1, list(kind.held)]
            seen = np.concatenate([seen, after[None]])
    return np.stack(said)


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_is_rolled_out_as_what_it_is(name: str, keras: Any, tmp_path: Path) -> None:
    kind = KINDS[name]
    made = kind.make(keras, kind.channels)
    path = save(made, tmp_path / "m.keras", spread=kind.spread)
    graph = open_model(path, window=kind.window, said=kind.said).need_graph()[1]
    model = written(as_int8(graph), tmp_path)
    window = kind.window or W
    given = series(1, window + HORIZON, kind.channels, seed=5)[0]
    runner = Runner(model)

    def of_keras(seen: np.ndarray) -> np.ndarray:
        return np.asarray(made(seen[:, -window:]))

    def of_litert(seen: np.ndarray) -> np.ndarray:
        return runner.says(seen[0, -window:], kind.carried)

    expected, found = (rolled(kind, call, given, window) for call in (of_keras, of_litert))
    assert np.ptp(expected) > 5 * runner.step
    assert np.sqrt(np.mean(np.square(found - expected))) < 1.5 * runner.step
    check_on_board(BOARD, model)
