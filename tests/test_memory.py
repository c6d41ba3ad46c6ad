from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import arena
from benchmarks.evidence.architectures import ARCHITECTURES
from benchmarks.kernel_models import MODELS
from edge_tqs.emit_c.memory import Buffer, Place, is_view, lower_bound, needed_ops, pack, plan_memory
from edge_tqs.graph.graph import DType, Forecast, Graph, Op, State, Tensor

FORECAST = Forecast(window=4, channels=2, recurrence="stateful", feedback=(0, 1))


def graph(ops: list[Op], sizes: dict[str, int], states: tuple[State, ...] = (), output: str = "y") -> Graph:
    tensors = {name: Tensor(name, (1, size), "int8") for name, size in sizes.items()}
    return Graph("test", tensors, tuple(ops), "x", output, states, FORECAST)


@st.composite
def lifetimes(draw: st.DrawFn) -> list[Buffer]:
    spans = draw(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 12), st.integers(0, 6)), max_size=12))
    return [Buffer(f"b{i}", size, first, first + length) for i, (size, first, length) in enumerate(spans)]


@given(lifetimes())
def test_live_buffers_never_overlap(buffers: list[Buffer]) -> None:
    arena = pack(buffers)
    for a, b in itertools.combinations(buffers, 2):
        if a.first <= b.last and b.first <= a.last:
            start_a, start_b = arena.offsets[a.name], arena.offsets[b.name]
            assert start_a + a.size <= start_b or start_b + b.size <= start_a
    assert arena.size >= lower_bound(buffers)
    assert all(0 <= arena.offsets[b.name] <= arena.size - b.size for b in buffers)
    assert arena == pack(list(reversed(buffers)))


def test_a_buffer_takes_a_gap_that_it_fills_just() -> None:
    held = [Buffer("a", 8, 0, 1), Buffer("b", 7, 0, 9), Buffer("c", 6, 1, 9), Buffer("d", 2, 2, 9)]
    assert pack(held).offsets == {"a": 0, "b": 8, "c": 15, "d": 0}
    assert pack([Buffer("a", 8, 0, 1), Buffer("b", 7, 0, 9), Buffer("c", 6, 2, 9), Buffer("d", 2, 3, 9)]).offsets == {
        "a": 0,
        "b": 8,
        "c": 0,
        "d": 6,
    }


def test_of_one_size_the_earlier_buffer_lies_lower_then_the_name_decides() -> None:
    held = [Buffer("c", 4, 1, 3), Buffer("b", 4, 1, 3), Buffer("z", 4, 0, 3)]
    for order in itertools.permutations(held):
        assert pack(order).offsets == {"z": 0, "b": 4, "c": 8}


def test_an_aligned_buffer_lies_at_a_multiple() -> None:
    offsets = pack([Buffer("a", 13, 0, 1), Buffer("b", 8, 0, 1, 4), Buffer("c", 3, 0, 1)]).offsets
    assert offsets == {"a": 0, "b": 16, "c": 13}
    assert pack([Buffer("a", 12, 0, 1), Buffer("b", 8, 0, 1, 4)]).size == 20


def test_no_buffers_need_nothing() -> None:
    assert pack([]).size == lower_bound([]) == 0


def test_a_chain_needs_its_two_largest_neighbours() -> None:
    chain = [Buffer("a", 64, 0, 1), Buffer("b", 32, 1, 2), Buffer("c", 64, 2, 3), Buffer("d", 8, 3, 4)]
    assert pack(chain).size == lower_bound(chain) == 96


def test_a_tensor_holds_memory_from_where_it_is_written_to_where_it_is_read_last() -> None:
    names = ("x", "a", "b", "c", "d", "y")
    ops = [Op("fully_connected", (source, "w"), (name,)) for source, name in itertools.pairwise(names)]
    plan = plan_memory(graph(ops, {"x": 2, "w": 4, "a": 64, "b": 32, "c": 64, "d": 8, "y": 2}))
    assert plan.arena_size == plan.arena_bound == 96


def test_needed_ops_follow_dependencies_backwards() -> None:
    ops = [Op("tanh", ("x",), ("a",)), Op("tanh", ("a",), ("b",)), Op("tanh", ("a",), ("c",))]
    g = graph(ops, dict.fromkeys("xabc", 2), output="c")
    assert needed_ops(g, ["b"]) == (0, 1)
    assert needed_ops(g, ["c", "b"]) == (0, 1, 2)


