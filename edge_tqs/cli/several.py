"""`edge-tqs build` with several models: one table at the end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_tqs.cli.settings import asked_model
from edge_tqs.errors import UsageError
from edge_tqs.progress import show
from edge_tqs.report.verdict import verdict
from edge_tqs.text_table import table

if TYPE_CHECKING:
    from edge_tqs.api.several import ModelOutcome


def build_several(
    models: Sequence[Path], settings: dict[str, Any], dry_run: bool, **building: Any
) -> tuple[ModelOutcome, ...]:
    """Build them. settings: of the models; building: keywords of `build_all`. Raises UsageError as it does, and for
    what is said of one model alone."""
    from edge_tqs.api.several import build_all

    if dry_run:
        raise UsageError("--dry-run looks at one model, and several are named", hint="Name one of them.")
    if building.get("plan") is not None:
        raise UsageError("--plan is of one model, and several are named", hint="Build that one by itself.")
    with show() as progress:
        return build_all(models, opened=lambda path: asked_model(path, settings), progress=progress, **building)


def several_text(found: Sequence[ModelOutcome]) -> str:
    """A row for each model, then why some were not built."""
    rows = []
    for model in found:
        if model.built is None:
            rows.append([str(model.model), "-", "-", "-", "not built"])
            continue
        report = model.built.report
        answer = {"good": "yes", "bad": "no", "open": "not certain"}[verdict(report).state]
        rows.append([str(model.model), report.model.hash[:12], f"{report.bytes.tflite:,}", answer, str(model.out)])
    lines = [table(["model", "hash", "bytes", "deploy?", "built"], rows)]
    for model in found:
        if model.built is None:
            named = model.error.startswith(str(model.model))
            lines.append(f"error: {model.error}" if named else f"error: {model.model}: {model.error}")
            lines += [f"  try: {model.hint}"] if model.hint else []
    built = sum(model.built is not None for model in found)
    return "\n".join([*lines, f"{built} of {len(found)} built; report.html of each says more"])


def several_body(found: Sequence[ModelOutcome]) -> list[dict[str, Any]]:
    """The same as JSON: report.json of each that was built."""
    return [
        {
            "model": str(model.model),
            "out": str(model.out),
            "report": None if model.built is None else json.loads(model.built.report.to_json()),
            "error": model.error or None,
            "hint": model.hint or None,
        }
        for model in found
    ]
