"""The command line: parses, calls, prints. Every command takes ``--json``; errors are printed here and nowhere else.

Imports of the steps sit inside the commands, so that ``--help`` starts at once and no command loads TensorFlow that
does not read a Keras model.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_tqs import __version__
from edge_tqs.cli.delivery import deploy, fleet
from edge_tqs.cli.options import (
    PLAN_SETTINGS,
    BoardName,
    as_json,
    export_kinds,
    helper_names,
    model_options,
    models_options,
    plan_options,
    reading_options,
)
from edge_tqs.cli.output import check_writable, print_result, write_file
from edge_tqs.errors import TqsError, UsageError
from edge_tqs.progress import Progress, show

if TYPE_CHECKING:
    from edge_tqs.building.opened import Model
    from edge_tqs.building.request import ModelRequest
    from edge_tqs.report.board_runs import BoardRuns
    from edge_tqs.report.validation_report import ValidationReport

EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 1  # as click has it
#: Rollouts are long loops of small products, which OpenBLAS slows down by handing each to its threads.
SINGLE_THREADED = ("OPENBLAS_NUM_THREADS", "1")


def main() -> None:
    """The console script: run a command; print a TqsError as a message and leave with its exit code."""
    # OpenBLAS reads it once, when numpy is first imported, which the commands do after this.
    os.environ.setdefault(*SINGLE_THREADED)
    try:
        code = cli.main(standalone_mode=False) or 0
        sys.stdout.flush()  # a full disk is told of here, and not when Python ends
        sys.exit(code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; what was written so far is kept", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:  # who read it has seen enough
        _drop_output()
        sys.exit(EXIT_BROKEN_PIPE)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"error: {where}{error.strerror or error}", err=True)
        click.echo("  try: Name another file or folder, on a disk with space that you may write to.", err=True)
        _drop_output()
        sys.exit(UsageError.exit_code)
    except TqsError as error:
        if error.figures:
            click.echo(error.figures, err=True)
        click.echo(f"error: {error.message}", err=True)
        if error.hint:
            click.echo(f"  try: {error.hint}", err=True)
        sys.exit(error.exit_code)


def _drop_output() -> None:
    """What is left to be printed is not tried again when Python ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="edge-tqs")
def cli() -> None:
    """Quantise a sensor forecaster by how its closed-loop rollout reacts, and prove the result on the board.

    In a folder with edge-tqs.toml, `edge-tqs build --board rpi4` needs nothing more.
    """


@cli.command()
@click.argument("model", required=False, type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help="CSV or Parquet file that the model was trained on.")
@as_json
def init(model: Path | None, data: Path | None, as_json: bool) -> None:
    """Write edge-tqs.toml in this folder, with what the model and the data tell filled in.

    What the outputs are and how the data are scaled is tried out on the data with the model, and said.
    """
    from edge_tqs.api.steps import init as run
    from edge_tqs.building.start import NOT_FOUND

    found: list[str] = []
    path = run(Path.cwd(), model=model, data=data, say=found.append)
    wrote = f"wrote      {path}"
    if any(text.startswith(NOT_FOUND) for text in found):
        then = "write what was not found out into it, then edge-tqs inspect"
    else:
        then = "look it over, then edge-tqs build --board BOARD (edge-tqs boards; qemu-mps2-an386 is emulated)"
    body = {"project": str(path), "found": found, "next": then}
    print_result(as_json, body, "\n".join([*found, wrote, f"next       {then}"]))


@cli.command()
@click.argument("model", required=False, type=click.Path(path_type=Path))
@reading_options
@as_json
def inspect(model: Path | None, as_json: bool, **settings: Any) -> None:
    """Explain how MODEL is rolled out: what is fed back, the window, the weights, and where it can run.

    Exit code 0: it can be built. 1: it cannot, and why. 2: wrong use.
    """
    request = _model_request(model, {"horizon": None, "draws": 16, "seed": 0} | settings)
    from edge_tqs.building.inspection import describe, inspect_model
    from edge_tqs.cli.next_steps import after_inspect

    with show() as progress:
        inspection = inspect_model(request, progress)
    text = "\n".join([describe(inspection), *after_inspect(inspection)])
    print_result(as_json, inspection.to_body(), text)
    if not inspection.can_be_built:
        sys.exit(1)


