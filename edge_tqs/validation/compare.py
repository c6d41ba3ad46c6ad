"""`edge-tqs compare`: two validation runs figure by figure, and whether the second is worse than it may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_tqs.errors import UsageError
from edge_tqs.report.format import VALIDATION_JSON
from edge_tqs.report.validation_report import ValidationReport

#: A figure of a run, None where it was not measured. Of all, less is better.
FIGURES: dict[str, Callable[[ValidationReport], float | None]] = {
    "rmse_vs_float": lambda run: run.rmse_vs_float,
    "mse_vs_truth": lambda run: run.mse_vs_truth,
    "rmse_last_tenth": lambda run: None if run.drift is None else run.drift.rmse_vs_float[-1],
    "instructions": lambda run: run.latency.instructions,
    "latency_p50": lambda run: run.latency.p50,
    "latency_mean": lambda run: run.latency.mean,
    "latency_p95": lambda run: run.latency.p95,
    "latency_p99": lambda run: run.latency.p99,
    "latency_max": lambda run: run.latency.max,
    "latency_evaluation": lambda run: run.latency.evaluation,
    "flash": lambda run: run.memory.flash,
    "ram": lambda run: run.memory.ram,
    "stack_peak": lambda run: run.memory.stack_peak,
}
#: What --limit names: figures, or all of one kind.
GROUPS: dict[str, tuple[str, ...]] = {
    "accuracy": ("rmse_vs_float", "mse_vs_truth", "rmse_last_tenth"),
    "latency": ("instructions", "latency_p50", "latency_mean", "latency_p95", "latency_evaluation"),
    "memory": ("flash", "ram", "stack_peak"),
}


@dataclass(frozen=True)
class Difference:
    """A figure in both runs. change: of the second over the first, 0.02 for 2 % more; None where one is missing or the
    first is 0. limit: the change that is allowed, None for any. worse: beyond it."""

    name: str
    before: float | None
    after: float | None
    change: float | None
    limit: float | None
    worse: bool


@dataclass(frozen=True)
class Comparison:
    """The runs, their figures, and what makes the second one fail: sentences, none where it passes.

    same_model: both ran the same flatbuffer. same_mode: both ran free, or both teacher-forced.
    same_counter: their latencies count the same thing at the same rate.
    """

    before: str
    after: str
    same_model: bool
    same_mode: bool
    same_counter: bool
    differences: tuple[Difference, ...]
    failures: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.failures


def load_run(path: Path) -> ValidationReport:
    """A validation.json, or that of a build's directory. Raises UsageError."""
    file = path / VALIDATION_JSON if path.is_dir() else path
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{file} cannot be read: {getattr(error, 'strerror', None) or error}",
            hint="Give a directory that `edge-tqs validate` finished in, or a copy of its validation.json.",
        ) from error
    return ValidationReport.from_json(text, str(file))


def parse_limits(given: tuple[str, ...]) -> dict[str, float]:
    """``latency=5%``, ``ram=0``, ... to the change that each figure may have. Raises UsageError."""
    limits: dict[str, float] = {}
    for text in given:
        name, _, value = text.partition("=")
        try:
            allowed = float(value.removesuffix("%")) / 100
        except ValueError:
            allowed = -1.0
        names = GROUPS.get(name, (name,))
        if not 0 <= allowed < float("inf") or any(each not in FIGURES for each in names):
            raise UsageError(
                f"--limit {text} is not NAME=PERCENT",
                hint=f"For example --limit latency=5%. Names: {', '.join([*GROUPS, *FIGURES])}.",
            )
        limits |= dict.fromkeys(names, allowed)
    return limits


def compare(before: Path, after: Path, limits: Mapping[str, float]) -> Comparison:
    """Both runs side by side. Latencies of different counters have no ratio; a limit on one is then a failure."""
    one, two = load_run(before), load_run(after)
    same_counter = (one.latency.unit, one.latency.hz) == (two.latency.unit, two.latency.hz)
    differences = []
    for name, figure in FIGURES.items():
        a, b = figure(one), figure(two)
        comparable = a is not None and b is not None and (same_counter or not name.startswith("latency"))
        change = (b - a) / a if comparable and a else (0.0 if comparable and a == b else None)  # type: ignore[operator]
        limit = limits.get(name)
        missing = limit is not None and a is not None and change is None
        differences.append(Difference(name, a, b, change, limit, missing or _beyond(change, limit)))
    failures = [_sentence(difference) for difference in differences if difference.worse]
    if not two.passed:
        failures.insert(0, f"{after} did not pass its own validation")
    if one.bit_exact and not two.bit_exact:
        failures.insert(0, f"{after} is not bit-exact, {before} is")
    same_model, same_mode = one.model_hash == two.model_hash, one.mode == two.mode
    return Comparison(str(before), str(after), same_model, same_mode, same_counter, tuple(differences), tuple(failures))


def _beyond(change: float | None, limit: float | None) -> bool:
    return limit is not None and change is not None and change > limit + 1e-12


def _sentence(difference: Difference) -> str:
    limit = f"{100 * (difference.limit or 0):g} % is allowed"
    if difference.change is None:
        return f"{difference.name} cannot be compared: {difference.before} and {difference.after}; {limit}"
    return f"{difference.name} rose by {100 * difference.change:.1f} %; {limit}"


def table(comparison: Comparison) -> str:
    """For people: a line a figure."""
    lines = [f"before      {comparison.before}", f"after       {comparison.after}"]
    if not comparison.same_model:
        lines.append("note        the runs are of different models")
    if not comparison.same_mode:
        lines.append(
            "note        one run is teacher-forced and one in closed loop: their errors are of different things"
        )
    if not comparison.same_counter:
        lines.append("note        their latencies are of different counters, and not compared")
    for each in comparison.differences:
        if each.before is None and each.after is None:
            continue
        change = "" if each.change is None else f"{100 * each.change:+.1f} %"
        verdict = "WORSE" if each.worse else "" if each.limit is None else "ok"
        lines.append(
            f"{each.name:<20}{_number(each.before):>14}{_number(each.after):>14}{change:>10}  {verdict}".rstrip()
        )
    return "\n".join([*lines, *(f"failed      {failure}" for failure in comparison.failures)])


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.5g}"
