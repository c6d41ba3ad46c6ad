"""Each kernel for Arm cores against the portable one, on the emulated core: random cases and the largest sums."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from c_library import WARNINGS

from edge_tqs.emit_c.dense_kernels import DENSE_KERNELS, OPERATOR_KERNELS, PORTABLE, dense_kernel, family
from edge_tqs.emit_c.fusion import FUSED_KERNELS
from edge_tqs.emit_c.tables import Tables, kernel_of, taps_of
from edge_tqs.graph.graph import DType, Graph, Op, Quant, Tensor
from edge_tqs.graph.shapes import conv_length
from edge_tqs.operators import add, conv_1d, dense
from edge_tqs.operators.arithmetic import int8 as integer
from edge_tqs.templates import fill, template_root

HERE = Path(__file__).parent
CASES = 100_000
SHORT = 100  # inputs
KINDS = ("fc", "sum", "mul", "lut", "requant")  # of kernels, as MAIN numbers them
#: Kernels of one family run on each core of it: the compiler may make other code of the same C.
CORES = ("m0plus", "m3", "m4", "m7", "m33", "m55")
#: Cortex-A: the core that the kernels are chosen and compiled for, compiler, its flags, emulator, the core it emulates.
LINUX = {
    "a72": ("cortex-a72", "aarch64-linux-gnu-gcc", ("-mcpu=cortex-a72",), "qemu-aarch64", "cortex-a72"),
    "a76": ("cortex-a76", "aarch64-linux-gnu-gcc", ("-mcpu=cortex-a76",), "qemu-aarch64", "cortex-a76"),
    "a72-on-max": ("cortex-a72", "aarch64-linux-gnu-gcc", ("-mcpu=cortex-a72",), "qemu-aarch64", "max"),
    "a7": (
        *("cortex-a7", "arm-linux-gnueabihf-gcc"),
        *(("-mcpu=cortex-a7", "-mfpu=neon-vfpv4", "-mfloat-abi=hard"), "qemu-arm", "cortex-a7"),
    ),
}


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_kernels", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


bench = _load(HERE.parent / "benchmarks" / "kernels.py")


def dense_graph(rng: np.random.Generator, prefix: str, width: int, inputs: int, rows: int, extreme: bool) -> Graph:
    """One dense layer whose output spans the codes; ``extreme``: weights at the limits, signs alike in each row."""
    limit = integer.WEIGHT_LIMIT[width]
    weight = rng.integers(-limit, limit + 1, (rows, inputs))
    if extreme:
        weight = np.repeat(rng.choice([-limit, limit], (rows, 1)), inputs, axis=1)
    weight[rng.integers(rows)] *= int(rng.random() > 0.1)
    x_scale, w_scale = 0.03, rng.uniform(0.001, 0.01, rows).astype(np.float32)
    # The sum of products: all alike, or a random walk. Outputs use all codes and saturate at times.
    peak = 128 * limit * inputs if extreme else int(45 * limit * np.sqrt(inputs))
    bias = rng.integers(-peak, peak + 1, rows) // 2
    y_scale = x_scale * float(w_scale.mean()) * peak / rng.uniform(40, 150)
    names = [f"{prefix}_{part}" for part in ("x", "w", "b", "y")]
    quants = [
        Quant(np.array([x_scale], np.float32), int(rng.integers(-128, 128))),
        Quant(w_scale),
        Quant((w_scale * np.float32(x_scale)).astype(np.float32)),
        Quant(np.array([y_scale], np.float32), int(rng.choice([-128, 127, 0, 17, -90]))),
    ]
    w_type: DType = "int8" if width == 8 else "int4"
    tensors = {
        names[0]: Tensor(names[0], (1, inputs), "int8", None, quants[0]),
        names[1]: Tensor(names[1], (rows, inputs), w_type, weight.astype(np.int8), quants[1]),
        names[2]: Tensor(names[2], (rows,), "int32", bias.astype(np.int32), quants[2]),
        names[3]: Tensor(names[3], (1, rows), "int8", None, quants[3]),
    }
    activation = str(rng.choice(["none", "none", "relu", "relu6"]))
    op = Op("fully_connected", tuple(names[:3]), (names[3],), {"activation": activation})
    return Graph(prefix, tensors, (op,), names[0], names[3], (), None)  # type: ignore[arg-type]


def wide_graph(rng: np.random.Generator, prefix: str, width: int, inputs: int, rows: int, extreme: bool) -> Graph:
    return widened(dense_graph(rng, prefix, width, inputs, rows, extreme), prefix, extreme)


def widened(graph: Graph, prefix: str, extreme: bool) -> Graph:
    """``graph`` with int16 activations: larger sums, zero points of 0, a bias that counts."""
    x, b, y = (graph.tensors[f"{prefix}_{part}"] for part in ("x", "b", "y"))
    assert b.data is not None
    return graph.with_tensors(
        {
            x.name: Tensor(x.name, x.shape, "int16", None, Quant(x.quant.scale)),
            b.name: Tensor(b.name, b.shape, "int32", b.data * (1 if extreme else 250), b.quant),
            y.name: Tensor(y.name, y.shape, "int16", None, Quant((y.quant.scale * np.float32(1.3)).astype(np.float32))),
        }
    )


def pair_graph(rng: np.random.Generator, prefix: str, kind: str) -> Graph:
    names = [f"{prefix}_{part}" for part in ("a", "b", "y")]
    scales = rng.uniform(0.005, 0.02, 2), rng.uniform(0.01, 0.05)
    if kind == "mul":
        scales = rng.uniform(0.005, 0.01, 2), rng.uniform(0.005, 0.02)
    tensors = {
        name: Tensor(name, (1, 67), "int8", None, Quant(np.array([scale], np.float32), int(rng.integers(-128, 128))))
        for name, scale in zip(names, (*scales[0], scales[1]), strict=True)
    }
    return Graph(prefix, tensors, (Op(kind, tuple(names[:2]), (names[2],)),), names[0], names[2], (), None)  # type: ignore[arg-type]


def wide_pair_graph(rng: np.random.Generator, prefix: str, kind: str, size: int, scales: tuple[float, float]) -> Graph:
    """A sum or a product of int16 codes of these scales."""
    names = [f"{prefix}_{part}" for part in ("a", "b", "y")]
    y_scale = (max(scales) if kind != "mul" else 15000 * np.prod(scales)) * rng.uniform(0.8, 1.6)
    quants = [Quant(np.array([scale], np.float32)) for scale in (*scales, y_scale)]
    tensors = {n: Tensor(n, (1, size), "int16", None, quant) for n, quant in zip(names, quants, strict=True)}
    return Graph(prefix, tensors, (Op(kind, tuple(names[:2]), (names[2],)),), names[0], names[2], (), None)  # type: ignore[arg-type]


def single_graph(rng: np.random.Generator, prefix: str, kind: str, size: int, octaves: float = 0) -> Graph:
    """A table, or outputs whose scale is 2^octaves times as large; 0: by 1/8 to 8, shifts to both sides and none."""
    names = [f"{prefix}_x", f"{prefix}_y"]
    scales = (0.03, 1 / 256) if kind == "logistic" else (0.03, 0.03 * 2.0 ** (octaves or rng.uniform(-3, 3)))
    zero_points = rng.integers(-128, 128), -128 if kind == "logistic" else rng.integers(-128, 128)
    tensors = {
        name: Tensor(name, (1, size), "int8", None, Quant(np.array([scale], np.float32), int(zero_point)))
        for name, scale, zero_point in zip(names, scales, zero_points, strict=True)
    }
    return Graph(prefix, tensors, (Op(kind, (names[0],), (names[1],)),), names[0], names[1], (), None)  # type: ignore[arg-type]


def filter_graph(
    rng: np.random.Generator,
    prefix: str,
    shape: tuple[int, int, int],
    attrs: dict[str, int],
    extreme: bool,
    width: int = 8,
) -> Graph:
    """A depthwise convolution, ``shape`` (taps, channels, samples); ``extreme`` as in dense_graph."""
    taps, channels, samples = shape
    attrs = {"stride": 1, "dilation": 1, "left": 0, "right": 0, **attrs}
    length = conv_length(samples, taps, attrs)
    graph = dense_graph(rng, prefix, width, taps, channels, extreme)
    op, sizes = graph.ops[0], {f"{prefix}_x": (1, samples, channels), f"{prefix}_y": (1, length, channels)}
    op = replace(op, kind="depthwise_1d", attrs={**op.attrs, **attrs})
    changed = {name: replace(graph.tensors[name], shape=size) for name, size in sizes.items()}
    return replace(graph.with_tensors(changed), ops=(op,))


def conv_graph(
    rng: np.random.Generator,
    prefix: str,
    width: int,
    shape: tuple[int, int, int, int],
    attrs: dict[str, int],
    extreme: bool,
) -> Graph:
    """A convolution, ``shape`` (taps, channels, rows, samples); ``extreme`` as in dense_graph."""
    taps, channels, rows, samples = shape
    attrs = {"stride": 1, "dilation": 1, "left": 0, "right": 0, **attrs}
    graph = dense_graph(rng, prefix, width, taps * channels, rows, extreme)
    op, weight = graph.ops[0], graph.tensors[f"{prefix}_w"]
    assert weight.data is not None
    op = replace(op, kind="conv_1d", attrs={**op.attrs, **attrs})
    sizes = {f"{prefix}_x": (1, samples, channels), f"{prefix}_y": (1, conv_length(samples, taps, attrs), rows)}
    changed = {name: replace(graph.tensors[name], shape=size) for name, size in sizes.items()}
    changed[weight.name] = replace(weight, shape=(rows, taps, channels), data=weight.data.reshape(rows, taps, channels))
    return replace(graph.with_tensors(changed), ops=(op,))


def product_graph(
    rng: np.random.Generator, prefix: str, rows: int, inner: int, columns: int, transposed: bool
) -> Graph:
    """A product of activations."""
    shapes = {"a": (1, rows, inner), "b": (1, columns, inner) if transposed else (1, inner, columns)}
    shapes["y"] = (1, rows, columns)
    scales = {"a": 0.01, "b": 0.02, "y": 0.0002 * inner * rng.uniform(60, 200)}
    tensors = {
        f"{prefix}_{part}": Tensor(
            f"{prefix}_{part}",
            shape,
            "int8",
            None,
            Quant(np.array([scales[part]], np.float32), int(rng.choice([-128, 127, *rng.integers(-128, 128, 3)]))),
        )
        for part, shape in shapes.items()
    }
    a, b, y = tensors
    return Graph(prefix, tensors, (Op("batch_matmul", (a, b), (y,), {"transposed": transposed}),), a, y, (), None)  # type: ignore[arg-type]


def wide_product_graph(prefix: str, shape: tuple[int, int, int], transposed: bool, spread: float) -> Graph:
    """A product of activations of int16 codes, (rows, inner, columns); random ones reach 1 / spread of the codes."""
    rows, inner, columns = shape
    graph = product_graph(np.random.default_rng(0), prefix, rows, inner, columns, transposed)
    quants = {"a": 1e-4, "b": 2e-4, "y": 2e-8 * 3.6e8 * np.sqrt(inner) * spread / 32768}
    wide = {f"{prefix}_{part}": Quant(np.array([scale], np.float32)) for part, scale in quants.items()}
    return graph.with_tensors(
        {name: replace(tensor, dtype="int16", quant=wide[name]) for name, tensor in graph.tensors.items()}
    )


def widening_product_graph(
    rng: np.random.Generator, prefix: str, rows: int, inner: int, columns: int, transposed: bool
) -> Graph:
    """A product of int8 codes that writes int16 ones, as C computes that of their copies."""
    graph = product_graph(rng, prefix, rows, inner, columns, transposed)
    y = graph.tensors[f"{prefix}_y"]
    scale = np.array([0.0002 * 5e3 * np.sqrt(inner) / 32768 * 2.0 ** rng.uniform(0.5, 3)], np.float32)
    return graph.with_tensors({y.name: replace(y, dtype="int16", quant=Quant(scale))})


def pool_graph(
    rng: np.random.Generator,
    prefix: str,
    kind: str,
    shape: tuple[int, int],
    size: int,
    stride: int,
    dtype: DType = "int8",
) -> Graph:
    """Each ``size`` samples of ``shape`` (samples, channels) in one; those at the ends are of fewer."""
    x, y = f"{prefix}_x", f"{prefix}_y"
    quant = Quant(np.array([0.03], np.float32), int(rng.integers(-128, 128)) if dtype == "int8" else 0)
    samples, channels = shape
    shapes = {x: (1, samples, channels), y: (1, -(-samples // stride), channels)}
    tensors = {name: Tensor(name, each, dtype, None, quant) for name, each in shapes.items()}
    op = Op(kind, (x,), (y,), {"size": size, "stride": stride, "padding": "same"})
    return Graph(prefix, tensors, (op,), x, y, (), None)  # type: ignore[arg-type]


def shares_graph(prefix: str, rows: int, columns: int, scale: float, dtype: DType = "int8") -> Graph:
    """A softmax."""
    quants = {"x": Quant(np.array([scale], np.float32), 3), "y": Quant(np.array([1 / 256], np.float32), -128)}
    if dtype == "int16":
        quants = {k: Quant(np.array([each], np.float32)) for k, each in (("x", scale / 256), ("y", 1 / 32768))}
    tensors = {f"{prefix}_{k}": Tensor(f"{prefix}_{k}", (1, rows, columns), dtype, None, q) for k, q in quants.items()}
    x, y = tensors
    return Graph(prefix, tensors, (Op("softmax", (x,), (y,), {"beta": 1.0}),), x, y, (), None)  # type: ignore[arg-type]


def saturating_graph(prefix: str, kind: str, size: int, scale: float) -> Graph:
    """logistic or tanh of int16 codes."""
    quants = {f"{prefix}_x": Quant(np.array([scale], np.float32)), f"{prefix}_y": Quant(np.array([2**-15], np.float32))}
    tensors = {name: Tensor(name, (1, size), "int16", None, quant) for name, quant in quants.items()}
    x, y = tensors
    return Graph(prefix, tensors, (Op(kind, (x,), (y,)),), x, y, (), None)  # type: ignore[arg-type]


def converted_graph(prefix: str, types: tuple[DType, DType], size: int, octaves: float) -> Graph:
    """Codes of one type to those of another, whose scale is 2^octaves times as large."""
    quants = {
        part: Quant(np.array([0.03 * 2.0**shift], np.float32), zero_point if dtype == "int8" else 0)
        for part, dtype, shift, zero_point in (("x", types[0], 0.0, 17), ("y", types[1], octaves, -90))
    }
    tensors = {
        f"{prefix}_{part}": Tensor(f"{prefix}_{part}", (1, size), dtype, None, quants[part])
        for part, dtype in zip(quants, types, strict=True)
    }
    x, y = tensors
    return Graph(prefix, tensors, (Op("quantize", (x,), (y,)),), x, y, (), None)  # type: ignore[arg-type]


#: (taps, channels, rows, samples), attributes, extreme: as conv_graph has them
CONVOLUTIONS: tuple[tuple[tuple[int, int, int, int], dict[str, int], bool], ...] = (
    ((3, 16, 5, 5), {"left": 2}, False),
    ((2, 16, 4, 6), {"dilation": 2}, True),
    ((3, 16, 8, 6), {"dilation": 2, "left": 4}, False),
    ((5, 16, 3, 6), {"dilation": 2, "left": 8}, False),
    ((3, 5, 6, 9), {"left": 2}, False),
    ((2, 4, 7, 20), {"stride": 2, "right": 1}, False),
    ((1, 24, 9, 4), {}, False),
    ((2, 32, 4, 3), {"dilation": 2, "left": 2, "right": 2}, True),
    ((4, 40, 4, 2), {"left": 3, "right": 3}, False),
)
#: (fast kernel, portable kernel, inputs, outputs, C texts)
Layer = tuple[str, str, int, int, list[str]]


def layers(core: str) -> list[Layer]:
    """Random layers that the fast kernels take."""
    rng, other = (np.random.default_rng(sum(core.encode()) + more) for more in (0, 1))
    made = []

    def add(index: int, make, source: np.random.Generator = rng) -> None:
        state = source.bit_generator.state
        fast = make("fast")
        source.bit_generator.state = state
        slow = make("slow")
        op, twin = fast.ops[0], slow.ops[0]
        chosen = kernel_of(fast, op, core)
        if not chosen.sources[0].startswith("kernels/arm/"):
            return
        tables, reference = Tables(fast, core), Tables(slow, PORTABLE)
        if chosen.samples:
            for each, one in ((tables, op), (reference, twin)):
                each.add_taps(one, taps_of(conv_1d.OPERATOR.call(each.graph, one)))  # type: ignore[arg-type]
        if chosen.name.startswith("tqs_sum"):
            reference = _AddTables(slow, PORTABLE)
        text = [*_numbered(tables, op, index), *_numbered(reference, twin, index)]
        slow_name = "tqs_add_s8" if chosen.name.startswith("tqs_sum") else kernel_of(slow, twin, PORTABLE).name
        size = max(fast.tensors[name].size for name in op.inputs if fast.tensors[name].data is None)
        made.append((chosen.name, slow_name, size, fast.tensors[op.outputs[0]].size, text))

    lengths = (1, 2, 3, 4, 5, 7, 8, 13, 15, 16, 17, 20, 24, 31, 33, 40, 52, 72, 75, 88)
    sizes = [(k, m) for k in lengths for m in (1, 4, 6, 11)][::2]
    index = 0
    for width in (8, 4):
        for inputs, rows in sizes:
            add(index, lambda p, w=width, k=inputs, m=rows: dense_graph(rng, p, w, k, m, False))
            index += 1
        for inputs in (1, 16, 64, 73, 76, 95, 511, 512, 1030):
            add(index, lambda p, w=width, k=inputs: dense_graph(rng, p, w, k, 5, True))
            index += 1
        # Of more than two pieces and one group of rows, and those that a kernel for long layers is tried with.
        for inputs, rows, extreme in ((600, 38, False), (520, 4, True), (321, 3, False)):
            add(index, lambda p, w=width, k=inputs, m=rows, e=extreme: dense_graph(rng, p, w, k, m, e))
            index += 1
        for inputs, rows in [*((k, m) for k in (1, 3, 4, 6, 13, 32) for m in (1, 4, 7)), (512, 5)]:
            wide = inputs == 512
            add(index, lambda p, w=width, k=inputs, m=rows, e=wide: wide_graph(rng, p, w, k, m, e))
            index += 1
    for kind in ("add", "sub", "mul", "mul"):
        for _ in range(3):
            add(index, lambda p, kind=kind: pair_graph(rng, p, kind))
            index += 1
    for kind in ("logistic", "quantize", "quantize"):
        for size in (1, 15, 32, 70):
            add(index, lambda p, kind=kind, n=size: single_graph(rng, p, kind, n))
            index += 1
    for octaves in (29.5, 22.5, 9.5, -9.5, -21.5):
        add(index, lambda p, octaves=octaves: single_graph(rng, p, "quantize", 9, octaves))
        index += 1
    for shape, attrs, extreme in (
        ((3, 8, 6), {"left": 2}, False),
        ((2, 4, 9), {"stride": 2, "right": 1}, False),
        ((4, 13, 5), {"dilation": 2, "left": 6}, True),
        ((3, 9, 6), {"left": 1, "right": 1}, False),
        ((5, 17, 7), {"left": 2, "right": 2}, False),
        ((1, 21, 3), {}, False),
        ((5, 32, 8), {"left": 4}, True),
        ((7, 3, 4), {"left": 9, "right": 3, "dilation": 2}, False),
    ):
        width = 4 if shape == (3, 9, 6) else 8
        add(index, lambda p, s=shape, a=attrs, e=extreme, w=width: filter_graph(rng, p, s, a, e, w))
        index += 1
        add(index, lambda p, s=shape, a=attrs, e=extreme: widened(filter_graph(other, p, s, a, e), p, e), other)
        index += 1
    for number, wide_shape in enumerate(((3, 4, 4), (2, 16, 5), (1, 25, 6), (3, 7, 3), (5, 9, 8), (1, 49, 2))):
        for transposed in (False, True):
            spread = 0.4 if (number % 2 == 0) == transposed else 3.0
            add(index, lambda p, s=wide_shape, t=transposed, w=spread: wide_product_graph(p, s, t, w))
            index += 1
    for width in (8, 4):
        for taps_etc, attrs, extreme in CONVOLUTIONS:
            add(index, lambda p, w=width, s=taps_etc, a=attrs, e=extreme: conv_graph(rng, p, w, s, a, e))
            index += 1
    for rows, inner, columns in ((3, 4, 4), (2, 16, 5), (4, 24, 6), (3, 7, 3), (5, 33, 8), (2, 50, 1), (17, 30, 16)):
        for transposed in (False, True):
            add(index, lambda p, m=rows, k=inner, n=columns, t=transposed: product_graph(rng, p, m, k, n, t))
            index += 1
            sizes_etc = rows, inner, columns, transposed
            add(index, lambda p, s=sizes_etc: widening_product_graph(other, p, *s), other)
            index += 1
    sums = (
        (1, (1.0, 1.0)),
        (13, (1.0, 0.3)),
        (16, (1e-4, 1.0)),
        (7, (1e-9, 1e-3)),
        (30, (0.7, 1.0)),
        (50, (2.0, 0.01)),
    )
    for size, scales in sums:
        for kind in ("add", "sub", "mul"):
            add(index, lambda p, k=kind, n=size, s=scales: wide_pair_graph(other, p, k, n, s), other)
            index += 1
    for kind in ("avg_pool_1d", "max_pool_1d"):
        for pooled, size, stride in (
            ((5, 8), 2, 2),
            ((6, 9), 3, 1),
            ((4, 17), 1, 1),
            ((7, 13), 5, 3),
            ((200, 5), 255, 70),
        ):
            for dtype in ("int8", "int16"):
                add(
                    index,
                    lambda p, k=kind, s=pooled, n=size, m=stride, d=dtype: pool_graph(other, p, k, s, n, m, d),
                    other,
                )
                index += 1
    for dtype in ("int8", "int16"):
        add(index, lambda p, d=dtype: pool_graph(other, p, "avg_pool_1d", (60, 16), 40, 9, d), other)
        index += 1
    for rows, columns, scale in (
        (2, 1, 0.01),
        (3, 5, 0.02),
        (2, 24, 0.01),
        (1, 33, 0.1),
        (3, 4, 0.08),
        (1, 250, 0.005),
    ):
        for dtype in ("int8", "int16"):
            add(index, lambda p, m=rows, n=columns, s=scale, d=dtype: shares_graph(p, m, n, s, d))
            index += 1
    for number, size in enumerate((1, 6, 17, 40)):
        kind, scale = ("logistic", "tanh")[number % 2], (2e-4, 3e-5, 4e-4, 1e-3)[number]
        add(index, lambda p, k=kind, n=size, s=scale: saturating_graph(p, k, n, s))
        index += 1
    for size, octaves in ((1, -5.7), (6, -6.0), (19, -8.3), (12, -0.2), (20, -13.5)):
        add(index, lambda p, n=size, o=octaves: converted_graph(p, ("int8", "int16"), n, o))
        add(index + 1, lambda p, n=size, o=-octaves: converted_graph(p, ("int16", "int8"), n, o))
        index += 2
    return made


class _AddTables(Tables):
    """The tables of tqs_add_s8 also where one step would do."""

    def add_layer(self, op: Op) -> str:
        call = add.in_two_steps(self.graph, op)
        return self._add_struct(call.layer_type, op.outputs[0], call.fields)


def _numbered(tables: Tables, op: Op, index: int) -> list[str]:
    tables.add_layer(op)
    return [re.sub(r"\b(fast|slow)_(\w+)", rf"\1_\2_{index}", text) for text in tables.texts]


MAIN = """
#if defined(__linux__)
#include <stdio.h>
#include <stdlib.h>
#endif
#include <string.h>
#include "tqs_arm.h"
#include "tqs_kernels.h"
#include "tqs_kernels_s16.h"
#include "tqs_requantize.h"

