"""Count the instructions of one evaluation of fixed models on emulated cores, and compare them with the last count.

    python benchmarks/kernels.py            write benchmarks/kernels.json
    python benchmarks/kernels.py --diff     compare with it; exit 1 on more than 2 % more instructions, flash or RAM
    python benchmarks/kernels.py --models fc-32x128 --cores m4    only these, printed and not written

{model: {core: {width: {instructions, text_bytes, ram_bytes}}}}; the width is of the weights, "-int16" of the
activations where they are not int8. The counts are of QEMU's -icount, hence exact and
repeatable: they change only with the C, the compiler or the model. An evaluation is one inference of a feed-forward
model, one step of a recurrent one. text_bytes: flash of the whole image, startup and main included; ram_bytes: its
variables, that is input, output, states and arena. The Cortex-A run under qemu-aarch64 and have instructions alone,
"-portable" those of the kernels for any core.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_tqs.emit_c.dense_kernels import PORTABLE
from edge_tqs.emit_c.emit import emit
from edge_tqs.graph.graph import Forecast, Graph, Op, State, Tensor
from edge_tqs.passes.positions import only_needed
from edge_tqs.quantization import simulate
from edge_tqs.quantization.calibration import calibrate
from edge_tqs.quantization.quantize import Activations, quantize
from edge_tqs.templates import fill, template_root

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "kernels.json"
TOLERANCE = 0.02
RUNS = 16  # of kernels_main.c
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
    """A Cortex-A under qemu-aarch64: instructions are counted, sizes are not (an image holds libc). name: as above."""

    name: str
    kernels: str = ""  # the core that the kernels are for, if not ``name``


LINUX_CORES = {
    "a72": LinuxCore("cortex-a72"),
    "a72-portable": LinuxCore("cortex-a72", PORTABLE),
    "a76": LinuxCore("cortex-a76"),
    "a76-portable": LinuxCore("cortex-a76", PORTABLE),
}


class Builder:
    """A float graph with random weights, drawn in the order in which layers ask for them."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[Op] = []
        self.states: list[State] = []

    def tensor(self, name: str, shape: tuple[int, ...], data: Any = None) -> str:
        self.tensors[name] = Tensor(name, shape, "float32", data, None, name if data is not None else None)
        return name

    def op(self, kind: str, inputs: tuple[str, ...], name: str, size: int, /, **attrs: Any) -> str:
        self.ops.append(Op(kind, inputs, (self.tensor(name, (1, size)),), attrs))
        return name

    def dense(self, x: str, units: int, name: str, activation: str = "none", bias: bool = True) -> str:
        inputs = self.tensors[x].shape[1]
        weight = (self.rng.normal(size=(units, inputs)) * 1.2 / np.sqrt(inputs)).astype(np.float32)
        operands: tuple[str, ...] = (x, self.tensor(f"{name}/kernel", weight.shape, weight))
        if bias:
            data = (self.rng.normal(size=units) * 0.3).astype(np.float32)
            operands += (self.tensor(f"{name}/bias", data.shape, data),)
        return self.op("fully_connected", operands, name, units, activation=activation)

    def conv(self, x: str, channels: int, name: str, dilation: int = 1) -> str:
        """A causal convolution of three taps, relu."""
        _, length, width = self.tensors[x].shape
        weight = (self.rng.normal(size=(channels, 3, width)) * 1.2 / np.sqrt(3 * width)).astype(np.float32)
        bias = (self.rng.normal(size=channels) * 0.3).astype(np.float32)
        operands = (
            x,
            self.tensor(f"{name}/kernel", weight.shape, weight),
            self.tensor(f"{name}/bias", bias.shape, bias),
        )
        attrs = {"stride": 1, "dilation": dilation, "left": 2 * dilation, "right": 0, "activation": "relu"}
        self.ops.append(Op("conv_1d", operands, (self.tensor(name, (1, length, channels)),), attrs))
        return name

    def shaped(self, kind: str, inputs: tuple[str, ...], name: str, shape: tuple[int, ...], /, **attrs: Any) -> str:
        self.ops.append(Op(kind, inputs, (self.tensor(name, shape),), attrs))
        return name

    def split(self, x: str, parts: int, names: tuple[str, ...]) -> tuple[str, ...]:
        size = self.tensors[x].shape[1] // parts
        outputs = tuple(self.tensor(name, (1, size)) for name in names)
        self.ops.append(Op("split", (x,), outputs, {"parts": parts}))
        return outputs

    def graph(self, name: str, x: str, y: str, forecast: Forecast) -> Graph:
        return Graph(name, self.tensors, tuple(self.ops), x, y, tuple(self.states), forecast).check()


