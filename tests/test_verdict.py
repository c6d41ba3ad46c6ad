"""The answer to "may I deploy this?" that a report begins with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from test_report import build_report, validation_report

from edge_tqs.cli.text import build_summary
from edge_tqs.report.build_report import BuildReport, Kind
from edge_tqs.report.figures import Figures, Skill
from edge_tqs.report.host_report import Sanity
from edge_tqs.report.page import page
from edge_tqs.report.verdict import verdict


def built(*skills: Skill, **changes: Any) -> BuildReport:
    made = build_report()
    figures = Figures(64, 24, 48, (), skills, 0.012)
    return replace(made, host=replace(made.host, figures=figures, **changes))


PERSISTENCE = Skill("persistence", 0.4, 0.34, 0.28, 0.4)
SEASONAL = Skill("seasonal", 0.2, 0.12, 0.05, 0.2)


@pytest.mark.parametrize(
    ("skills", "state", "words"),
    [
        ((PERSISTENCE, SEASONAL), "good", "Yes: its error is 34% (90 %: 28% to 40%) below that of repeating the last"),
        ((PERSISTENCE, SEASONAL), "good", "and 12% (90 %: 5% to 20%) below that of repeating the last season of 48"),
        ((PERSISTENCE, SEASONAL), "good", "quantisation changes it by +1.2%"),
        ((PERSISTENCE, replace(SEASONAL, low=-0.01)), "open", "Not certain: more windows"),
        (
            (PERSISTENCE, replace(SEASONAL, mixed=-0.1, low=-0.2, high=0.01)),
            "bad",
            "No: it is no better than repeating",
        ),
        ((replace(PERSISTENCE, mixed=-0.1, low=-0.3, high=-0.05),), "bad", "10% (90 %: 5% to 30%) above"),
        ((replace(PERSISTENCE, mixed=-0.1, float=-0.1),), "bad", "nor is the float model"),
        ((), "open", "no naive forecast"),
    ],
)
def test_the_worst_skill_decides(skills: tuple[Skill, ...], state: str, words: str) -> None:
    found = verdict(built(*skills))
    assert found.state == state
    assert words in found.words


def test_a_broken_build_is_not_to_be_deployed_whatever_its_skill() -> None:
    sanity = Sanity((), 0.0, 0.5, ("50 % of the codes of y are at an end.",))
    found = verdict(built(PERSISTENCE, sanity=sanity))
    assert (found.state, "50 % of the codes" in found.words) == ("bad", True)


def test_without_data_nothing_is_known() -> None:
    found = verdict(build_report())
    assert (found.state, "Give it with --data" in found.words) == ("open", True)


def test_the_page_and_the_summary_begin_with_it(tmp_path) -> None:
    made = built(PERSISTENCE, SEASONAL)
    summary = build_summary(made, tmp_path, emulated=True, linux=True)
    assert summary.endswith(f"edge-tqs validate {tmp_path}, then edge-tqs deploy {tmp_path} USER@HOST")
    assert summary.startswith("deploy?     Yes: ")
    shown = page(made, validation_report())
    assert shown.index("May I deploy this? Yes: ") < shown.index("Bit-exact on")


@pytest.mark.parametrize(
    ("kind", "says"), [("closed loop", "Closed loop over 24 steps"), ("direct", "Direct: nothing is fed back; rolling")]
)
def test_the_page_speaks_of_a_loop_where_there_is_one(kind: Kind, says: str) -> None:
    made = build_report()
    shown = page(replace(made, model=replace(made.model, kind=kind)), None)
    assert says in shown
    assert ("closed loop" in shown.lower()) == (kind == "closed loop")
