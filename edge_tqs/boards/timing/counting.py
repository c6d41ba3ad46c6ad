"""Counts what one evaluation executes: the object files of a firmware, linked for a machine of QEMU and run there.

The instructions are those of the build's image, since the objects are; addresses differ, and with them, for a little,
which lines of a cache they share. What each operator takes is told apart by the lines of model.c that the code of
tqs_graph_run belongs to, which the debug information says.
"""

from __future__ import annotations

import os
import re
import struct
import subprocess
import tempfile
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_tqs.boards.board import Board, FlashTiming
from edge_tqs.boards.timing.plugin import EMULATOR, plugin
from edge_tqs.boards.timing.thumb import Instruction, decode
from edge_tqs.errors import ToolError
from edge_tqs.templates import fill, template_root

SECONDS = 120
#: Machines whose memory is at 0 and at RAM_ORIGIN; the first executes all of ARMv6-M and ARMv7-M but the FPU of an M7.
MACHINES = {"cortex-m7": "mps2-an500"}
ANY_MACHINE = "mps2-an386"
FLASH_BYTES, RAM_ORIGIN, RAM_BYTES = 0x400000, 0x20000000, 0x400000
_STACK_BYTES = 0x8000
_GRAPH = ("tqs_graph_run", "tqs_graph_advance")
_REMARK = re.compile(r"\s+/\* (?P<tensor>.*?) \([\dx ]+\): (?P<kind>\w+) of ")
_LINE = re.compile(r"^\S+\s+(\d+)\s+(0x[0-9a-f]+)", re.MULTILINE)
_WITHOUT = FlashTiming(wait_states=0)


@dataclass(frozen=True)
class Executed:
    """One instruction of one segment. runs: how often; leaves: how often what followed was not the next one.

    before: the instruction at the address before, from which it was reached ``straight`` of the times, and by a branch
    the others. split: whether its four bytes lie in two words.
    """

    instruction: Instruction
    runs: int
    leaves: int
    before: Instruction | None
    straight: int
    split: bool

    @property
    def jumped(self) -> int:
        """How often it was reached by a branch."""
        return self.runs - self.straight


@dataclass(frozen=True)
class Traffic:
    """Accesses to memory. flash_loads: of data; data_misses, code_misses: lines that the caches did not hold;
    next_misses: code of the line behind the last one, which is in no code_misses."""

    loads: int = 0
    stores: int = 0
    unaligned: int = 0
    flash_loads: int = 0
    data_misses: int = 0
    code_misses: int = 0
    next_misses: int = 0


@dataclass(frozen=True)
class Segment:
    """What an operator executed, in the order of addresses; what belongs to none has the tensor "". tensor: what it
    writes; kind: of graph.ops."""

    tensor: str
    kind: str
    executed: tuple[Executed, ...]
    traffic: Traffic

    @property
    def instructions(self) -> int:
        return sum(item.runs for item in self.executed)


@dataclass(frozen=True)
class _Range:
    """Addresses of code that begins a segment."""

    low: int
    high: int
    segment: int


def count(board: Board, folder: Path, timing: FlashTiming) -> tuple[Segment, ...]:
    """One evaluation of the firmware that was compiled in ``folder``; what belongs to no operator comes first.

    Raises ToolError: no plugin, or the image was not linked or did not end.
    """
    with tempfile.TemporaryDirectory(prefix="edge-tqs-") as name:
        elf = _link(board, folder, Path(name))
        symbols = _symbols(board, elf)
        operators, ranges = _operators(board, folder, elf, symbols)
        begin, end = symbols["tqs_count_begin"][0], symbols["tqs_count_end"][0]
        return run(elf, machine_of(board.core), begin, end, timing, operators, ranges)


def machine_of(core: str) -> str:
    """QEMU's machine that executes the code of ``core``."""
    return MACHINES.get(core, ANY_MACHINE)


def run(
    elf: Path,
    machine: str,
    begin: int,
    end: int,
    timing: FlashTiming = _WITHOUT,
    operators: Sequence[tuple[str, str]] = (("", ""),),
    ranges: Sequence[_Range] = (),
) -> tuple[Segment, ...]:
    """What ``elf`` executes on ``machine`` after the instruction at ``begin`` and before the one at ``end``, until it
    leaves by semihosting. operators: (tensor, kind) of each segment that ``ranges`` begin. Raises ToolError."""
    return run_and_say(elf, machine, begin, end, timing, operators, ranges)[0]


