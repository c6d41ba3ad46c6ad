"""The constant tables of model.c: one layer struct of tqs_kernels.h an operator, with the arrays it points to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_tqs import integer
from edge_tqs.c_text import identifier, plain, wrap
from edge_tqs.errors import ModelError
from edge_tqs.graph import Graph, Op

ROWS = 4  # rows that a dense kernel computes at a time
LUT_KINDS = frozenset({"logistic", "tanh", "elu"})

Ints = npt.NDArray[Any]


class Tables:
    """Tables in the order in which operators ask for them; equal weights and lookup tables are emitted once."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.texts: list[str] = []
        self._names: set[str] = set()
        self._shared: dict[bytes, str] = {}

    def add_layer(self, op: Op) -> str:
        """Add the struct of ``op`` and its tables; return the struct's C name.

        Raises ModelError for an operator without a kernel, or whose parameters no kernel takes.
        """
        name = self._name(identifier(op.outputs[0]))
        if op.kind == "fully_connected":
            return self._add_struct("tqs_fc_t", name, self._fully_connected(op, name))
        if op.kind in ("add", "sub"):
            return self._add_struct("tqs_add_t", name, self._sum(op))
        if op.kind == "mul":
            return self._add_struct("tqs_mul_t", name, self._product(op))
        if op.kind in LUT_KINDS:
            return self._add_struct("tqs_lut_t", name, self._lookup(op, name))
        if op.kind == "leaky_relu":
            return self._add_struct("tqs_leaky_relu_t", name, self._leaky_relu(op))
        if op.kind == "quantize":
            return self._add_struct("tqs_requant_t", name, self._requant(op))
        raise ModelError(f"{self.graph.name}: operator {op.kind} to {op.outputs[0]} has no C kernel")

    def _fully_connected(self, op: Op, name: str) -> dict[str, object]:
        params = integer.fully_connected_params(self.graph, op)
        weight = self.graph.tensors[op.inputs[1]]
        rows, inputs = weight.shape
        codes = self._codes(op.inputs[1])
        bias = self._codes(op.inputs[2]) if len(op.inputs) == 3 else np.zeros(rows, np.int64)
        what = f"{plain(weight.name)}, {weight.dtype}, {rows} x {inputs} in blocks of {ROWS} rows"
        packed = pack_rows(codes, 4 if weight.dtype == "int4" else 8)
        return {
            "weights": self._add_shared("int8_t", f"{name}_weights", packed, what),
            "bias": self._add_array(
                "int32_t", f"{name}_bias", pad_rows(fold_bias(bias, codes, params.input_zero_point))
            ),
            "multiplier": self._add_array("int32_t", f"{name}_multiplier", pad_rows(params.multiplier)),
            "shift": self._add_array("int8_t", f"{name}_shift", pad_rows(params.shift)),
            "inputs": inputs,
            "outputs": rows,
            "zero_point": params.output_zero_point,
            "low": params.low,
            "high": params.high,
        }

    def _sum(self, op: Op) -> dict[str, object]:
        params = integer.add_params(self.graph, op)
        return {
            "a_multiplier": params.multiplier_1,
            "b_multiplier": params.multiplier_2,
            "y_multiplier": params.output_multiplier,
            "a_shift": params.shift_1,
            "b_shift": params.shift_2,
            "y_shift": params.output_shift,
            "a_zero_point": params.zero_point_1,
            "b_zero_point": params.zero_point_2,
            "y_zero_point": params.output_zero_point,
            "subtract": int(params.subtract),
            "size": self._size(op),
        }

    def _product(self, op: Op) -> dict[str, object]:
        params = integer.mul_params(self.graph, op)
        return {
            "multiplier": params.multiplier,
            "shift": params.shift,
            "a_zero_point": params.zero_point_1,
            "b_zero_point": params.zero_point_2,
            "y_zero_point": params.output_zero_point,
            "size": self._size(op),
        }

    def _lookup(self, op: Op, name: str) -> dict[str, object]:
        values = integer.unary_table(self.graph, op)
        table = self._add_shared("int8_t", f"{name}_table", values, f"{op.kind} of the codes -128 to 127")
        return {"table": table, "size": self._size(op)}

    def _leaky_relu(self, op: Op) -> dict[str, object]:
        params = integer.leaky_relu_params(self.graph, op)
        return {
            "positive_multiplier": params.multiplier_identity,
            "negative_multiplier": params.multiplier_alpha,
            "positive_shift": params.shift_identity,
            "negative_shift": params.shift_alpha,
            "x_zero_point": params.input_zero_point,
            "y_zero_point": params.output_zero_point,
            "size": self._size(op),
        }

    def _requant(self, op: Op) -> dict[str, object]:
        params = integer.quantize_params(self.graph, op)
        return {
            "multiplier": params.multiplier,
            "shift": params.shift,
            "x_zero_point": params.input_zero_point,
            "y_zero_point": params.output_zero_point,
            "size": self._size(op),
        }

    def _codes(self, name: str) -> npt.NDArray[np.int64]:
        data = self.graph.tensors[name].data
        if data is None:
            raise ModelError(f"{self.graph.name}: {name} is computed: weights and biases must be constants")
        return data.astype(np.int64)

    def _size(self, op: Op) -> int:
        return self.graph.tensors[op.outputs[0]].size

    def _name(self, wanted: str) -> str:
        name, count = wanted, 1
        while name in self._names:
            count += 1
            name = f"{wanted}_{count}"
        self._names.add(name)
        return name

    def _add_array(self, c_type: str, name: str, values: Ints, what: str = "") -> str:
        remark = f"/* {what} */\n" if what else ""
        body = wrap(str(value) for value in values.reshape(-1).tolist())
        self.texts.append(f"{remark}static const {c_type} {name}[{values.size}] = {{\n{body}\n}};")
        return name

    def _add_shared(self, c_type: str, name: str, values: Ints, what: str) -> str:
        key = values.tobytes()
        if key not in self._shared:
            self._shared[key] = self._add_array(c_type, name, values, what)
        return self._shared[key]

    def _add_struct(self, c_type: str, name: str, fields: Mapping[str, object]) -> str:
        body = "\n".join(f"    .{field} = {value}," for field, value in fields.items())
        self.texts.append(f"static const {c_type} {name}_layer = {{\n{body}\n}};")
        return f"{name}_layer"


