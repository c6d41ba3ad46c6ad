"""The statements of model.c: one call, or one loop of calls, an operator."""

from __future__ import annotations

from collections.abc import Iterable

from edge_tqs.emit_c.fusion import Fusion
from edge_tqs.emit_c.memory import CODE_BYTES, WORD, Copy, MemoryPlan, Place
from edge_tqs.emit_c.tables import Kernel, Tables, call_of, taps_of
from edge_tqs.emit_c.text import plain
from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import DType, Graph, Op
from edge_tqs.operators import Copies, DenseLayer

#: the counter of every loop, which a function that has one declares
COUNTER = "i"


class Calls:
    """Writes the statement of each operator, and adds the tables that it needs to ``tables``."""

    def __init__(self, graph: Graph, plan: MemoryPlan, tables: Tables) -> None:
        self.graph = graph
        self.plan = plan
        self.tables = tables
        self._constants: dict[str, str] = {}
        self._unit = CODE_BYTES[graph.activations]

    def pointer(self, place: Place) -> str:
        """The C expression for the first code of ``place``, of codes as x has them."""
        return f"{place.region} + {place.offset // self._unit}" if place.offset else place.region

    def _pointer_to(self, dtype: DType, place: Place) -> str:
        """The same for codes of ``dtype``: the arena is of codes as x has them, others are reached by bytes."""
        if dtype == self.graph.activations:
            return self.pointer(place)
        begin = place.region if self._unit == 1 else f"(int8_t *)(void *){place.region}"
        return f"({dtype}_t *)(void *)({_plus(begin, place.offset)})"

    def probe(self, point: int, name: str) -> str:
        """The statement that hands what ``name`` holds to a probe build, and is nothing in any other.

        A probe build is of codes of one type (boards.firmware): codes of another are not handed on.
        """
        if self.graph.tensors[name].dtype != self.graph.activations:
            return ""
        return f"    TQS_PROBE_POINT({point}u, {self._of(name)}, {self.graph.tensors[name].size}u);"

    def copy(self, moved: Copy) -> str:
        """The statement for bytes that are moved once the operators have run."""
        return f"    memcpy({self.pointer(moved.target)}, {self.pointer(moved.source)}, {moved.target.size});"

    def statement(self, index: int, kernel: Kernel) -> str:
        """The statement for operator ``index``, with a comment. Raises ModelError as Tables does."""
        op = self.graph.ops[index]
        operands = op.inputs[:1] if op.signature.is_weighted else op.inputs
        shapes = " x ".join(str(size) for size in self.graph.tensors[op.outputs[0]].shape)
        remark = plain(f"{op.outputs[0]} ({shapes}): {op.kind} of {', '.join(operands)}")[:108]
        call = call_of(self.graph, op, self.tables.core)
        if isinstance(call, Copies):
            lines = self._copies(op, call)
        elif isinstance(call, DenseLayer):
            lines = self._dense(index, op, kernel, call)
        else:
            lines = self._kernel_call(index, op, kernel, operands)
        return "\n".join([f"    /* {remark} */", *lines])

    def fused(self, index: int, fusion: Fusion) -> str:
        """The statement for a lookup, operator ``index``, and the sum that it is fused with, with a comment."""
        first, op = self.graph.ops[fusion.first], self.graph.ops[index]
        shapes = " x ".join(str(size) for size in self.graph.tensors[op.outputs[0]].shape)
        remark = f"{op.outputs[0]} ({shapes}): {op.kind} of {op.inputs[0]}, {first.kind} of {', '.join(first.inputs)}"
        layers = [f"&{self.tables.add_layer(each)}" for each in (first, op)]
        operands = [_plus(self._of(name), fusion.begin) for name in first.inputs]
        arguments = ", ".join([*layers, *operands, self._of(op.outputs[0])])
        return f"    /* {plain(remark)[:108]} */\n    {fusion.kernel.name}({arguments});"

    def _kernel_call(self, index: int, op: Op, kernel: Kernel, operands: tuple[str, ...]) -> list[str]:
        layer, count = self.tables.add_layer(op), kernel.turns
        names = (*operands[: kernel.operands], *op.outputs)
        total = self.graph.tensors[op.outputs[0]].size
        # What is as long as the output moves on from turn to turn, what is repeated stays.
        moves = [self.graph.tensors[name].size == total for name in names]
        pointers = [
            _step(self._of(name), total // count, count) if moving else self._of(name)
            for name, moving in zip(names, moves, strict=True)
        ]
        return _loop(count, f"{kernel.name}(&{', '.join([layer, *pointers, *self._scratch(index, kernel)])});")

    def _dense(self, index: int, op: Op, kernel: Kernel, layer: DenseLayer) -> list[str]:
        """The dense layer at each output sample."""
        struct = self.tables.add_layer(op)
        count, rows = layer.samples, layer.codes.shape[0]
        x = self._of(op.inputs[0])
        if kernel.samples:
            return [self._convolution(index, op, kernel, layer, struct)]
        if layer.taps is not None:
            buffer = self.pointer(Place("arena", self.plan.scratch[index] + WORD * kernel.scratch, 0))
            taps, sample = self.tables.add_taps(op, layer.taps), COUNTER if count > 1 else "0"
            read = self._taps(taps, self.graph.type_of(op), x, sample, buffer)
        else:
            read = _step(x, layer.step, count)
        y = _step(self._of(op.outputs[0]), rows, count)
        return _loop(count, f"{kernel.name}(&{', '.join([struct, read, y, *self._scratch(index, kernel)])});")

    def _convolution(self, index: int, op: Op, kernel: Kernel, layer: DenseLayer, struct: str) -> str:
        """The one call for all output samples, of int8 codes."""
        is_alone = layer.taps is None and layer.samples == 1
        taps = "NULL" if is_alone else f"&{self.tables.add_taps(op, taps_of(layer))}"
        place = Place("arena", self.plan.scratch[index], 0) if kernel.taps else None
        buffer = "NULL" if place is None else self._pointer_to("int8", place)
        x, y = self._of(op.inputs[0]), self._of(op.outputs[0])
        return f"    {kernel.name}(&{struct}, {taps}, {x}, {layer.samples}, {y}, {buffer});"

    def _taps(self, layer: str, dtype: DType, x: str, sample: str, buffer: str) -> str:
        """The call that gathers the inputs of one output sample: of bytes, whatever the codes are."""
        if self._unit == 1 and dtype == "int8":
            return f"tqs_taps_s8(&{layer}, {x}, {sample}, {buffer})"
        bytes_of = "(const int8_t *)(const void *)"
        gathered = f"tqs_taps_s8(&{layer}, {bytes_of}({x}), {sample}, (int8_t *)(void *)({buffer}))"
        return f"(const {dtype}_t *)(const void *){gathered}"

    def _copies(self, op: Op, moved: Copies) -> list[str]:
        """The blocks that are moved: in each turn one of each input."""
        y, lines, offset = self._of(op.outputs[0]), [], 0
        y_step = sum(size for _, _, size in moved.pieces)
        for name, (begin, x_step, size) in zip(op.inputs, moved.pieces, strict=True):
            source, target = _plus(self._of(name), begin), _plus(y, offset)
            if source != target:
                move = "memmove" if self._meet(name, op.outputs[0]) else "memcpy"
                read, written = _step(source, x_step, moved.blocks), _step(target, y_step, moved.blocks)
                lines += _loop(moved.blocks, f"{move}({written}, {read}, {size * CODE_BYTES[self.graph.type_of(op)]});")
            offset += size
        return lines

    def _meet(self, name: str, other: str) -> bool:
        """Whether two tensors have bytes in common: a delay line that is moved within its state."""
        one, two = self.plan.places.get(name), self.plan.places.get(other)
        if one is None or two is None or one.region != two.region:
            return False
        return one.offset < two.offset + two.size and two.offset < one.offset + one.size

    def _scratch(self, index: int, kernel: Kernel) -> list[str]:
        """The last argument of a kernel that has one for its scratch."""
        if not kernel.takes_scratch:
            return []
        if not kernel.scratch:
            return ["NULL"]
        # The arena is aligned, and so is each scratch in it.
        return [f"(uint32_t *)(void *)({self.pointer(Place('arena', self.plan.scratch[index], 0))})"]

    def _of(self, name: str) -> str:
        """Where ``name`` is: in the memory plan, or in a table if it is a constant."""
        if name in self.plan.places:
            return self._pointer_to(self.graph.tensors[name].dtype, self.plan.places[name])
        if self.graph.tensors[name].data is None:
            raise ModelError(f"{self.graph.name}: {name} has no place: it is not computed")
        if name not in self._constants:
            self._constants[name] = self.tables.add_constant(name)
        return self._constants[name]


def _plus(at: str, offset: int) -> str:
    return f"{at} + {offset}" if offset else at


def _step(at: str, size: int, count: int) -> str:
    """``at`` in turn i of ``count``, when each turn moves on by ``size`` bytes."""
    if count == 1:
        return at
    return f"{at} + {COUNTER} * {size}u" if size > 1 else f"{at} + {COUNTER}"


def _loop(count: int, call: str) -> list[str]:
    """``count`` turns of ``call``, each with the next i; a single turn needs no loop."""
    if count == 1:
        return [f"    {call}"]
    return [f"    for ({COUNTER} = 0; {COUNTER} < {count}u; {COUNTER}++) {{", f"        {call}", "    }"]


def loop_variable(statements: Iterable[str]) -> list[str]:
    """The declaration that a function with ``statements`` needs, and a blank line; nothing without a loop."""
    return [f"    uint32_t {COUNTER};", ""] if any(f"for ({COUNTER} = 0;" in text for text in statements) else []