def test_element_wise_operators_write_over_an_input_that_dies() -> None:
    ops = [
        Op("fully_connected", ("x", "w"), ("a",)),
        Op("tanh", ("a",), ("b",)),
        Op("mul", ("b", "a"), ("c",)),
        Op("fully_connected", ("c", "w"), ("y",)),
    ]
    g = graph(ops, {**dict.fromkeys("xabcy", 2), "w": 4})
    places = plan_memory(g).places
    assert places["a"] != places["b"], "a is read once more, so b may not replace it"
    assert places["c"] in (places["a"], places["b"])
    assert plan_memory(g).arena_size == 4


def test_an_operator_does_not_write_over_what_it_reads_elsewhere() -> None:
    """b is a piece of a: were y written over a, b would change while it is subtracted from each sample."""
    shapes = {"x": (1, 3, 2), "a": (1, 3, 2), "b": (1, 1, 2), "y": (1, 3, 2), "z": (1, 3, 2)}
    tensors = {name: Tensor(name, shape, "int8") for name, shape in shapes.items()}
    ops = (
        Op("tanh", ("x",), ("a",)),
        Op("slice", ("a",), ("b",), {"axis": 1, "begin": 1, "size": 1}),
        Op("sub", ("a", "b"), ("y",)),
        Op("tanh", ("y",), ("z",)),
    )
    places = plan_memory(Graph("test", tensors, ops, "x", "z", (), FORECAST)).places
    assert places["b"] == Place("arena", places["a"].offset + 2, 2)
    assert places["y"].offset != places["a"].offset


def test_a_slice_that_leaves_gaps_is_no_view() -> None:
    tensors = {name: Tensor(name, shape, "int8") for name, shape in {"x": (1, 3, 4), "y": (1, 3, 2)}.items()}
    across = Op("slice", ("x",), ("y",), {"axis": 2, "begin": 1, "size": 2})
    g = Graph("test", tensors, (across,), "x", "y", (), FORECAST)
    assert not is_view(g, across)
    assert is_view(g, Op("slice", ("x",), ("y",), {"axis": 1, "begin": 1, "size": 2}))
    assert plan_memory(g).places["y"].region == "y"


def test_gates_are_activated_inside_their_split() -> None:
    ops = [
        Op("fully_connected", ("x", "w"), ("gates",)),
        Op("split", ("gates",), ("i", "f"), {"parts": 2}),
        Op("logistic", ("i",), ("i2",)),
        Op("logistic", ("f",), ("f2",)),
        Op("mul", ("i2", "f2"), ("y",)),
    ]
    plan = plan_memory(graph(ops, {"x": 2, "gates": 8, "i": 4, "f": 4, "i2": 4, "f2": 4, "y": 4, "w": 16}))
    assert plan.places["i"] == plan.places["i2"] == Place("arena", 0, 4)
    assert plan.places["f"] == plan.places["f2"] == Place("arena", 4, 4)
    assert plan.places["y"] == Place("y", 0, 4)
    assert plan.copies == ()
    assert plan.arena_size == 8


def test_a_dense_layer_does_not_write_over_what_it_reads() -> None:
    ops = [Op("fully_connected", (a, "w"), (b,)) for a, b in ("xa", "ab", "by")]
    plan = plan_memory(graph(ops, {"x": 2, "w": 4, "a": 2, "b": 2, "y": 2}))
    assert {plan.places["a"].offset, plan.places["b"].offset} == {0, 2}
    assert plan.arena_size == plan.arena_bound == 4


def test_pieces_of_a_piece_lie_where_it_begins() -> None:
    ops = [
        Op("fully_connected", ("x", "w"), ("a",)),
        Op("slice", ("a",), ("b",), {"axis": 1, "begin": 2, "size": 6}),
        Op("split", ("b",), ("c", "d", "e"), {"parts": 3}),
        Op("add", ("c", "d"), ("f",)),
        Op("mul", ("f", "e"), ("y",)),
    ]
    places = plan_memory(graph(ops, {"x": 2, "w": 16, "a": 8, "b": 6, "c": 2, "d": 2, "e": 2, "f": 2, "y": 2})).places
    assert [places[name].offset - places["a"].offset for name in "bcde"] == [2, 2, 4, 6]


