"""report.html, drawn from what is in a build's directory."""

from __future__ import annotations

from pathlib import Path

from edge_tqs.errors import UsageError
from edge_tqs.report.board_runs import load_runs
from edge_tqs.report.build_report import BuildReport
from edge_tqs.report.format import REPORT_HTML, REPORT_JSON, VALIDATION_JSON
from edge_tqs.report.page import page
from edge_tqs.report.validation_report import ValidationReport


def write_report(build_dir: Path) -> Path:
    """Draw report.html from report.json and, where they are there, validations.json or else validation.json; return its
    path.

    Raises UsageError when report.json is missing or either file is not of this version's schema.
    """
    source = build_dir / REPORT_JSON
    if not source.is_file():
        raise UsageError(f"{build_dir} holds no {REPORT_JSON}", hint="Name a directory that `edge-tqs build` wrote.")
    build = BuildReport.from_json(source.read_text(encoding="utf-8"), str(source))
    measured = build_dir / VALIDATION_JSON
    validation = None
    if measured.is_file():
        validation = ValidationReport.from_json(measured.read_text(encoding="utf-8"), str(measured))
    target = build_dir / REPORT_HTML
    target.write_text(page(build, validation, load_runs(build_dir)), encoding="utf-8", newline="\n")
    return target