def mlp() -> Graph:
    b = Builder(1)
    x = b.op("reshape", (b.tensor("x", (1, 24, 7)),), "flat", 168)
    hidden = b.dense(b.dense(x, 64, "dense_1", "relu"), 64, "dense_2", "relu")
    return b.graph("mlp-168-64-64-7", "x", b.dense(hidden, 7, "head"), Forecast(24, 7, "none", tuple(range(7))))


def fully_connected() -> Graph:
    """One layer from 32 to 128, of which the forecast takes the first four."""
    b = Builder(2)
    x = b.op("reshape", (b.tensor("x", (1, 8, 4)),), "flat", 32)
    y = b.op("slice", (b.dense(x, 128, "dense"),), "y", 4, axis=1, begin=0, size=4)
    return b.graph("fc-32x128", "x", y, Forecast(8, 4, "none", tuple(range(4))))


def lstm() -> Graph:
    """Keras' LSTM cell of 32 units on 7 inputs, and no head: its output is its first 7 units."""
    b = Builder(3)
    x, h, c = b.tensor("x", (1, 7)), b.tensor("h_in", (1, 32)), b.tensor("c_in", (1, 32))
    z = b.op("add", (b.dense(x, 128, "zx"), b.dense(h, 128, "zh", bias=False)), "z", 128)
    zi, zf, zg, zo = b.split(z, 4, ("zi", "zf", "zg", "zo"))
    i, f, o = (b.op("logistic", (name,), f"{name}_s", 32) for name in (zi, zf, zo))
    new = b.op("mul", (i, b.op("tanh", (zg,), "g", 32)), "new", 32)
    c_out = b.op("add", (b.op("mul", (f, c), "kept", 32), new), "c_out", 32)
    h_out = b.op("mul", (o, b.op("tanh", (c_out,), "tanh_c", 32)), "h_out", 32)
    b.states += [State("h", h, h_out), State("c", c, c_out)]
    y = b.op("slice", (h_out,), "y", 7, axis=1, begin=0, size=7)
    return b.graph("lstm-7-32", x, y, Forecast(8, 7, "stateful", tuple(range(7))))


def gru() -> Graph:
    """Keras' GRU cell (reset_after) of 32 units on 7 inputs; output as lstm's."""
    b = Builder(4)
    x, h = b.tensor("x", (1, 7)), b.tensor("h_in", (1, 32))
    zx, zh = b.dense(x, 96, "zx"), b.dense(h, 96, "zh")
    parts = [
        b.op("slice", (source,), f"{source}_{part}", size, axis=1, begin=begin, size=size)
        for source in (zx, zh)
        for part, begin, size in (("gates", 0, 64), ("candidate", 64, 32))
    ]
    gates = b.op("logistic", (b.op("add", (parts[0], parts[2]), "gates", 64),), "gates_s", 64)
    z, r = b.split(gates, 2, ("z", "r"))
    candidate = b.op("add", (parts[1], b.op("mul", (r, parts[3]), "reset", 32)), "candidate", 32)
    hh = b.op("tanh", (candidate,), "hh", 32)
    change = b.op("mul", (z, b.op("sub", (h, hh), "difference", 32)), "change", 32)
    h_out = b.op("add", (hh, change), "h_out", 32)
    b.states.append(State("h", h, h_out))
    y = b.op("slice", (h_out,), "y", 7, axis=1, begin=0, size=7)
    return b.graph("gru-7-32", x, y, Forecast(8, 7, "stateful", tuple(range(7))))


def conv() -> Graph:
    """One dilated convolution from 16 channels to 16 over 32 samples, of which the forecast takes the last."""
    b = Builder(5)
    y = b.conv(b.tensor("x", (1, 32, 16)), 16, "conv", 2)
    flat = b.op("reshape", (y,), "flat", 512)
    y = b.op("slice", (flat,), "y", 16, axis=1, begin=496, size=16)
    return b.graph("conv-3x16x16", "x", y, Forecast(32, 16, "none", tuple(range(16))))


