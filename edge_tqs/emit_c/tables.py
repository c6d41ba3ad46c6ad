"""The constant tables of model.c: one layer struct of tqs_kernels.h an operator, with the arrays it points to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_tqs.emit_c import dense_kernels16 as c_tables16
from edge_tqs.emit_c.dense_kernels import (
    ELEMENTWISE_KERNELS,
    PORTABLE,
    constant_codes,
    dense_kernel,
    family,
    pack_rows,
    pad_rows,
    weight_codes,
)
from edge_tqs.emit_c.memory import CODE_BYTES, WORD
from edge_tqs.emit_c.text import identifier, plain, wrap
from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Graph, Op
from edge_tqs.operators import OPERATORS, Call, Table
from edge_tqs.operators.arithmetic import int8 as integer

TAPS_SOURCE = "kernels/tqs_taps_s8.c"


@dataclass(frozen=True)
class Kernel:
    """The C function for an operator.

    sources: the files needed, relative to the template root. scratch: words that it needs. taps: words for the inputs
    of one output sample of a convolution, where they must be gathered. turns, operands: as in operators.Call.
    """

    name: str
    sources: tuple[str, ...]
    scratch: int = 0
    taps: int = 0
    turns: int = 1
    operands: int | None = None


def call_of(graph: Graph, op: Op, core: str) -> Call:
    """The C of an operator that describes its own, on ``core``."""
    operator = OPERATORS[op.kind]
    call = operator.call(graph, op)
    fast = ELEMENTWISE_KERNELS.get((call.kernel, family(core)))
    if fast is None or operator.fast is None:
        return call
    return operator.fast(graph, op, call, fast) or call


def kernel_of(graph: Graph, op: Op, core: str) -> Kernel:
    """The kernel for ``op`` on ``core``. Raises ModelError for an operator without one."""
    if op.kind in OPERATORS:
        if OPERATORS[op.kind].copies is not None:
            return Kernel("memcpy", ())
        call = call_of(graph, op, core)
        folder = "kernels/arm" if call.kernel in ELEMENTWISE_KERNELS.values() else "kernels"
        sources = f"{folder}/{call.kernel}.c", *call.sources
        return Kernel(call.kernel, sources, -(-call.scratch // WORD), turns=call.turns, operands=call.operands)
    inputs = math.prod(graph.tensors[op.inputs[1]].shape[1:])
    if graph.activations == "int16":
        wide = c_tables16.dense_kernel(graph, op, core)
        name, source, scratch = wide.name, wide.source, 0
    else:
        dense = dense_kernel(graph, op, core)
        name, source, scratch = dense.name, dense.source, dense.scratch(inputs)
    if op.kind == "fully_connected" or takes_one_sample(graph, op):
        return Kernel(name, (source,), scratch)
    return Kernel(name, (source, TAPS_SOURCE), scratch, -(-inputs * CODE_BYTES[graph.activations] // WORD))


def takes_one_sample(graph: Graph, op: Op) -> bool:
    """Whether a conv_1d reads one sample of the window for each of its own: nothing to gather."""
    return graph.tensors[op.inputs[1]].shape[1] == 1 and not op.attrs["left"] and not op.attrs["right"]


class Tables:
    """Tables in the order in which operators ask for them; equal weights and lookup tables are emitted once."""

    def __init__(self, graph: Graph, core: str = PORTABLE) -> None:
        self.graph = graph
        self.core = core
        self.texts: list[str] = []
        self._names: set[str] = set()
        self._shared: dict[bytes, str] = {}

    def add_layer(self, op: Op) -> str:
        """Add the struct of ``op`` and its tables; return the struct's C name.

        Raises ModelError for an operator whose parameters no kernel takes.
        """
        name = self._name(identifier(op.outputs[0]))
        if op.kind in OPERATORS:
            return self._operator(op, name)
        if self.graph.activations == "int16":
            return self._wide_layer(op, name)
        return self._add_struct("tqs_fc_t", name, self._fully_connected(op, name))

    def add_taps(self, op: Op) -> str:
        """Add the struct of what a conv_1d reads; return its C name."""
        shape, taps = self.graph.tensors[op.inputs[0]].shape, self.graph.tensors[op.inputs[1]].shape[1]
        fields = {
            "samples": shape[1],
            "channels": shape[2] * CODE_BYTES[self.graph.activations],
            "taps": taps,
            "stride": op.attrs["stride"],
            "dilation": op.attrs["dilation"],
            "left": op.attrs["left"],
            "zero_point": self.graph.quant(op.inputs[0]).zero_point,
        }
        if max(fields.values()) > 0xFFFF:
            raise ModelError(f"{self.graph.name}: {op.kind} to {op.outputs[0]} has numbers beyond 65535: {fields}")
        return self._add_struct("tqs_taps_t", self._name(f"{identifier(op.outputs[0])}_taps"), fields)

    def add_constant(self, name: str) -> str:
        """Add the codes of a constant that an operator reads as it reads activations; return the array's C name."""
        wanted, code = self._name(f"{identifier(name)}_codes"), self.graph.activations
        return self._add_shared(f"{code}_t", wanted, constant_codes(self.graph, name).astype(code), plain(name))

    def _operator(self, op: Op, name: str) -> str:
        call, fields = call_of(self.graph, op, self.core), dict[str, object]()
        for field, value in call.fields.items():
            if isinstance(value, Table):
                value_name = f"{name}_{field}"
                fields[field] = self._add_shared(value.c_type, value_name, value.values, value.remark)
            else:
                fields[field] = value
        return self._add_struct(call.layer_type, name, fields)

    def _wide_layer(self, op: Op, name: str) -> str:
        kernel = c_tables16.dense_kernel(self.graph, op, self.core).name
        layer = c_tables16.layer(self.graph, op, self.core)
        fields = dict(layer.fields)
        if layer.weights is not None and layer.rows is not None:
            what = self._weight_remark(op, kernel)
            c_type = "uint32_t" if layer.weights.dtype == np.uint32 else "int8_t"
            tables = {"weights": self._add_shared(c_type, f"{name}_weights", layer.weights, what)}
            fields = tables | {"rows": self._add_rows(f"{name}_rows", layer.rows, "tqs_rows_s16_t")} | fields
        return self._add_struct(layer.c_type, name, fields)

    def _weight_remark(self, op: Op, kernel: str) -> str:
        weight = self.graph.tensors[op.inputs[1]]
        rows, inputs = weight.shape[0], weight.size // weight.shape[0]
        return f"{plain(weight.name)}, {weight.dtype}, {rows} x {inputs}, as {kernel} reads it"

    def _fully_connected(self, op: Op, name: str) -> dict[str, object]:
        params = integer.fully_connected_params(self.graph, op)
        weight = self.graph.tensors[op.inputs[1]]
        codes = weight_codes(self.graph, op)
        rows, inputs = codes.shape
        if max(rows, inputs) > 0xFFFF:
            raise ModelError(f"{self.graph.name}: {weight.name} is {rows} x {inputs}; the C kernels take 65535")
        bias = constant_codes(self.graph, op.inputs[2]) if len(op.inputs) == 3 else np.zeros(rows, np.int64)
        bias = fold_bias(bias, codes, params.input_zero_point)
        kernel = dense_kernel(self.graph, op, self.core)
        what = self._weight_remark(op, kernel.name)
        packed = kernel.pack(pad_rows(codes))
        return {
            "weights": self._add_shared(kernel.c_type, f"{name}_weights", packed, what),
            "rows": self._add_rows(f"{name}_rows", pack_rows(kernel, bias, params.multiplier, params.shift)),
            "inputs": inputs,
            "outputs": rows,
            "zero_point": params.output_zero_point,
            "low": params.low,
            "high": params.high,
        }

    def _name(self, wanted: str) -> str:
        name, count = wanted, 1
        while name in self._names:
            count += 1
            name = f"{wanted}_{count}"
        self._names.add(name)
        return name

    def _add_array(self, c_type: str, name: str, values: Array, what: str = "") -> str:
        remark = f"/* {what} */\n" if what else ""
        form = "0x{:08x}u" if c_type == "uint32_t" else "{}"
        body = wrap(form.format(value) for value in values.reshape(-1).tolist())
        self.texts.append(f"{remark}static const {c_type} {name}[{values.size}] = {{\n{body}\n}};")
        return name

    def _add_rows(self, name: str, rows: Array, c_type: str = "tqs_rows_t") -> str:
        key = f"{c_type} rows ".encode() + rows.tobytes()
        if key in self._shared:
            return self._shared[key]
        blocks = [
            "    {" + ", ".join("{" + ", ".join(map(str, part)) + "}" for part in row) + "}," for row in rows.tolist()
        ]
        self.texts.append("\n".join([f"static const {c_type} {name}[{rows.size}] = {{", *blocks, "};"]))
        self._shared[key] = name
        return name

    def _add_shared(self, c_type: str, name: str, values: Array, what: str) -> str:
        key = f"{c_type} {values.shape} ".encode() + values.tobytes()
        if key not in self._shared:
            self._shared[key] = self._add_array(c_type, name, values, what)
        return self._shared[key]

    def _add_struct(self, c_type: str, name: str, fields: Mapping[str, object]) -> str:
        body = "\n".join(f"    .{field} = {value}," for field, value in fields.items())
        key = f"{c_type} {body}".encode()
        if key not in self._shared:
            self.texts.append(f"static const {c_type} {name}_layer = {{\n{body}\n}};")
            self._shared[key] = f"{name}_layer"
        return self._shared[key]


def fold_bias(bias: Array, codes: Array, zero_point: int) -> npt.NDArray[np.int64]:
    """(M,) bias less ``zero_point`` times each row's sum: sum(w (x - z)) + b = sum(w x) + (b - z sum(w)).

    integer.fully_connected_params has bounded |b| + 255 sum|w| below 2^31, so neither this nor any partial sum of the
    kernel overflows.
    """
    folded: npt.NDArray[np.int64] = bias.astype(np.int64) - zero_point * codes.astype(np.int64).sum(axis=1)
    return folded
