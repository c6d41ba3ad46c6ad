"""The command that comes next, with what this one was told, as the last line of what it prints."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from edge_tqs.building.inspection import Inspection
    from edge_tqs.report.validation_report import ValidationReport

#: Options that are of one command alone, though others have the name.
OWN = ("as_json", "out", "plot")
BOARDS = "edge-tqs boards lists them; qemu-mps2-an386 is emulated"


def line(command: str) -> str:
    """As the summaries have it."""
    return f"next        {command}"


def same(name: str, without: Sequence[str] = ()) -> str:
    """The command ``name`` for the model and with the options that the command in hand was given and it has too."""
    context = click.get_current_context()
    root = context.find_root().command
    assert isinstance(root, click.Group)
    has = {parameter.name for parameter in root.commands[name].params} - {*OWN, *without}
    said = ["edge-tqs", name]
    for parameter in context.command.params:
        given = context.params.get(parameter.name or "")
        by_hand = context.get_parameter_source(parameter.name or "") is click.core.ParameterSource.COMMANDLINE
        if by_hand and parameter.name in has:
            said += _given(parameter, given)
    return shlex.join(said)


def _given(parameter: click.Parameter, given: Any) -> list[str]:
    if not isinstance(parameter, click.Option):
        return [str(given)]
    if parameter.is_flag:
        return [parameter.opts[0] if given else (parameter.secondary_opts or parameter.opts)[0]]
    values = given if isinstance(given, tuple) else (given,)
    return [part for value in values for part in (parameter.opts[0], str(value))]


def after_inspect(inspection: Inspection) -> list[str]:
    """None where the refusal itself says what to do."""
    if not inspection.can_be_scored:
        return []
    if not inspection.can_be_built:
        return [line(same("score"))]
    if inspection.behaviour is not None and inspection.behaviour.refuted:
        return [line("write that line into edge-tqs.toml, then edge-tqs inspect")]
    return [line(f"{same('build')} --board BOARD ({BOARDS})")]


def after_plan(buildable: bool, out: Path | None, board: str | None) -> str:
    """``buildable``: whether the model can be."""
    if not buildable:
        return line("round the weights by this plan where the model is built: here it cannot be, as the note says")
    from edge_tqs.cli.options import PLAN_SETTINGS

    command = same("build", () if out is None else PLAN_SETTINGS)
    if out is not None:
        command += f" --plan {shlex.quote(str(out))}"
    return line(command if board else f"{command} --board BOARD ({BOARDS})")


def after_validate(result: ValidationReport, build: Path) -> str:
    """From a run to the board itself, into an application, or to the cause."""
    if not result.passed:
        if not result.bit_exact and not result.operators:
            return line("edge-tqs build with --probe, then validate again: it names the operator that differs")
        return line(f"{build / 'report.html'} has what differs beside what was expected")
    if result.latency.emulated and (build / "bundle").is_dir():
        return line(f"edge-tqs deploy {build} USER@HOST")
    if result.latency.emulated:
        return line(f"edge-tqs flash {build} --port PORT, then edge-tqs validate {build} --port PORT")
    call = "tqs_predict" if result.mode == "rolling origin" else "tqs_forecast"
    return line(f"tqs_push and {call} in your application: docs/c-api.md; in Python docs/forecaster.md")