def tcn() -> Graph:
    """A small TCN, windowed: two residual blocks of dilated convolutions over 48 samples of 7 channels, and a head.

    As an imported model, without the samples that the forecast does not depend on.
    """
    b = Builder(6)
    y = b.conv(b.tensor("x", (1, 48, 7)), 16, "stem")
    for dilation in (2, 4):
        inner = b.conv(b.conv(y, 16, f"conv_{dilation}_a", dilation), 16, f"conv_{dilation}_b", dilation)
        y = b.shaped("add", (y, inner), f"block_{dilation}", (1, 48, 16))
    last = b.shaped("slice", (y,), "last", (1, 1, 16), axis=1, begin=47, size=1)
    head = b.dense(b.op("reshape", (last,), "last_flat", 16), 7, "head")
    return only_needed(b.graph("tcn-7-16", "x", head, Forecast(48, 7, "none", tuple(range(7)))))


def products(graph: Graph) -> int:
    """Multiplications of weights in one evaluation."""
    weighted = [op for op in graph.ops if op.signature.is_weighted]
    samples = [graph.tensors[op.outputs[0]].shape[1] if op.kind == "conv_1d" else 1 for op in weighted]
    return sum(count * graph.tensors[op.inputs[1]].size for count, op in zip(samples, weighted, strict=True))


MODELS = {"mlp-168-64-64-7": mlp, "fc-32x128": fully_connected, "lstm-7-32": lstm, "gru-7-32": gru}
WIDE_MODELS = {"mlp-168-64-64-7"}  # that are counted with int16 activations too
MODELS |= {"conv-3x16x16": conv, "tcn-7-16": tcn}


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
        "FLASH_SIZE": "0x40000",
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
        command = [
            "aarch64-linux-gnu-gcc",
            f"-mcpu={core.name}",
            "-O2",
            "-std=c99",
            "-static",
            f"-DRUNS={runs}u",
            f"-I{folder}",
        ]
        command += [*(f"-I{root / part}" for part in ("core", "kernels")), *map(str, sources), "-o", str(program)]
        subprocess.run(command, check=True)
        (empty, _), (full, codes) = executed(core, [str(program)]), executed(core, [str(program), "run"])
    check_codes(graph, core.name, codes, runs)
    return {"instructions": round((full - empty) / runs)}


def executed(core: LinuxCore, command: list[str]) -> tuple[int, list[int]]:
    """(instructions, numbers told) of a program: QEMU translates each instruction alone, and logs it when it runs."""
    emulator = [shutil.which("qemu-aarch64") or "qemu-aarch64", "-cpu", core.name, "-singlestep", "-d", "exec,nochain"]
    # No environment: libc's startup takes some instructions more or less by where it ends on the stack.
    with subprocess.Popen([*emulator, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={}) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        count = sum(line.startswith(b"Trace ") for line in process.stderr)
        told = process.stdout.read()
    if process.returncode != 0:
        sys.exit(f"{' '.join([*emulator, *command])} failed")
    return count, [int(line) for line in told.split()]


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
    args = parser.parse_args()
    whole = args.models == list(MODELS) and args.cores == [*CORES, *LINUX_CORES]
    results: dict[str, Any] = {}
    for model in args.models:
        graphs = {f"int{width}": quantised(MODELS[model](), width) for width in (8, 4)}
        if model in WIDE_MODELS:
            graphs |= {f"int{width}-int16": quantised(MODELS[model](), width, "int16") for width in (8, 4)}
        results[model] = {}
        for core in args.cores:
            results[model][core] = {
                width: measure(graph, CORES[core]) if core in CORES else measure_linux(graph, LINUX_CORES[core])
                for width, graph in graphs.items()
            }
            for width, figures in results[model][core].items():
                each = figures["instructions"] / products(graphs[width])
                print(f"{model:16} {core:7} {width} {figures}, {each:.2f} instructions a product", flush=True)
    if args.diff:
        found = list(regressions(results, json.loads(RESULTS.read_text(encoding="utf-8"))))
        print("\n".join(found) or "no regression")
        return 1 if found else 0
    if whole:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