def test_what_lies_in_the_input_takes_nothing_of_the_arena_and_hides_nothing_that_does() -> None:
    ops = [
        Op("slice", ("x",), ("s",), {"axis": 1, "begin": 0, "size": 2}),
        Op("fully_connected", ("x", "w"), ("a",)),
        Op("concat", ("s", "a"), ("y",), {"axis": 1}),
    ]
    plan = plan_memory(graph(ops, {"x": 4, "w": 16, "s": 2, "a": 4, "y": 6}))
    assert plan.places["s"] == Place("x", 0, 2)
    assert plan.arena_bound == plan.arena_size == 4


def test_a_graph_without_operators_needs_no_arena() -> None:
    plan = plan_memory(graph([], {"x": 2}, output="x"))
    assert (plan.arena_bound, plan.arena_size) == (0, 0)
    assert [(copy.source, copy.target) for copy in plan.copies] == [(Place("x", 0, 2), Place("y", 0, 2))]


def test_overlapping_slices_are_not_overwritten() -> None:
    ops = [
        Op("fully_connected", ("x", "w"), ("a",)),
        Op("slice", ("a",), ("s",), {"axis": 1, "begin": 0, "size": 4}),
        Op("slice", ("a",), ("t",), {"axis": 1, "begin": 2, "size": 4}),
        Op("tanh", ("s",), ("s2",)),
        Op("mul", ("s2", "t"), ("y",)),
    ]
    places = plan_memory(graph(ops, {"x": 2, "w": 12, "a": 6, "s": 4, "t": 4, "s2": 4, "y": 4})).places
    assert places["s2"].offset >= places["a"].offset + 6 or places["s2"].offset + 4 <= places["a"].offset


def test_a_state_is_updated_in_place_only_when_nothing_reads_the_old_value() -> None:
    state = State("s", "old", "new")
    sizes = dict.fromkeys(("x", "old", "new", "y"), 2)
    after = [Op("tanh", ("old",), ("new",)), Op("tanh", ("new",), ("y",))]
    plan = plan_memory(graph(after, sizes, (state,)))
    assert plan.places["new"] == Place("state", 0, 2)
    assert plan.copies == ()
    still_read = [Op("tanh", ("old",), ("new",)), Op("tanh", ("old",), ("y",))]
    plan = plan_memory(graph(still_read, sizes, (state,)))
    assert plan.places["new"].region == "arena"
    assert [copy.target for copy in plan.copies] == [Place("state", 0, 2)]


def test_a_dense_layer_never_writes_the_state_that_it_reads() -> None:
    ops = [Op("fully_connected", ("old", "w"), ("new",)), Op("tanh", ("new",), ("y",))]
    plan = plan_memory(graph(ops, {"x": 2, "old": 2, "w": 4, "new": 2, "y": 2}, (State("s", "old", "new"),)))
    assert plan.places["new"].region == "arena"


#: what a delay line may be made of: pieces of the old value (begin, size), and the newest sample
PIECES = [(begin, size) for begin in range(3) for size in range(1, 4 - begin)]
LINES = [
    line
    for count in range(1, 4)
    for line in itertools.product([*PIECES, None], repeat=count)
    if sum(1 if piece is None else piece[1] for piece in line) == 3
]


def delay_line(line: tuple[tuple[int, int] | None, ...]) -> Graph:
    """``line`` (1, 3, 1) becomes the next state, which lies behind another one of one byte."""
    shapes = {name: (1, size, 1) for name, size in {"x": 1, "old": 3, "new": 3, "y": 3}.items()}
    shapes |= {f"p{i}": (1, piece[1], 1) for i, piece in enumerate(line) if piece}
    tensors = {name: Tensor(name, shape, "int8") for name, shape in (shapes | {"a": (1, 1), "b": (1, 1)}).items()}
    cuts = [
        Op("slice", ("old",), (f"p{i}",), {"axis": 1, "begin": piece[0], "size": piece[1]})
        for i, piece in enumerate(line)
        if piece
    ]
    parts = tuple("x" if piece is None else f"p{i}" for i, piece in enumerate(line))
    moved = Op("concat", parts, ("new",), {"axis": 1})
    ops = (*cuts, moved, Op("tanh", ("a",), ("b",)), Op("tanh", ("new",), ("y",)))
    states = State("first", "a", "b"), State("line", "old", "new")
    return Graph("test", tensors, ops, "x", "y", states, FORECAST)


