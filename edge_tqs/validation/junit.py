"""A validation as JUnit XML, which CI systems show: one test case a rollout's claim."""

from __future__ import annotations

import dataclasses
from xml.etree import ElementTree

from edge_tqs.report.board_runs import BoardRuns
from edge_tqs.report.validation_report import ValidationReport


def junit(run: ValidationReport, max_rmse_vs_float: float | None = None) -> str:
    """The XML text of one board's validation."""
    return _text(_suite(run, max_rmse_vs_float))


def junit_boards(runs: BoardRuns, max_rmse_vs_float: float | None = None) -> str:
    """Several boards: a suite each. One without a report has the case that failed."""
    suites = ElementTree.Element("testsuites")
    for run in runs.boards:
        if run.report is not None:
            suites.append(_suite(run.report, max_rmse_vs_float))
        else:
            name = f"edge-tqs validate {run.port}"
            suite = ElementTree.SubElement(suites, "testsuite", name=name, tests="1", failures="1")
            case = ElementTree.SubElement(suite, "testcase", classname=f"edge-tqs.{run.port}", name="passed")
            ElementTree.SubElement(case, "failure", message=run.error or "")
    return _text(suites)


def _text(root: ElementTree.Element) -> str:
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _suite(run: ValidationReport, max_rmse_vs_float: float | None) -> ElementTree.Element:
    """Cases: the board passed; every step is bit-exact (the generated C); it keeps each
    promise of its protocol; the error from float is within
    its limit, where there is one."""
    cases: list[tuple[str, str | None]] = [
        ("passed", None if run.passed else f"{run.board} did not pass: {'; '.join(run.failures)}"),
    ]
    if run.engine == "c":
        cases.append(("bit-exact", None if run.bit_exact else _divergence(run)))
    cases += [(check.name, None if check.passed else check.detail) for check in run.checks]
    if max_rmse_vs_float is not None:
        within = run.rmse_vs_float is not None and run.rmse_vs_float <= max_rmse_vs_float
        said = f"RMSE from float {run.rmse_vs_float}, {max_rmse_vs_float} is allowed"
        cases.append(("error from float", None if within else said))
    failures = [said for _, said in cases if said is not None]
    suite = ElementTree.Element(
        "testsuite", name=f"edge-tqs validate {run.board}", tests=str(len(cases)), failures=str(len(failures))
    )
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in (
        ("model_hash", run.model_hash),
        ("port", run.port),
        ("steps", run.steps),
        ("rmse_vs_float", run.rmse_vs_float),
        ("latency_p50", run.latency.p50),
        ("latency_mean", run.latency.mean),
        ("latency_p99", run.latency.p99),
        ("latency_evaluation", run.latency.evaluation),
        ("latency_unit", run.latency.unit),
        *((f"line_{name}", count) for name, count in dataclasses.asdict(run.line).items()),
    ):
        ElementTree.SubElement(properties, "property", name=name, value=str(value))
    for name, failure in cases:
        case = ElementTree.SubElement(suite, "testcase", classname=f"edge-tqs.{run.board}", name=name)
        if failure is not None:
            ElementTree.SubElement(case, "failure", message=failure)
    return suite


def _divergence(run: ValidationReport) -> str:
    first = run.first_divergence
    if first is None:
        return "not every step is bit-exact"
    where = "the states" if first.channel is None else f"channel {first.channel}"
    return (
        f"rollout {first.rollout}, step {first.step}: {where} should be {first.expected}, {run.board} gave {first.got}"
        + ("" if run.diagnosis is None else f"; {run.diagnosis}")
    )
