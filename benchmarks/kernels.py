"""Count the instructions of one evaluation of fixed models on emulated cores, and compare them with the last count.

    python benchmarks/kernels.py            write benchmarks/kernels.json
    python benchmarks/kernels.py --diff     compare with it; exit 1 on more than 2 % more instructions, flash or RAM
    python benchmarks/kernels.py --models fc-32x128 --cores m4    only these; the others stay as they were
    python benchmarks/kernels.py --jobs 2   two at a time

``python -m benchmarks.kernels_table`` writes the tables of docs/kernels.md from it.

A model without weights has the widths "int8" and "int8-int16" for its activations.

{model: {core: {width: {instructions, text_bytes, ram_bytes}}}}; the width is of the weights, "-int16" of the
activations where they are not int8. The counts are of QEMU's -icount, hence exact and
repeatable: they change only with the C, the compiler or the model. An evaluation is one inference of a feed-forward
model, one step of a recurrent one. text_bytes: flash of the whole image, startup and main included; ram_bytes: its
variables, that is input, output, states and arena. The Cortex-A and RISC-V run under QEMU's user mode and have
instructions alone, "-portable" those of the kernels for any core.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.kernel_models import MODELS, products
from edge_tqs.emit_c.dense_kernels import PORTABLE
from edge_tqs.emit_c.emit import emit
from edge_tqs.graph.graph import Graph
from edge_tqs.quantization import simulate
from edge_tqs.quantization.calibration import calibrate
from edge_tqs.quantization.quantize import Activations, quantize
from edge_tqs.templates import fill, template_root

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "kernels.json"
TOLERANCE = 0.02
NARROW_MODELS = {
    "fc-32x128",
    "lstm-7-32",
    "gru-7-32",
    "conv-3x16x16",
    "tcn-7-16",
}  # int8 activations alone
RUNS = 16  # of kernels_main.c
FEW_RUNS = 4  # of models so large that more would let SysTick wrap
NANOSECONDS = 64  # an instruction, at -icount shift=6


@dataclass(frozen=True)
class Core:
    """An emulated machine. name: as in board files; hz: SysTick's clock."""

    name: str
    machine: str
    flash: int
    ram: int
    ram_bytes: int
    hz: int
    flags: tuple[str, ...] = ()


CORES = {
    "m0plus": Core("cortex-m0plus", "microbit", 0, 0x20000000, 0x4000, 16_000_000),
    "m3": Core("cortex-m3", "mps2-an385", 0, 0x20000000, 0x400000, 25_000_000),
    "m4": Core("cortex-m4", "mps2-an386", 0, 0x20000000, 0x400000, 25_000_000),
    "m7": Core("cortex-m7", "mps2-an500", 0, 0x20000000, 0x400000, 25_000_000),
    "m33": Core("cortex-m33", "mps2-an505", 0x10000000, 0x38000000, 0x400000, 20_000_000),
    "m55": Core("cortex-m55", "mps3-an547", 0, 0x20000000, 0x80000, 32_000_000, ("-mfloat-abi=hard",)),
}


@dataclass(frozen=True)
class LinuxCore:
    """A core under QEMU's user mode: instructions are counted, sizes are not (an image holds libc).

    name: as above. kernels: the core that the kernels are for, if not ``name``. compiler, flags: of a static program.
    emulator: with its flags.
    """

    name: str
    kernels: str = ""
    compiler: str = "aarch64-linux-gnu-gcc"
    flags: tuple[str, ...] = ("-static",)
    emulator: tuple[str, ...] = ("qemu-aarch64",)
    sources: tuple[str, ...] = ()  # of the template root, in place of the C library
    libraries: tuple[str, ...] = ()


def _cortex_a(name: str, kernels: str = "") -> LinuxCore:
    flags, emulator = ("-static", f"-mcpu={name}"), ("qemu-aarch64", "-cpu", name)
    return LinuxCore(name, kernels, "aarch64-linux-gnu-gcc", flags, emulator)


LINUX_CORES = {
    "a72": _cortex_a("cortex-a72"),
    "a72-portable": _cortex_a("cortex-a72", PORTABLE),
    "a76": _cortex_a("cortex-a76"),
    "a76-portable": _cortex_a("cortex-a76", PORTABLE),
    # As on an ESP32-C3: no C library, and memcpy of its port.
    "rv32imc": LinuxCore(
        *("rv32imc", PORTABLE, "riscv64-unknown-elf-gcc"),
        (
            "-Wl,--no-warn-rwx-segments",
            "-march=rv32imc",
            "-mabi=ilp32",
            "-nostdlib",
            "-ffreestanding",
            "-fbuiltin",
            "-fno-tree-loop-distribute-patterns",
        ),
        ("qemu-riscv32",),
        ("ports/esp32/string.c",),
        ("-lgcc",),
    ),
}


