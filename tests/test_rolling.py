"""A recurrent cell that was unrolled over the window becomes a step again; what is none does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from graphs import Builder

from edge_tqs.graph.graph import Forecast, Graph, Op
from edge_tqs.passes.interpret import float_rollout
from edge_tqs.passes.rolling import rolled_up

UNITS, CHANNELS = 3, 2


def unrolled(
    window: int = 9,
    *,
    other_at: int | None = None,
    late: bool = False,
    backwards: bool = False,
    reads: tuple[int, ...] = (),
    layers: int = 1,
) -> Graph:
    """h' = tanh(V x + U h) of each sample, from states of zero that are folded away; a dense layer reads the last h.

    other_at: the place where U is another. late: U h is computed at once with h, for the next place. backwards: the
    newest sample first. reads: the places whose h the head reads too.
    """
    rng = np.random.default_rng(5)
    b = Builder(rng)
    x = b.tensor("x", (1, window, CHANNELS))
    order = list(range(window))[:: -1 if backwards else 1]
    below: list[str] = []
    for t in order:
        sample = b.tensor(f"x{t}", (1, 1, CHANNELS))
        b.ops.append(Op("slice", (x,), (sample,), {"axis": 1, "begin": t, "size": 1}))
        below.append(b.op("reshape", (sample,), f"flat{t}"))
    for layer in range(layers):
        width = b.width(below[0])
        weights = {name: b.weight(f"{layer}/{name}", UNITS, size) for name, size in (("V", width), ("U", UNITS))}
        other = b.weight(f"{layer}/other", UNITS, UNITS)
        bias = b.bias(f"{layer}/bias", UNITS)
        above: list[str] = []
        carried = ""
        for t, value in zip(order, below, strict=True):
            total = b.dense(value, weights["V"], f"{layer}/{t}/Vx", bias)
            if above:
                recurrent = carried or b.dense(above[-1], other if t == other_at else weights["U"], f"{layer}/{t}/Uh")
                total = b.op("add", (total, recurrent), f"{layer}/{t}/sum")
            above.append(b.unary("tanh", total, f"{layer}/{t}/h"))
            if late and t != order[-1]:
                carried = b.dense(above[-1], weights["U"], f"{layer}/{t}/Uh")
        below = above
    last = below[-1]
    for place in reads:
        last = b.op("add", (last, below[place]), f"with{place}")
    y = b.dense(last, b.weight("head", CHANNELS, UNITS), "y")
    forecast = Forecast(window, CHANNELS, "none", tuple(range(CHANNELS)))
    return Graph("unrolled", b.tensors, tuple(b.ops), x, y, (), forecast).check()


@pytest.mark.parametrize("how", [{}, {"late": True}, {"layers": 2}, {"layers": 2, "window": 6}])
def test_a_cell_applied_to_each_sample_becomes_a_step(how: dict[str, Any]) -> None:
    graph = unrolled(**how)
    step = rolled_up(graph)
    assert step is not None
    assert (step.forecast.recurrence, len(step.states)) == ("windowed", how.get("layers", 1))
    assert len(step.ops) == 4 * how.get("layers", 1) + 1
    assert step.weights().keys() == graph.weights().keys()
    seeds = np.random.default_rng(1).normal(size=(4, graph.forecast.window, CHANNELS)).astype(np.float32)
    np.testing.assert_allclose(float_rollout(step, seeds, 5).outputs, float_rollout(graph, seeds, 5).outputs, atol=1e-6)


@pytest.mark.parametrize(
    "how", [{"other_at": 5}, {"backwards": True}, {"reads": (4,)}, {"reads": (7,)}, {"window": 5}], ids=str
)
def test_what_is_no_such_cell_is_left_as_it_is(how: dict[str, Any]) -> None:
    assert rolled_up(unrolled(**how)) is None
