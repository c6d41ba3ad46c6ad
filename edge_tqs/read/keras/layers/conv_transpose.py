"""Conv1DTranspose, the convolution's counterpart that lengthens a sequence: each sample is laid down as a kernel.

y[t] = activation(sum over i, k with i * stride + k = t + left of kernel[k]' x[i] + bias)

Every stride-th sample of y reads the same taps: it is a convolution of x with these, in reverse. So a layer of stride s
is s conv_1d, a phase each, whose outputs lie side by side and are then read as samples.
"""

from __future__ import annotations

import numpy as np

from edge_tqs.read.keras.layers.activation import activate, check_activation
from edge_tqs.read.keras.layers.builder import GraphBuilder, KerasLayer, Weight
from edge_tqs.read.keras.layers.conv import one


def read_conv_1d_transpose(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Kernel (K, filters, in), bias (filters,) or none; same or valid padding, without output_padding."""
    config, x = layer.config, builder.value
    if config["data_format"] != "channels_last":
        raise layer.refuse("data_format=channels_first is not supported", hint="Train it with channels_last.")
    if config["output_padding"] is not None:
        raise layer.refuse("output_padding is not supported", hint="Leave it out: its default needs none.")
    kernel, bias = layer.weights["kernel"], layer.weights.get("bias")
    stride, dilation = one(config["strides"]), one(config["dilation_rate"])
    taps, filters, _ = kernel.data.shape
    reach = dilation * (taps - 1) + 1
    if stride > 1 and dilation > 1:
        raise layer.refuse("strides and dilation_rate together are not supported", hint="Use one of them.")
    if reach < stride:
        raise layer.refuse(
            f"its kernel of {taps} is shorter than its strides of {stride}: samples between would hold the bias alone",
            hint="Give it a kernel_size of its strides at least.",
        )
    length, more = builder.shape(x)[1], reach - stride
    left, size = (more // 2, length * stride) if config["padding"] == "same" else (0, length * stride + more)
    samples = -(-size // stride)
    activation, phases = check_activation(layer, config["activation"]), []
    fused = activation in ("relu", "relu6")
    for phase in range(stride):
        shift, first = divmod(phase + left, stride)
        read = kernel.data[first::stride][::-1].transpose(0, 2, 1)
        part = f"/{phase}" if stride > 1 else ""
        own = Weight(kernel.path, np.ascontiguousarray(read), part)
        own_bias = None if bias is None else Weight(bias.path, bias.data, part)
        before, after = dilation * (len(read) - 1) - shift, samples - length + shift
        place = {"stride": 1, "dilation": dilation, "left": before, "right": after}
        builder.value = builder.conv_1d(f"{layer.name}{part}/y", x, own, own_bias, **place)
        fused = fused and builder.fuse(activation)
        phases.append(builder.value)
    if stride > 1:
        wide = builder.concat(f"{layer.name}/side", phases, axis=2)
        builder.value = builder.op("reshape", f"{layer.name}/y", [wide], (1, samples * stride, filters))
    if size < samples * stride:
        shape = (1, size, filters)
        builder.value = builder.op("slice", f"{layer.name}/cut", [builder.value], shape, axis=1, begin=0, size=size)
    if not fused:
        activate(layer, builder, activation)
