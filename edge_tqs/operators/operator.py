"""What the tool has to know of an operator, as plain data and functions that make functions.

Nothing here knows who asks: interpret, trace, simulate, emit_c and tflite_model each take the part that is theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from edge_tqs.graph.graph import Array, Graph, Op, Quant
from edge_tqs.graph.signature import Signature

#: All inputs of the operator in order -> its output, or a tuple of several. Activations have the batch in front,
#: constants are as the graph holds them.
Function = Callable[..., Any]


@dataclass(frozen=True)
class Builtin:
    """An operator of TensorFlow Lite: schema name, the lowest version with int8, its table of options, and the lowest
    version with int16 (0: there is none).
    """

    builtin: str
    version: int
    options: str | None = None
    version_int16: int = 0


@dataclass(frozen=True, eq=False)
class Table:
    """A constant array of model.c. remark: what its comment says."""

    c_type: str
    values: Array
    remark: str = ""


@dataclass(frozen=True, eq=False)
class Call:
    """The C of an operator: ``kernel(&layer, operands..., y[, scratch])``; its source is kernels/<kernel>.c.

    layer_type: the struct of tqs_kernels.h. fields: its values, in order, as text where C has it otherwise than
    Python; a Table becomes a pointer to that array.
    scratch: bytes, aligned to a word, that the kernel may write over; 0 for none and no such argument. sources: further
    C files that the kernel calls, relative to the template root. operands: how many of the inputs are passed, where
    the fields hold the others. turns: how often it is called; what is as long as the output moves on from turn to turn,
    other operands are read again.
    """

    kernel: str
    layer_type: str
    fields: Mapping[str, int | str | Table]
    scratch: int = 0
    sources: tuple[str, ...] = ()
    operands: int | None = None
    turns: int = 1


@dataclass(frozen=True)
class Copies:
    """The C of an operator that moves codes: in each of ``blocks`` turns a piece of each input, one behind another.

    pieces: of each input the code at which the first piece begins, codes from one to the next, and their size.
    """

    blocks: int
    pieces: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, eq=False)
class DenseLayer:
    """The C of a dense layer: the kernel of the core packs its weights and rows (emit_c.dense_kernels).

    y = clip(rescale(codes (x - x_zero_point) + bias) + y_zero_point, low, high), ``samples`` times.

    activations: "int8" or "int16", for which both zero points are 0. width: bits of a weight. codes: (M, K). bias,
    multiplier, shift: (M,), as FullyConnectedParams of int8.py and int16.py have them. step: codes of x from one sample
    to the next. taps: where the K inputs of a sample do not lie side by side, values of tqs_taps_t, which gathers them.
    """

    activations: str
    width: int
    codes: Array
    bias: Array
    x_zero_point: int
    multiplier: Array
    shift: Array
    y_zero_point: int
    low: int
    high: int
    samples: int = 1
    step: int = 0
    taps: Mapping[str, int] | None = None


@dataclass(frozen=True)
class Filter:
    """How the weight of an operator is written, where not as it is.

    write: (graph, op, rows (M, ...)) to the array that is written. read: that back to the rows; None for a shape that
    no such operator has. axis: along which the rows lie in what is written.
    """

    write: Callable[[Graph, Op, Array], Array]
    read: Callable[[Array], Array | None]
    axis: int = 0


class TypedOperator(NamedTuple):
    """An operator with the types that decide who runs it.

    operator: an Op.kind, or a builtin that only flatbuffers have ("conv_2d"). activation: int8, int16 or float32.
    weight: int8, int4 or "" for none. granularity: per_channel, per_tensor or "" for none.
    """

    operator: str
    activation: str = "int8"
    weight: str = ""
    granularity: str = ""

    def __str__(self) -> str:
        weight = f", {self.weight} weights {self.granularity.replace('_', ' ')}" if self.weight else ""
        return f"{self.operator} with {self.activation} activations{weight}"


#: runtime -> why it does not compute something right
Reasons = Mapping[str, str]


def typed_weight(graph: Graph, op: Op, operator: str = "") -> TypedOperator:
    """A weighted ``op``, as ``operator`` where it becomes another."""
    weight = graph.tensors[op.inputs[1]]
    per_channel = weight.quant is not None and weight.quant.scale.size == weight.shape[0]
    granularity = "per_channel" if per_channel else "per_tensor"
    return TypedOperator(operator or op.kind, graph.tensors[op.inputs[0]].dtype, weight.dtype, granularity)


class Writer(Protocol):
    """What tflite_lower offers an operator that writes itself. Tensors are numbers in the flatbuffer's list."""

    graph: Graph
    #: the schema's number of each type of tensors
    types: dict[Any, int]

    def append(self, builtin: str, inputs: list[int], outputs: list[int], **options: Any) -> None:
        """Add a flatbuffer operator; ``builtin`` is a key of some operator's ``builtins``."""

    def constant(self, *values: int, scalar: bool = False) -> int:
        """An int32 operand; equal ones are shared."""

    def operand(self, name: str, data: Array) -> int:
        """An int32 operand of any shape, one a name."""

    def helper(self, name: str, shape: tuple[int, ...], like: str, dtype: str = "", quant: Quant | None = None) -> int:
        """A tensor that is computed on the way, quantised as the activation ``like``, or of ``dtype`` and ``quant``:
        plain numbers without; one a name."""

    def known(self, name: str) -> bool:
        """Whether a helper of this name is there already."""

    def is_vector_image(self, name: str) -> bool:
        """Whether a vector (1, N) is written as an image (1, 1, 1, N), as all its readers take it."""

    def written_shape(self, name: str) -> tuple[int, ...]:
        """The shape of a graph tensor as it is written: a sequence (1, W, C) is an image (1, 1, W, C)."""

    def bias(self, op: Op) -> int:
        """The bias of a weighted operator; zeros where it has none."""

    def activation(self, op: Op) -> Any:
        """The schema's number of the fused activation of ``op``."""

    def convolve(self, builtin: str, op: Op, inputs: list[int], outputs: list[int], **options: Any) -> None:
        """Add a convolution over an image of height 1, without padding, with the fused activation of ``op``."""


