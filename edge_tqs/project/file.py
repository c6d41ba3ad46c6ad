"""edge-tqs.toml: what to build, said once. Strictly checked; `init_project` writes a commented one."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from edge_tqs import strict
from edge_tqs.errors import UsageError
from edge_tqs.graph.graph import Centre, Scaling, Target
from edge_tqs.project.budget import AskedPlan, parse_budget, parse_latency, parse_tolerance
from edge_tqs.project.later import with_later
from edge_tqs.project.roles import NamedOutput, Roles
from edge_tqs.project.rollouts import ProjectData
from edge_tqs.project.scales import Method, ScalesTable, scaling_of_inputs, scaling_of_outputs
from edge_tqs.project.series import AS_FOUND, TEST_FRACTION, Series, read_series, train_rows
from edge_tqs.project.series_format import SeriesFormat, SeriesFormatTable, files_of, period_text
from edge_tqs.strict import DISTINCT, FILLED, Rule, above, at_least
from edge_tqs.system.reading import AskedKind

FILE = "edge-tqs.toml"
#: What a SavedModel folder holds.
SAVED_MODEL = "saved_model.pb"
#: Patterns of model files, in the order in which `init` looks for them.
#: Names of model files that tell nothing; `init` then writes the folder's.
_NAMELESS = ("model", "saved_model", "best", "best_model", "final", "forecaster", "network", "net", "checkpoint")
MODELS = ("*.keras", "*.h5", f"*/{SAVED_MODEL}", "*.tflite")
HORIZON = 96
ROLLOUTS = 8
COMPARE = "Compare it with what `edge-tqs init` writes."
_Count = Annotated[int, at_least(1)]
_Text = Annotated[str, FILLED]
_Names = Annotated[tuple[_Text, ...], FILLED, DISTINCT]


def _reads(parse: Callable[[Any], object]) -> Callable[[Any], bool]:
    """Whether ``parse`` takes a value."""

    def check(value: Any) -> bool:
        try:
            parse(value)
        except UsageError:
            return False
        return True

    return check


def _is_budget(value: int | str) -> bool:
    return value >= 1 if isinstance(value, int) else value != ""


@dataclass(frozen=True)
class ForecastSettings:
    """window: samples the model looks at; None reads it off the model. horizon: steps of a rollout.

    recurrence: "auto" is "windowed" for a recurrent model, as Keras computes it. steps: samples that one call of the
    model predicts; None reads it off the model. output: the layer whose output is the forecast, for a model of several.
    target, centre: what the model predicts, and what is taken off its window (passes/level.py). kind, lead, outputs,
    classes, labels: what its values mean (roles.Roles).
    """

    window: _Count | None = None
    horizon: _Count = HORIZON
    recurrence: Literal["auto", "windowed", "stateful"] = "auto"
    steps: _Count | None = None
    output: _Text | None = None
    target: Target = "level"
    centre: Centre = "none"
    kind: AskedKind | None = None
    lead: Annotated[int, at_least(0)] | None = None
    outputs: tuple[NamedOutput, ...] = ()
    classes: _Names = ()
    labels: Literal["wide"] | None = None


@dataclass(frozen=True)
class DataSettings:
    """csv: the files of the series, or globs. columns: inputs; empty takes every numeric one that is not predicted
    alone. outputs, known_ahead, measured, static, label: roles.Roles. series_format: how the files are read.

    The last ``test_rows`` rows, or ``test_fraction`` of the rows where that is None, are the test part.
    """

    csv: tuple[Path, ...]
    columns: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    known_ahead: tuple[str, ...] = ()
    measured: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    label: str | None = None
    test_rows: int | None = None
    test_fraction: float = TEST_FRACTION
    series_format: SeriesFormat = AS_FOUND


@dataclass(frozen=True)
class ValidateSettings:
    """Rollouts on the board, steps of each (None: the forecast's horizon), and the RMSE against the float model, in the
    model's units, above which the run fails (None: no limit; bit-exactness is asked for in any case)."""

    rollouts: _Count = ROLLOUTS
    horizon: _Count | None = None
    max_rmse_vs_float: Annotated[float, above(0)] | None = None


@dataclass(frozen=True)
class _ModelTable:
    path: _Text
    name: _Text | None = None
    custom_objects: _Names = ()


@dataclass(frozen=True, kw_only=True)
class _DataTable(SeriesFormatTable):
    csv: _Text | _Names
    inputs: _Names = ()
    outputs: _Names = ()
    known_ahead: _Names = ()
    measured: _Names = ()
    static: _Names = ()
    label: _Text | None = None
    test_rows: _Count | None = None
    test_fraction: Annotated[float, Rule(lambda part: 0 < part < 1, "a number between 0 and 1")] | None = None


@dataclass(frozen=True, kw_only=True)
class _ScalingTable(ScalesTable):
    outputs: ScalesTable = field(default_factory=ScalesTable)


@dataclass(frozen=True)
class _PlanTable:
    budget: Annotated[int | str, Rule(_is_budget, 'a number of bytes, or text like "24KB"')] | None = None
    tolerance: Annotated[float | str, Rule(_reads(parse_tolerance), 'a share above 0, like 0.05 or "5%"')] | None = None
    bits: Literal[8, 4] | None = None
    mean_bits: Annotated[float, Rule(lambda bits: 4 <= bits <= 8, "a number from 4 to 8")] | None = None
    max_divergence: Annotated[float, above(0)] | None = None
    latency: Annotated[str, Rule(_reads(parse_latency), 'a time with its unit, like "5ms"')] | None = None
    activations: Literal["int8", "int16", "mixed"] | None = None
    ranges: Literal["measured", "minmax"] | None = None

    def asked(self, where: str) -> AskedPlan:
        """Raises UsageError for keys that exclude each other."""
        given = [key for key in ("budget", "tolerance", "bits", "mean_bits", "max_divergence") if getattr(self, key)]
        if len(given) > 1:
            raise UsageError(f"{where}: [plan] {' and '.join(given)} exclude each other", hint="Leave one of them.")
        return AskedPlan(
            budget=None if self.budget is None else parse_budget(str(self.budget)),
            tolerance=None if self.tolerance is None else parse_tolerance(self.tolerance),
            bits=self.bits,
            mean_bits=self.mean_bits,
            max_divergence=self.max_divergence,
            latency=None if self.latency is None else parse_latency(self.latency),
        )


@dataclass(frozen=True)
class _File:
    """The tables of edge-tqs.toml."""

    model: _ModelTable
    forecast: ForecastSettings = field(default_factory=ForecastSettings)
    data: _DataTable | None = None
    scaling: _ScalingTable = field(default_factory=_ScalingTable)
    plan: _PlanTable = field(default_factory=_PlanTable)
    validate: ValidateSettings = field(default_factory=ValidateSettings)


@dataclass(frozen=True)
class Project:
    """edge-tqs.toml, checked. Paths are resolved against its directory.

    scaling, output_scaling: a method (scales.Method) or given, of the inputs and of the outputs; None where nothing is
    said: outputs that are inputs then have the scaling of these. plan: how wide weights may be. activations:
    None takes the board's. ranges: how those of activations are chosen; None: measured where there is data.
    custom_objects: module:name of each class or function of the user's own in the model. name: of what is built, its
    folder and service on a gateway and its topics; None: the model file's.
    """

    path: Path
    model: Path
    forecast: ForecastSettings
    data: DataSettings | None
    scaling: Scaling | Method | None
    plan: AskedPlan
    validate: ValidateSettings
    output_scaling: Scaling | Method | None = None
    activations: Literal["int8", "int16", "mixed"] | None = None
    ranges: Literal["measured", "minmax"] | None = None
    custom_objects: tuple[str, ...] = ()
    name: str | None = None

    @property
    def roles(self) -> Roles:
        """What it says of inputs and outputs."""
        forecast, data = self.forecast, self.data or DataSettings(csv=())
        return Roles(
            inputs=data.columns,
            outputs=data.outputs,
            known_ahead=data.known_ahead,
            measured=data.measured,
            static=data.static,
            label=data.label,
            kind=forecast.kind,
            lead=forecast.lead,
            steps=forecast.steps,
            predicted=forecast.outputs,
            classes=forecast.classes,
            labels=forecast.labels,
        )


def load_project(path: Path) -> Project:
    """Read edge-tqs.toml, or the one in the directory ``path``. Raises UsageError with the key that is wrong."""
    path = path / FILE if path.is_dir() else path
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UsageError(
            f"{path} does not exist", hint="Write one with `edge-tqs init`, or name a model: `edge-tqs build MODEL`."
        ) from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", hint=COMPARE) from error
    file = strict.read(_File, strict.parse_toml(data, str(path), COMPARE), str(path), COMPARE)
    return Project(
        path=path,
        model=path.parent / file.model.path,
        forecast=file.forecast,
        data=None if file.data is None else _data(path, file.data),
        scaling=file.scaling.said(f"{path}: [scaling]"),
        output_scaling=file.scaling.outputs.said(f"{path}: [scaling] outputs"),
        plan=file.plan.asked(str(path)),
        validate=file.validate,
        activations=file.plan.activations,
        ranges=file.plan.ranges,
        custom_objects=file.model.custom_objects,
        name=file.model.name,
    )


def _data(path: Path, given: _DataTable) -> DataSettings:
    if given.test_rows is not None and given.test_fraction is not None:
        raise UsageError(f"{path}: [data] has both test_rows and test_fraction", hint="Keep one of the two.")
    return DataSettings(
        csv=tuple(path.parent / name for name in ((given.csv,) if isinstance(given.csv, str) else given.csv)),
        columns=given.inputs,
        outputs=given.outputs,
        known_ahead=given.known_ahead,
        measured=given.measured,
        static=given.static,
        label=given.label,
        test_rows=given.test_rows,
        test_fraction=TEST_FRACTION if given.test_fraction is None else given.test_fraction,
        series_format=given.series_format(),
    )


def read_data(project: Project, csv: Path | None = None, roles: Roles | None = None) -> ProjectData | None:
    """The project's series, or that of ``csv``, read and split as the project says; None when there is neither.

    roles: in place of the project's. Its columns are the inputs, then those that are predicted and no inputs. Where no
    inputs are named they are all columns of numbers that are not predicted. Without a word on scaling there is none.

    Raises UsageError as read_series does, and when a given scaling has another number of columns.
    """
    settings, roles = project.data, roles or project.roles
    source = (csv,) if csv else settings.csv if settings else None
    if source is None:
        return None
    series_format = settings.series_format if settings else AS_FOUND
    inputs, targets = roles.inputs, roles.predicted_columns
    names = tuple(dict.fromkeys([*inputs, *targets])) if inputs else ()
    series = with_later(names, lambda columns: read_series(files_of(source), columns, series_format))
    if not inputs:
        if missing := [name for name in targets if name not in series.columns]:
            raise UsageError(
                f"{series.path} has no column of numbers {missing[0]!r}",
                hint=f"Its columns are {', '.join(series.columns)}.",
            )
        inputs = tuple(name for name in series.columns if name not in targets)
        roles = replace(roles, inputs=inputs)
        if not inputs:
            raise UsageError(
                f"{series.path}: all its columns are predicted, and no inputs are named",
                hint="Name inputs under [data]: outputs may be among them.",
            )
    rows = train_rows(
        series,
        test_rows=settings.test_rows if settings else None,
        test_fraction=settings.test_fraction if settings else TEST_FRACTION,
    )
    scaling = None if project.scaling is None else scaling_of_inputs(project.scaling, series, rows, inputs)
    direct = roles.kind == "direct" or roles.lead not in (None, 1)
    return ProjectData(
        series,
        rows,
        scaling,
        inputs,
        scaling_of_outputs(
            roles, project.output_scaling, series, rows, scaling, () if direct else roles.predicted_columns
        ),
        series_format,
    )


@dataclass(frozen=True)
class Start:
    """What was found out of a model and its data, for `init_project`: empty and None where it was not.

    scaling, output_scaling: of the inputs, and of outputs that are no inputs. last_only: the last of a sequence is the
    forecast. texts: what was seen, in sentences. window: of a flat one. target: "delta": differences are predicted.
    """

    roles: Roles = field(default_factory=Roles)
    scaling: Method | None = None
    output_scaling: Method | None = None
    last_only: bool = False
    texts: tuple[str, ...] = ()
    window: int | None = None
    target: Target = "level"


def init_project(
    directory: Path,
    model: Path | None = None,
    data: Path | None = None,
    say: Callable[[str], None] = lambda text: None,
    find: Callable[[Path, Path], Start] = lambda model, data: Start(),
) -> Path:
    """Write a commented edge-tqs.toml into ``directory`` and return its path; ``say`` is told what the data holds.

    Without ``model`` or ``data``, the only model (of MODELS, the first kind of which there is exactly one) or .csv file
    in the directory is taken; what was found in it is filled in. Data that cannot be read without a line of the
    project's own is said to need one. ``find`` tells what outputs and scaling are; lines that it leaves open become
    comments. Raises UsageError when the file exists already, or no model is given and none or
    several are there.
    """
    path = directory / FILE
    if path.exists():
        raise UsageError(f"{path} exists already", hint="Edit it, or remove it first.")
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory", hint="Create it first.")
    model = model or next(filter(None, (_only(directory, pattern) for pattern in MODELS)), None)
    if model is not None and model.name == SAVED_MODEL:
        model = model.parent
    data = data or _only(directory, "*.csv") or _only(directory, "*.parquet")
    if model is None:
        raise UsageError(
            f"{directory} does not hold exactly one model: a .keras, .h5 or .tflite file or a SavedModel folder",
            hint="Name the model: edge-tqs init PATH.",
        )
    series, said, start = None, list[str](), Start()
    if data is not None:
        if not data.exists():
            raise UsageError(f"{data} does not exist", hint="Check the path of the CSV file.")
        try:
            series = read_series(data)
            said = [*series.facts, *series.warnings]
        except UsageError as error:
            said = [f"{data.name} is not read yet: {error.message}".replace(str(data), data.name), error.hint]
        else:
            start = find(model, data)
            said += start.texts
    path.write_text(_template(directory, model, data, series, said, start), encoding="utf-8", newline="\n")
    for text in said:
        say(text)
    return path


def _only(directory: Path, pattern: str) -> Path | None:
    found = sorted(directory.glob(pattern))
    return found[0] if len(found) == 1 else None


def _template(
    directory: Path, model: Path, data: Path | None, series: Series | None, said: Sequence[str], start: Start
) -> str:
    def relative(path: Path) -> str:
        path, base = path.resolve(), directory.resolve()
        return _text(path.relative_to(base).as_posix() if path.is_relative_to(base) else path.as_posix())

    def names(columns: Sequence[str]) -> str:
        return "[" + ", ".join(_text(name) for name in columns) + "]"

    roles = start.roles
    columns = roles.inputs or (series.columns if series else ("temperature",))
    outputs = roles.outputs or columns
    unread = "" if series else "# "
    unread = "# " if start.texts and not roles.inputs and len(columns) > 1 else unread  # inputs may be fewer
    predicts = roles.label is None and roles.kind not in ("reconstruction", "classes")
    known_outputs = "" if series and predicts and (roles.outputs or start.scaling) else "# "
    method = start.scaling or (None if data else "none")
    own = f'outputs = {{method = "{start.output_scaling}"}}' if start.output_scaling else ""
    period = "10min" if series is None or series.period is None else period_text(series.period)
    known = "" if series and series.period and series.times is not None else "# "
    lines = [
        "# What `edge-tqs build` and `edge-tqs validate` do in this directory; paths are relative to it.",
        "",
        "[model]",
        f"path = {relative(model)}",
        f"{'' if model.stem.lower() in _NAMELESS else '# '}name = {_text(directory.resolve().name or model.stem)}     "
        "# of its service and topics on a gateway; else the file's name",
        "",
        "[forecast]",
        f"horizon = {HORIZON}               # steps that the model is rolled out in closed loop",
        '# recurrence = "stateful"    # LSTM, GRU: carry the states on ("windowed", as Keras does, is the default)',
        f"{'# ' if start.window is None else ''}window = {start.window or 24}                "
        "# only for a model whose input shape leaves it open, or is flat",
        f"{'' if roles.steps else '# '}steps = {roles.steps or 4}                  "
        "# only for a flat output that holds several samples, the oldest first",
        f'{"" if roles.kind else "# "}kind = "{roles.kind or "direct"}"            # direct: '
        "nothing is fed back; only where it can be read in several ways",
        f"{'# ' if roles.lead is None else ''}lead = {12 if roles.lead is None else roles.lead}                  "
        "# samples from the newest input to the first that is predicted; 1 is the next one",
        *(['labels = "wide"'] if start.last_only else []),
        '# output = "head"           # only for a Keras model of several outputs: the layer that gives the forecast',
        f"{'# ' if start.target == 'level' else ''}"
        + 'target = "delta"          # the model predicts the difference to the last sample, in its own units',
        '# centre = "mean"           # its window comes without its mean over time ("last": its last sample)',
        "",
    ]
    off = "" if data else "# "
    lines += [
        f"{off}[data]                       # real windows for ranges and validation",
        f"{off}csv = {relative(data) if data else _text('measurements.csv')}",
        f"{unread}inputs = {names(columns)}",
        *(
            [f"label = {_text(roles.label)}              # the column with the number of the class"]
            if roles.label
            else []
        ),
        f"{known_outputs}outputs = {names(outputs)}   # what the model predicts, in its order; inputs or not",
        '# known_ahead = ["hour"]     # inputs that are not predicted; or measured = [...]: held at the last value',
        f"{off}test_fraction = {TEST_FRACTION}          # of the rows, at the end; or test_rows = 1500",
        *(f"## {line}" for text in said for line in textwrap.wrap(text, 110, break_on_hyphens=False)),
        f"{known}period = {_text(period)}            # from one row to the next: checked against the times",
        '# time = "timestamp"         # the column of times, or several: ["date", "time"]; false: rows are even',
        '# time_format = "%d.%m.%Y %H:%M"   # where it is not found out; "s" or "ms" for numbers',
        '# time_zone = "Europe/Berlin"      # of local times whose clocks are set forward and back',
        "# fill = 3                   # holes of up to 3 samples are filled by the last value; else no window crosses",
        '# long = {sensor = "name", value = "value"}   # one sensor a row',
        "",
        "[scaling]",
        f'{"# " if method is None else ""}method = "{method or "standard"}"          '
        "# standard, minmax (by the training part of the data), or none: physical units",
        own or '# outputs = {method = "none"}   # the same of outputs that are no inputs',
        "# mean = [85.7]              # or what the model was trained with, instead of a method",
        "# std = [11.9]",
        "",
        "[plan]",
        '# budget = "24KB"            # bytes for all weights, KB = 1024; default: what accuracy needs',
        '# activations = "int16"      # int8, int16 or mixed; default: int8 unless that adds over 2 % to the error',
        '# ranges = "minmax"          # of int8 activations: all that was seen; default with data: measured',
        "",
        "[validate]",
        f"rollouts = {ROLLOUTS}",
        f"# horizon = {HORIZON}             # steps of each; the forecast's unless said otherwise",
        "# max_rmse_vs_float = 0.2    # fail above this, in the model's units; bit-exactness is always asked for",
        "",
    ]
    return "\n".join(lines)


def _text(value: str) -> str:
    """A TOML basic string: JSON's escapes are TOML's."""
    return json.dumps(value, ensure_ascii=False)