def run_and_say(
    elf: Path,
    machine: str,
    begin: int,
    end: int,
    timing: FlashTiming = _WITHOUT,
    operators: Sequence[tuple[str, str]] = (("", ""),),
    ranges: Sequence[_Range] = (),
    options: Sequence[str] = (),
) -> tuple[tuple[Segment, ...], str]:
    """The same, and what the image wrote by semihosting. options: QEMU's."""
    made = plugin()
    with tempfile.TemporaryDirectory(prefix="edge-tqs-") as name:
        out, marks = Path(name) / "counts", Path(name) / "marks"
        marks.write_text("".join(f"{item.low:x} {item.high:x} {item.segment}\n" for item in ranges))
        given = {"out": out, "begin": begin, "end": end, "map": marks, "flash": FLASH_BYTES}
        given |= {"line": timing.line_bytes, "code": timing.code_lines, "data": timing.data_lines}
        given |= {"ways": timing.ways, "shared": int(timing.shared)}
        plugged = ",".join([str(made), *(f"{key}={value}" for key, value in given.items())])
        command = [EMULATOR, "-M", machine, "-display", "none", "-monitor", "none", "-serial", "null", *options]
        command += ["-semihosting-config", "enable=on,target=native", "-kernel", str(elf), "-plugin", plugged]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise ToolError(
                f"counting instructions did not end within {SECONDS} s", hint="Give a smaller model."
            ) from error
        said = done.stdout + done.stderr
        if done.returncode != 0 or not out.is_file():
            last = (said.strip().splitlines() or ["nothing"])[-1]
            raise ToolError(f"{EMULATOR} counts no instructions: {last}", hint="Its plugins may be switched off.")
        return _read(out.read_text(), _code(elf.read_bytes()), operators), said


def _link(board: Board, folder: Path, work: Path) -> Path:
    """The image that counts: the firmware's model and kernels, and the main of firmware_templates/timing."""
    root, build, elf = template_root(), folder / "build", work / "count.elf"
    memory = {"FLASH_ORIGIN": "0", "FLASH_SIZE": str(FLASH_BYTES), "RAM_ORIGIN": hex(RAM_ORIGIN)}
    memory |= {"RAM_SIZE": str(RAM_BYTES), "STACK_SIZE": str(_STACK_BYTES), "BOARD_NAME": "counting"}
    script = (root / "ports" / "cortexm" / "link.ld.in").read_text(encoding="utf-8")
    (work / "link.ld").write_text(fill(script, memory), encoding="utf-8")
    objects = [build / "model.o", build / "core" / "tqs_model.o", *sorted((build / "kernels").rglob("*.o"))]
    flags = [flag for flag in board.cflags if not flag.startswith("-D")]
    command = [f"{board.toolchain}gcc", "-std=c99", *flags, "-mthumb", "-O2", "-ffunction-sections"]
    command += ["-nostartfiles", "--specs=nano.specs", "-Wl,--gc-sections", "-Wl,--no-warn-rwx-segments"]
    command += [f"-I{folder}", f"-I{folder / 'core'}", str(root / "timing" / "count.c"), *map(str, objects)]
    _tool([*command, "-T", str(work / "link.ld"), "-o", str(elf)])
    return elf


def _operators(
    board: Board, folder: Path, elf: Path, symbols: dict[str, tuple[int, int]]
) -> tuple[list[tuple[str, str]], list[_Range]]:
    """(tensor, kind) of each segment, and the code that begins it: the statements of model.c, and what calls them."""
    found = [("", "")]
    numbers: dict[str, int] = {}
    starts, owners = [0], [0]
    for at, line in enumerate((folder / "model.c").read_text(encoding="utf-8").splitlines(), 1):
        remark = _REMARK.match(line)
        if remark is not None:
            number = numbers.setdefault(remark["tensor"], len(found))
            if number == len(found):
                found.append((remark["tensor"], remark["kind"]))
            starts.append(at)
            owners.append(number)
        elif line == "}":
            starts.append(at)
            owners.append(0)
    ranges = [_Range(low, low + size, 0) for low, size in _own(board, folder, symbols)]
    # The same sources may be told of more than once, of parts that the linker dropped at address 0.
    listed = _tool([f"{board.toolchain}objdump", "--dwarf=decodedline", str(elf)])
    lines = _lines_of(listed, "model.c")
    for name in _GRAPH:
        if name not in symbols:
            continue
        low, size = symbols[name]
        places = sorted({address: place for address, place in lines if low <= address < low + size}.items())
        for (address, place), (following, _) in zip(places, [*places[1:], (low + size, 0)], strict=True):
            ranges.append(_Range(address, following, owners[bisect_right(starts, place) - 1]))
    return found, ranges