class Reader(Protocol):
    """What tflite_raise offers an operator that reads itself back."""

    def name(self, index: int) -> str:
        """The graph tensor that a flatbuffer tensor stands for: of an added image, what it is an image of."""

    def operand(self, index: int) -> Array:
        """The values of a constant operand."""

    def shape(self, index: int) -> tuple[int, ...]:
        """The shape, as it is written, of what ``name`` gives."""

    def inputs(self, op: Any) -> tuple[str, ...]:
        """``name`` of each input; without a bias that is left out, or was added for a layer that has none."""

    def activation(self, op: Any) -> str:
        """The fused activation of a flatbuffer operator, by its name in the graph."""

    def made_by(self, index: int) -> Any:
        """The flatbuffer operator that writes a tensor, or None."""


@dataclass(frozen=True)
class Operator:
    """One kind of operator.

    signature: its inputs, attributes and shapes.
    compute: the float function.
    traced: the same in TensorFlow, over any number of leading dimensions, given (tf, graph, op).
    integer: codes to codes, bit for bit as tflite-micro; int8, or int16 where ``refused`` does not name it.
    call: the C, unless it is a view.
    fast: the same for a kernel of kernels/arm that computes the bits of ``call``'s on some cores, given (graph, op,
        that call, the kernel's name), or None for parameters that it does not take. Needed where such a kernel reads
        other values than the portable one, or does not take them all.
    builtins: what it is written as, by a name that is unique among all operators.
    write: adds it to a flatbuffer, given (writer, op, numbers of the inputs, of the outputs).
    read: one of ``builtins`` back to the operator, or None for one that only helps another, given (reader,
        builtin's name, flatbuffer operator).
    view: the code of the input from which on the outputs are, one after another; None where they are computed.
    keeps: codes keep their quantisation.
    moves: they are moved, and nothing else.
    in_place: the kernel may write over an input of the output's size.
    by_sample: it works on each sample of a sequence by itself.
    any_rank: what it is written as takes a vector (1, N) as an image (1, 1, 1, N) too.
    fixed_output: scale and zero point by activation type, where the kernel knows no other.
    saturation: by activation type, the |input| beyond which the output no longer changes.
    as_function: by activation type, the attributes of the "function" that it is tabulated as.
    refused: {activation type: {runtime: reason}}, for an operator without a weight.
    filter: how its weight is written.
    reasons: in place of ``refused`` for one with a weight, all that its builtins were measured for.
    emitted: what it becomes for a runtime, given (graph, op, runtime); else itself.
    reads: of one with a weight, its input (N, ...) to what the rows of the weight read, (G, N, P, K): P times for each
        of N, in G groups of rows that follow one another.
    """

    kind: str
    signature: Signature
    compute: Callable[[Graph, Op], Function]
    traced: Callable[[Any, Graph, Op], Callable[..., Any]]
    integer: Callable[[Graph, Op], Function]
    call: Callable[[Graph, Op], Call | Copies | DenseLayer]
    builtins: Mapping[str, Builtin]
    write: Callable[[Writer, Op, list[int], list[int]], None]
    read: Callable[[Reader, str, Any], Op | None]
    fast: Callable[[Graph, Op, Call, str], Call | None] | None = None
    view: Callable[[Graph, Op], int | None] | None = None
    keeps: bool = False
    moves: bool = False
    in_place: bool = False
    by_sample: bool = False
    any_rank: bool = False
    fixed_output: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    saturation: Mapping[str, float] = field(default_factory=dict)
    as_function: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    refused: Mapping[str, Reasons] = field(default_factory=dict)
    filter: Filter | None = None
    reasons: Mapping[TypedOperator, Reasons] = field(default_factory=dict)
    emitted: Callable[[Graph, Op, str], tuple[TypedOperator, ...]] | None = None
    reads: Callable[[Graph, Op], Function] | None = None


def write_plain(writer: Writer, op: Op, inputs: list[int], outputs: list[int]) -> None:
    """``write`` of an operator whose builtin has its name and no options."""
    writer.append(op.kind, inputs, outputs)


def read_plain(reader: Reader, builtin: str, op: Any) -> Op:
    """``read`` of such an operator."""
    return Op(builtin, tuple(reader.name(index) for index in op.inputs), (reader.name(op.outputs[0]),))
