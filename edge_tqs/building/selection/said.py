"""A selection in the report, and the warnings that it gives rise to."""

from __future__ import annotations

from math import isfinite

from edge_tqs.building.selection.candidate import MUCH, Candidate, Selection
from edge_tqs.report.choice_report import CandidateReport, ChoiceReport
from edge_tqs.report.host_report import VariantsAndFloat


def reported(selection: Selection) -> ChoiceReport:
    """What report.json says of it."""
    return ChoiceReport(
        asked=selection.asked,
        measured=selection.measured,
        tolerance=selection.tolerance,
        windows=selection.windows,
        why=selection.why,
        chosen=_candidate(selection.chosen),
        others=tuple(map(_candidate, selection.others)),
    )


def _candidate(item: Candidate) -> CandidateReport:
    return CandidateReport(
        activations=item.activations,
        weights=len(item.plan.tensors),
        narrow=item.narrow,
        option=item.option,
        error=item.error if isfinite(item.error) else None,
        tflite=item.tflite,
        tables=None if item.needs is None else item.needs.tables,
        ram=None if item.needs is None else item.needs.ram,
        fits=item.fits,
    )


def costly(selection: Selection, held_out: VariantsAndFloat | None) -> list[str]:
    """The warning of a model that is more than MUCH worse than float, with what mends it; or nothing.

    held_out: mean square errors on windows that nothing was chosen on; without data the selection's own figure counts.
    """
    report = reported(selection)
    if held_out is None:
        error, where = selection.chosen.error, report.added(report.chosen)
        said = f"Quantised, it is far from float: {where}."
    else:
        if held_out.mixed is None or held_out.float is None:
            return []
        error = held_out.mixed / held_out.float - 1 if held_out.float else 0.0
        said = f"Quantised, its MSE against the truth is {error:.0%} above float's."
    if error <= MUCH:
        return []
    better = selection.better()
    if better is None and not selection.others:
        where = report.added(report.chosen)
        mend = f"On {selection.windows} other windows it adds little ({where}), so that nothing else was measured."
    elif better is None:
        mend = "No other that fits was better. Train it with noise on its inputs, or for more steps ahead."
    else:
        measured = report.added(_candidate(better))
        mend = f"Build it with {better.option}: {measured} on {selection.windows} windows that choices are made on."
    return [f"{said} {mend}"]