typedef void (*dense_t)(const tqs_fc_t *, const int8_t *, int8_t *, uint32_t *);
typedef void (*wide_t)(const tqs_fc_s16_t *, const int16_t *, int16_t *);
/* Of kind 6: a kernel with its layer. */
typedef void (*run_t)(const int8_t *a, const int8_t *b, int8_t *y);
typedef struct layer {
    int kind; /* 0: dense, 1: add, 2: mul, 3: table, 4: change of scale, 5: dense with int16 activations, 6: other */
    dense_t fast_dense;
    const void *fast;
    dense_t slow_dense;
    const void *slow;
    uint32_t inputs;
    uint32_t outputs;
    uint32_t cases;
    wide_t fast_wide;
    wide_t slow_wide;
    run_t fast_run;
    run_t slow_run;
    uint32_t aligned; /* 3, or 2 for codes of int16: what an address may be more than a multiple of four */
} layer_t;

int main(void);
void SysTick_Handler(void);
void SysTick_Handler(void) {
}

static uint32_t scratch[160];

@TABLES@

static const layer_t layers[] = {
@LAYERS@
};
static int8_t x[2][1036] __attribute__((aligned(4)));
static int8_t y[2][560] __attribute__((aligned(4)));
static uint32_t seed = 1;
static uint32_t inside; /* outputs that do not saturate */