def forms(model: str) -> dict[str, Graph]:
    """The integer graphs that are counted of a model, by the width of weights and activations."""
    graph = MODELS[model]()
    made = {f"int{width}": quantised(graph, width) for width in (8, 4)}
    if model not in NARROW_MODELS:
        made |= {f"int{width}-int16": quantised(graph, width, "int16") for width in (8, 4)}
    # What has no weights, or none that may have four bits, is there once.
    types = {form: {tensor.dtype for tensor in graph.tensors.values()} for form, graph in made.items()}
    return {form: graph for form, graph in made.items() if form.startswith("int8") or "int4" in types[form]}


def counted(model: str, graphs: Mapping[str, Graph], wanted: tuple[str, str]) -> dict[str, int]:
    """What is kept of the (core, form) ``wanted``."""
    core, runs = wanted[0], RUNS if model in NARROW_MODELS | {"mlp-168-64-64-7"} else FEW_RUNS
    if core in CORES:
        return measure(graphs[wanted[1]], CORES[core], runs)
    return measure_linux(graphs[wanted[1]], LINUX_CORES[core], runs)


def quantised(graph: Graph, width: int, activations: Activations = "int8") -> Graph:
    shape = (8, graph.forecast.window, graph.forecast.channels)
    seeds = np.random.default_rng(5).normal(size=shape).astype(np.float32)
    widths = dict.fromkeys(graph.weights(), width)
    return quantize(graph, widths, calibrate(graph, seeds, 8), activations=activations)


def expected_codes(graph: Graph, runs: int) -> list[int]:
    """y as kernels_main.c has it after ``runs`` evaluations."""
    size = graph.tensors[graph.input].size
    x = ((np.arange(size) * 37) % 256 - 128).astype(graph.activations).reshape(graph.tensors[graph.input].shape)
    step = simulate.integer_step(graph)
    states = simulate.zero_states(graph, 1)
    y = x
    for _ in range(runs):
        y, states = step(x, states)
    return [int(code) for code in y.reshape(-1).view(f"u{y.itemsize}")]


def check_codes(graph: Graph, core: str, codes: list[int], runs: int) -> None:
    if codes != (expected := expected_codes(graph, runs)):
        sys.exit(f"{graph.name} on {core}: computes {codes}, not {expected}")


def build(graph: Graph, core: Core, folder: Path, runs: int = RUNS) -> Path:
    root = template_root()
    generated = emit(graph, "0" * 64, graph.name, core.name)
    for file, text in generated.files.items():
        (folder / file).write_text(text, encoding="ascii")
    sources = [HERE / "kernels_main.c", folder / "model.c"]
    sources += [root / source for source in generated.kernels]
    return link(core, sources, folder, ["-std=c99", f"-DRUNS={runs}u"])


def link(core: Core, sources: list[Path], folder: Path, flags: list[str]) -> Path:
    """An image of ``sources`` and the startup code in ``folder``."""
    root = template_root()
    values = {
        "BOARD_NAME": core.machine,
        "FLASH_ORIGIN": hex(core.flash),
        "FLASH_SIZE": "0x40000" if core.machine == "microbit" else "0x80000",
        "RAM_ORIGIN": hex(core.ram),
        "RAM_SIZE": hex(core.ram_bytes),
        "STACK_SIZE": "2048",
    }
    port, bare = root / "ports/cortexm", root / "ports/bare"
    (folder / "link.ld").write_text(fill((port / "link.ld.in").read_text(encoding="ascii"), values), encoding="ascii")
    elf = folder / "bench.elf"
    command = ["arm-none-eabi-gcc", f"-mcpu={core.name}", "-mthumb", *core.flags, "-O2", *flags]
    command += [*("-ffunction-sections", "-fdata-sections", "-nostartfiles", "--specs=nano.specs"), "-Wl,--gc-sections"]
    command += [f"-I{folder}", *(f"-I{root / part}" for part in ("core", "kernels", "ports/cortexm", "ports/bare"))]
    command += [
        *map(str, [*sources, port / "startup.c", bare / "variables.c"]),
        "-T",
        str(folder / "link.ld"),
        "-o",
        str(elf),
    ]
    subprocess.run(command, check=True)
    return elf


