"""One way to build a model: widths, codes, and what was measured of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge_tqs.building.selection.room import Needs
from edge_tqs.graph.graph import Graph
from edge_tqs.planning.plan import Plan
from edge_tqs.quantization.quantize import AskedActivations

#: What quantisation may add to float's error before another choice is looked for, as a share.
TOLERANCE = 0.02
#: What it may add before the reader is warned.
MUCH = 0.10


#: Of activations, what takes least first.
RANK: dict[AskedActivations, int] = {"int8": 0, "mixed": 1, "int16": 2}


@dataclass(frozen=True, eq=False)
class Candidate:
    """A plan beside one kind of activations; it names those that are int16 among int8 ones.

    option: what is added to the command to take it; "" where nothing needs to be. error: what it adds to float's error
    (`gauge`). tflite: bytes of model.tflite. needs: of a microcontroller; None for any other board. fits_flash,
    fits_ram: whether the board has room. refused: the runtimes of the board that do not run it.
    """

    activations: AskedActivations
    plan: Plan
    option: str
    integer: Graph
    error: float
    tflite: int
    needs: Needs | None
    fits_flash: bool
    fits_ram: bool
    refused: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether it may be taken: the board has room, and its runtimes run it."""
        return self.fits_flash and self.fits_ram and not self.refused

    @property
    def bytes(self) -> int:
        """What counts: tables in a microcontroller's flash, else the file."""
        return self.tflite if self.needs is None else self.needs.tables

    @property
    def narrow(self) -> int:
        """Weights of 4 bits."""
        return sum(tensor.width == 4 for tensor in self.plan.tensors)

    def same(self, other: Candidate) -> bool:
        """Whether both are built alike."""
        mine, theirs = ((item.activations, item.plan.assignment, item.plan.bias_correction) for item in (self, other))
        return mine == theirs


@dataclass(frozen=True, eq=False)
class Selection:
    """What is built, and what was measured around it.

    others: the neighbours, one notch more or less, and what else was tried; each with the option that takes it. why: a
    sentence. asked: whether options said how wide the weights are. measured: against "truth", what followed, or
    "float". windows: rollouts that errors are of.
    """

    chosen: Candidate
    others: tuple[Candidate, ...]
    tolerance: float
    why: str
    asked: bool
    measured: Literal["truth", "float"]
    windows: int
    warnings: tuple[str, ...] = ()

    def better(self) -> Candidate | None:
        """Of the others that may be taken, the smallest that adds little; else the most accurate, if it adds less."""
        open_ = [item for item in self.others if item.fits and item.error < self.chosen.error]
        enough = [item for item in open_ if item.error <= MUCH]
        if enough:
            return min(enough, key=lambda item: (RANK[item.activations], item.bytes))
        return min(open_, key=lambda item: item.error, default=None)