static uint32_t draw(void) {
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed;
}

static void fill_codes(int8_t *codes, uint32_t size) {
    const uint32_t kind = draw() & 7u;
    uint32_t i;

    for (i = 0; i < size; i += 4u) { /* up to three codes more: the array has room */
        uint32_t four = draw();

        if (kind == 0u) {
            four = 0x80808080u;
        } else if (kind == 1u) {
            four = 0x7F7F7F7Fu;
        } else if (kind == 2u) {
            four = 0x7F7F7F7Fu + (four >> 7 & 0x01010101u); /* 127 or -128 */
        }
        memcpy(codes + i, &four, 4);
    }
}

/* differs for a dense layer with int16 activations. */
static uint32_t wide_differs(const layer_t *layer) {
    static int16_t in[520];
    static int16_t out[2][24];
    const uint32_t from = draw() >> 30;
    const uint32_t kind = draw() & 7u;
    uint32_t i;

    memset(out, 85, sizeof out);
    for (i = 0; i < layer->inputs; i++) {
        const uint32_t random = draw() >> 8;

        in[from + i] = (int16_t)(kind == 0u ? -32768 : kind == 1u ? 32767 : (int32_t)(random & 0xFFFFu) - 32768);
    }
    layer->fast_wide(layer->fast, in + from, out[0] + from);
    layer->slow_wide(layer->slow, in + from, out[1] + from);
    for (i = 0; i < layer->outputs; i++) {
        inside += out[1][from + i] > -32768 && out[1][from + i] < 32767 ? 1u : 0u;
    }
    return memcmp(out[0], out[1], sizeof out[0]) != 0 ? 1u : 0u;
}

