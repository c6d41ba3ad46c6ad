"""edge-tqs.toml: what to build, said once. Strictly checked; `init_project` writes a commented one."""

from __future__ import annotations

import difflib
import json
import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edge_tqs.errors import UsageError
from edge_tqs.graph.graph import Centre, Scaling, Target
from edge_tqs.project.budget import parse_budget
from edge_tqs.project.series import TEST_FRACTION, Series, read_columns, read_series, standard_scaling, train_rows

FILE = "edge-tqs.toml"
#: What a SavedModel folder holds.
SAVED_MODEL = "saved_model.pb"
#: Patterns of model files, in the order in which `init` looks for them.
MODELS = ("*.keras", "*.h5", f"*/{SAVED_MODEL}", "*.tflite")
HORIZON = 96
ROLLOUTS = 8


@dataclass(frozen=True)
class ForecastSettings:
    """window: samples the model looks at; None reads it off the model. horizon: steps of a rollout.

    recurrence: "auto" is "windowed" for a recurrent model, as Keras computes it. steps: samples that one call of the
    model predicts; None reads it off the model. output: the layer whose output is the forecast, for a model of several.
    target, centre: what the model predicts, and what is taken off its window (passes/level.py).
    """

    window: int | None = None
    horizon: int = HORIZON
    recurrence: Literal["auto", "windowed", "stateful"] = "auto"
    steps: int | None = None
    output: str | None = None
    target: Target = "level"
    centre: Centre = "none"


@dataclass(frozen=True)
class DataSettings:
    """csv: the series. columns: inputs; empty takes every numeric one. exogenous: those that are known ahead and not
    predicted; every other one is, in the same order.

    The last ``test_rows`` rows, or ``test_fraction`` of the rows where that is None, are the test part.
    """

    csv: Path
    columns: tuple[str, ...] = ()
    exogenous: tuple[str, ...] = ()
    test_rows: int | None = None
    test_fraction: float = TEST_FRACTION


@dataclass(frozen=True)
class ValidateSettings:
    """Rollouts on the board, steps of each (None: the forecast's horizon), and the RMSE against the float model, in the
    model's units, above which the run fails (None: no limit; bit-exactness is asked for in any case)."""

    rollouts: int = ROLLOUTS
    horizon: int | None = None
    max_rmse_vs_float: float | None = None


@dataclass(frozen=True)
class Project:
    """edge-tqs.toml, checked. Paths are resolved against its directory.

    scaling: "standard" (mean and deviation of the training part), "none" (the CSV is in the model's units already), or
    given. budget_bytes: None takes the default. activations: None takes the board's. custom_objects: module:name of
    each class or function of the user's own in the model.
    """

    path: Path
    model: Path
    forecast: ForecastSettings
    data: DataSettings | None
    scaling: Scaling | Literal["standard", "none"]
    budget_bytes: int | None
    validate: ValidateSettings
    activations: Literal["int8", "int16"] | None = None
    custom_objects: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ProjectData:
    """The project's series, the size of its training part, and the scaling to the model's units."""

    series: Series
    train_rows: int
    scaling: Scaling | None


def load_project(path: Path) -> Project:
    """Read edge-tqs.toml, or the one in the directory ``path``. Raises UsageError with the key that is wrong."""
    path = path / FILE if path.is_dir() else path
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(
            f"{path} does not exist", hint="Write one with `edge-tqs init`, or name a model: `edge-tqs build MODEL`."
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}", hint="Compare it with what `edge-tqs init` writes.") from error
    _check(path, tables)
    given = _Reader(path, tables)
    data = None
    if "data" in tables:
        if "test_rows" in tables["data"] and "test_fraction" in tables["data"]:
            raise UsageError(f"{path}: [data] has both test_rows and test_fraction", hint="Keep one of the two.")
        inputs = tuple(given.get("data", "inputs", ()))
        outputs = tuple(given.get("data", "outputs", inputs))
        if (not outputs and inputs) or outputs != tuple(name for name in inputs if name in outputs):
            raise UsageError(
                f"{path}: [data] outputs {list(outputs)} are not among the inputs {list(inputs)}, in their order",
                hint="What is predicted is fed back: name the same columns, less those that are known ahead.",
            )
        data = DataSettings(
            csv=path.parent / given.need("data", "csv"),
            columns=inputs,
            exogenous=tuple(name for name in inputs if name not in outputs),
            test_rows=given.get("data", "test_rows", None),
            test_fraction=given.get("data", "test_fraction", TEST_FRACTION),
        )
    budget = given.get("plan", "budget", None)
    limit = given.get("validate", "max_rmse_vs_float", None)
    return Project(
        path=path,
        model=path.parent / given.need("model", "path"),
        forecast=ForecastSettings(
            window=given.get("forecast", "window", None),
            horizon=given.get("forecast", "horizon", HORIZON),
            recurrence=given.get("forecast", "recurrence", "auto"),
            steps=given.get("forecast", "steps", None),
            output=given.get("forecast", "output", None),
            target=given.get("forecast", "target", "level"),
            centre=given.get("forecast", "centre", "none"),
        ),
        data=data,
        scaling=_scaling(path, given),
        budget_bytes=None if budget is None else parse_budget(str(budget)),
        validate=ValidateSettings(
            rollouts=given.get("validate", "rollouts", ROLLOUTS),
            horizon=given.get("validate", "horizon", None),
            max_rmse_vs_float=None if limit is None else float(limit),
        ),
        activations=given.get("plan", "activations", None),
        custom_objects=tuple(given.get("model", "custom_objects", ())),
    )