def _own(board: Board, folder: Path, symbols: dict[str, tuple[int, int]]) -> list[tuple[int, int]]:
    """Functions that are no kernels: what calls the graph."""
    theirs = _symbols(board, folder / "build" / "core" / "tqs_model.o")
    names = {*theirs, "tqs_graph_reset", "tqs_count_begin", "step", "Reset_Handler"}
    return [symbols[name] for name in sorted(names & set(symbols))]


def _lines_of(listed: str, source: str) -> list[tuple[int, int]]:
    """(address, line) of the code of one source file."""
    parts = re.split(r"^(?:CU: )?(\S+\.[ch]):$", listed, flags=re.MULTILINE)
    pairs = zip(parts[1::2], parts[2::2], strict=False)
    return [
        (int(address, 16), int(line))
        for name, text in pairs
        if Path(name).name == source
        for line, address in _LINE.findall(text)
    ]


def _symbols(board: Board, elf: Path) -> dict[str, tuple[int, int]]:
    """(address, bytes) of each function."""
    listed = _tool([f"{board.toolchain}nm", "-S", str(elf)])
    found = re.findall(r"^([0-9a-f]+) ([0-9a-f]+) [tTwW] (\S+)$", listed, re.MULTILINE)
    return {name: (int(address, 16) & ~1, int(size, 16)) for address, size, name in found}


def _tool(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"LC_ALL": "C"})
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["nothing"])[0]
        raise ToolError(f"{Path(command[0]).name}, for counting instructions: {said}", hint="Build again.")
    return done.stdout


def _code(elf: bytes) -> list[tuple[int, bytes]]:
    """(address, bytes) of what an ELF file of 32 bits, little-endian, loads (System V ABI, Program Header)."""
    offset, size, entries = *struct.unpack_from("<I", elf, 28), *struct.unpack_from("<HH", elf, 42)
    found = []
    for index in range(entries):
        kind, at, address, _, length = struct.unpack_from("<5I", elf, offset + index * size)
        if kind == 1:
            found.append((address, elf[at : at + length]))
    return found


def _read(text: str, code: Iterable[tuple[int, bytes]], operators: Sequence[tuple[str, str]]) -> tuple[Segment, ...]:
    """The plugin's file."""
    places = list(code)
    tallies: dict[int, dict[int, tuple[int, int, int]]] = {number: {} for number in range(len(operators))}
    traffic: dict[int, Traffic] = {}
    for line in text.splitlines():
        kind, number, *rest = line.split()
        if kind == "i":
            address, size, runs, leaves = int(rest[0], 16), *map(int, rest[1:])
            tallies[int(number)][address] = (size, runs, leaves)
        else:
            traffic[int(number)] = Traffic(*map(int, rest))
    known: dict[int, Instruction] = {}

    def instruction(address: int) -> Instruction:
        if address not in known:
            start, data = next((start, data) for start, data in places if start <= address < start + len(data))
            first, second = struct.unpack_from("<2H", data + b"\0\0", address - start)
            known[address] = decode(first, second)
        return known[address]

    def executed(of: dict[int, tuple[int, int, int]]) -> Iterable[Executed]:
        end, before, through = -1, None, 0
        for address, (size, runs, leaves) in sorted(of.items()):
            led = address == end
            item = instruction(address)
            yield Executed(
                item,
                runs,
                leaves,
                before if led else None,
                min(through, runs) if led else 0,
                size == 4 and address % 4 != 0,
            )
            end, before, through = address + size, item, runs - leaves

    return tuple(
        Segment(tensor, kind, tuple(executed(tallies[number])), traffic.get(number, Traffic()))
        for number, (tensor, kind) in enumerate(operators)
    )
