"""How deep the stack of a linked image can get: its call graph and frames, from the disassembly (Thumb, RISC-V,
Xtensa).

A frame is the larger of what its instructions push and what gcc says it is: gcc does not see what inline assembly
pushes, and reading instructions does not see frames of computed sizes. memcpy and libgcc's arithmetic are functions of
the image like all others, so nothing is assumed of them.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

#: What an exception pushes and pads (Armv7-M Architecture Reference Manual, DDI 0403E, B1.5.6 and B1.5.7): 8 words, or
#: 26 where the FPU's registers are in use, and one for the alignment.
_INTERRUPT_BYTES, _INTERRUPT_BYTES_FPU = 36, 108
#: The only calls through a pointer: tqs_wire.c puts a byte where its sender is told to, which on a board is the port.
_BY_POINTER = {"put_block": "tqs_port_tx", "tqs_send_bytes": "tqs_port_tx", "tqs_send_end": "tqs_port_tx"}
_ENTRY = "Reset_Handler"

_FUNCTION = re.compile(r"([0-9a-f]+) <([^>]+)>:")
_INSTRUCTION = re.compile(r"\s*([0-9a-f]+):\s+(\S+)\s*([^;@]*)")
_TARGET = re.compile(r"\b([0-9a-f]+) <")
_CONDITION = "(?:eq|ne|cs|cc|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)?"
_CALL = re.compile(rf"blx?{_CONDITION}(?:\.[nw])?|jalr?|callx?0")
_BRANCH = re.compile(rf"(?:b{_CONDITION}|cbn?z)(?:\.[nw])?|j")  # the others of RISC-V and Xtensa stay in a function
_TO_INSTRUCTION = re.compile(rf"{_CALL.pattern}|{_BRANCH.pattern}|b(?:eq|ne|lt|ge|any|none|all|nall|bc|bs)\w*(?:\.n)?")


@dataclass(frozen=True)
class StackUse:
    """bytes: the deepest stack from reset on, one interrupt included, of which the firmware for RISC-V and Xtensa has
    none; path: the functions that lead there."""

    bytes: int
    path: tuple[str, ...]


@dataclass
class _Function:
    """pushed: bytes that its own instructions take. calls, jumps: the addresses that it calls, and that it leaves to
    once its frame is gone. targets: of all its branches and calls. by_pointer, ends_by_pointer: it calls, or leaves to,
    what a register says."""

    name: str
    pushed: int = 0
    calls: set[int] = field(default_factory=set)
    jumps: set[int] = field(default_factory=set)
    targets: set[int] = field(default_factory=set)
    by_pointer: bool = False
    ends_by_pointer: bool = False


def deepest_stack(disassembly: str, frames: Mapping[str, int]) -> StackUse | None:
    """The deepest stack of an image.

    disassembly: of `objdump -d --no-show-raw-insn`. frames: bytes by function, of gcc's -fstack-usage.

    None where there is no bound: a cycle in the call graph, a call through a pointer that is not known, or a branch to
    where no instruction was seen (padding between Xtensa's, which have two lengths, can hide the next ones).
    """
    functions, places = _functions(disassembly)
    starts = sorted(functions)
    named = {function.name: start for start, function in functions.items()}
    known: dict[int, tuple[int, tuple[str, ...]]] = {}
    open_: set[int] = set()

    def depth(start: int) -> tuple[int, tuple[str, ...]]:
        if start in known:
            return known[start]
        function = functions[start]
        if start in open_ or not function.targets <= places:
            raise LookupError
        open_.add(start)
        calls = _owners(starts, function.calls)
        if function.by_pointer:
            calls.add(named[_BY_POINTER[function.name]])
        own = max(function.pushed, frames.get(function.name.split(".")[0], 0))
        options: list[tuple[int, tuple[str, ...]]] = [(own, ())]
        options += [(own + below, path) for below, path in map(depth, sorted(calls))]
        jumps = _owners(starts, function.jumps) - {start}
        if function.ends_by_pointer and function.name in _BY_POINTER:  # elsewhere it returns, or is a switch
            jumps.add(named[_BY_POINTER[function.name]])
        options += [depth(jump) for jump in sorted(jumps)]
        below, path = max(options, key=lambda option: option[0])
        open_.remove(start)
        known[start] = below, (function.name, *path)
        return known[start]

    try:
        below, path = depth(named[_ENTRY])
        handlers = [start for name, start in named.items() if name.endswith("Handler") and name != _ENTRY]
        handled = max((depth(start)[0] for start in handlers), default=0)
    except LookupError:
        return None
    if re.search("file format elf32-(?:littleriscv|xtensa-le)", disassembly) is not None:
        return StackUse(below, path)
    fpu = re.search(r"^\s+[0-9a-f]+:\s+v", disassembly, re.MULTILINE) is not None
    return StackUse(below + handled + (_INTERRUPT_BYTES_FPU if fpu else _INTERRUPT_BYTES), path)


def _owners(starts: list[int], addresses: Iterable[int]) -> set[int]:
    """The functions that addresses lie in."""
    return {starts[bisect_right(starts, address) - 1] for address in addresses}


def _functions(disassembly: str) -> tuple[dict[int, _Function], set[int]]:
    """By address; and the addresses of all instructions."""
    functions: dict[int, _Function] = {}
    places: set[int] = set()
    current = _Function("")
    for line in disassembly.splitlines():
        if (head := _FUNCTION.fullmatch(line)) is not None:
            current = functions[int(head[1], 16)] = _Function(head[2])
        elif (found := _INSTRUCTION.match(line)) is not None:
            mnemonic, operands = found[2], found[3].strip()
            target = _TARGET.search(operands)
            places.add(int(found[1], 16))
            if target is not None and _TO_INSTRUCTION.fullmatch(mnemonic):
                current.targets.add(int(target[1], 16))
            current.pushed += _pushed(mnemonic, operands)
            if _CALL.fullmatch(mnemonic):
                if target is None:
                    current.by_pointer = True
                else:
                    current.calls.add(int(target[1], 16))
            elif _BRANCH.fullmatch(mnemonic) and target is not None:
                current.jumps.add(int(target[1], 16))
            elif mnemonic in ("bx", "jr", "jx") and operands not in ("lr", "ra", "a0"):
                current.ends_by_pointer = True
    return functions, places


def _pushed(mnemonic: str, operands: str) -> int:
    """Bytes that an instruction takes from the stack."""
    if mnemonic.startswith(("push", "vpush")) or (mnemonic.startswith(("stmdb", "stmfd")) and operands[:3] == "sp!"):
        wide = mnemonic.startswith("vpush") and "d" in operands
        return (8 if wide else 4) * _registers(operands[operands.index("{") + 1 : operands.index("}")])
    if mnemonic.startswith("sub") and (taken := re.match(r"sp, (?:sp, )?#(\d+)", operands)) is not None:
        return int(taken[1])
    if (taken := re.fullmatch(r"a1, a1, (-\d+|0xf\w+)", operands)) is not None:  # addi, addmi of Xtensa
        return -int(taken[1], 0) % 2**32
    taken = re.search(r"\[sp, #-(\d+)\]!|^sp,sp,-(\d+)", operands)  # str of Thumb, add of RISC-V
    return int(taken[1] or taken[2]) if taken is not None else 0


def _registers(listed: str) -> int:
    """How many registers `r4, r5, lr` or `d8-d15` are."""
    count = 0
    for item in listed.split(","):
        first, _, last = (part.strip() for part in item.partition("-"))
        count += int(last[1:]) - int(first[1:]) + 1 if last else 1
    return count
