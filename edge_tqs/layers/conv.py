"""Conv1D: one conv_1d, y[t] = activation(sum over k of kernel[k]' x[t * stride + k * dilation - left] + bias)."""

from __future__ import annotations

from edge_tqs.layers.activation import activate
from edge_tqs.layers.builder import GraphBuilder, KerasLayer


def read_conv_1d(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Kernel (K, in, filters), bias (filters,) or none; causal, same or valid padding. A ZeroPadding1D goes into it."""
    config = layer.config
    for option, wanted in (("groups", 1), ("data_format", "channels_last")):
        if config[option] != wanted:
            raise layer.refuse(f"{option}={config[option]} is not supported", hint=f"Train it with {option}={wanted}.")
    x, before, after = builder.unpadded(builder.value)
    (stride,), (dilation,), (taps,) = config["strides"], config["dilation_rate"], config["kernel_size"]
    padded = builder.shape(x)[1] + before + after
    left, right = _padding(config["padding"], padded, stride, dilation * (taps - 1))
    if padded + left + right <= dilation * (taps - 1):
        raise layer.refuse(
            f"its kernel reaches over {dilation * (taps - 1) + 1} samples, more than the {padded} there are"
        )
    builder.value = builder.conv_1d(
        f"{layer.name}/y",
        x,
        layer.weights["kernel"],
        layer.weights.get("bias"),
        stride=stride,
        dilation=dilation,
        left=before + left,
        right=after + right,
    )
    activate(layer, builder, config["activation"])


def _padding(kind: str, length: int, stride: int, reach: int) -> tuple[int, int]:
    """Zeros before and after a sequence; "same" as TensorFlow splits them, the odd one at the end."""
    if kind == "causal":
        return reach, 0
    if kind == "valid":
        return 0, 0
    total = max(0, (-(-length // stride) - 1) * stride + reach + 1 - length)
    return total // 2, total - total // 2