@pytest.mark.parametrize("line", LINES, ids=str)
def test_a_delay_line_is_moved_in_place_just_where_each_piece_moves_down_or_stays(line: tuple) -> None:
    plan = plan_memory(delay_line(line))
    targets = itertools.accumulate((1 if piece is None else piece[1] for piece in line), initial=0)
    down = all(piece is None or piece[0] >= target for piece, target in zip(line, targets, strict=False))
    new = plan.places["new"]
    assert (new.region == "state") is down
    # What the C does: the pieces are moved one after the other.
    memory = {"x": bytearray(b"x"), "state": bytearray(b"_abc"), "arena": bytearray(plan.arena_size)}
    expected = b"".join(b"x" if piece is None else b"abc"[piece[0] : sum(piece)] for piece in line)
    at = new.offset
    for i, piece in enumerate(line):
        place = plan.places["x" if piece is None else f"p{i}"]
        data = bytes(memory[place.region][place.offset : place.offset + place.size])
        memory[new.region][at : at + len(data)] = data
        at += len(data)
    assert memory[new.region][new.offset : at] == expected
    for copy in plan.copies:
        data = bytes(memory[copy.source.region][copy.source.offset : copy.source.offset + copy.source.size])
        memory[copy.target.region][copy.target.offset : copy.target.offset + copy.target.size] = data
    assert memory["state"] == b"_" + expected
    assert bool(plan.copies) is not down


def test_a_state_whose_halves_are_interleaved_is_not_moved_in_place() -> None:
    """Along the second axis each half goes to two places: [0 1 2 3] becomes [0 2 1 3], and 2 would replace 1."""
    shapes = {"x": (1, 2), "old": (1, 2, 2), "line": (1, 4, 1), "p": (1, 2, 1), "q": (1, 2, 1), "new": (1, 2, 2)}
    tensors = {name: Tensor(name, shape, "int8") for name, shape in (shapes | {"y": (1, 2, 2)}).items()}
    ops = (
        Op("reshape", ("old",), ("line",)),
        Op("slice", ("line",), ("p",), {"axis": 1, "begin": 0, "size": 2}),
        Op("slice", ("line",), ("q",), {"axis": 1, "begin": 2, "size": 2}),
        Op("concat", ("p", "q"), ("new",), {"axis": 2}),
        Op("tanh", ("new",), ("y",)),
    )
    plan = plan_memory(Graph("test", tensors, ops, "x", "y", (State("s", "old", "new"),), FORECAST))
    assert plan.places["new"].region == "arena"


def test_swapped_states_go_through_spare_bytes() -> None:
    states = (State("a", "a_in", "b_in"), State("b", "b_in", "a_in"))
    plan = plan_memory(graph([Op("tanh", ("a_in",), ("y",))], dict.fromkeys(("x", "a_in", "b_in", "y"), 2), states))
    memory = {"x": bytearray(2), "y": bytearray(2), "state": bytearray(b"AABB"), "arena": bytearray(plan.arena_size)}
    for copy in plan.copies:
        size = copy.target.size
        data = memory[copy.source.region][copy.source.offset : copy.source.offset + size]
        memory[copy.target.region][copy.target.offset : copy.target.offset + size] = data
    assert memory["state"] == b"BBAA"


def test_an_output_that_a_state_needs_is_not_written_to_y() -> None:
    ops = [Op("tanh", ("x",), ("y",))]
    plan = plan_memory(graph(ops, dict.fromkeys(("x", "old", "y"), 2), (State("s", "old", "y"),)))
    assert plan.places["y"] == Place("state", 0, 2)
    assert [(copy.source, copy.target) for copy in plan.copies] == [(Place("state", 0, 2), Place("y", 0, 2))]


def test_the_bound_is_what_is_live_at_one_operator() -> None:
    """b, a view of half of a, keeps 4 of its 8 bytes; the scratch of the last operator comes on top."""
    ops = [
        Op("fully_connected", ("x", "w"), ("a",)),
        Op("slice", ("a",), ("b",), {"axis": 1, "begin": 4, "size": 4}),
        Op("fully_connected", ("b", "w"), ("c",)),
        Op("fully_connected", ("c", "w"), ("y",)),
    ]
    g = graph(ops, {"x": 2, "w": 4, "a": 8, "b": 4, "c": 6, "y": 2})
    assert plan_memory(g).arena_bound == 4 + 6
    assert plan_memory(g, {0: 3}).arena_bound == 8 + 3
    assert plan_memory(g, {3: 12}).arena_bound == 6 + 12