def pad_rows(values: Ints) -> Ints:
    """(M, ...) padded with zeros along the first axis to a multiple of ROWS."""
    return np.concatenate([values, np.zeros((-values.shape[0] % ROWS, *values.shape[1:]), values.dtype)])


def pack_rows(codes: Ints, width: int) -> npt.NDArray[np.int8]:
    """Weight codes (M, K) in the layout of tqs_fc_s8 (width 8) or tqs_fc_s4 (width 4): see tqs_kernels.h. Flat."""
    padded = pad_rows(codes)
    blocks = padded.reshape(-1, ROWS, padded.shape[1]).transpose(0, 2, 1).astype(np.int8)  # (R / 4, K, 4)
    if width == 8:
        return np.ascontiguousarray(blocks).reshape(-1)
    return integer.pack_int4(np.ascontiguousarray(blocks)).view(np.int8)


def fold_bias(bias: Ints, codes: Ints, zero_point: int) -> npt.NDArray[np.int64]:
    """(M,) bias less ``zero_point`` times each row's sum: sum(w (x - z)) + b = sum(w x) + (b - z sum(w)).

    integer.fully_connected_params has bounded |b| + 255 sum|w| below 2^31, so neither this nor any partial sum of the
    kernel overflows.
    """
    folded: npt.NDArray[np.int64] = bias.astype(np.int64) - zero_point * codes.astype(np.int64).sum(axis=1)
    return folded
