"""May I deploy this? The answer that a report begins with, from its figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge_tqs.report.build_report import BuildReport
from edge_tqs.report.figures import Figures, Skill


@dataclass(frozen=True)
class Verdict:
    """ "good": it beats every naive forecast, beyond the interval; "bad": it does not, or is no longer the float model;
    "open": the figures cannot tell. ``words``: why."""

    state: Literal["good", "bad", "open"]
    words: str


def verdict(build: BuildReport) -> Verdict:
    """Whether the board's model is worth deploying, as far as figures on the host can tell."""
    host = build.host
    if host.sanity.failures:
        return Verdict("bad", f"No: quantised, it is no longer the float model. {' '.join(host.sanity.failures)}")
    figures = host.figures
    if figures is None:
        return Verdict("open", "Not known: there was no data to compare its forecasts with. Give it with --data.")
    if build.model.kind == "reconstruction":
        words = f"Its anomaly scores raise float's alarms{_alarms(figures)}; what they find, no figure here says."
        return Verdict("open", words)
    skills = [skill for skill in figures.skill if skill.mixed is not None]
    if not skills:
        return Verdict("open", "Not known: there is no naive forecast to compare it with.")
    least = min(skills, key=_of_mixed)
    words = f"{_against(skills, figures)}{_cost(figures)}."
    if _of_mixed(least) <= 0:
        alike = ", nor is the float model" if least.float is not None and least.float <= 0 else ""
        return Verdict("bad", f"No: it is no better than {NAMES[least.against]}{alike}. {_capital(words)}")
    if least.low is None or least.low <= 0:
        return Verdict(
            "open", f"Not certain: more windows could show it no better than {NAMES[least.against]}. {_capital(words)}"
        )
    return Verdict("good", f"Yes: {words}")


#: The naive forecasts in words.
NAMES = {
    "persistence": "repeating the last value",
    "seasonal": "repeating the last season",
    "mean": "always saying the mean of the training part",
    "majority": "always saying the commonest class",
}


def _of_mixed(skill: Skill) -> float:
    return skill.mixed or 0.0


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]


def _against(skills: list[Skill], figures: Figures) -> str:
    """Its error beside each naive one's."""
    said = []
    for skill in skills:
        value = _of_mixed(skill)
        name = NAMES[skill.against] + (f" of {figures.season} samples" if skill.against == "seasonal" else "")
        sign, way = (1, "below") if value >= 0 else (-1, "above")
        ends = sorted(sign * end for end in (skill.low, skill.high) if end is not None)
        sure = f" (90 %: {ends[0]:.0%} to {ends[1]:.0%})" if len(ends) == 2 else ""
        said.append(f"{sign * value:.0%}{sure} {way} that of {name}")
    return f"its error is {' and '.join(said)}"


def _cost(figures: Figures) -> str:
    return "" if figures.cost is None else f"; quantisation changes it by {figures.cost:+.1%}"


def _alarms(figures: Figures) -> str:
    """In how many of the samples, beyond which quantile of float's scores."""
    alike = next((row for row in figures.rows if row.measure == "agreement"), None)
    if alike is None or alike.mixed is None or alike.level is None:
        return ""
    return f" in {alike.mixed:.1%} of the samples, those beyond the {alike.level:.0%} quantile of float's scores"