#if @FUSED@
/* Whether the codes of a sum, which slow holds, are looked up as they should be: all of them, or up to three less. */
static uint32_t looked_up_differs(const layer_t *layer, const int8_t *a, const int8_t *b, int8_t *fast, int8_t *slow) {
    static int8_t table[256];
    const tqs_lut_t lut = {table, (uint16_t)(layer->outputs - (draw() >> 30))};
    uint32_t i;

    for (i = 0; i < sizeof table; i++) {
        table[i] = (int8_t)(draw() >> 24);
    }
    @SUM_LUT@(layer->fast, &lut, a, b, fast);
    for (i = 0; i < lut.size; i++) {
        slow[i] = table[slow[i] + 128];
    }
    return memcmp(y[0], y[1], layer->outputs + 8u) != 0 ? 1u : 0u;
}
#endif

/* Whether the two kernels agree for new inputs at odd addresses, and nothing behind the output changes. */
static uint32_t differs(const layer_t *layer) {
    const uint32_t x_from = draw() >> 30 & layer->aligned;
    const uint32_t y_from = draw() >> 30 & layer->aligned;
    int8_t *fast = y[0] + y_from;
    int8_t *slow = y[1] + y_from;
    const uint32_t touched = layer->outputs + 8u;
    uint32_t i;

    if (layer->kind == 5) {
        return wide_differs(layer);
    }
    memset(y[0], 85, touched);
    memset(y[1], 85, touched);
    fill_codes(x[0] + x_from, layer->inputs);
    fill_codes(x[1] + x_from, layer->inputs);
    if (layer->kind == 0) {
        layer->fast_dense(layer->fast, x[0] + x_from, fast, scratch);
        layer->slow_dense(layer->slow, x[0] + x_from, slow, NULL);
    } else if (layer->kind == 1) {
        @SUM@(layer->fast, x[0] + x_from, x[1] + x_from, fast);
        tqs_add_s8(layer->slow, x[0] + x_from, x[1] + x_from, slow);
    } else if (layer->kind == 2) {
        @MUL@(layer->fast, x[0] + x_from, x[1] + x_from, fast);
        tqs_mul_s8(layer->slow, x[0] + x_from, x[1] + x_from, slow);
    } else if (layer->kind == 3) {
        @LUT@(layer->fast, x[0] + x_from, fast);
        tqs_lut_s8(layer->slow, x[0] + x_from, slow);
    } else if (layer->kind == 4) {
        @REQUANT@(layer->fast, x[0] + x_from, fast);
        tqs_requant_s8(layer->slow, x[0] + x_from, slow);
    } else {
        layer->fast_run(x[0] + x_from, x[1] + x_from, fast);
        layer->slow_run(x[0] + x_from, x[1] + x_from, slow);
    }
    for (i = 0; i < layer->outputs; i++) {
        inside += slow[i] > -128 && slow[i] < 127 ? 1u : 0u;
    }
    if (memcmp(y[0], y[1], touched) != 0) {
        return 1u;
    }
#if @FUSED@
    if (layer->kind == 1) {
        return looked_up_differs(layer, x[0] + x_from, x[1] + x_from, fast, slow);
    }
#endif
    return 0u;
}