# --- what the C would do with the places, beside what it should -------------------------------------------------------


@dataclass(frozen=True)
class Program:
    """A graph of rows of codes, and the words of scratch of some operators."""

    graph: Graph
    scratch: dict[int, int]

    @property
    def code_bytes(self) -> int:
        return 1 if self.graph.activations == "int8" else 2


@st.composite
def programs(draw: st.DrawFn) -> Program:
    sizes = {"x": draw(st.integers(1, 6))} | {f"s{i}": draw(st.integers(1, 6)) for i in range(draw(st.integers(0, 2)))}
    states, ops = list(sizes)[1:], []

    def add(kind: str, inputs: tuple[str, ...], *outputs: int, **attrs: int) -> None:
        names = tuple(f"t{len(ops)}{part}" for part in "abc"[: len(outputs)])
        sizes.update(zip(names, outputs, strict=True))
        ops.append(Op(kind, inputs, names, attrs))

    for _ in range(draw(st.integers(1, 9))):
        a = draw(st.sampled_from(sorted(sizes)))
        alike = [name for name in sorted(sizes) if sizes[name] == sizes[a]]
        kind = draw(st.sampled_from(["tanh", "add", "fully_connected", "slice", "split", "reshape", "concat"]))
        if kind == "add":
            add(kind, (a, draw(st.sampled_from(alike))), sizes[a])
        elif kind == "fully_connected":
            add(kind, (a, "w"), draw(st.integers(1, 6)))
        elif kind == "slice":
            begin = draw(st.integers(0, sizes[a] - 1))
            size = draw(st.integers(1, sizes[a] - begin))
            add(kind, (a,), size, axis=1, begin=begin, size=size)
        elif kind == "split" and sizes[a] % 2 == 0:
            add(kind, (a,), sizes[a] // 2, sizes[a] // 2, parts=2)
        elif kind == "concat":
            parts = (a, *draw(st.lists(st.sampled_from(sorted(sizes)), min_size=1, max_size=2)))
            add(kind, parts, sum(sizes[part] for part in parts), axis=1)
        else:
            add("reshape" if kind == "reshape" else "tanh", (a,), sizes[a])
    outputs = {}
    for state in states:
        alike = [name for name in sorted(sizes) if sizes[name] == sizes[state] and name not in outputs.values()]
        outputs[state] = draw(st.sampled_from(alike))
    y = draw(st.sampled_from([name for op in ops for name in op.outputs]))
    dtypes: list[DType] = ["int8", "int16"]
    dtype = draw(st.sampled_from(dtypes))
    tensors = {name: Tensor(name, (1, size), dtype) for name, size in sizes.items()}
    tensors["w"] = Tensor("w", (1, 1), "int8", np.zeros((1, 1), np.int8))
    made = tuple(State(f"of {state}", state, outputs[state]) for state in states)
    scratch = {i: draw(st.integers(0, 9)) for i in range(len(ops)) if draw(st.booleans())}
    return Program(Graph("test", tensors, tuple(ops), "x", y, made, FORECAST), scratch)


def computed(op: Op, read: Callable[[str, int], int], sizes: dict[str, int]) -> Iterator[tuple[str, int, int]]:
    """(tensor, index, code) in the order in which a kernel writes them, each worked out from what it reads then."""
    (out,) = op.outputs
    if op.kind == "concat":
        at = 0
        for name in op.inputs:
            piece = [read(name, i) for i in range(sizes[name])]  # memmove
            yield from ((out, at + i, code) for i, code in enumerate(piece))
            at += len(piece)
        return
    for i in range(sizes[out]):
        if op.kind == "fully_connected":
            yield out, i, sum((k + 2) * read(op.inputs[0], k) for k in range(sizes[op.inputs[0]])) + 5 * i + 1
        elif op.kind == "add":
            yield out, i, read(op.inputs[0], i) + 2 * read(op.inputs[1], i) + 1
        else:
            yield out, i, 3 * read(op.inputs[0], i) + 7


def pieces(op: Op, codes: list[int], sizes: dict[str, int]) -> dict[str, list[int]]:
    """The outputs of an operator that only names parts of its input."""
    begin, found = op.attrs.get("begin", 0), {}
    for name in op.outputs:
        found[name] = codes[begin : begin + sizes[name]]
        begin += sizes[name]
    return found


@settings(max_examples=150, deadline=None)
@given(programs())
def test_a_program_in_its_places_computes_what_it_should(program: Program) -> None:
    graph, width = program.graph, program.code_bytes
    sizes = {name: tensor.size for name, tensor in graph.tensors.items()}
    plan = plan_memory(graph, program.scratch)
    top = 1 << 8 * width
    codes = {"x": [11 * i + 1 for i in range(sizes["x"])]}
    for number, state in enumerate(graph.states):
        codes[state.input] = [29 * number + 17 * i + 2 for i in range(sizes[state.input])]
    memory = {
        "x": bytearray(width * sizes["x"]),
        "y": bytearray(width * sizes[graph.output]),
        "state": bytearray(plan.state_size),
        "arena": bytearray(plan.arena_size),
    }
    assert plan.state_size == width * sum(sizes[state.input] for state in graph.states)

    def at(name: str, index: int) -> tuple[bytearray, slice]:
        place = plan.places[name]
        begin = place.offset + width * index
        assert place.offset >= 0
        assert place.offset + place.size <= len(memory[place.region])
        assert place.size == width * sizes[name]
        return memory[place.region], slice(begin, begin + width)

    def write(name: str, index: int, code: int) -> None:
        region, where = at(name, index)
        region[where] = (code % top).to_bytes(width, "little")

    def wanted(name: str, index: int) -> int:
        return codes[name][index]

    def held(name: str, index: int) -> int:
        region, where = at(name, index)
        return int.from_bytes(region[where], "little")

    for name in [graph.input, *(state.input for state in graph.states)]:
        for index, code in enumerate(codes[name]):
            write(name, index, code)
    before = bytes(memory["x"])
    for number, op in enumerate(graph.ops):
        if (size := program.scratch.get(number, 0)) > 0:
            start = plan.scratch[number]
            assert start % 4 == 0
            assert 0 <= start <= plan.arena_size - size
            memory["arena"][start : start + size] = b"\xee" * size
        if is_view(graph, op):
            codes |= pieces(op, codes[op.inputs[0]], sizes)
            continue
        codes[op.outputs[0]] = [code % top for _, _, code in computed(op, wanted, sizes)]
        for name, index, code in computed(op, held, sizes):
            write(name, index, code)
    assert set(plan.scratch) == {number for number, size in program.scratch.items() if size > 0}
    for copy in plan.copies:
        source, target = memory[copy.source.region], memory[copy.target.region]
        moved = source[copy.source.offset : copy.source.offset + copy.source.size]
        target[copy.target.offset : copy.target.offset + copy.target.size] = moved
        assert len(memory["arena"]) == plan.arena_size
    assert before == memory["x"]
    assert memory["y"] == b"".join(code.to_bytes(width, "little") for code in codes[graph.output])
    for state in graph.states:
        start = plan.state_offsets[state.name]
        expected = b"".join(code.to_bytes(width, "little") for code in codes[state.output])
        assert memory["state"][start : start + len(expected)] == expected
    assert plan.arena_bound <= plan.arena_size


@pytest.mark.slow
def test_arenas_of_the_zoo_are_at_most_5_percent_above_their_bound() -> None:
    """Each architecture over its window. One sample at a time a recurrent one, here lstm, is the same graph."""
    rows: dict[str, list[arena.Row]] = {}
    for row in arena.measured(stepped=("lstm", "tcn")):
        rows.setdefault(row.model, []).append(row)
    assert set(rows) == {*(f"{name}, windowed" for name in ARCHITECTURES), "lstm, stateful", "tcn, stateful", *MODELS}
    for of_model in rows.values():
        assert len(of_model) == len(arena.FORMS) * len(arena.CORES)
        assert all(0 < row.bound <= row.arena <= 1.05 * row.bound for row in of_model)
    windowed, stateful = rows["lstm, windowed"], rows["lstm, stateful"]
    assert [replace(row, model="") for row in windowed] == [replace(row, model="") for row in stateful]
