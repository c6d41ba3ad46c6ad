"""The pipeline that Cortex-M3 and Cortex-M4 share: three stages, one instruction at a time.

"Cortex-M3 Technical Reference Manual" (Arm DDI 0337E, 18.2 and 18.3; DDI 0337I, 3.3); "Cortex-M4 Technical Reference
Manual" (Arm DDI 0439, 3.3); the latter's rules for loads and stores also in TI SWCU185G, "Load/Store Timings". Where
these give a range, what is taken is said beside it.
"""

from __future__ import annotations

from collections.abc import Mapping

from edge_tqs.boards.timing.counting import Executed, Segment
from edge_tqs.boards.timing.thumb import BRANCHES, LOADS, STORES, Kind

#: Cycles to fill the pipeline after a branch, "1 to 3 depending on the alignment and width of the target": an address
#: in the instruction is known early. A target in two words takes one more.
REFILL, REFILL_REGISTER = 1, 2
_SINGLE = frozenset({Kind.LOAD, Kind.STORE})

#: Of both cores; the multiplications are each core's own.
CYCLES: Mapping[Kind, int] = {
    Kind.DIVIDE: 7,  # 2 to 12, by the leading zeros of both: the middle
    Kind.LOAD_PAIR: 1,  # and one for each register, as the next three
    Kind.STORE_PAIR: 1,
    Kind.LOAD_MULTIPLE: 1,
    Kind.STORE_MULTIPLE: 1,
    Kind.BARRIER: 4,
    Kind.SYSTEM: 2,
    Kind.TABLE_BRANCH: 4,  # six with the refill
    Kind.FP_MULTIPLY_ADD: 3,
    Kind.FP_DIVIDE: 14,
    Kind.FP_LOAD: 1,
    Kind.FP_STORE: 1,
    Kind.FP_LOAD_MULTIPLE: 1,
    Kind.FP_STORE_MULTIPLE: 1,
}
_BY_REGISTERS = frozenset(
    {Kind.LOAD_PAIR, Kind.STORE_PAIR, Kind.LOAD_MULTIPLE, Kind.STORE_MULTIPLE, Kind.FP_LOAD, Kind.FP_STORE}
    | {Kind.FP_LOAD_MULTIPLE, Kind.FP_STORE_MULTIPLE}
)


def cycles(segment: Segment, own: Mapping[Kind, int]) -> float:
    """Cycles of what was executed, memories without wait states. own: cycles by kind, over `CYCLES`; 1 of others."""
    table = {**CYCLES, **own}
    return sum(_of(item, table) for item in segment.executed) + segment.traffic.unaligned


def _of(item: Executed, table: Mapping[Kind, int]) -> float:
    kind, what, before = item.instruction.kind, item.instruction, item.before
    spent = item.runs * (table.get(kind, 1) + (what.count if kind in _BY_REGISTERS else 0))
    if kind in _SINGLE:
        # Behind a load whose result is not its address it takes one cycle, else two; a store with an immediate offset
        # always takes one.
        overlaps = before is not None and before.kind is Kind.LOAD and not before.writes & what.address
        spent += item.runs - (item.straight if overlaps else 0) if kind is Kind.LOAD or what.by_register else 0
    if kind in LOADS | STORES and before is not None and before.kind not in LOADS | STORES:
        # An address that the instruction before computed is there a cycle later: there is no forwarding path.
        spent += item.straight if before.writes & what.address else 0
    if kind is Kind.IF_THEN and before is not None and before.bytes == 2:
        spent -= item.straight  # folded into it
    if kind in BRANCHES or what.loads_pc:
        early = kind in (Kind.BRANCH, Kind.CALL)
        spent += item.leaves * (REFILL if early else REFILL_REGISTER)
    return spent + (item.jumped if item.split else 0)