@cli.command()
@model_options
@click.option("--out", type=click.Path(path_type=Path), help="Also write the scores to this file.")
@as_json
def score(model: Path | None, out: Path | None, as_json: bool, **settings: Any) -> None:
    """Score each weight of MODEL by how its rollout reacts to noise (TQS)."""
    from edge_tqs.api.steps import score as run
    from edge_tqs.cli.next_steps import line, same
    from edge_tqs.cli.text import score_table

    check_writable(out)
    request = _model_request(model, settings)
    with show() as progress:
        scored = run(request, progress=progress)
    _note(scored.model)
    text = scored.sensitivity.to_json()
    write_file(out, text)
    shown = f"{score_table(scored.sensitivity, scored.costs)}\n{line(same('plan'))}"
    print_result(as_json, json.loads(text), shown)


@cli.command()
@model_options
@plan_options
@click.option("--out", type=click.Path(path_type=Path), help="Also write the plan to this file, to edit and build.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the frontier to this .svg or .png file.")
@click.option("--board", help="The board that it is for: its flash, RAM and runtimes count.")
@as_json
def plan(
    model: Path | None, out: Path | None, plot: Path | None, board: str | None, as_json: bool, **settings: Any
) -> None:
    """Choose int8 or int4 for each weight of MODEL, and show the frontier around the choice.

    Without a budget it is the choice of `build`: what accuracy needs and the board has room for.
    """
    from edge_tqs.api.steps import plan as run
    from edge_tqs.building.frontier import frontier_body, frontier_plot, frontier_table
    from edge_tqs.building.selection.said import reported
    from edge_tqs.cli.next_steps import after_plan
    from edge_tqs.cli.text import choice_lines, plan_table

    planning = _planning(settings)
    request = _model_request(model, settings)
    check_writable(out)
    check_writable(plot, "--plot", (".svg", ".png"))
    with show() as progress:
        planned = run(request, board=board, progress=progress, **planning)
    _note(planned.scored.model)
    text = planned.plan.to_json()
    write_file(out, text)
    if plot is not None:
        picture = frontier_plot(planned.choice, planned.scored.model.name)
        write_file(plot, _png(picture) if plot.suffix.lower() == ".png" else picture, "--plot")
    then = after_plan(planned.scored.model.refusal is None, out, board)
    lines = [frontier_table(planned.choice, planned.tables), "", plan_table(planned.plan, planned.scored.costs)]
    body = json.loads(text) | frontier_body(planned.choice, planned.tables)
    if planned.selection is not None:
        chosen = reported(planned.selection)
        lines.append(choice_lines(chosen))
        body |= {"choice": asdict(chosen)}
    print_result(as_json, body, "\n".join([*lines, then]))


