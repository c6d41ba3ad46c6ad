"""SimpleRNN as one step: h' = activation(x @ kernel + bias + h @ recurrent_kernel)."""

from __future__ import annotations

from edge_tqs.read.keras.layers import cell
from edge_tqs.read.keras.layers.builder import GraphBuilder, KerasLayer
from edge_tqs.read.keras.layers.recurrent import recur


def read_simple_rnn(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Kernel (in, H), recurrent_kernel (H, H), bias (H,) or none; state h (1, H)."""

    def step(name: str, x: str, states: tuple[str, ...]) -> tuple[str, ...]:
        zx = builder.dense(f"{name}/zx", x, layer.weights["kernel"], layer.weights.get("bias"))
        zh = builder.dense(f"{name}/zh", states[0], layer.weights["recurrent_kernel"], None)
        z = builder.op("add", f"{name}/z", [zx, zh])
        return (cell.apply(layer, builder, "activation", f"{name}/h_next", z),)

    recur(layer, builder, ("h",), step)
