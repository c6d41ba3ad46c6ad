"""keras.ops in functional models: x[:, -1:], x - last, ops.mean(x, axis=1, keepdims=True), ...

A number or a constant tensor is one more input of the operator, quantised as activations are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from edge_tqs.graph.graph import Array
from edge_tqs.graph.shapes import broadcasts
from edge_tqs.read.keras.layers.activation import apply_activation, apply_function, softmax_over_time
from edge_tqs.read.keras.layers.builder import GraphBuilder, KerasLayer
from edge_tqs.read.keras.layers.call import arguments

Shape = tuple[int, ...]
BINARY = {"Add": "add", "Subtract": "sub", "Multiply": "mul"}
ACTIVATIONS = {"Tanh": "tanh", "Sigmoid": "sigmoid", "Relu": "relu", "Relu6": "relu6", "Silu": "silu"}
FUNCTIONS = {
    **{"Softplus": "softplus", "Softsign": "softsign", "HardSigmoid": "hard_sigmoid", "HardSilu": "hard_silu"},
    **{"HardTanh": "hard_tanh", "Selu": "selu", "LogSigmoid": "log_sigmoid", "Exp": "exponential", "Log": "log"},
    **{"Sqrt": "sqrt", "Rsqrt": "rsqrt", "Negative": "negative", "Absolute": "absolute", "Abs": "absolute"},
    **{"Reciprocal": "reciprocal", "Sin": "sin", "Cos": "cos"},
}
_RANKS = "only values (N,) and sequences (W, C) are supported"


def _one(layer: KerasLayer, builder: GraphBuilder) -> tuple[str, dict[str, Any]]:
    """The single tensor that an operation is applied to, and its settings."""
    args, options = arguments(layer, builder)
    if not args or not isinstance(args[0], str):
        raise layer.refuse("it is not applied to a tensor of the model", hint="Apply it to one tensor.")
    return args[0], dict(layer.config) | options


def _shaped(layer: KerasLayer, builder: GraphBuilder, x: str, shape: Shape) -> str:
    """``x`` in another shape. Raises ModelError where that is neither a value nor a sequence."""
    if builder.shape(x) == shape:
        return x
    if len(shape) not in (2, 3) or shape[0] != 1:
        raise layer.refuse(f"it gives {shape[1:]}: {_RANKS}", hint="Keep the samples in the first axis.")
    return builder.op("reshape", f"{layer.name}/shaped", [x], shape)


def _axis(layer: KerasLayer, axis: Any, rank: int) -> int:
    """``axis`` from 1 on. Raises ModelError for the batch, and for several."""
    axes = list(axis) if isinstance(axis, list | tuple) else [axis]
    if len(axes) != 1 or axes[0] is None or not 1 <= int(axes[0]) % rank < rank:
        raise layer.refuse(f"axis={axis} is not supported", hint="Use one axis, and not the batch.")
    return int(axes[0]) % rank


# --- element by element -----------------------------------------------------------------------------------------------


def _binary(layer: KerasLayer, builder: GraphBuilder) -> None:
    args, _ = arguments(layer, builder)
    a, b = args[:2]
    kind = layer.kind.removeprefix("ops.")
    if kind in ("Divide", "TrueDivide"):
        if isinstance(b, str):
            b = apply_function(builder, "reciprocal", f"{layer.name}/reciprocal", b)
        else:
            with np.errstate(divide="ignore"):
                b = np.float32(1) / np.asarray(b, np.float32)
            if not np.isfinite(b).all():
                raise layer.refuse("it divides by zero", hint="Look at the constant that it divides by.")
        kind = "Multiply"
    builder.value = _combine(layer, builder, BINARY[kind], f"{layer.name}/y", a, b)


def _combine(layer: KerasLayer, builder: GraphBuilder, kind: str, out: str, a: Any, b: Any) -> str:
    computed = [x for x in (a, b) if isinstance(x, str)]
    if not computed:
        raise layer.refuse("both of its operands are constants", hint="Work the constant out before.")
    shapes = [builder.shape(x) if isinstance(x, str) else np.shape(x) for x in (a, b)]
    like = builder.shape(computed[0])
    try:
        full = tuple(int(size) for size in np.broadcast_shapes(*shapes))
    except ValueError as error:
        raise layer.refuse(
            f"its operands {shapes[0]} and {shapes[1]} do not go together", hint="Give them one shape."
        ) from error
    if len(computed) == 2 and len(shapes[0]) != len(shapes[1]):
        raise layer.refuse("it joins a sequence and a single sample", hint="Keep the time axis (keepdims=True).")
    if full[0] != 1 or len(full) != len(like):
        raise layer.refuse(f"it gives {full}: {_RANKS}", hint="Keep the samples in the first axis.")
    names = [
        _repeated(layer, builder, f"{out}/{side}", x, full)
        if isinstance(x, str)
        else builder.constant(f"{out}/{side}", _spread(np.asarray(x, np.float32), full))
        for side, x in (("a", a), ("b", b))
    ]
    return builder.op(kind, out, names, full)


def _spread(data: Array, full: Shape) -> Array:
    """A constant as one sample (1, 1, C) where it is the same over time, else in ``full``."""
    data = data.reshape((1,) * (len(full) - data.ndim) + data.shape)
    over_time = len(full) == 3 and data.shape[1] == 1
    return np.broadcast_to(data, (1, 1, full[2]) if over_time else full)


def _repeated(layer: KerasLayer, builder: GraphBuilder, out: str, x: str, full: Shape) -> str:
    """``x``, or as many copies side by side as it takes to meet ``full``."""
    shape = builder.shape(x)
    if shape == full or broadcasts(shape, full):
        return x
    if shape[-1] == 1 and (shape[:-1] == full[:-1] or len(full) == 3):
        wide = builder.concat(out, [x] * full[-1], axis=len(full) - 1)
        if builder.shape(wide) == full or broadcasts(builder.shape(wide), full):
            return wide
    raise layer.refuse(
        f"it repeats {shape[1:]} to {full[1:]}, which is not supported", hint="Give both operands one shape."
    )


def _activation(layer: KerasLayer, builder: GraphBuilder) -> None:
    name = ACTIVATIONS[layer.kind.removeprefix("ops.")]
    if name in ("relu", "relu6") and builder.fuse(name):
        return
    builder.value = apply_activation(builder, name, f"{layer.name}/y", _one(layer, builder)[0])


def _function(layer: KerasLayer, builder: GraphBuilder) -> None:
    name = FUNCTIONS[layer.kind.removeprefix("ops.")]
    builder.value = apply_function(builder, name, f"{layer.name}/y", _one(layer, builder)[0])


def _gelu(layer: KerasLayer, builder: GraphBuilder) -> None:
    x, options = _one(layer, builder)
    builder.value = apply_function(builder, "gelu", f"{layer.name}/y", x, (float(options["approximate"]),))


def _bent(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Elu, Celu (alpha) and LeakyRelu (negative_slope)."""
    x, options = _one(layer, builder)
    kind = layer.kind.removeprefix("ops.")
    if kind == "LeakyRelu":
        builder.value = builder.op("leaky_relu", f"{layer.name}/y", [x], alpha=float(options["negative_slope"]))
    elif kind == "Elu" and options["alpha"] == 1.0:
        builder.value = builder.op("elu", f"{layer.name}/y", [x])
    else:
        builder.value = apply_function(builder, kind.lower(), f"{layer.name}/y", x, (float(options["alpha"]),))