@cli.command()
@models_options
@plan_options
@click.option("--plan", type=click.Path(path_type=Path), help="A plan file to build as it is.")
@click.option("--board", type=BoardName(), required=True, help="A name from `edge-tqs boards`, or a board file.")
@click.option("--out", type=click.Path(path_type=Path), help="Directory to write.  [default: build/BOARD]")
@click.option(
    "--ranges",
    type=click.Choice(["measured", "minmax"]),
    help="Of int8 activations: narrower than what windows saw where rollouts are nearer to float so, or never.  "
    "[default: the project's, else measured with data]",
)
@click.option("--probe", is_flag=True, help="Firmware that also tells what each operator computes, for validate.")
@click.option(
    "--force",
    is_flag=True,
    help="Build even where the quantised model is no longer the float one, or by the data another than was said.",
)
@click.option(
    "--runtimes",
    metavar="NAME,...",
    help="Those that are to run model.tflite; the others are not asked.  [default: litert,tflite-runtime,tflm,c]",
)
@click.option("--strip", is_flag=True, help="Leave the names of tensors and weights out of model.tflite.")
@click.option("--dry-run", is_flag=True, help="Only say what flash, RAM and stack it takes; write nothing.")
@as_json
def build(
    model: tuple[Path, ...],
    board: str,
    out: Path | None,
    probe: bool,
    force: bool,
    runtimes: str | None,
    strip: bool,
    dry_run: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Quantise MODEL and build it for a board: flatbuffer, C, firmware, report.

    Several models are built one after the other, each into a folder of its own name; one that fails stops no other.
    Exit code 1: a check failed; among others, the quantised model is further from the float one than that one's
    forecast moves, or by the data it forecasts another thing than was said. 2: wrong use, or the model does not fit
    the board, which --dry-run tells before anything is built.
    """
    from edge_tqs.api import steps

    planning: dict[str, Any] = _planning(settings) | {"strip": strip}
    if runtimes is not None:
        planning["runtimes"] = [name.strip() for name in runtimes.split(",")]
    if len(model) > 1:
        from edge_tqs.cli.several import build_several, several_body, several_text

        found = build_several(model, settings, dry_run, board=board, out=out, probe=probe, force=force, **planning)
        print_result(as_json, several_body(found), several_text(found))
        sys.exit(0 if all(one.built is not None for one in found) else 1)
    request = _model_request(model[0] if model else None, settings)
    if dry_run:
        from edge_tqs.building.dry_run import refuse_misfit
        from edge_tqs.cli.text import prediction_table

        with show() as progress:
            prediction = steps.dry_run(request, board=board, progress=progress, **planning)
        body = asdict(prediction) | {"fits": not prediction.shortfalls}
        print_result(as_json, body, prediction_table(prediction))
        refuse_misfit(prediction)
        return
    from edge_tqs.cli.text import build_summary

    with show() as progress:
        built = steps.build(request, board=board, out=out, probe=probe, force=force, progress=progress, **planning)
    text = build_summary(
        built.report, built.path, emulated=built.board.emulator is not None, linux=not built.board.bare_metal
    )
    print_result(as_json, json.loads(built.report.to_json()), text)


@cli.command()
@click.argument("build", type=click.Path(path_type=Path))
@click.option("--port", help="Where the tool finds the board: a serial port, HOST:PORT, a drive, user@host, a probe.")
@click.option("--tool", help="Another tool than the board's own: gdb, openocd, pyocd, esptool, ssh, ...")
@as_json
def flash(build: Path, port: str | None, tool: str | None, as_json: bool) -> None:
    """Write the firmware of BUILD to its board, and verify it there."""
    from edge_tqs.api.running import flash as run
    from edge_tqs.cli.text import flash_summary

    print_result(as_json, *flash_summary(run(build, port=port, tool=tool)))


@cli.command()
@click.argument("build", type=click.Path(path_type=Path))
@click.option("--as", "kind", required=True, help=f"{', '.join(export_kinds())}.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A new folder, or an export to replace.")
@click.option("--prefix", default="tqs", show_default=True, help="What every symbol, macro and file begins with.")
@click.option("--self-test/--no-self-test", default=True, help="With a forecast to compare with.  [default: with]")
@click.option(
    "--with", "helpers", multiple=True, help=f"Beside the model: {', '.join(helper_names())}; may be repeated."
)
@as_json
def export(
    build: Path, kind: str, out: Path, prefix: str, self_test: bool, helpers: tuple[str, ...], as_json: bool
) -> None:
    """Write the C of BUILD as sources for your own firmware."""
    from edge_tqs.api.running import export as run

    made = run(build, kind, out, prefix=prefix, self_test=self_test, helpers=helpers)
    listed = [
        f"export     {made.folder}, {len(made.files)} files as {made.kind}, model {made.model_hash[:12]}",
        f"include    {made.entry}",
        f"next       {made.folder / 'README.md'} says how it is compiled",
    ]
    print_result(as_json, asdict(made) | {"folder": str(made.folder)}, "\n".join(listed))


@cli.command()
@click.argument("build", type=click.Path(path_type=Path))
@click.option(
    "--port",
    "ports",
    multiple=True,
    help="A board that is running: /dev/ttyACM0, socket://host:port, ...; may be repeated.  [default: emulate it]",
)
@click.option("--place", "places", multiple=True, help="A place of labgrid, in place of its port; may be repeated.")
@click.option("--baud", type=click.IntRange(1), help="Baud rate of the port.  [default: the board's]")
@click.option(
    "--max-baud",
    type=click.IntRange(0),
    help="Raise the rate up to this, as far as it is carried; 0: never.  [default: the board's]",
)
@click.option("--reset", is_flag=True, help="Reset the board first, by the line of its port that its board file names.")
@click.option(
    "--step-timeout",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="Longest that a step may take.  [default: 10]",
)
@click.option("--rollouts", type=click.IntRange(1), help="Seed windows to roll out.  [default: 8]")
@click.option("--horizon", type=click.IntRange(1, 65535), help="Steps of each.  [default: the build's]")
@click.option("--data", type=click.Path(path_type=Path), help="CSV to take windows and truth from.")
@click.option("--teacher-forced", is_flag=True, help="Feed each step what really followed, not the board's own output.")
@click.option(
    "--server",
    type=click.Choice(["program", "agent"]),
    default="program",
    show_default=True,
    help="For Linux boards run here: the compiled program or the Python agent.",
)
@click.option("--resume", is_flag=True, help="Go on with the run that was interrupted in BUILD.")
@click.option("--junit", "junit_file", type=click.Path(path_type=Path), help="Also write the outcome as JUnit XML.")
@as_json
def validate(
    build: Path,
    as_json: bool,
    junit_file: Path | None,
    ports: tuple[str, ...],
    places: tuple[str, ...],
    **settings: Any,
) -> None:
    """Run rollouts of BUILD on its board, in closed loop or teacher-forced, and compare every step with the host.

    With several --port each board has its own files, and one that fails stops no other.
    Exit code 0: passed. 1: a step differs or a board failed. 2: wrong use.
    """
    from edge_tqs.api.running import validate as run
    from edge_tqs.cli.settings import asked_validation
    from edge_tqs.cli.text import boards_summary, validation_summary
    from edge_tqs.validation.junit import junit, junit_boards

    ports = (*ports, *(f"labgrid://{place}" for place in places))
    asked = asked_validation(build, settings)
    limit = asked["max_rmse_vs_float"]
    result: ValidationReport | BoardRuns
    with show() as progress:
        if len(ports) > 1:
            result = run(build, port=ports, progress=progress, **asked)
            xml, text = junit_boards(result, limit), boards_summary(result, build)
        else:
            result = run(build, port=ports[0] if ports else None, progress=progress, **asked)
            xml, text = junit(result, limit), validation_summary(result, build)
    if junit_file is not None:
        write_file(junit_file, xml, "--junit")
    print_result(as_json, json.loads(result.to_json()), text)
    if not result.passed:
        sys.exit(1)


@cli.command()
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@click.option(
    "--limit",
    multiple=True,
    metavar="NAME=PERCENT",
    help="How much more AFTER may have: accuracy, latency, memory, or one figure; may be repeated.",
)
@as_json
def compare(before: Path, after: Path, limit: tuple[str, ...], as_json: bool) -> None:
    """Compare two validation runs: build directories, or copies of their validation.json.

    Exit code 0: AFTER passed and is within every --limit. 1: it is not. 2: wrong use.
    """
    from edge_tqs.validation.compare import compare as run
    from edge_tqs.validation.compare import parse_limits, table

    comparison = run(before, after, parse_limits(limit))
    print_result(as_json, asdict(comparison) | {"passed": comparison.passed}, table(comparison))
    if not comparison.passed:
        sys.exit(1)


@cli.command()
@as_json
def boards(as_json: bool) -> None:
    """List the boards, and how far each was proven."""
    from edge_tqs.boards.board import list_boards
    from edge_tqs.cli.text import boards_table

    print_result(as_json, *boards_table(list_boards()))


@cli.command()
@as_json
def ports(as_json: bool) -> None:
    """List the serial ports, and the boards that they may be by their USB ids."""
    from edge_tqs.boards.board import list_boards
    from edge_tqs.boards.serial_ports import list_serial_ports
    from edge_tqs.cli.text import ports_table

    print_result(as_json, *ports_table(list_serial_ports(list_boards())))


@cli.command()
@click.option("--board", help="A name from `edge-tqs boards`, or a board file.  [default: all shipped boards]")
@as_json
def doctor(board: str | None, as_json: bool) -> None:
    """Say what is missing on this machine for a board, and the commands that install it.

    Exit code 0: nothing. 1: something is missing. 2: wrong use.
    """
    from edge_tqs.boards.board import list_boards, load_board
    from edge_tqs.cli.doctor import examine
    from edge_tqs.cli.text import doctor_table

    examination = examine([load_board(board)] if board is not None else list_boards())
    print_result(as_json, *doctor_table(examination))
    if not examination.complete:
        sys.exit(1)


def _model_request(model: Path | None, settings: dict[str, Any]) -> ModelRequest:
    """The options, over the project file in this folder, over the defaults."""
    from edge_tqs.cli.settings import asked_model

    return asked_model(model, settings)


def _planning(settings: dict[str, Any]) -> dict[str, Any]:
    """The planning options, which are taken out of ``settings``, as keywords."""
    from edge_tqs.cli.settings import asked_plan

    return asked_plan({name: settings.pop(name) for name in PLAN_SETTINGS if name in settings})


def _note(model: Model) -> None:
    if model.refusal is not None:
        click.echo(f"note: this model can be scored and planned, not built: {model.refusal.message}", err=True)


def _png(svg: str) -> bytes:
    from edge_tqs.report.png import render

    return render(svg)


cli.add_command(deploy)
cli.add_command(fleet)

__all__ = ["Progress", "cli", "main"]
