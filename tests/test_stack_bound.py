"""The stack's bound on disassemblies by hand, and on the images of all boards: no recursion, no heap, no libc."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from pathlib import Path

import pytest

from benchmarks.kernel_models import MODELS
from edge_tqs.boards.board import Board, list_boards, load_board
from edge_tqs.boards.firmware import Image, assemble, compile_firmware
from edge_tqs.boards.stack_bound import StackUse, deepest_stack
from edge_tqs.emit_c.emit import emit
from edge_tqs.errors import UsageError
from edge_tqs.quantization.calibration import Ranges
from edge_tqs.quantization.quantize import quantize

#: All that the firmware may take from the C library, moves of bytes, and from libgcc, arithmetic and switches.
LIBRARY = r"mem(cpy|move|set)|__aeabi_\w+|__gnu_thumb1_\w+|(__|[.])u?(div|mod|mul|ashl|lshr|ashr)\w+"
#: board, model: the kernels of each family, with weights of both widths
CASES = [(board.name, "lstm-7-32") for board in list_boards()]
CASES += [(name, "tcn-7-16") for name in ("qemu-microbit", "mps2-an385", "qemu-mps2-an386", "mps3-an547", "rpi4")]


def code(**functions: str) -> str:
    """A disassembly: by function, its instructions separated by `;`; `f` in `bl f` becomes an address."""
    addresses = {name: 0x100 * (index + 1) for index, name in enumerate(functions)}
    lines = []
    for name, text in functions.items():
        lines.append(f"{addresses[name]:08x} <{name}>:")
        for offset, instruction in enumerate(part.strip() for part in text.split(";")):
            mnemonic, _, operands = instruction.partition(" ")
            if operands in addresses:
                operands = f"{addresses[operands]:x} <{operands}>"
            lines.append(f"     {addresses[name] + 2 * offset:x}:\t{mnemonic}\t{operands}")
    return "\n".join(lines)


def test_the_deepest_path_counts_frames_and_one_interrupt() -> None:
    text = code(
        Reset_Handler="push {r3, lr}; bl shallow; bl deep",
        shallow="sub sp, #16; bx lr",
        deep="stmdb sp!, {r4, r5, r6, lr}; sub.w sp, sp, #24; bl leaf",
        leaf="str.w lr, [sp, #-4]!; b.n leaf",
        Tick_Handler="push {r4, lr}",
    )
    assert deepest_stack(text, {}) == StackUse(8 + (16 + 24) + 4 + 36 + 8, ("Reset_Handler", "deep", "leaf"))


def test_a_frame_is_gone_when_a_function_leaves_by_a_jump() -> None:
    text = code(Reset_Handler="bl first", first="push {r4, r5, r6, lr}; b.w second", second="push {r4, lr}")
    assert deepest_stack(text, {}) == StackUse(16 + 36, ("Reset_Handler", "first"))


def test_the_compiler_knows_frames_that_no_instruction_names() -> None:
    text = code(Reset_Handler="bl big", big="push {r4, lr}; add sp, r4")
    assert deepest_stack(text, {"big": 600}) == StackUse(600 + 36, ("Reset_Handler", "big"))


def test_fpu_registers_are_pushed_too() -> None:
    text = code(Reset_Handler="vpush {d8-d11}; bx lr")
    assert deepest_stack(text, {}) == StackUse(32 + 108, ("Reset_Handler",))


@pytest.mark.parametrize(
    "text",
    [
        code(Reset_Handler="bl a", a="push {lr}; bl b", b="bl a"),
        code(Reset_Handler="bl a", a="bl a"),
        code(Reset_Handler="bl a", a="ldr r3, [r0]; blx r3"),
        code(main="push {lr}"),
    ],
)
def test_recursion_and_unknown_pointers_have_no_bound(text: str) -> None:
    assert deepest_stack(text, {}) is None


def test_the_one_known_pointer_is_followed() -> None:
    text = code(Reset_Handler="bl put_block", put_block="push {r4, lr}; blx r3", tqs_port_tx="push {r3, lr}")
    assert deepest_stack(text, {}) == StackUse(8 + 8 + 36, ("Reset_Handler", "put_block", "tqs_port_tx"))


def test_risc_v_takes_no_interrupt() -> None:
    text = code(
        Reset_Handler="add sp,sp,-16; jal deep; jal shallow",
        deep="addi sp,sp,-48; beqz a0,deep; jal leaf; ret",
        leaf="add sp,sp,-32; add sp,sp,32; j other",
        shallow="add sp,sp,-64",
        other="add sp,sp,-48; add sp,sp,48; jr a5",
        tqs_port_tx="add sp,sp,-64; ret",
        Fault_Handler="add sp,sp,-512",
    ).replace("<other>", "<tqs_send_end>")
    pointed = ("tqs_send_end", "tqs_port_tx")
    text = "firmware.elf:     file format elf32-littleriscv\n\n" + text
    assert deepest_stack(text, {}) == StackUse(16 + 48 + 64, ("Reset_Handler", "deep", "leaf", *pointed))


def test_xtensa_takes_no_interrupt() -> None:
    text = code(
        Reset_Handler="addi a1, a1, -16; call0 deep; call0 shallow",
        deep="addi a1, a1, -48; beqz a0, deep; call0 leaf; ret.n",
        leaf="addmi a1, a1, 0xffffff00; addmi a1, a1, 0x100; ret",
        shallow="addi a1, a1, -32; call0 put_block; jx a5",
        put_block="addi a1, a1, -64; callx0 a3",
        tqs_port_tx="addi a1, a1, -112; ret.n",
        Fault_Handler="addi a1, a1, -128",
    )
    text = "firmware.elf:     file format elf32-xtensa-le\n\n" + text
    assert deepest_stack(text, {}) == StackUse(16 + 48 + 256, ("Reset_Handler", "deep", "leaf"))
    pointed = ("shallow", "put_block", "tqs_port_tx")
    assert deepest_stack(text, {"shallow": 200}) == StackUse(16 + 200 + 64 + 112, ("Reset_Handler", *pointed))


def test_there_is_no_bound_where_an_instruction_may_be_hidden() -> None:
    """A branch goes to where the disassembly, out of step after padding, shows no instruction."""
    text = code(Reset_Handler="addi a1, a1, -16; call0 deep", deep="addi a1, a1, -48; j 203 <deep+0x3>; ret.n")
    text = "firmware.elf:     file format elf32-xtensa-le\n\n" + text
    assert deepest_stack(text.replace("203", "204"), {}) == StackUse(16 + 48, ("Reset_Handler", "deep"))
    assert deepest_stack(text, {}) is None
    assert deepest_stack(text.replace("j\t203", "beqz.n\ta2, 203"), {}) is None


def built(board: Board, model: str, folder: Path) -> Image:
    """A model whose weights are int8 and int4 in turn."""
    graph = MODELS[model]()
    ranges = Ranges({name: (-1.0, 1.0) for name, tensor in graph.tensors.items() if tensor.data is None})
    widths = {name: (8, 4)[index % 2] for index, name in enumerate(graph.weights())}
    integer = quantize(graph, widths, ranges)
    generated = emit(integer, "0" * 64, model, board.core)
    return compile_firmware(assemble(board, generated.files, generated.kernels, folder))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "model"), CASES)
def test_images_have_no_heap_no_recursion_no_variable_frames_and_no_libc(tmp_path: Path, name: str, model: str) -> None:
    board = load_board(name)
    image = built(board, model, tmp_path)
    build = image.elf.parent
    records = [line.split("\t")[2] for path in build.rglob("*.su") for line in path.read_text().splitlines()]
    assert len(records) > 30
    portable = [path for path in build.rglob("*.o") if "ports/linux" not in path.as_posix()]
    assert len(portable) > 8
    own = symbols(board, "--defined-only", *build.rglob("*.o"))
    if board.bare_metal:
        assert set(records) == {"static"}
        assert image.deepest is not None
        assert image.largest_frame < image.deepest.bytes <= (image.stack or 0)
        linked = symbols(board, "--defined-only", image.elf)
    else:  # a POSIX program: what its objects ask for counts, not what its C library holds
        linked = symbols(board, "--undefined-only", *portable) - {"_GLOBAL_OFFSET_TABLE_"}
    assert "tqs_forecast_begin" in linked
    foreign = {symbol for symbol in linked - own if not symbol.startswith("tqs_")}
    assert {symbol for symbol in foreign if not re.fullmatch(LIBRARY, symbol)} == set()


def symbols(board: Board, kind: str, *files: Path) -> set[str]:
    listing = subprocess.run(
        [f"{board.toolchain}nm", kind, "--format=posix", *files], capture_output=True, text=True, check=True
    ).stdout
    return {line.split()[0] for line in listing.splitlines() if len(line.split()) > 1}


def test_a_stack_that_may_get_too_deep_is_refused(tmp_path: Path) -> None:
    board = dataclasses.replace(load_board("qemu-microbit"), stack_bytes=512)
    deep = Path(__file__).parent / "device"
    model = {f"model.{end}": (deep / f"toy_model.{end}").read_text() for end in ("c", "h")}
    head = "void tqs_graph_reset(int8_t *state) {\n"
    assert head in model["model.c"]
    model["model.c"] = model["model.c"].replace(head, f"{head}    volatile char held[600];\n    held[0] = 0;\n")
    with pytest.raises(UsageError, match=r"the stack can take \d+ bytes \(Reset_Handler > .*\); .* keeps 512"):
        compile_firmware(assemble(board, model, (), tmp_path))
