"""What a Thumb instruction is, from its halfwords: as much as timings ask for (Armv7-M Architecture Reference Manual,
DDI 0403E, chapter A5; the floating-point instructions: A6). Helium and what is newer is `OTHER`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Kind(Enum):
    """Classes of instructions that cores give a time of their own."""

    ALU = auto()
    MULTIPLY = auto()  # 32 bits of a product
    MULTIPLY_ADD = auto()
    DSP_MULTIPLY = auto()  # of halfwords, and the upper half of a product, with or without a sum
    LONG_MULTIPLY = auto()
    LONG_MULTIPLY_ADD = auto()
    DSP_LONG_MULTIPLY = auto()
    DIVIDE = auto()
    LOAD = auto()
    STORE = auto()
    LOAD_PAIR = auto()
    STORE_PAIR = auto()
    LOAD_MULTIPLE = auto()
    STORE_MULTIPLE = auto()
    BRANCH = auto()  # to an address in the instruction
    CALL = auto()
    BRANCH_REGISTER = auto()
    CALL_REGISTER = auto()
    TABLE_BRANCH = auto()
    IF_THEN = auto()
    HINT = auto()
    BARRIER = auto()
    SYSTEM = auto()
    FP_ALU = auto()
    FP_MULTIPLY = auto()
    FP_MULTIPLY_ADD = auto()
    FP_DIVIDE = auto()
    FP_MOVE = auto()
    FP_LOAD = auto()
    FP_STORE = auto()
    FP_LOAD_MULTIPLE = auto()
    FP_STORE_MULTIPLE = auto()
    OTHER = auto()


LOADS = frozenset({Kind.LOAD, Kind.LOAD_PAIR, Kind.LOAD_MULTIPLE, Kind.FP_LOAD, Kind.FP_LOAD_MULTIPLE})
STORES = frozenset({Kind.STORE, Kind.STORE_PAIR, Kind.STORE_MULTIPLE, Kind.FP_STORE, Kind.FP_STORE_MULTIPLE})
PRODUCTS = frozenset(
    {
        *(Kind.MULTIPLY, Kind.MULTIPLY_ADD, Kind.DSP_MULTIPLY),
        *(Kind.LONG_MULTIPLY, Kind.LONG_MULTIPLY_ADD, Kind.DSP_LONG_MULTIPLY),
    }
)
BRANCHES = frozenset({Kind.BRANCH, Kind.CALL, Kind.BRANCH_REGISTER, Kind.CALL_REGISTER, Kind.TABLE_BRANCH})
_PC, _LR, _SP = 15, 14, 13


@dataclass(frozen=True)
class Instruction:
    """bytes: 2 or 4. writes, reads, address: general registers, as bits; those of the address are read too.
    count: registers that are moved to or from memory. loads_pc: a load that goes elsewhere. by_register: an address
    of two registers."""

    kind: Kind
    bytes: int
    writes: int = 0
    reads: int = 0
    address: int = 0
    count: int = 0
    loads_pc: bool = False
    by_register: bool = False


def decode(first: int, second: int) -> Instruction:
    """The instruction of a halfword, and of the one behind it where it has two."""
    return _narrow(first) if first >> 11 < 29 else _wide(first, second)


def _bits(*registers: int) -> int:
    return sum(1 << register for register in set(registers))


def _alu(size: int, writes: int | None, *reads: int) -> Instruction:
    if writes == _PC:
        return Instruction(Kind.BRANCH_REGISTER, size, reads=_bits(*reads))
    return Instruction(Kind.ALU, size, 0 if writes is None else 1 << writes, _bits(*reads))


def _access(load: bool, size: int, register: int, *address: int, back: int | None = None) -> Instruction:
    """A load or store of one register. back: the base, where it is written."""
    moved, base = 1 << register, 0 if back is None else 1 << back
    return Instruction(
        Kind.LOAD if load else Kind.STORE,
        size,
        writes=(moved if load else 0) | base,
        reads=_bits(*address) | (0 if load else moved),
        address=_bits(*address),
        count=1,
        loads_pc=load and register == _PC,
        by_register=len(address) > 1,
    )


def _several(load: bool, size: int, registers: int, base: int, back: bool) -> Instruction:
    written = 1 << base if back else 0
    return Instruction(
        Kind.LOAD_MULTIPLE if load else Kind.STORE_MULTIPLE,
        size,
        writes=written | (registers if load else 0),
        reads=1 << base | (0 if load else registers),
        address=1 << base,
        count=registers.bit_count(),
        loads_pc=load and bool(registers >> _PC & 1),
    )


def _narrow(half: int) -> Instruction:
    low, middle, third, eighth = half & 7, half >> 3 & 7, half >> 6 & 7, half >> 8 & 7
    group = half >> 11
    if group <= 2:
        return _alu(2, low, middle)
    if group == 3:
        return _alu(2, low, middle) if half >> 10 & 1 else _alu(2, low, middle, third)
    if group <= 7:
        return (_alu(2, eighth), _alu(2, None, eighth), _alu(2, eighth, eighth), _alu(2, eighth, eighth))[group - 4]
    if half >> 10 == 0b010000:
        return _register_operation(half >> 6 & 15, low, middle)
    if half >> 10 == 0b010001:
        return _high_register_operation(half)
    if group == 9:
        return _access(True, 2, eighth, _PC)
    if half >> 12 == 5:
        return _access(half >> 9 & 7 >= 3, 2, low, middle, third)
    if half >> 13 == 3 or half >> 12 == 8:
        return _access(bool(half >> 11 & 1), 2, low, middle)
    if half >> 12 == 9:
        return _access(bool(half >> 11 & 1), 2, eighth, _SP)
    if half >> 12 == 10:
        return _alu(2, eighth, _SP if half >> 11 & 1 else _PC)
    if half >> 12 == 11:
        return _miscellaneous(half, low, middle)
    if half >> 12 == 12:
        listed, load = half & 0xFF, bool(half >> 11 & 1)
        return _several(load, 2, listed, eighth, back=not (load and listed >> eighth & 1))
    if half >> 12 == 13:
        return Instruction(Kind.SYSTEM if half >> 9 & 7 == 7 else Kind.BRANCH, 2)
    return Instruction(Kind.BRANCH, 2)


def _register_operation(operation: int, low: int, middle: int) -> Instruction:
    if operation == 13:
        return Instruction(Kind.MULTIPLY, 2, 1 << low, _bits(low, middle))
    if operation in (8, 10, 11):  # TST, CMP, CMN
        return _alu(2, None, low, middle)
    return _alu(2, low, middle) if operation in (9, 15) else _alu(2, low, low, middle)  # RSB, MVN


def _high_register_operation(half: int) -> Instruction:
    first, second, operation = half & 7 | half >> 4 & 8, half >> 3 & 15, half >> 8 & 3
    if operation == 3:
        call = bool(half >> 7 & 1)
        kind = Kind.CALL_REGISTER if call else Kind.BRANCH_REGISTER
        return Instruction(kind, 2, 1 << _LR if call else 0, 1 << second)
    if operation == 1:
        return _alu(2, None, first, second)
    return _alu(2, first, second) if operation == 2 else _alu(2, first, first, second)


def _miscellaneous(half: int, low: int, middle: int) -> Instruction:
    if half >> 8 & 15 == 0:
        return _alu(2, _SP, _SP)
    if half & 0x0500 == 0x0100:
        return Instruction(Kind.BRANCH, 2, reads=1 << low)  # CBZ, CBNZ
    if half >> 9 & 3 == 2:
        load = bool(half >> 11 & 1)
        listed = half & 0xFF | (half >> 8 & 1) << (_PC if load else _LR)
        return _several(load, 2, listed, _SP, back=True)
    if half >> 8 & 15 in (2, 10):  # SXTH to UXTB, REV to REVSH
        return _alu(2, low, middle)
    if half >> 8 & 15 == 15:
        return Instruction(Kind.IF_THEN if half & 15 else Kind.HINT, 2)
    return Instruction(Kind.SYSTEM, 2)


def _wide(first: int, second: int) -> Instruction:
    base, to, other = first & 15, second >> 8 & 15, second & 15
    if first >> 9 == 0x74:  # 1110 100
        return _multiple_or_pair(first, second)
    if first >> 9 == 0x75:
        reads = [other] if base == _PC else [base, other]
        compares = to == _PC and bool(first >> 4 & 1)
        return _alu(4, None if compares else to, *reads)
    if first & 0xEC00 == 0xEC00:
        return _coprocessor(first, second)
    if first >> 11 == 30:
        return _branch_or_system(first, second) if second >> 15 else _immediate(first, to)
    if first >> 9 == 0x7C:  # 1111 100
        return _single(first, second)
    if first >> 8 == 0xFA:
        return _alu(4, to, other) if base == _PC else _alu(4, to, base, other)
    return _multiplication(first, second)


def _multiple_or_pair(first: int, second: int) -> Instruction:
    load, base = bool(first >> 4 & 1), first & 15
    if not first >> 6 & 1:
        return _several(load, 4, second, base, back=bool(first >> 5 & 1))
    one, two = second >> 12, second >> 8 & 15
    if first & 0x0120:
        moved, written = _bits(one, two), 1 << base if first >> 5 & 1 else 0
        kind = Kind.LOAD_PAIR if load else Kind.STORE_PAIR
        reads = 1 << base | (0 if load else moved)
        return Instruction(kind, 4, written | (moved if load else 0), reads, 1 << base, 2)
    if first & 0xFFF0 == 0xE8D0 and second & 0xE0 == 0:
        return Instruction(Kind.TABLE_BRANCH, 4, reads=_bits(base, second & 15))
    return _access(load, 4, one, base)  # exclusive


def _branch_or_system(first: int, second: int) -> Instruction:
    if second >> 14 & 1:
        return Instruction(Kind.CALL, 4, 1 << _LR)
    if second >> 12 & 1 or first >> 7 & 7 != 7:
        return Instruction(Kind.BRANCH, 4)
    if first == 0xF3BF:
        return Instruction(Kind.BARRIER, 4)
    if first == 0xF3AF:
        return Instruction(Kind.HINT, 4)
    return Instruction(Kind.SYSTEM, 4, 1 << (second >> 8 & 15) if first >> 4 == 0xF3E else 0)


def _immediate(first: int, to: int) -> Instruction:
    base, operation = first & 15, first >> 5 & 15
    if first >> 9 & 1:  # plain binary immediates: of MOVW and MOVT the base is a part of the number
        moves = first >> 4 & 31 in (4, 12)
        keeps = first >> 4 & 31 in (12, 22)  # MOVT, BFI and BFC
        return _alu(4, to, *([] if moves or base == _PC else [base]), *([to] if keeps else []))
    if to == _PC and first >> 4 & 1:  # TST, TEQ, CMN, CMP
        return _alu(4, None, base)
    return _alu(4, to) if operation in (2, 3) and base == _PC else _alu(4, to, base)


def _single(first: int, second: int) -> Instruction:
    load, base, register = bool(first >> 4 & 1), first & 15, second >> 12
    if load and register == _PC and first >> 5 & 3 != 2:
        return Instruction(Kind.HINT, 4)  # PLD, PLI
    long_offset = bool(first >> 7 & 1)
    if base == _PC:
        return _access(load, 4, register, _PC)
    if not long_offset and not second >> 11 & 1:
        return _access(load, 4, register, base, second & 15)
    back = base if not long_offset and second >> 8 & 1 else None
    return _access(load, 4, register, base, back=back)


def _multiplication(first: int, second: int) -> Instruction:
    operation, detail, high, low = first >> 4 & 7, second >> 4 & 15, second >> 12, second >> 8 & 15
    factors = [first & 15, second & 15]
    if not first >> 7 & 1:
        kind = Kind.DSP_MULTIPLY
        if operation == 0:
            kind = Kind.MULTIPLY if high == _PC else Kind.MULTIPLY_ADD
        return Instruction(kind, 4, 1 << low, _bits(*factors, *([] if high == _PC else [high])))
    if operation in (1, 3):
        return Instruction(Kind.DIVIDE, 4, 1 << low, _bits(*factors))
    if operation in (0, 2):
        return Instruction(Kind.LONG_MULTIPLY, 4, _bits(high, low), _bits(*factors))
    dsp = detail >= 8
    kind = Kind.DSP_LONG_MULTIPLY if dsp else Kind.LONG_MULTIPLY_ADD
    return Instruction(kind, 4, _bits(high, low), _bits(*factors, high, low))


def _coprocessor(first: int, second: int) -> Instruction:
    if second >> 9 & 7 != 5 or (first >> 12 == 15 and first >> 8 & 15 != 14):
        return Instruction(Kind.OTHER, 4)
    base, register = first & 15, second >> 12
    if first >> 8 & 15 == 14:
        if second >> 4 & 1:
            to_core = bool(first >> 4 & 1) and register != _PC
            return Instruction(Kind.FP_MOVE, 4, *((1 << register, 0) if to_core else (0, 1 << register)))
        if first >> 12 == 15:
            return Instruction(Kind.FP_ALU, 4)  # FPv5: VSEL, VMAXNM, VRINT
        operation = first >> 4 & 0xB
        root = operation == 0xB and first & 15 == 1 and second >> 6 & 3 == 3
        kinds = {0: Kind.FP_MULTIPLY_ADD, 1: Kind.FP_MULTIPLY_ADD, 2: Kind.FP_MULTIPLY, 8: Kind.FP_DIVIDE}
        kinds |= {9: Kind.FP_MULTIPLY_ADD, 10: Kind.FP_MULTIPLY_ADD}
        return Instruction(Kind.FP_DIVIDE if root else kinds.get(operation, Kind.FP_ALU), 4)
    load = bool(first >> 4 & 1)
    if first & 0xFFE0 == 0xEC40:
        core = _bits(base, register)
        return Instruction(Kind.FP_MOVE, 4, core if load else 0, 0 if load else core)
    if first & 0x0120 == 0x0100:
        return Instruction(Kind.FP_LOAD if load else Kind.FP_STORE, 4, 0, 1 << base, 1 << base, 1)
    kind = Kind.FP_LOAD_MULTIPLE if load else Kind.FP_STORE_MULTIPLE
    return Instruction(kind, 4, 1 << base if first >> 5 & 1 else 0, 1 << base, 1 << base, second & 0xFF)