def _softmax(layer: KerasLayer, builder: GraphBuilder) -> None:
    x, options = _one(layer, builder)
    rank = len(builder.shape(x))
    if _axis(layer, options["axis"], rank) == rank - 1:
        builder.value = apply_activation(builder, "softmax", f"{layer.name}/y", x)
        return
    builder.value = softmax_over_time(builder, layer.name, x)


def _square(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Square, and Power of a constant 2 or 0.5."""
    args, _ = arguments(layer, builder)
    x, power = args[0], 2 if layer.kind == "ops.Square" else args[1]
    if not isinstance(x, str) or isinstance(power, str) or np.ndim(power) or float(power) not in (0.5, 2.0):
        raise layer.refuse("only the powers 2 and 0.5 of a tensor are supported", hint="Use ops.exp and ops.log.")
    if float(power) == 2:
        builder.value = builder.op("mul", f"{layer.name}/y", [x, x])
    else:
        builder.value = apply_function(builder, "sqrt", f"{layer.name}/y", x)


# --- over an axis -----------------------------------------------------------------------------------------------------


def _mean_of(layer: KerasLayer, builder: GraphBuilder, out: str, x: str, axis: int) -> str:
    """The mean over time, (1, 1, C), or over channels, (1, W, 1) or (1, 1)."""
    shape = builder.shape(x)
    if len(shape) == 2:
        tall = builder.op("reshape", f"{out}/tall", [x], (1, shape[1], 1))
        return builder.op("reshape", out, [builder.op("mean", f"{out}/mean", [tall], (1, 1, 1))], (1, 1))
    if axis == 1:
        return builder.op("mean", out, [x], (1, 1, shape[2]))
    turned = builder.op("transpose", f"{out}/turned", [x], (1, shape[2], shape[1]))
    mean = builder.op("mean", f"{out}/mean", [turned], (1, 1, shape[1]))
    return builder.op("reshape", out, [mean], (1, shape[1], 1))


def _reduction(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Mean, Sum, Var and Std. A sum is the mean times how many there are, so that no sum of codes can overflow."""
    x, options = _one(layer, builder)
    name, shape = layer.name, builder.shape(x)
    axis = _axis(layer, options["axis"], len(shape))
    y = _mean_of(layer, builder, f"{name}/mean", x, axis)
    if layer.kind == "ops.Sum":
        sizes = builder.shape(y)
        each = builder.constant(f"{name}/count", np.full((*[1] * (len(sizes) - 1), sizes[-1]), shape[axis]))
        y = builder.op("mul", f"{name}/sum", [y, each])
    if layer.kind in ("ops.Var", "ops.Std"):
        apart = builder.op("sub", f"{name}/apart", [x, _repeated(layer, builder, f"{name}/means", y, shape)], shape)
        y = _mean_of(layer, builder, f"{name}/var", builder.op("mul", f"{name}/squares", [apart, apart]), axis)
    if layer.kind == "ops.Std":
        y = apply_function(builder, "sqrt", f"{name}/std", y)
    kept = options.get("keepdims")
    builder.value = y if kept else _shaped(layer, builder, y, (*shape[:axis], *shape[axis + 1 :]))


def _get_item(layer: KerasLayer, builder: GraphBuilder) -> None:
    args, options = arguments(layer, builder)
    x, index = args[0], args[1] if len(args) > 1 else options["key"]
    index = list(index) if isinstance(index, list) else [index]
    shape = builder.shape(x)
    if len(shape) < len(layer.shapes[0]) + 1:  # one step of a recurrent model has no time axis
        index = [*index[:1], *index[2:]] if Ellipsis not in index[:2] else index
        if isinstance(index[-1], int):
            index[-1] = slice(index[-1] % shape[1], index[-1] % shape[1] + 1)
    if any(item is None or not isinstance(item, int | slice | type(Ellipsis)) for item in index):
        raise layer.refuse(
            "only whole numbers and slices are supported between its brackets", hint="Use ops.expand_dims for new axes."
        )
    if Ellipsis in index:
        at = index.index(Ellipsis)
        index[at : at + 1] = [slice(None)] * (len(shape) - len(index) + 1)
    index += [slice(None)] * (len(shape) - len(index))
    if index[0] != slice(None):
        raise layer.refuse("it takes some of the batch", hint="Begin with a colon: x[:, ...].")
    kept: list[int] = [1]
    for axis in range(1, len(shape)):
        item, length = index[axis], shape[axis]
        taken = range(length)[item] if isinstance(item, slice) else range(item % length, item % length + 1)
        if len(taken) < 1 or (len(taken) > 1 and taken.step != 1):
            raise layer.refuse("it takes no values, or not all in a row", hint="Slices have a step of 1.")
        x = _cut(builder, f"{layer.name}/axis_{axis}", x, axis, taken[0], len(taken))
        kept += [len(taken)] if isinstance(item, slice) else []
    builder.value = _shaped(layer, builder, x, tuple(kept))


def is_single(layer: KerasLayer) -> bool:
    """Whether what a layer reads is one sample: static values, as (1, C)."""
    return len(layer.shapes) == 1 and len(layer.shapes[0]) == 2 and layer.shapes[0][0] == 1


def keeps_time(layer: KerasLayer) -> bool:
    """Whether an x[:, :, a:b] or x[:, :, a] takes the same channels of each sample."""
    if layer.kind != "ops.GetItem" or len(layer.shapes) != 1 or len(layer.shapes[0]) != 2:
        return False
    items = _items(layer)
    every = {"start": None, "stop": None, "step": None}
    if len(items) == 3:
        return isinstance(items[1], dict) and items[1].get("config") == every
    return len(items) == 2 and isinstance(items[0], dict) and items[0].get("class_name") == "__ellipsis__"


def gives_samples(layer: KerasLayer) -> bool:
    """Whether it is an x[:, :, a]: one value of each sample, (W,)."""
    return keeps_time(layer) and isinstance(_items(layer)[-1], int)


def _items(layer: KerasLayer) -> list[Any]:
    """What is between the brackets of a GetItem, as the model's config holds it."""
    args, options = layer.call["args"], layer.call["kwargs"]
    index = args[1] if len(args) > 1 else options.get("key")
    return list(index) if isinstance(index, list | tuple) else [index]


def _cut(builder: GraphBuilder, out: str, x: str, axis: int, begin: int, size: int) -> str:
    shape = builder.shape(x)
    if shape[axis] == size:
        return x
    return builder.op("slice", out, [x], (*shape[:axis], size, *shape[axis + 1 :]), axis=axis, begin=begin, size=size)


def _concatenate(layer: KerasLayer, builder: GraphBuilder) -> None:
    args, options = arguments(layer, builder)
    parts = list(args[0])
    if any(not isinstance(part, str) for part in parts):
        raise layer.refuse("it joins a constant", hint="Add constants instead.")
    axis = (dict(layer.config) | options)["axis"]
    rank = len(builder.shape(parts[0]))
    if layer.kind == "ops.Stack":
        axis = _axis(layer, axis, rank + 1)
        parts = [
            builder.op(
                "reshape", f"{layer.name}/{n}", [part], (*builder.shape(part)[:axis], 1, *builder.shape(part)[axis:])
            )
            if rank == 2
            else ""
            for n, part in enumerate(parts)
        ]
        if rank != 2:
            raise layer.refuse(f"it stacks sequences: {_RANKS}", hint="Use ops.concatenate.")
    else:
        axis = _axis(layer, axis, rank)
    builder.value = builder.concat(f"{layer.name}/y", parts, axis)


# --- shapes -----------------------------------------------------------------------------------------------------------


def _reshape(layer: KerasLayer, builder: GraphBuilder) -> None:
    x, options = _one(layer, builder)
    shape, target = builder.shape(x), [int(size) for size in options["newshape"]]
    size = math.prod(shape)
    if target[0] != -1 and target[0] != 1:
        raise layer.refuse("it reshapes the batch", hint="Begin the new shape with -1.")
    target[0] = 1
    if -1 in target:
        target[target.index(-1)] = size // -math.prod(target)
    if math.prod(target) != size:
        raise layer.refuse(
            f"it reshapes {shape[1:]} to {tuple(target[1:])} and the batch with it", hint="Begin the new shape with -1."
        )
    builder.value = _shaped(layer, builder, x, tuple(target))


def _transpose(layer: KerasLayer, builder: GraphBuilder) -> None:
    x, options = _one(layer, builder)
    shape = builder.shape(x)
    if layer.kind == "ops.Swapaxes":
        axes = {_axis(layer, options[name], len(shape)) for name in ("axis1", "axis2")}
        order = (0, 2, 1) if len(axes) == 2 else tuple(range(len(shape)))
    else:
        order = tuple(int(axis) % len(shape) for axis in options["axes"] or reversed(range(len(shape))))
    if order == tuple(range(len(shape))):
        builder.value = x
    elif order == (0, 2, 1):
        builder.value = builder.op("transpose", f"{layer.name}/y", [x], (1, shape[2], shape[1]))
    else:
        raise layer.refuse(f"axes={order} is not supported", hint="Use (0, 2, 1).")


def _squeeze(layer: KerasLayer, builder: GraphBuilder) -> None:
    x, options = _one(layer, builder)
    shape = builder.shape(x)
    axis = _axis(layer, options["axis"], len(shape))
    builder.value = _shaped(layer, builder, x, (*shape[:axis], *shape[axis + 1 :]))


def _expand_dims(layer: KerasLayer, builder: GraphBuilder) -> None:
    x, options = _one(layer, builder)
    shape = builder.shape(x)
    axis = _axis(layer, options["axis"], len(shape) + 1)
    builder.value = _shaped(layer, builder, x, (*shape[:axis], 1, *shape[axis:]))


def _matmul(layer: KerasLayer, builder: GraphBuilder) -> None:
    args, _ = arguments(layer, builder)
    a, b = args[:2]
    if not all(isinstance(x, str) and len(builder.shape(x)) == 3 for x in (a, b)):
        raise layer.refuse("only the product of two sequences is supported", hint="Use a Dense layer for constants.")
    shape = (1, builder.shape(a)[1], builder.shape(b)[2])
    builder.value = builder.op("batch_matmul", f"{layer.name}/y", [a, b], shape, transposed=False)


def _cast(layer: KerasLayer, builder: GraphBuilder) -> None:
    """To whole numbers and back: whole_numbers sees to it that only rows are looked up by them."""
    if not re.fullmatch("float32|u?int(8|16|32|64)", str(layer.config["dtype"])):
        raise layer.refuse(f"dtype={layer.config['dtype']} is not supported", hint="Use int32, or float32.")
    builder.value = _one(layer, builder)[0]


#: "ops." and Keras' class of an operation -> its reader. Over time: those that look at several samples at once.
_OVER_TIME: dict[str, Callable[[KerasLayer, GraphBuilder], None]] = {
    **dict.fromkeys(("Mean", "Sum", "Var", "Std"), _reduction),
    **dict.fromkeys(("Concatenate", "Stack"), _concatenate),
    **dict.fromkeys(("Transpose", "Swapaxes"), _transpose),
    "GetItem": _get_item,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "ExpandDims": _expand_dims,
    "Matmul": _matmul,
}
_BY_SAMPLE: dict[str, Callable[[KerasLayer, GraphBuilder], None]] = {
    **dict.fromkeys((*BINARY, "Divide", "TrueDivide"), _binary),
    **dict.fromkeys(ACTIVATIONS, _activation),
    **dict.fromkeys(FUNCTIONS, _function),
    **dict.fromkeys(("Elu", "Celu", "LeakyRelu"), _bent),
    **dict.fromkeys(("Square", "Power"), _square),
    "Gelu": _gelu,
    "Cast": _cast,
    "Softmax": _softmax,
}
READERS = {f"ops.{name}": reader for name, reader in (*_OVER_TIME.items(), *_BY_SAMPLE.items())}
OVER_TIME = frozenset(f"ops.{name}" for name in _OVER_TIME)