static uint32_t rescaling_differs(void) {
    const int32_t value = (int32_t)draw() >> (2u + (draw() >> 8) % 28u);
    const int32_t multiplier = (int32_t)((draw() >> 2) | 0x40000000u);
    const int32_t shift = (int32_t)((draw() >> 8) % 31u);
    const int32_t zero_point = (int32_t)((draw() >> 8) & 255u) - 128;
    const int32_t fast = tqs_rescale(value * 2, multiplier, shift, 2 * zero_point + 1);

    return fast != tqs_saturate(tqs_requantize(value, multiplier, -1 - shift), zero_point, -128, 127) ? 1u : 0u;
}

#if defined(__linux__)
static void call_host(uint32_t operation, const void *argument) {
    if (operation == 4u) {
        fputs(argument, stdout);
    } else {
        exit(0);
    }
}
#else
static void call_host(uint32_t operation, const void *argument) {
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;

    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
}
#endif

static void tell(uint32_t number) {
    char text[12];
    uint32_t i = sizeof text;

    text[--i] = '\\0';
    text[--i] = '\\n';
    do {
        text[--i] = (char)('0' + number % 10u);
        number /= 10u;
    } while (number != 0u);
    call_host(4, &text[i]);
}

int main(void) {
    uint32_t wrong;
    uint32_t i;
    uint32_t n;

    for (i = 0; i < sizeof layers / sizeof layers[0]; i++) {
        wrong = 0;
        inside = 0;
        for (n = layers[i].cases; n > 0u; n--) {
            wrong += differs(&layers[i]);
        }
        tell(wrong);
        tell(inside);
    }
    wrong = 0;
    for (n = @CASES@u; n > 0u; n--) {
        wrong += rescaling_differs();
    }
    tell(wrong);
    call_host(0x18, (const void *)0x20026u);
    for (;;) {
    }
}
"""


@pytest.mark.emulated
@pytest.mark.slow
@pytest.mark.parametrize("core", CORES)
def test_kernels_equal_the_portable_ones(core: str, tmp_path: Path) -> None:
    machine = bench.CORES[core]

    def run(sources: list[Path], flags: list[str]) -> list[int]:
        return list(bench.run(machine, bench.link(machine, sources, tmp_path, flags)))

    check_kernels(machine.name, tmp_path, run)


@pytest.mark.emulated
@pytest.mark.slow
@pytest.mark.parametrize("name", LINUX)
def test_kernels_for_linux_equal_the_portable_ones(name: str, tmp_path: Path) -> None:
    core, compiler, flags, emulator, emulated = LINUX[name]

    def run(sources: list[Path], more: list[str]) -> list[int]:
        root, program = template_root(), tmp_path / "program"
        command = [compiler, "-static", "-O2", *flags, *more, f"-I{root / 'kernels'}", *map(str, sources)]
        subprocess.run([*command, "-o", str(program)], check=True)
        done = subprocess.run([emulator, "-cpu", emulated, str(program)], capture_output=True, text=True, check=True)
        return [int(line) for line in done.stdout.split()]

    check_kernels(core, tmp_path, run)


def cases_of(made: list[Layer]) -> list[int]:
    """How often each layer is tried: CASES for each kernel, of its layers up to SHORT, or of its shortest."""
    lengths: dict[str, list[int]] = {}
    for name, _, inputs, _, _ in made:
        lengths.setdefault(name, []).append(inputs)
    counts = []
    for name, _, inputs, _, _ in made:
        most = max(SHORT, min(lengths[name]))
        if _kind(name) in range(1, 5):
            counts.append(-(-CASES // 16))  # each of up to 70 values
        else:
            counts.append(-(-CASES // sum(length <= most for length in lengths[name])) if inputs <= most else 500)
    return counts


def _kind(kernel: str) -> int:
    """As MAIN numbers them."""
    if "_s16" in kernel:
        return 5 if kernel.startswith("tqs_fc_") else 6
    return next((i for i, name in enumerate(KINDS) if kernel.startswith(f"tqs_{name}_s")), 6)


def _code_bytes(kernel: str) -> tuple[int, int]:
    """Bytes of a code that it reads, and of one that it writes; of a dense layer as if they were int8."""
    if _kind(kernel) != 6 or "_s16" not in kernel:
        return 1, 1
    return 1 if "_s8_s16" in kernel else 2, 1 if "_s16_s8" in kernel else 2


def wrapped(kernel: str, name: str, layer: str, scratch: bool) -> str:
    """A function of two operands and the output that calls ``kernel``, which may have one operand alone."""
    operands = ["a", "b"] if re.match("tqs_(matmul|add|mul)_", kernel) else ["a"]
    unused = "" if "b" in operands else "    (void)b;\n"
    pointers = [f"&{layer}", *operands, "y"]
    read, written = _code_bytes(kernel)
    if read == 2:
        pointers[1:-1] = [f"(const int16_t *)(const void *){operand}" for operand in operands]
    if written == 2:
        pointers[-1] = "(int16_t *)(void *)y"
    arguments = ", ".join([*pointers, *(["scratch"] if scratch else [])])
    return f"static void {name}(const int8_t *a, const int8_t *b, int8_t *y) {{\n{unused}    {kernel}({arguments});\n}}"


def convolved(fast: str, index: int, names: list[str], text: str, outputs: int) -> list[str]:
    """As wrapped has them, the functions of ``fast`` and of the portable kernels for a convolution.

    names: of the layers and the taps, ``fast``'s first. A dense layer is a convolution of one sample without taps.
    """
    layer, twin, taps, its_taps = names
    rows = int(re.findall(r"\.outputs = (\d+)", text)[0])
    samples, portable = outputs // rows, f"tqs_fc_{fast.split('_')[2]}"
    calls = [f"{fast}(&{layer}, &{taps}, a, {samples}u, y, (int8_t *)scratch);"]
    if fast.endswith("_mve") and ".taps = 1," in text:
        calls.append(f"{fast}(&{layer}, NULL, a, 1u, y, NULL);")
    read = f"tqs_taps_s8(&{its_taps}, a, i, (int8_t *)scratch)"
    looped = f"for (uint32_t i = 0; i < {samples}u; i++) {portable}(&{twin}, {read}, y + i * {rows}u, NULL);"
    return [
        f"static void run_{which}_{index}(const int8_t *a, const int8_t *b, int8_t *y) {{\n(void)b;\n{body}\n}}"
        for which, body in (("fast", "\n".join(calls)), ("slow", looped))
    ]


def check_kernels(core: str, folder: Path, run: Callable[[list[Path], list[str]], list[int]]) -> None:
    """Build the program of all layers for ``core`` in ``folder``, ``run`` it (sources, flags), judge its numbers."""
    made = layers(core)
    mine = {kernel.name for kernel in DENSE_KERNELS if family(core) in kernel.families}
    own = {slow: fast for (slow, cores), fast in OPERATOR_KERNELS.items() if cores == family(core)}
    assert {layer[0] for layer in made} == mine | set(own.values())
    cases = cases_of(made)
    rows = []
    for text_index, (fast, slow, inputs, outputs, texts) in enumerate(made):
        structs = [re.search(r"static const \w+ (\w+_layer\w*) = ", "\n".join(texts[i:])) for i in range(len(texts))]
        found = sorted({match.group(1) for match in structs if match is not None})
        names, taps = ([name for name in found if ("_taps" in name) == is_taps] for is_taps in (False, True))
        assert len(names) == 2, (text_index, names)
        kind, code_bytes = _kind(fast), _code_bytes(fast)
        byte = (fast, slow) if kind == 0 else ("NULL", "NULL")
        wide = (fast, slow) if kind == 5 else ("NULL", "NULL")
        runs = ("NULL", "NULL")
        if taps:
            runs = (f"run_fast_{text_index}", f"run_slow_{text_index}")
            texts.extend(convolved(fast, text_index, [*names, *taps], "".join(texts), outputs))
        elif kind == 6:
            runs = (f"run_fast_{text_index}", f"run_slow_{text_index}")
            texts.append(wrapped(fast, runs[0], names[0], "matmul" in fast))
            texts.append(wrapped(slow, runs[1], names[1], False))
        sizes = [size * each for size, each in zip((inputs, outputs), code_bytes, strict=True)]
        aligned = 2 if "_s16" in fast else 3
        layer = [kind, byte[0], f"&{names[0]}", byte[1], f"&{names[1]}", *sizes, cases[text_index]]
        rows.append(f"    {{{', '.join(map(str, [*layer, *wide, *runs, aligned]))}}},")
    tables = "\n\n".join(text for layer in made for text in layer[4])
    root = template_root()
    values = {"TABLES": tables, "LAYERS": "\n".join(rows), "CASES": str(CASES)}
    lookup, fused = FUSED_KERNELS.get(own.get("tqs_sum_s8", ""), ("", ""))
    has_fused = lookup == own.get("tqs_lut_s8")
    values |= {"FUSED": str(int(has_fused)), "SUM_LUT": fused}
    values |= {part.upper(): own.get(f"tqs_{part}_s8", f"tqs_{part}_s8") for part in KINDS[1:]}
    (folder / "main.c").write_text(fill(MAIN, values), encoding="ascii")
    kernels = {f"{name}.c" for layer in made for name in layer[:2]} | {"tqs_taps_s8.c"}
    kernels |= {f"tqs_{kind}_s8.c" for kind in ("add", *KINDS[1:])} | ({f"{fused}.c"} if has_fused else set())
    sources = [folder / "main.c"] + [path for name in sorted(kernels) for path in (root / "kernels").rglob(name)]
    answers = run(sources, [*WARNINGS, f"-I{root / 'kernels' / 'arm'}"])
    assert len(answers) == 2 * len(made) + 1
    wrong = [(layer[0], layer[2], layer[3], count) for layer, count in zip(made, answers[::2], strict=False) if count]
    assert not wrong, "(kernel, inputs, outputs, wrong cases): what a kernel does not take, `fast` leaves to call"
    for kernel in {layer[0] for layer in made}:
        inside, outputs = 0, 0
        for case, count, number in zip(made, answers[1::2], cases, strict=False):
            if case[0] == kernel:
                inside += count
                outputs += case[3] * number * _code_bytes(kernel)[1]
        assert inside > 0.4 * outputs, f"most outputs of {kernel} must not saturate, or they would show nothing"
    assert answers[-1] == 0, "tqs_rescale"


def test_layers_beyond_a_kernel_s_limits_go_to_the_portable_one() -> None:
    rng = np.random.default_rng(0)
    for core, short, long in (
        ("cortex-m3", dense_graph(rng, "a", 8, 600, 3, False), dense_graph(rng, "a", 8, 517, 3, True)),
        ("cortex-m4", dense_graph(rng, "a", 8, 320, 3, False), dense_graph(rng, "a", 8, 321, 3, False)),
    ):
        names = [dense_kernel(dense.layer(graph, graph.ops[0]), core).name for graph in (short, long)]
        assert names[1] == f"{names[0]}_pieces"
    graph = dense_graph(rng, "a", 8, 4, 3, False)
    y = graph.tensors["a_y"]
    loud = graph.with_tensors({"a_y": Tensor("a_y", y.shape, "int8", None, Quant(np.array([1e-5], np.float32)))})
    assert dense_kernel(dense.layer(loud, loud.ops[0]), "cortex-m0").name == "tqs_fc_s8", "a shift to the left"
    assert dense_kernel(dense.layer(graph, graph.ops[0]), "cortex-a72").name == "tqs_fc_s8_neon"
    assert dense_kernel(dense.layer(loud, loud.ops[0]), "cortex-a72").name == "tqs_fc_s8", "a shift to the left"
    assert dense_kernel(dense.layer(graph, graph.ops[0]), "host").name == "tqs_fc_s8"
    for octaves, name in ((-21.5, "tqs_requant_s8_dsp"), (-22.5, "tqs_requant_s8")):
        rescaled = single_graph(rng, "a", "quantize", 4, octaves)
        assert kernel_of(rescaled, rescaled.ops[0], "cortex-m4").name == name


def test_every_kernel_for_arm_is_declared_and_named_after_its_file() -> None:
    headers = (template_root() / "kernels").glob("*.h")
    header = "".join(path.read_text(encoding="ascii") for path in headers)
    for path in sorted((template_root() / "kernels" / "arm").glob("*.c")):
        functions = re.findall(r"^void (\w+)\(", path.read_text(encoding="ascii"), re.MULTILINE)
        assert functions == [path.stem]
        assert f"void {path.stem}(" in header


def test_a_compiler_for_each_core_is_known_to_the_benchmark() -> None:
    assert set(CORES) == set(bench.CORES)
    assert subprocess.run(["arm-none-eabi-gcc", "--version"], capture_output=True, check=False).returncode == 0
