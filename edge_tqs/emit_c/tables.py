"""The constant tables of model.c: one layer struct of tqs_kernels.h an operator, with the arrays it points to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from edge_tqs.emit_c.dense_kernels import (
    OPERATOR_KERNELS,
    PORTABLE,
    ROWS_TYPES,
    DenseKernel,
    dense_kernel,
    family,
    fold_bias,
    pack_rows,
    pack_weights,
)
from edge_tqs.emit_c.memory import CODE_BYTES, WORD
from edge_tqs.emit_c.packing import pad_rows
from edge_tqs.emit_c.text import identifier, plain, wrap
from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Graph, Op
from edge_tqs.operators import OPERATORS, Call, Copies, DenseLayer, Table, codes

TAPS_SOURCE = "kernels/tqs_taps_s8.c"


@dataclass(frozen=True)
class Kernel:
    """The C function for an operator.

    sources: the files needed, relative to the template root. scratch: words that it needs. takes_scratch: whether it
    has an argument for them, though it may need none. taps: words for the inputs of a convolution, where they must be
    gathered. samples: of one that one call computes; 0 where each takes a call. turns, operands: as in operators.Call.
    """

    name: str
    sources: tuple[str, ...]
    scratch: int = 0
    takes_scratch: bool = False
    taps: int = 0
    samples: int = 0
    turns: int = 1
    operands: int | None = None


def call_of(graph: Graph, op: Op, core: str) -> Call | Copies | DenseLayer:
    """The C of an operator on ``core``."""
    operator = OPERATORS[op.kind]
    call = operator.call(graph, op)
    fast = OPERATOR_KERNELS.get((call.kernel, family(core))) if isinstance(call, Call) else None
    if not isinstance(call, Call) or fast is None:
        return call
    return replace(call, kernel=fast) if operator.fast is None else operator.fast(graph, op, call, fast) or call


def kernel_of(graph: Graph, op: Op, core: str) -> Kernel:
    """The kernel for ``op`` on ``core``. Raises ModelError for an operator without one."""
    call = call_of(graph, op, core)
    if isinstance(call, Copies):
        return Kernel("memcpy", ())
    if isinstance(call, DenseLayer):
        return _kernel_of_layer(call, kernel_of_layer(graph, op, call, core))
    folder = "kernels/arm" if call.kernel in OPERATOR_KERNELS.values() else "kernels"
    sources, scratch = (f"{folder}/{call.kernel}.c", *call.sources), -(-call.scratch // WORD)
    return Kernel(call.kernel, sources, scratch, bool(scratch), turns=call.turns, operands=call.operands)


def kernel_of_layer(graph: Graph, op: Op, layer: DenseLayer, core: str) -> DenseKernel:
    """The kernel for ``layer``, that of ``op``, on ``core``."""
    weight, convolved = graph.tensors[op.inputs[1]].dtype, False
    for other in graph.ops:
        alike = other.kind == "conv_1d" and graph.tensors[other.inputs[1]].dtype == weight
        convolved |= alike and graph.tensors[other.outputs[0]].shape[1] > 1
    return dense_kernel(layer, core, convolved)


def _kernel_of_layer(layer: DenseLayer, kernel: DenseKernel) -> Kernel:
    inputs = layer.codes.shape[1]
    scratch = 0 if kernel.scratch is None else kernel.scratch(inputs, pad_rows(layer.codes).shape[0])
    takes_scratch = layer.activations == "int8"  # the kernels for int16 codes have no such argument
    if kernel.buffer is not None:
        taps = -(-kernel.buffer(inputs, layer.taps is not None) // WORD)
        return Kernel(kernel.name, (kernel.source,), taps=taps, samples=layer.samples)
    if layer.taps is None:
        return Kernel(kernel.name, (kernel.source,), scratch, takes_scratch)
    taps = -(-inputs * CODE_BYTES[layer.activations] // WORD)
    return Kernel(kernel.name, (kernel.source, TAPS_SOURCE), scratch, takes_scratch, taps)


def taps_of(layer: DenseLayer) -> Mapping[str, int]:
    """What the samples of a convolution read, values of tqs_taps_t: also where nothing must be gathered."""
    inputs = layer.codes.shape[1]
    return layer.taps or {
        "samples": (layer.samples - 1) * layer.step // inputs + 1,
        "channels": inputs,
        "taps": 1,
        "stride": layer.step // inputs,
        "dilation": 1,
        "left": 0,
        "zero_point": layer.x_zero_point,
    }


class Tables:
    """Tables in the order in which operators ask for them; equal weights and lookup tables are emitted once."""

    def __init__(self, graph: Graph, core: str = PORTABLE) -> None:
        self.graph = graph
        self.core = core
        self.texts: list[str] = []
        #: of all arrays so far, in flash; the structs that point to them are not counted
        self.bytes = 0
        self._names: set[str] = set()
        self._shared: dict[bytes, str] = {}

    def add_layer(self, op: Op) -> str:
        """Add the struct of ``op`` and its tables; return the struct's C name.

        Raises ModelError for an operator whose parameters no kernel takes.
        """
        name, call = self._name(identifier(op.outputs[0])), call_of(self.graph, op, self.core)
        if isinstance(call, Copies):
            raise ModelError(f"{self.graph.name}: {op.kind} to {op.outputs[0]} moves codes: it has no layer")
        return self._dense(op, name, call) if isinstance(call, DenseLayer) else self._operator(name, call)

    def add_taps(self, op: Op, taps: Mapping[str, int]) -> str:
        """Add the struct of what a convolution reads for each output sample; return its C name."""
        return self._add_struct("tqs_taps_t", self._name(f"{identifier(op.outputs[0])}_taps"), taps)

    def add_constant(self, name: str) -> str:
        """Add the codes of a constant that an operator reads as it reads activations; return the array's C name."""
        wanted, code = self._name(f"{identifier(name)}_codes"), self.graph.tensors[name].dtype
        return self._add_shared(f"{code}_t", wanted, codes.constant(self.graph, name).astype(code), plain(name))

    def _operator(self, name: str, call: Call) -> str:
        fields = dict[str, object]()
        for field, value in call.fields.items():
            if isinstance(value, Table):
                value_name = f"{name}_{field}"
                fields[field] = self._add_shared(value.c_type, value_name, value.values, value.remark)
            else:
                fields[field] = value
        return self._add_struct(call.layer_type, name, fields)

    def _dense(self, op: Op, name: str, layer: DenseLayer) -> str:
        kernel, types = kernel_of_layer(self.graph, op, layer, self.core), ROWS_TYPES[layer.activations]
        weights = pack_weights(kernel, layer)
        bias = fold_bias(layer.bias, layer.codes, layer.x_zero_point)
        rows = pack_rows(kernel, bias, layer.multiplier, layer.shift)
        c_type, what = f"{weights.dtype}_t", self._weight_remark(op, kernel.name)
        fields = {
            "weights": self._add_shared(c_type, f"{name}_weights", weights, what),
            "rows": self._add_rows(f"{name}_rows", rows, types.rows),
            "inputs": layer.codes.shape[1],
            "outputs": layer.codes.shape[0],
            **({"zero_point": layer.y_zero_point} if layer.activations == "int8" else {}),
            "low": layer.low,
            "high": layer.high,
        }
        return self._add_struct(types.layer, name, fields)

    def _weight_remark(self, op: Op, kernel: str) -> str:
        weight = self.graph.tensors[op.inputs[1]]
        rows, inputs = weight.shape[0], weight.size // weight.shape[0]
        return f"{plain(weight.name)}, {weight.dtype}, {rows} x {inputs}, as {kernel} reads it"

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
        self.bytes += values.size * np.dtype(c_type.removesuffix("_t")).itemsize
        return name

    def _add_rows(self, name: str, rows: Array, c_type: str) -> str:
        key = f"{c_type} rows ".encode() + rows.tobytes()
        if key in self._shared:
            return self._shared[key]
        blocks = [
            "    {" + ", ".join("{" + ", ".join(map(str, part)) + "}" for part in row) + "}," for row in rows.tolist()
        ]
        self.texts.append("\n".join([f"static const {c_type} {name}[{rows.size}] = {{", *blocks, "};"]))
        self._shared[key] = name
        self.bytes += rows.nbytes
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
