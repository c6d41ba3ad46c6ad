"""How long an evaluation is modelled to take on the board, in report.json. Nothing here was measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OperatorShare:
    """Of one operator. ``tensor``: what it writes, "" of what belongs to none; ``kind``: the operator."""

    tensor: str
    kind: str
    instructions: int
    cycles: int


@dataclass(frozen=True)
class ModelledTime:
    """Of one evaluation, which predicts ``steps`` samples: ``instructions`` that an emulator counted, under published
    timings of the core and of the board's flash (docs/latency.md). ``band``: how far measurements were from the model,
    as a share. ``source``: of the core's timings."""

    milliseconds: float
    cycles: int
    instructions: int
    clock_hz: int
    band: float
    steps: int
    source: str
    operators: tuple[OperatorShare, ...]

    @property
    def words(self) -> str:
        """The line of a summary."""
        per = "a step" if self.steps == 1 else f"an evaluation, once for {self.steps} steps"
        return (
            f"modelled: {self.milliseconds:.3g} ms {per} at {self.clock_hz / 1e6:g} MHz, "
            f"\N{PLUS-MINUS SIGN}{self.band:.0%}".replace("%", " %")
        )
