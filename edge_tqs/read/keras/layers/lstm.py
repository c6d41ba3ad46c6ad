"""LSTM as one step. Keras' gate order is i, f, c, o:

zx = x @ kernel + bias;  zh = h @ recurrent_kernel;  i, f, g, o = split(zx + zh)
c' = sigmoid(f) * c + sigmoid(i) * tanh(g);          h' = sigmoid(o) * tanh(c')

sigmoid stands for recurrent_activation and tanh for activation, which may be others.
"""

from __future__ import annotations

from edge_tqs.read.keras.layers import cell
from edge_tqs.read.keras.layers.builder import GraphBuilder, KerasLayer
from edge_tqs.read.keras.layers.recurrent import recur


def read_lstm(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Kernel (in, 4H), recurrent_kernel (H, 4H), bias (4H,) or none; states h and c, (1, H)."""

    def step(name: str, x: str, states: tuple[str, ...]) -> tuple[str, ...]:
        h, c = states
        zx = builder.dense(f"{name}/zx", x, layer.weights["kernel"], layer.weights.get("bias"))
        zh = builder.dense(f"{name}/zh", h, layer.weights["recurrent_kernel"], None)
        z = builder.op("add", f"{name}/z", [zx, zh])
        zi, zf, zg, zo = builder.split((f"{name}/zi", f"{name}/zf", f"{name}/zg", f"{name}/zo"), z)
        i = cell.apply(layer, builder, "recurrent_activation", f"{name}/i", zi)
        f = cell.apply(layer, builder, "recurrent_activation", f"{name}/f", zf)
        g = cell.apply(layer, builder, "activation", f"{name}/g", zg)
        o = cell.apply(layer, builder, "recurrent_activation", f"{name}/o", zo)
        with builder.ungrouped():  # c grows with the steps, and no weights read it
            kept = builder.op("mul", f"{name}/fc", [f, c])
            added = builder.op("mul", f"{name}/ig", [i, g])
            c_next = builder.op("add", f"{name}/c_next", [kept, added])
        c_tanh = cell.apply(layer, builder, "activation", f"{name}/c_tanh", c_next)
        return builder.op("mul", f"{name}/h_next", [o, c_tanh]), c_next

    recur(layer, builder, ("h", "c"), step)
