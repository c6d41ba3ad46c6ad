"""The options that several commands share, as click decorators."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from edge_tqs.templates import template_root

F = TypeVar("F", bound=Callable[..., Any])


def options(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """Several click decorators as one, in the order given."""

    def apply(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


class BoardName(click.types.StringParamType):
    """A board; where it is missing, how to find one."""

    def get_missing_message(self, *_: Any, **context: Any) -> str:
        return "`edge-tqs boards` lists them; qemu-mps2-an386 is emulated and needs no hardware."


as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")

#: What says how a model is read and rolled out.
reading_options = options(
    click.option("--data", type=click.Path(path_type=Path), help="CSV with real samples (overrides the project's)."),
    click.option(
        "--window", type=click.IntRange(1), help="Samples the model looks at, where the model leaves it open."
    ),
    click.option(
        "--recurrence",
        type=click.Choice(["auto", "windowed", "stateful"]),
        help="Run a recurrent model over the window for each step, as Keras does, or carry its state on.",
    ),
    click.option(
        "--steps",
        type=click.IntRange(1),
        help="Samples that a call predicts, where the output is flat: steps x outputs.",
    ),
    click.option(
        "--output", metavar="NAME", help="The output (layer, or tensor of a .tflite) that is the forecast, of several."
    ),
    click.option(
        "--target",
        type=click.Choice(["level", "delta"]),
        help="What the model predicts: the samples, or differences to the last one.  [default: level]",
    ),
    click.option(
        "--centre",
        type=click.Choice(["none", "mean", "last"]),
        help="What is taken off each window and added to its forecast.  [default: none]",
    ),
    click.option(
        "--kind",
        type=click.Choice(["closed loop", "direct", "driven", "reconstruction", "classes"]),
        help="What the outputs are, where that can be read in several ways; driven: direct, of now (--lead 0).",
    ),
    click.option(
        "--lead",
        type=click.IntRange(0),
        help="Samples from the newest input to the first that is predicted: 1 is the next one, 0 the newest itself.",
    ),
    click.option(
        "--labels",
        type=click.Choice(["wide"]),
        help="wide: the model gives a label for each sample of its window, and the last one is the forecast.",
    ),
    click.option(
        "--target-column",
        "targets",
        multiple=True,
        metavar="COLUMN",
        help="A column that the model predicts; may be repeated, in the order of its values.",
    ),
    click.option(
        "--known-ahead",
        "--exogenous",
        "known_ahead",
        multiple=True,
        metavar="COLUMN",
        help="An input that is known ahead: a column's name or number.",
    ),
    click.option(
        "--measured",
        multiple=True,
        metavar="COLUMN",
        help="An input that is measured and not predicted: it is held beyond the last sample.",
    ),
    click.option("--static", multiple=True, metavar="COLUMN", help="An input that never changes."),
    click.option(
        "--scaling",
        type=click.Choice(["standard", "minmax", "none"]),
        help="From physical units of --data to the model's.",
    ),
    click.option(
        "--custom-objects",
        multiple=True,
        metavar="MODULE:NAME",
        help="A layer or function of your own that the model holds; may be repeated.",
    ),
)

_settings = options(
    click.option(
        "--horizon", type=click.IntRange(1, 65535), help="Closed-loop steps that matter to you.  [default: 96]"
    ),
    reading_options,
    click.option(
        "--activations",
        type=click.Choice(["int8", "int16", "mixed"]),
        help="Codes of samples, states and all between; int16 is nearer to float, in twice the RAM, and mixed takes it "
        "where it tells most, for a fifth to a quarter more RAM than int8.  "
        "[default: the project's or the board's, else what accuracy needs]",
    ),
    click.option("--draws", type=click.IntRange(2), default=16, show_default=True, help="Noise draws per weight."),
    click.option("--seed", type=int, default=0, show_default=True, help="Seed of every random draw."),
    click.option(
        "--seeds",
        type=click.Choice(["zero-data", "data"]),
        default="zero-data",
        show_default=True,
        help="Score on windows made without data, or on training windows of the CSV. Weights are refined on the same; "
        "zero-data: on half of each where there is a CSV and rounding is compensated.",
    ),
    click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes that score."),
    click.option("--cache/--no-cache", default=True, show_default=True, help="Keep scores by model and settings."),
)


def export_kinds() -> list[str]:
    """Of `--as`: the modules of exporting/kinds, which are not imported for it."""
    folder = Path(__file__).resolve().parents[1] / "exporting" / "kinds"
    return [path.stem.replace("_", "-") for path in sorted(folder.glob("[a-z]*.py"))]


def helper_names() -> list[str]:
    """Of `--with`: what lies in firmware_templates/helpers."""
    return sorted(path.stem.removeprefix("tqs_") for path in (template_root() / "helpers").glob("tqs_*.h"))


model_options = options(click.argument("model", required=False, type=click.Path(path_type=Path)), _settings)
#: Of one model, several, or none.
models_options = options(click.argument("model", nargs=-1, type=click.Path(path_type=Path)), _settings)

plan_options = options(
    click.option(
        "--budget",
        help="Bytes for all weights: 24576, 24KB; flash: what the board has room for; none: whatever accuracy needs.  "
        "[default: the project's, else none]",
    ),
    click.option("--bits", type=click.Choice(["8", "4"]), help="One width for all weights instead of a plan."),
    click.option("--mean-bits", type=click.FloatRange(4, 8), help="Most bits for a weight on average, for --budget."),
    click.option(
        "--max-divergence",
        type=click.FloatRange(0, min_open=True),
        help="Take the smallest plan whose measured divergence (RMSE, model's units) is within this, for --budget.",
    ),
    click.option(
        "--tolerance",
        metavar="PERCENT",
        help="Take the smallest that adds at most this to float's error: 2%. Without it nothing is saved: all weights "
        "int8 where the board has room, and int16 activations where int8 ones add more than 2%.",
    ),
    click.option("--pin", multiple=True, metavar="NAME=8", help="Fix the width of a weight; may be repeated."),
    click.option(
        "--refine/--no-refine",
        default=True,
        show_default=True,
        help="Measure rounding and verify the best plans, or plan from the scores alone.",
    ),
    click.option(
        "--without",
        multiple=True,
        type=click.Choice(["gram", "clip", "verify", "bias-correction", "candidates"]),
        help="Leave a part of the refinement out; may be repeated.",
    ),
    click.option(
        "--rounding",
        type=click.Choice(["compensated", "nearest"]),
        default="compensated",
        show_default=True,
        help="Round weights so that the errors of a row cancel, or each to the nearest code.",
    ),
    click.option(
        "--latency",
        metavar="TIME",
        help="Take nothing whose evaluation is modelled to take longer on the board: 5ms (docs/latency.md).",
    ),
)
PLAN_SETTINGS = (
    *("budget", "bits", "plan", "mean_bits", "max_divergence", "tolerance", "pin", "refine", "without", "rounding"),
    "latency",
)
