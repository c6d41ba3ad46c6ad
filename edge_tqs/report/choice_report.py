"""Why a model was built with these widths and activations, and what its neighbours were measured to cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge_tqs.report.figures import FigureRow, Figures
from edge_tqs.report.format import Figure
from edge_tqs.report.host_report import VariantsAndFloat
from edge_tqs.report.html import count, figure

#: Outputs that the line of costs names.
NAMED = 6


@dataclass(frozen=True)
class CandidateReport:
    """One way to build the model.

    ``weights``: of the model; ``narrow`` of them have 4 bits. ``option``: what is added to the command to take it,
    nothing for the chosen one. ``error``: what it adds to float's, as a share; None where that is not finite.
    ``tflite``: bytes of model.tflite. ``tables``: bytes of flash for codes, what goes with each channel, and lookup
    tables, ``ram``: of arena, states and window; both of a microcontroller alone. ``fits``: whether the board can run
    it.
    """

    activations: Literal["int8", "int16", "mixed"]
    weights: int
    narrow: int
    option: str
    error: Figure
    tflite: int
    tables: int | None
    ram: int | None
    fits: bool

    @property
    def words(self) -> str:
        """ "int8 activations, 3 of 4 weights int8"."""
        wide = self.weights - self.narrow
        if not self.narrow:
            return f"{self.activations} activations, all weights int8"
        return f"{self.activations} activations, {wide} of {self.weights} weights int8, the others int4"

    @property
    def size(self) -> str:
        """What counts on its board."""
        if self.tables is None:
            return f"{count(self.tflite)} bytes of model.tflite"
        return f"{count(self.tables)} bytes of flash and {count(self.ram)} of RAM, code apart"


@dataclass(frozen=True)
class ChoiceReport:
    """What was built, why, and what else there is.

    ``asked``: whether options said how wide the weights are. ``measured``: what errors are of. "truth": what is added
    to the mean square error against what followed, over that of float on held-out windows. "float": mean square
    distance from the float rollouts over their variance. Both over ``windows`` of the training part, or made without
    data, which no other figure is of.
    ``tolerance``: of that error. ``others``: one notch more or less, each measured.
    """

    asked: bool
    measured: Literal["truth", "float"]
    tolerance: float
    windows: int
    why: str
    chosen: CandidateReport
    others: tuple[CandidateReport, ...]

    @property
    def within(self) -> bool:
        """Whether the chosen one is within the tolerance."""
        return self.chosen.error is not None and self.chosen.error <= self.tolerance

    def reason(self) -> str:
        """What was chosen and why, in a sentence."""
        chosen = self.chosen
        why = f" ({self.why})" if self.why else ""
        limit = f"{100 * self.tolerance:.3g} %"
        if self.within:
            verdict = f"within {limit}"
        elif self.asked:
            verdict = f"beyond {limit}"
        else:
            verdict = f"NOTHING THAT FITS KEEPS WITHIN {limit}{self._little()}"
        return f"{chosen.words}{why}: {self.added(chosen)}, {verdict} ({self._windows()})"

    def _little(self) -> str:
        """What is said where int16 activations would be more accurate, but by too little."""
        error = self.chosen.error
        better = [item for item in self.others if item.fits and item.error is not None and item.error < (error or 0)]
        return ", and int16 activations take too little of it away" if better else ": this is the most accurate"

    def added(self, candidate: CandidateReport) -> str:
        """What a candidate adds to float's error, in words."""
        if candidate.error is None:
            return "it runs away"
        if self.measured == "truth":
            return f"{candidate.error:+.1%} of float's MSE"
        return f"{candidate.error:.2%} of the float rollouts' variance off"

    def instead(self) -> str:
        """The neighbours, each with the option that takes it; empty where none was measured."""
        said = [
            f"{item.option}: {self.added(item)}, {item.size}{'' if item.fits else ', which does not fit'}"
            for item in self.others
        ]
        return "; ".join(said)

    def _windows(self) -> str:
        return f"{self.windows} {'training windows' if self.measured == 'truth' else 'rollouts'}"


def costs(figures: Figures | None, mse: VariantsAndFloat | None) -> str:
    """What quantisation costs on windows that nothing was fitted to: in all, and of each output beside its naive
    forecast; empty without data."""
    if figures is None or mse is None or mse.mixed is None or mse.float is None:
        return ""
    change = f"{mse.mixed / mse.float - 1:+.1%} of float's MSE" if mse.float else f"MSE {figure(mse.mixed)}, of float 0"
    rows = _rows(figures)
    more = f"; and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    return f"{change} on {figures.windows} held-out windows: " + "; ".join(map(_row, rows[:NAMED])) + more


def _rows(figures: Figures) -> list[FigureRow]:
    """One of each output: over all leads, or its only one."""
    found: dict[tuple[str, float | None], FigureRow] = {}
    for row in figures.rows:
        if row.measure in ("rmse", "accuracy", "score") and (row.lead is None or (row.name, row.level) not in found):
            found[row.name, row.level] = row
    return list(found.values())


def _row(row: FigureRow) -> str:
    naive = [
        f"{name} {figure(value)}"
        for name, value in (("last value", row.persistence), ("season", row.seasonal))
        if value is not None
    ]
    level = "" if row.level is None else f" at {row.level:g}"
    beside = f" ({', '.join(naive)})" if naive else ""
    measure = "RMSE" if row.measure == "rmse" else row.measure
    return f"{row.name} {measure}{level} {figure(row.float)} to {figure(row.mixed)}{beside}"