def run(core: Core, elf: Path) -> list[int]:
    """The numbers that the image tells through semihosting."""
    command = ["qemu-system-arm", "-M", core.machine, "-display", "none", "-monitor", "none", "-serial", "null"]
    command += ["-icount", "shift=6,sleep=off", "-semihosting-config", "enable=on,target=native", "-kernel", str(elf)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    return [int(line, 16) for line in (done.stdout + done.stderr).split()]


def sizes(elf: Path) -> tuple[int, int]:
    """(flash, variables) in bytes; the stack, which the linker script reserves, is in neither."""
    listing = subprocess.run(["arm-none-eabi-size", "-A", str(elf)], capture_output=True, text=True, check=True).stdout
    found = {name: int(size) for name, size in re.findall(r"^(\.\S+)\s+(\d+)\s", listing, re.MULTILINE)}
    flash = sum(found.get(name, 0) for name in (".isr_vector", ".text", ".rodata", ".data"))
    return flash, found.get(".data", 0) + found.get(".bss", 0)


def measure(graph: Graph, core: Core, runs: int = RUNS) -> dict[str, int]:
    """Over ``runs`` evaluations: SysTick has 24 bits, and counts 1 to 2 an instruction."""
    with tempfile.TemporaryDirectory() as name:
        elf = build(graph, core, Path(name), runs)
        empty, full, *codes = run(core, elf)
        check_codes(graph, core.name, codes, runs)
        flash, variables = sizes(elf)
    instructions = (full - empty) * 10**9 / (NANOSECONDS * core.hz * runs)
    return {"instructions": round(instructions), "text_bytes": flash, "ram_bytes": variables}


def measure_linux(graph: Graph, core: LinuxCore, runs: int = RUNS) -> dict[str, int]:
    with tempfile.TemporaryDirectory() as name:
        folder, root, kernels = Path(name), template_root(), core.kernels or core.name
        generated = emit(graph, "0" * 64, graph.name, kernels)
        for file, text in generated.files.items():
            (folder / file).write_text(text, encoding="ascii")
        sources = [HERE / "kernels_main.c", folder / "model.c"]
        sources += [root / source for source in generated.kernels]
        program = folder / "bench.elf"
        sources += [root / source for source in core.sources]
        folders = [folder, *(root / part for part in ("core", "kernels", *{str(Path(s).parent) for s in core.sources}))]
        command = [core.compiler, *core.flags, "-O2", "-std=c99", f"-DRUNS={runs}u"]
        command += [*(f"-I{part}" for part in folders), *map(str, sources), *core.libraries, "-o", str(program)]
        subprocess.run(command, check=True)
        (empty, _), (full, codes) = executed(core, [str(program)]), executed(core, [str(program), "run"])
    check_codes(graph, core.name, codes, runs)
    return {"instructions": round((full - empty) / runs)}


def executed(core: LinuxCore, command: list[str]) -> tuple[int, list[int]]:
    """(instructions, numbers told) of a program: QEMU translates each instruction alone, and logs it when it runs."""
    name, *options = core.emulator
    emulator = [shutil.which(name) or name, *options, "-singlestep", "-d", "exec,nochain"]
    # No environment: libc's startup takes some instructions more or less by where it ends on the stack.
    with subprocess.Popen([*emulator, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={}) as process:
        counting = subprocess.run(["grep", "-c", "^Trace "], stdin=process.stderr, capture_output=True, check=False)
        assert process.stdout is not None
        told = process.stdout.read()
    if process.returncode != 0:
        sys.exit(f"{' '.join([*emulator, *command])} failed")
    return int(counting.stdout), [int(line) for line in told.split()]


def regressions(new: dict[str, Any], old: dict[str, Any]) -> Iterator[str]:
    for model, cores in new.items():
        for core, widths in cores.items():
            for width, figures in widths.items():
                before = old.get(model, {}).get(core, {}).get(width, {})
                for what, value in figures.items():
                    if what in before and value > before[what] * (1 + TOLERANCE):
                        yield f"{model} {core} {width}: {what} {before[what]} -> {value}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Count instructions of the kernels on emulated cores.")
    parser.add_argument("--diff", action="store_true", help="compare with kernels.json, write nothing")
    parser.add_argument("--models", nargs="*", choices=MODELS, default=list(MODELS))
    parser.add_argument("--cores", nargs="*", choices=[*CORES, *LINUX_CORES], default=[*CORES, *LINUX_CORES])
    parser.add_argument("--jobs", type=int, default=1, help="measured at a time")
    args = parser.parse_args()
    results: dict[str, Any] = {model: {core: {} for core in args.cores} for model in args.models}
    with ThreadPoolExecutor(args.jobs) as pool:
        for model in args.models:
            graphs = forms(model)
            wanted = [(core, form) for core in args.cores for form in graphs]
            for (core, form), figures in zip(wanted, pool.map(partial(counted, model, graphs), wanted), strict=True):
                results[model][core][form] = figures
                weights = products(graphs[form])
                each = f", {figures['instructions'] / weights:.2f} instructions a product" if weights else ""
                print(f"{model:16} {core:7} {form} {figures}{each}", flush=True)
    if args.diff:
        found = list(regressions(results, json.loads(RESULTS.read_text(encoding="utf-8"))))
        print("\n".join(found) or "no regression")
        return 1 if found else 0
    # What was not asked for stays as it was measured before; the order is always the same.
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    made = {
        model: {
            core: results.get(model, {}).get(core) or kept[model][core]
            for core in [*CORES, *LINUX_CORES]
            if core in results.get(model, {}) or core in kept.get(model, {})
        }
        for model in MODELS
        if model in results or model in kept
    }
    RESULTS.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
