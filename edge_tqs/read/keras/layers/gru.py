"""GRU as one step. Keras' gate order is z, r, candidate:

zx = x @ kernel + bias;  zz, zr = zx[:2H] + zh[:2H];  h' = hh + sigmoid(zz) * (h - hh)
reset_after=True:   zh = h @ recurrent_kernel + recurrent bias;  hh = tanh(zx[2H:] + sigmoid(zr) * zh[2H:])
reset_after=False:  zh = h @ recurrent_kernel[:, :2H]
                    hh = tanh(zx[2H:] + (sigmoid(zr) * h) @ recurrent_kernel[:, 2H:])

sigmoid stands for recurrent_activation and tanh for activation, which may be others.
"""

from __future__ import annotations

from edge_tqs.read.keras.layers import cell
from edge_tqs.read.keras.layers.builder import GraphBuilder, KerasLayer, Weight
from edge_tqs.read.keras.layers.recurrent import recur


def read_gru(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Kernel (in, 3H), recurrent_kernel (H, 3H), bias (2, 3H) with reset_after, else (3H,), or none; state h (1, H)."""
    units = int(layer.config["units"])
    reset_after = bool(layer.config["reset_after"])
    kernel, recurrent = layer.weights["kernel"], layer.weights["recurrent_kernel"]
    input_bias, recurrent_bias = _cut_bias(layer.weights.get("bias"), reset_after)
    gates, own = recurrent.columns(0, 2 * units, "/gates"), recurrent.columns(2 * units, None, "/candidate")

    def step(name: str, x: str, states: tuple[str, ...]) -> tuple[str, ...]:
        (h,) = states
        zx = builder.dense(f"{name}/zx", x, kernel, input_bias)
        zx_gates = builder.slice(f"{name}/zx_gates", zx, 0, 2 * units)
        zx_candidate = builder.slice(f"{name}/zx_candidate", zx, 2 * units, units)
        if reset_after:
            zh = builder.dense(f"{name}/zh", h, recurrent, recurrent_bias)
            zh_gates = builder.slice(f"{name}/zh_gates", zh, 0, 2 * units)
        else:
            zh_gates = builder.dense(f"{name}/zh_gates", h, gates, None)
        zz = builder.op("add", f"{name}/zz", [zx_gates, zh_gates])
        z, r = builder.split(
            (f"{name}/z", f"{name}/r"), cell.apply(layer, builder, "recurrent_activation", f"{name}/gates", zz)
        )
        if reset_after:
            zh_candidate = builder.slice(f"{name}/zh_candidate", zh, 2 * units, units)
            reset = builder.op("mul", f"{name}/rh", [r, zh_candidate])
        else:
            rh = builder.op("mul", f"{name}/rh", [r, h])
            reset = builder.dense(f"{name}/zh_candidate", rh, own, None)
        pre = builder.op("add", f"{name}/pre", [zx_candidate, reset])
        candidate = cell.apply(layer, builder, "activation", f"{name}/candidate", pre)
        delta = builder.op("sub", f"{name}/delta", [h, candidate])
        kept = builder.op("mul", f"{name}/kept", [z, delta])
        h_next = builder.op("add", f"{name}/h_next", [candidate, kept])
        return (h_next,)

    recur(layer, builder, ("h",), step)


def _cut_bias(bias: Weight | None, reset_after: bool) -> tuple[Weight | None, Weight | None]:
    if bias is None or not reset_after:
        return bias, None
    return Weight(bias.path, bias.data[0], "/input"), Weight(bias.path, bias.data[1], "/recurrent")