def read_data(project: Project, csv: Path | None = None) -> ProjectData | None:
    """The project's series, or that of ``csv`` with the project's columns and split; None when there is neither.

    Raises UsageError as read_series does, and when a given scaling has another number of columns.
    """
    settings = project.data
    source = csv or (settings.csv if settings else None)
    if source is None:
        return None
    series = read_series(source, settings.columns if settings else ())
    rows = train_rows(
        series,
        test_rows=settings.test_rows if settings else None,
        test_fraction=settings.test_fraction if settings else TEST_FRACTION,
    )
    if isinstance(project.scaling, Scaling):
        if len(project.scaling.mean) != len(series.columns):
            raise UsageError(
                f"{project.path}: [scaling] is for {len(project.scaling.mean)} columns, "
                f"{source} has {len(series.columns)} ({', '.join(series.columns)})",
                hint="Give one mean and one std a column, in the order of inputs.",
            )
        return ProjectData(series, rows, project.scaling)
    return ProjectData(series, rows, standard_scaling(series, rows) if project.scaling == "standard" else None)


def init_project(directory: Path, model: Path | None = None, data: Path | None = None) -> Path:
    """Write a commented edge-tqs.toml into ``directory`` and return its path.

    Without ``model`` or ``data``, the only model (of MODELS, the first kind of which there is exactly one) or .csv file
    in the directory is taken; what its header says is filled in. Raises UsageError when the file exists already, or no
    model is given and none or several are there.
    """
    path = directory / FILE
    if path.exists():
        raise UsageError(f"{path} exists already", hint="Edit it, or remove it first.")
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory", hint="Create it first.")
    model = model or next(filter(None, (_only(directory, pattern) for pattern in MODELS)), None)
    if model is not None and model.name == SAVED_MODEL:
        model = model.parent
    data = data or _only(directory, "*.csv")
    if model is None:
        raise UsageError(
            f"{directory} does not hold exactly one model: a .keras, .h5 or .tflite file or a SavedModel folder",
            hint="Name the model: edge-tqs init PATH.",
        )
    columns = read_columns(data) if data else ()
    path.write_text(_template(directory, model, data, columns), encoding="utf-8", newline="\n")
    return path


def _only(directory: Path, pattern: str) -> Path | None:
    found = sorted(directory.glob(pattern))
    return found[0] if len(found) == 1 else None


