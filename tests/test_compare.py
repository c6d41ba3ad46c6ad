"""Two validation runs side by side, and a run as JUnit XML."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from edge_tqs.errors import UsageError
from edge_tqs.report.drift import Drift
from edge_tqs.report.validation_report import (
    DeviceCurves,
    FirstDivergence,
    Latency,
    LineReport,
    MemoryReport,
    ValidationReport,
)
from edge_tqs.validation.compare import compare, load_run, parse_limits, table
from edge_tqs.validation.junit import junit

RUN = ValidationReport(
    board="a-board",
    port="/dev/ttyACM0",
    engine="c",
    passed=True,
    model_hash="ab" * 32,
    rollouts=2,
    horizon=3,
    steps=6,
    bit_exact=True,
    first_divergence=None,
    rmse_vs_float=0.2,
    mse_vs_truth=None,
    latency=Latency("systick", "ticks", 1_000_000, 100.0, 110.0, 120.0),
    memory=MemoryReport(10_000, 2_000, 300),
    curves=DeviceCurves((0.1, 0.2, 0.3), None, None),
)


def runs(folder: Path, after: ValidationReport) -> tuple[Path, Path]:
    (folder / "after").mkdir()
    (folder / "before.json").write_text(RUN.to_json())
    (folder / "after" / "validation.json").write_text(after.to_json())
    return folder / "before.json", folder / "after"


def test_a_run_is_as_good_as_itself(tmp_path: Path) -> None:
    found = compare(*runs(tmp_path, RUN), parse_limits(("accuracy=0", "latency=0%", "memory=0")))
    assert found.passed
    assert found.same_model
    assert {each.name: each.change for each in found.differences if each.change is not None} == dict.fromkeys(
        ("rmse_vs_float", "latency_p50", "latency_p95", "latency_max", "flash", "ram", "stack_peak"), 0.0
    )
    assert "failed" not in table(found)


def test_what_rose_beyond_its_limit_fails_by_name(tmp_path: Path) -> None:
    worse = replace(RUN, latency=replace(RUN.latency, p50=104.0, p95=130.0), memory=MemoryReport(9_000, 2_001, 300))
    found = compare(*runs(tmp_path, worse), parse_limits(("latency=5%", "ram=0")))
    assert [failure.split()[0] for failure in found.failures] == ["latency_p95", "ram"]
    assert "rose by 18.2 %; 5 % is allowed" in found.failures[0]
    assert "WORSE" in table(found)


def test_an_error_that_grows_over_the_run_has_a_limit(tmp_path: Path) -> None:
    drift = Drift((0.1,) * 10, (0.0,) * 10, 0.0, (0.0,) * 10, (1.0,) * 10)
    before, after = (replace(RUN, drift=each) for each in (drift, replace(drift, rmse_vs_float=(0.1,) * 9 + (0.12,))))
    first, second = runs(tmp_path, after)
    first.write_text(before.to_json())
    found = compare(first, second, parse_limits(("accuracy=10%",)))
    assert found.failures == ("rmse_last_tenth rose by 20.0 %; 10 % is allowed",)


def test_other_counters_are_not_compared(tmp_path: Path) -> None:
    other = replace(RUN, latency=Latency("cyccnt", "cycles", 168_000_000, 1.0, 1.0, 1.0), model_hash="cd" * 32)
    found = compare(*runs(tmp_path, other), {})
    assert found.passed
    assert not found.same_counter
    assert not found.same_model
    assert "different counters" in table(found)
    assert not compare(tmp_path / "before.json", tmp_path / "after", parse_limits(("latency_p50=5%",))).passed


def test_a_run_that_failed_fails(tmp_path: Path) -> None:
    bad = replace(RUN, passed=False, bit_exact=False, first_divergence=FirstDivergence(1, 2, 0, 5, 6))
    found = compare(*runs(tmp_path, bad), {})
    assert len(found.failures) == 2
    xml = ElementTree.fromstring(junit(bad, 0.1))
    assert (xml.get("tests"), xml.get("failures")) == ("3", "3")
    said = [failure.get("message") for failure in xml.iter("failure")]
    assert said[1] == "rollout 1, step 2: channel 0 should be 5, a-board gave 6"


def test_a_good_run_in_junit() -> None:
    xml = ElementTree.fromstring(junit(RUN))
    assert (xml.get("tests"), xml.get("failures")) == ("2", "0")
    assert [case.get("name") for case in xml.iter("testcase")] == ["passed", "bit-exact"]


def test_junit_says_what_was_mended_on_the_line() -> None:
    xml = ElementTree.fromstring(
        junit(replace(RUN, line=LineReport(reconnects=1, retries=3, damaged=2, frames_dropped=4)))
    )
    counts = {each.get("name"): each.get("value") for each in xml.iter("property")}
    assert {name: value for name, value in counts.items() if name is not None and name.startswith("line_")} == {
        "line_baud": "None",
        "line_slowdowns": "0",
        "line_resumes": "0",
        "line_restarts": "0",
        "line_silences": "0",
        "line_reconnects": "1",
        "line_retries": "3",
        "line_damaged": "2",
        "line_frames_dropped": "4",
    }


@pytest.mark.parametrize("text", ["latency", "latency=x", "speed=5%", "ram=-1", "ram=inf", "=5"])
def test_a_wrong_limit_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="NAME=PERCENT"):
        parse_limits((text,))


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_run(tmp_path)
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(UsageError):
        load_run(tmp_path / "x.json")
