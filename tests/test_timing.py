"""Modelled milliseconds: what instructions are, how often they run, and what they cost."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import kernels as bench
from benchmarks.kernel_models import MODELS
from edge_tqs.boards.board import FlashTiming, load_board
from edge_tqs.boards.firmware import assemble, compile_firmware
from edge_tqs.boards.timing import cortex_m0plus, cortex_m3, cortex_m4, cortex_m7, counting
from edge_tqs.boards.timing import plugin as plugin_module
from edge_tqs.boards.timing.counting import Traffic
from edge_tqs.boards.timing.modelled import modelled, waits
from edge_tqs.boards.timing.thumb import LOADS, STORES, Kind, decode
from edge_tqs.building.selection import modelled_time, within_latency
from edge_tqs.building.selection.candidate import Candidate, Selection
from edge_tqs.device.messages import Counter
from edge_tqs.emit_c.emit import emit
from edge_tqs.emit_c.memory import is_view
from edge_tqs.errors import ToolError, UsageError
from edge_tqs.project.budget import parse_latency
from edge_tqs.report.modelled_time import ModelledTime
from edge_tqs.templates import template_root
from edge_tqs.validation.figures import latency

ROOT = template_root()
#: What objdump calls the instructions of a kind; the first that fits.
NAMES = {
    Kind.HINT: r"nop|pld|sev|wfi|wfe|yield",
    Kind.IF_THEN: r"it[te]{0,3}",
    Kind.BARRIER: r"dmb|dsb|isb",
    Kind.SYSTEM: r"mrs|msr|cpsi[ed]|bkpt|svc|udf",
    Kind.TABLE_BRANCH: r"tb[bh]",
    Kind.LOAD_PAIR: "ldrd",
    Kind.STORE_PAIR: "strd",
    Kind.LOAD_MULTIPLE: r"ldm\w*|pop",
    Kind.STORE_MULTIPLE: r"stm\w*|push",
    Kind.LOAD: r"ldr\w*",
    Kind.STORE: r"str\w*",
    Kind.FP_LOAD_MULTIPLE: r"vldm\w*|vpop",
    Kind.FP_STORE_MULTIPLE: r"vstm\w*|vpush",
    Kind.FP_LOAD: r"vldr",
    Kind.FP_STORE: r"vstr",
    Kind.FP_DIVIDE: r"vdiv|vsqrt",
    Kind.FP_MULTIPLY_ADD: r"vf?n?ml[as]|vfn?m[as]",
    Kind.FP_MULTIPLY: r"vn?mul",
    Kind.FP_MOVE: r"vmrs|vmsr",
    Kind.DIVIDE: r"[su]div",
    Kind.DSP_LONG_MULTIPLY: r"smlal[bt][bt]|sml[as]ldx?",
    Kind.LONG_MULTIPLY_ADD: r"[su]mlal|umaal",
    Kind.LONG_MULTIPLY: r"[su]mull",
    Kind.DSP_MULTIPLY: r"sml[as]\w+|smul\w+|smu[as]d\w?|smmul\w?|smml[as]\w?|usada?8",
    Kind.MULTIPLY_ADD: r"ml[as]",
    Kind.MULTIPLY: r"muls?",
    Kind.CALL: r"bl",
    Kind.CALL_REGISTER: r"blx",
    Kind.BRANCH_REGISTER: r"bx",
    Kind.BRANCH: r"b|cbn?z",
}
CONDITION = "(?:eq|ne|cs|cc|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)?"
#: One of each form that compiled kernels may not have.
RARE = """
    .syntax unified
    .thumb
    ldrd r0, r1, [r2, #8]!
    strd r0, r1, [r2], #8
    ldmdb r4!, {r5, r6, r7}
    ldr.w r0, [r1, r2, lsl #2]
    str.w r0, [r1], #4
    ldrsb.w r3, [r4, #-1]
    ldr pc, [r1]
    pld [r0]
    tbb [pc, r1]
    mov pc, lr
    udiv r0, r1, r2
    smlald r0, r1, r2, r3
    smlalbt r0, r1, r2, r3
    umaal r0, r1, r2, r3
    mls r0, r1, r2, r3
    smmulr r0, r1, r2
    mrs r0, primask
    dsb sy
    movw r0, #4660
    bfi r0, r1, #3, #4
    teq r0, r1
    vldmia r0!, {s0-s3}
    vpush {d8-d9}
    vldr s1, [r2, #4]
    vstr s1, [r2, #4]
    vadd.f32 s0, s1, s2
    vmul.f32 s0, s1, s2
    vsqrt.f32 s0, s1
    vfma.f32 s0, s1, s2
    vmov r0, s3
    vmov s3, s4, r0, r1
    vmrs APSR_nzcv, fpscr
    blx r3
    svc 0
    ldrex r0, [r1]
"""


def listed(objects: list[Path]) -> list[tuple[int, int, str, str]]:
    """(first halfword, second, mnemonic, operands) of all instructions."""
    shown = subprocess.run(
        ["arm-none-eabi-objdump", "-d", *map(str, objects)], capture_output=True, text=True, check=True
    ).stdout
    line = re.compile(r"^\s+[0-9a-f]+:\t([0-9a-f]{4})(?: ([0-9a-f]{4}))? +\t(\S+)[ \t]*([^;@\n]*)", re.MULTILINE)
    return [(int(a, 16), int(b or "0", 16), name, rest.strip()) for a, b, name, rest in line.findall(shown)]


def kind_of(mnemonic: str, operands: str) -> Kind:
    name = mnemonic.split(".", maxsplit=1)[0]
    for kind, names in NAMES.items():
        if re.fullmatch(f"(?:{names}){CONDITION}", name):
            return kind
    if name.startswith("v"):
        core = re.search(r"\b(?:r\d+|sl|fp|ip|lr)\b", operands)
        return Kind.FP_MOVE if core else Kind.FP_ALU
    return Kind.BRANCH_REGISTER if operands.startswith("pc,") else Kind.ALU


def test_instructions_are_of_the_kind_that_objdump_says(tmp_path):
    (tmp_path / "rare.s").write_text(RARE)
    kernels = ("arm/tqs_fc_s8_dsp", "arm/tqs_fc_s8_v7m", "arm/tqs_fc_s8_v6m", "tqs_softmax_s16", "tqs_mean_s8")
    sources = [tmp_path / "rare.s", *(ROOT / "kernels" / f"{name}.c" for name in kernels)]
    objects = []
    for core, chosen in (("cortex-m4", (0, 1, 4)), ("cortex-m3", (2, 5)), ("cortex-m0plus", (3, 5))):
        fpu = ["-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"] if core == "cortex-m4" else []
        for source in (sources[index] for index in chosen):
            objects.append(tmp_path / f"{core}-{source.stem}.o")
            command = ["arm-none-eabi-gcc", f"-mcpu={core}", "-mthumb", *fpu, "-O2", f"-I{ROOT / 'kernels'}"]
            subprocess.run([*command, "-c", str(source), "-o", str(objects[-1])], check=True)
    found = listed(objects)
    assert len(found) > 1000
    seen = set()
    for first, second, mnemonic, operands in found:
        if mnemonic.startswith(".") or first == 0x46C0:
            continue  # a constant among the code; `mov r8, r8`, which is shown as nop
        made = decode(first, second)
        assert made.kind is kind_of(mnemonic, operands), (mnemonic, operands)
        assert made.bytes == (4 if second or first >> 11 >= 29 else 2), mnemonic
        if "{" in operands and made.kind in LOADS | STORES:
            assert made.count == registers(operands), (mnemonic, operands)
        if made.kind in (Kind.LOAD, Kind.STORE) and (address := re.search(r"\[(\w+)(?:, (\w+))?", operands)):
            assert made.address == bits(*filter(None, address.groups())), (mnemonic, operands)
        seen.add(made.kind)
    assert seen >= set(Kind) - {Kind.OTHER}


def registers(operands: str) -> int:
    """How many words `{r4, r5, lr}`, `{s0-s3}` or `{d8-d9}` are."""
    count = 0
    for item in operands[operands.index("{") + 1 : operands.index("}")].split(","):
        first, _, last = (part.strip() for part in item.partition("-"))
        count += (int(last[1:]) - int(first[1:]) + 1 if last else 1) * (2 if first[0] == "d" else 1)
    return count


def bits(*names: str) -> int:
    aliases = {"sb": 9, "sl": 10, "fp": 11, "ip": 12, "sp": 13, "lr": 14, "pc": 15}
    return sum(1 << (aliases[name] if name in aliases else int(name[1:])) for name in names)


#: Ten rounds of each loop between the marks, by hand: (text, instructions, cycles on M0+, M3, M4).
LOOPS = {
    # 2 x 1, and 1 + 1 of a branch that is taken: nine times
    "count": ("1: adds r1, r1, r2\n subs r3, #1\n bne 1b", 30, 39, 39, 39),
    # two loads in a row: 2 + 2 on M0+, 2 + 1 on the others
    "loads": ("1: ldr r1, [r0]\n ldr r2, [r0, #4]\n subs r3, #1\n bne 1b", 40, 69, 59, 59),
    # the second load's address is the first one's result: nothing overlaps
    "chase": ("1: ldr r1, [r0, #12]\n ldr r2, [r1]\n subs r3, #1\n bne 1b", 40, 69, 69, 69),
    # an address that was just computed: one cycle more, but on M0+
    "address": ("1: adds r1, r0, #4\n ldr r2, [r1]\n subs r3, #1\n bne 1b", 40, 59, 69, 69),
    # 1 + 2, and 1 + 3 on each
    "several": ("1: push {r1, r2}\n pop {r1, r2}\n subs r3, #1\n bne 1b", 40, 89, 89, 89),
    "product": ("1: muls r1, r2, r1\n subs r3, #1\n bne 1b", 30, 39, 39, 39),
    # long products: 5 of 4 to 7 on M3
    "long": ("1: smlal r1, r2, r4, r5\n subs r3, #1\n bne 1b", 30, None, 79, 39),
    # a store with an immediate offset takes one; with two registers two
    "stores": ("1: str r1, [r0]\n str r1, [r0, r6]\n subs r3, #1\n bne 1b", 40, 69, 59, 59),
}
IMAGE = """
    .syntax unified
    .thumb
    .section .vectors, "a"
    .word 0x20001000, start + 1
    .text
    .thumb_func
start:
    ldr r0, =0x20000100
    str r0, [r0, #12]
    movs r1, #0
    movs r2, #0
    movs r6, #8
begin:
    movs r3, #10
    {loop}
end:
    nop
    movs r0, #0x18
    ldr r1, =0x20026
    bkpt 0xAB
    .pool
"""


@pytest.mark.emulated
@pytest.mark.parametrize("name", LOOPS)
def test_cycles_of_a_loop_are_those_counted_by_hand(tmp_path, name):
    text, instructions, m0plus, m3, m4 = LOOPS[name]
    source, elf = tmp_path / "loop.s", tmp_path / "loop.elf"
    source.write_text(IMAGE.format(loop=text))
    (tmp_path / "loop.ld").write_text("SECTIONS { . = 0; .all : { *(.vectors) *(.text) } }")
    command = ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-nostdlib", "-Wl,--no-warn-rwx-segments", str(source)]
    subprocess.run([*command, "-T", str(tmp_path / "loop.ld"), "-o", str(elf)], check=True)
    shown = subprocess.run(["arm-none-eabi-nm", str(elf)], capture_output=True, text=True, check=True).stdout
    marks = {label: int(address, 16) & ~1 for address, _, label in map(str.split, shown.splitlines())}
    (segment,) = counting.run(elf, "mps2-an386", marks["begin"], marks["end"])
    assert segment.instructions == instructions
    for model, expected in ((cortex_m0plus, m0plus), (cortex_m3, m3), (cortex_m4, m4)):
        if expected is not None:
            assert model.cycles(segment) == expected, model.__name__
    assert cortex_m7.cycles(segment) == (instructions / 2 + m4) / 2


TICKS = """
#include "tqs_graph.h"
#define CSR (*(volatile uint32_t *)0xE000E010u)
#define RVR (*(volatile uint32_t *)0xE000E014u)
#define CVR (*(volatile uint32_t *)0xE000E018u)
void SysTick_Handler(void);
void SysTick_Handler(void) {}
void begin(void);
void end(void);
static volatile uint32_t first, last;
__attribute__((noinline)) void begin(void) { first = CVR; }
__attribute__((noinline)) void end(void) { last = CVR; }
static tqs_code_t x[TQS_GRAPH_INPUT], y[TQS_GRAPH_OUTPUT];
static uint32_t arena[(TQS_ARENA_SIZE + 3u) / 4u];
static void call_host(uint32_t operation, const void *argument) {
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
}
int main(void);
int main(void) {
    static char text[] = "0x00000000\\n";
    uint32_t i, ticks;
    RVR = 0xFFFFFFu;
    CSR = 5u;
    CVR = 0;
    while (CVR == 0u) {}
    begin();
    for (i = 0; i < EVALUATIONS; i++) tqs_graph_run(x, y, (tqs_code_t *)arena);
    end();
    ticks = first - last;
    for (i = 0; i < 8u; i++) text[9u - i] = "0123456789abcdef"[(ticks >> (4u * i)) & 0xFu];
    call_host(4, text);
    call_host(0x18, (const void *)0x20026u);
    for (;;) {}
}
"""


@pytest.mark.emulated
def test_the_plugin_counts_as_many_instructions_as_icount(tmp_path):
    """Two evaluations more: by SysTick, which follows -icount, and by the plugin, in the same run."""
    core, graph = bench.CORES["m4"], bench.quantised(MODELS["fc-32x128"](), 8)
    generated = emit(graph, "0" * 64, graph.name, core.name)
    for file, text in generated.files.items():
        (tmp_path / file).write_text(text, encoding="ascii")
    (tmp_path / "ticks.c").write_text(TICKS)
    sources = [tmp_path / "ticks.c", tmp_path / "model.c", *(ROOT / source for source in generated.kernels)]
    counted, ticked = [], []
    for evaluations in (1, 3):
        elf = bench.link(core, sources, tmp_path, ["-std=c99", f"-DEVALUATIONS={evaluations}u"])
        shown = subprocess.run(["arm-none-eabi-nm", str(elf)], capture_output=True, text=True, check=True).stdout
        at = {line.split()[-1]: int(line.split()[0], 16) & ~1 for line in shown.splitlines()}
        options = ("-icount", "shift=10,sleep=off")  # 25.6 ticks an instruction
        (segment,), said = counting.run_and_say(elf, core.machine, at["begin"], at["end"], options=options)
        counted.append(segment.instructions)
        ticked.append(int(said.split()[0], 16) / (core.hz * 1024e-9))
    assert counted[1] - counted[0] == round(ticked[1] - ticked[0])
    assert abs(ticked[1] - ticked[0] - (counted[1] - counted[0])) < 0.1
    assert counted[1] > 3 * 5000


def test_waits_for_the_flash():
    traffic = Traffic(flash_loads=9, data_misses=3, code_misses=2, next_misses=4)
    assert waits(traffic, FlashTiming(wait_states=0)) == 0
    assert waits(traffic, FlashTiming(wait_states=5)) == 5 * 9
    assert waits(traffic, FlashTiming(wait_states=5, prefetch=True)) == 5 * (3 + 2 + 2)


@pytest.mark.emulated
def test_a_firmware_is_modelled_by_operator(tmp_path):
    graph = bench.quantised(MODELS["mlp-168-64-64-7"](), 8)
    board = load_board("netduinoplus2")
    generated = emit(graph, "0" * 64, graph.name, board.core)
    compile_firmware(assemble(board, generated.files, generated.kernels, tmp_path))
    found = modelled(board, tmp_path)
    assert found is not None
    rest, *operators = found.operators
    assert [(item.tensor, item.kind) for item in operators] == [
        (op.outputs[0], op.kind) for op in graph.ops if not is_view(graph, op)
    ]
    assert found.instructions == sum(item.instructions for item in found.operators)
    assert found.cycles == pytest.approx(sum(item.cycles for item in found.operators))
    assert found.milliseconds == pytest.approx(1e3 * found.cycles / 168e6)
    # More products take longer; what is no operator takes little.
    first, second, third = (item.cycles for item in operators)
    assert first > second > third > 0
    assert rest.tensor == ""
    assert rest.cycles < 0.1 * found.cycles
    # Weights are read once, from lines of 16 bytes of which the flash's buffer keeps eight: each is waited for.
    weights = sum(tensor.size for parts in graph.weights().values() for tensor in parts)
    still = modelled(load_board("qemu-mps2-an386"), tmp_path)  # the same core, no wait states
    assert still is not None
    assert still.instructions == found.instructions
    assert found.cycles - still.cycles == pytest.approx(5 * weights / 16, rel=0.25)
    assert 0.15 < found.band < 0.5


def test_measured_is_said_beside_modelled_on_a_real_board_alone():
    built = ModelledTime(2.0, 50_000, 40_000, 25_000_000, 0.25, 1, "a manual", ())
    board = load_board("qemu-mps2-an386")
    graph = bench.quantised(MODELS["fc-32x128"](), 8)
    hello = SimpleNamespace(board=board.name, counter=Counter.CYCCNT, counter_hz=25_000_000)
    ran: Any = SimpleNamespace(ticks=np.full((2, 3), 62_500))

    def found(hello=hello, *, emulated=False):
        return latency(board, hello, ran, graph.forecast, emulated=emulated, modelled=built)

    assert found().beside == "measured 2.5 ms, modelled 2 ms \N{PLUS-MINUS SIGN}25 % (+25%)"
    assert (found(emulated=True).beside, found(emulated=True).milliseconds) == ("", None)
    another = SimpleNamespace(board="other", counter=Counter.CYCCNT, counter_hz=25_000_000)
    assert (found(another).beside, found(another).milliseconds) == ("", 2.5)


def test_a_latency_as_people_write_it():
    assert [parse_latency(text) for text in ("5ms", 5, " .5 s", "800us")] == [5, 5, 500, pytest.approx(0.8)]
    with pytest.raises(UsageError, match="'5' has no unit") as caught:
        parse_latency("5")
    assert "5ms, 5s or 5us" in caught.value.hint
    for wrong in ("0ms", "-1ms", "5 minutes", "", "nan"):
        with pytest.raises(UsageError, match="is no time"):
            parse_latency(wrong)


def candidate(error: float, width: int, *, fits: bool = True) -> Candidate:
    plan = SimpleNamespace(tensors=(SimpleNamespace(width=width),), assignment=(width,), bias_correction=False)
    return Candidate("int8", plan, "", SimpleNamespace(), error, 100, None, fits, True)  # type: ignore[arg-type]


def test_a_choice_beyond_the_limit_is_not_taken(monkeypatch):
    slow, fast, faster, unfit = candidate(0.0, 8), candidate(0.2, 4), candidate(0.3, 5), candidate(0.1, 6, fits=False)
    times = {id(slow): 5.0, id(fast): 3.0, id(faster): 2.0, id(unfit): 1.0}
    monkeypatch.setattr(within_latency, "_milliseconds", lambda item, board: times[id(item)])
    made = Selection(slow, (fast,), 0.02, "", False, "float", 8)

    def kept(limit: float) -> Selection:
        return within_latency.within_latency(made, limit, None, lambda: [fast, faster, unfit])

    assert kept(5.0).chosen is slow
    assert kept(5.0).why == "5 ms modelled, within --latency 5 ms"
    chosen = kept(4.0)
    assert (chosen.chosen.error, [item.option for item in chosen.others]) == (0.2, ["no --latency"])
    assert kept(2.5).chosen.error == 0.3
    with pytest.raises(UsageError, match=r"the fastest that was tried takes 2 ms, modelled \(int8 activations, 0 of 1"):
        kept(1.5)


def test_a_limit_needs_a_board_with_a_model():
    made = Selection(candidate(0.0, 8), (), 0.02, "", False, "float", 8)
    for board in (None, load_board("rpi4")):
        with pytest.raises(UsageError, match="no time is modelled"):
            within_latency.within_latency(made, 1.0, board, list)


def test_a_build_without_a_counter_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr("shutil.which", lambda name: "/bin/qemu" if name == "qemu-system-arm" else None)
    with pytest.raises(ToolError, match="a C compiler of this machine is missing") as missing:
        plugin_module.plugin.__wrapped__()
    assert missing.value.hint == "Install it: `sudo apt install gcc`."

    def fails(board, folder):
        raise missing.value

    monkeypatch.setattr(modelled_time, "modelled", fails)
    warnings: list[str] = []
    assert modelled_time.modelled_or_warned(load_board("pico"), tmp_path, 1, warnings) is None
    assert warnings == [
        "No milliseconds are modelled: a C compiler of this machine is missing: it counts instructions. "
        "Install it: `sudo apt install gcc`."
    ]