def _template(directory: Path, model: Path, data: Path | None, columns: tuple[str, ...]) -> str:
    def relative(path: Path) -> str:
        path, base = path.resolve(), directory.resolve()
        return _text(path.relative_to(base).as_posix() if path.is_relative_to(base) else path.as_posix())

    listed = "[" + ", ".join(_text(name) for name in columns) + "]"
    lines = [
        "# What `edge-tqs build` and `edge-tqs validate` do in this directory; paths are relative to it.",
        "",
        "[model]",
        f"path = {relative(model)}",
        "",
        "[forecast]",
        f"horizon = {HORIZON}               # steps that the model is rolled out in closed loop",
        '# recurrence = "stateful"    # LSTM, GRU: carry the states on ("windowed", as Keras does, is the default)',
        "# window = 24                # only for a model whose input shape leaves it open",
        "# steps = 4                  # only for a flat output that holds several samples, the oldest first",
        '# output = "head"           # only for a Keras model of several outputs: the layer that gives the forecast',
        '# target = "delta"          # the model predicts the difference to the last sample, in its own units',
        '# centre = "mean"           # its window comes without its mean over time ("last": its last sample)',
        "",
    ]
    off = "" if data else "# "
    lines += [
        f"{off}[data]                       # real windows for ranges and validation; a timestamp column is skipped",
        f"{off}csv = {relative(data) if data else _text('measurements.csv')}",
        f"{off}inputs = {listed if data else _text_list('temperature')}",
        f"{off}outputs = {listed if data else _text_list('temperature')}   # what the model predicts: the inputs",
        f"{off}test_fraction = {TEST_FRACTION}          # of the rows, at the end; or test_rows = 1500",
        "",
        "[scaling]",
        f"method = {_text('standard' if data else 'none')}          "
        "# standard: by the training part of the data; none: the model takes physical units",
        "# mean = [85.7]              # or what the model was trained with, instead of a method",
        "# std = [11.9]",
        "",
        "[plan]",
        '# budget = "24KB"            # bytes for all weights, KB = 1024; default: halfway from all-int4 to all-int8',
        '# activations = "int16"      # int8 or int16; default: the board\'s, which is int8',
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


def _text_list(value: str) -> str:
    return f"[{_text(value)}]"


def _scaling(path: Path, given: _Reader) -> Scaling | Literal["standard", "none"]:
    mean, std = given.get("scaling", "mean", None), given.get("scaling", "std", None)
    method: Literal["standard", "none"] | None = given.get("scaling", "method", None)
    if mean is None and std is None:
        return method or "standard"
    if mean is None or std is None or method is not None or len(mean) != len(std):
        raise UsageError(
            f"{path}: [scaling] needs mean and std of one length, and no method beside them",
            hint='Write mean = [...] and std = [...], or method = "standard".',
        )
    return Scaling(tuple(float(value) for value in mean), tuple(float(value) for value in std))


@dataclass(frozen=True)
class _Reader:
    """Values of a checked file."""

    path: Path
    tables: Mapping[str, Mapping[str, Any]]

    def get(self, table: str, key: str, default: Any) -> Any:
        return self.tables.get(table, {}).get(key, default)

    def need(self, table: str, key: str) -> Any:
        value = self.get(table, key, None)
        if value is None:
            raise UsageError(
                f"{self.path}: [{table}] {key} is missing", hint="Compare with what `edge-tqs init` writes."
            )
        return value


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_text, value)) and len(set(value)) == len(value)


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_number, value))


_Rule = tuple[Callable[[Any], bool], str]
_COUNT: _Rule = (_is_count, "a whole number of 1 or more")
_TEXT: _Rule = (_is_text, "text")
_NAMES: _Rule = (_is_names, "a list of different names")

#: table -> key -> (what is allowed, in words)
_SCHEMA: dict[str, dict[str, _Rule]] = {
    "model": {"path": _TEXT, "custom_objects": _NAMES},
    "forecast": {
        "window": _COUNT,
        "horizon": _COUNT,
        "steps": _COUNT,
        "output": _TEXT,
        "target": (lambda v: v in ("level", "delta"), '"level" or "delta"'),
        "centre": (lambda v: v in ("none", "last", "mean"), '"none", "last" or "mean"'),
        "recurrence": (lambda v: v in ("auto", "windowed", "stateful"), '"auto", "windowed" or "stateful"'),
    },
    "data": {
        "csv": _TEXT,
        "inputs": _NAMES,
        "outputs": _NAMES,
        "test_rows": _COUNT,
        "test_fraction": (lambda v: _is_number(v) and 0 < v < 1, "a number between 0 and 1"),
    },
    "scaling": {
        "method": (lambda v: v in ("standard", "none"), '"standard" or "none"'),
        "mean": (_is_numbers, "a list of numbers"),
        "std": (lambda v: _is_numbers(v) and min(v) > 0, "a list of numbers above 0"),
    },
    "plan": {
        "budget": (lambda v: _is_count(v) or _is_text(v), 'a number of bytes or text like "24KB"'),
        "activations": (lambda v: v in ("int8", "int16"), '"int8" or "int16"'),
    },
    "validate": {
        "rollouts": _COUNT,
        "horizon": _COUNT,
        "max_rmse_vs_float": (lambda v: _is_number(v) and v > 0, "a number above 0"),
    },
}


def _check(path: Path, tables: Mapping[str, Any]) -> None:
    for table, keys in tables.items():
        if table not in _SCHEMA:
            raise UsageError(f"{path}: unknown table [{table}]", hint=_suggest(table, _SCHEMA))
        if not isinstance(keys, dict):
            raise UsageError(f"{path}: {table} is not a table", hint=f"Write [{table}] on a line of its own.")
        for key, value in keys.items():
            if key not in _SCHEMA[table]:
                raise UsageError(f"{path}: unknown key {key} in [{table}]", hint=_suggest(key, _SCHEMA[table]))
            good, words = _SCHEMA[table][key]
            if not good(value):
                raise UsageError(f"{path}: [{table}] {key} is {value!r}", hint=f"It takes {words}.")


def _suggest(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, list(known), 1, 0.5)
    return f"Did you mean {near[0]}?" if near else f"Known are {', '.join(known)}."
