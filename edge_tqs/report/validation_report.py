"""validation.json: what a board computed, and how fast."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from edge_tqs import strict
from edge_tqs.report.drift import Drift
from edge_tqs.report.format import FORMAT, VALIDATION_JSON, Figure, Series, load

#: Values in a curve of a validation: more would show nothing, and make files that no browser opens.
MOST_POINTS = 1000
#: What a rollout is fed: its own predictions, or what really followed; of a model that feeds nothing back always that.
Mode = Literal["free-running", "teacher-forced", "rolling origin"]


@dataclass(frozen=True)
class OperatorDivergence:
    """The first tensor that differs though all that it is computed from agrees, in the step that differs first.

    ``evaluation``: of the graph, within the step. ``operator``: its kind, None for an input of the evaluation.
    ``tensor``: its name in the graph. ``channel``: of its first wrong code, along the last axis; ``expected`` and
    ``got`` are that code. ``wrong`` of ``codes`` codes differ.
    """

    evaluation: int
    operator: str | None
    tensor: str
    channel: int
    expected: int
    got: int
    wrong: int
    codes: int


@dataclass(frozen=True)
class FirstDivergence:
    """The first value that differs between the board and the integer reference, both as codes.

    ``channel`` is None where the outputs agree and the hash of the states differs: both values are hashes then.
    ``operator``: where it comes from; None of other firmware than a probe build, or where no operator is at fault.
    """

    rollout: int
    step: int
    channel: int | None
    expected: int
    got: int
    operator: OperatorDivergence | None = None


@dataclass(frozen=True)
class OperatorTime:
    """``ticks`` of one operator in one evaluation, in ``Latency.unit``, the probe's telling of it included.

    ``tensor``: what it writes. ``instructions``: the same in guest instructions, as in ``Latency``.
    """

    tensor: str
    operator: str
    ticks: int
    instructions: Figure = None


@dataclass(frozen=True)
class Latency:
    """Computing time of one forecast step, sending excluded.

    ``counter``: none, cyccnt, systick, clock_monotonic, mpccr or ccount. ``unit``: what p50, p95, p99, mean and max
    count ("cycles", "ticks", "ns"). ``hz``: counts a second. ``instructions``: the median in guest instructions, where
    the board is emulated with an exact instruction count. ``emulated``: an emulator of ours was measured, which says
    nothing about the time on the real board.

    Of a model that predicts a block of several samples, most steps only hand out the next one. ``evaluation``: the
    median of those steps that evaluate it, ``evaluation_instructions`` in guest instructions; None of other models,
    where each step does. ``modelled``: milliseconds of an evaluation as the build modelled them, within ``band``, a
    share; None of an emulated board, which has none.
    """

    counter: str
    unit: str
    hz: int
    p50: Figure
    p95: Figure
    max: Figure
    instructions: Figure = None
    emulated: bool = False
    mean: Figure = None
    p99: Figure = None
    evaluation: Figure = None
    evaluation_instructions: Figure = None
    modelled: Figure = None
    band: Figure = None

    @property
    def milliseconds(self) -> Figure:
        """One evaluation as it was measured; None of an emulated board, and without a counter."""
        ticks = self.p50 if self.evaluation is None else self.evaluation
        return None if self.emulated or not self.hz or ticks is None else 1e3 * ticks / self.hz

    @property
    def beside(self) -> str:
        """What was measured beside what was modelled; empty where one of the two is not known."""
        if self.milliseconds is None or self.modelled is None or self.band is None:
            return ""
        modelled = f"modelled {self.modelled:.3g} ms \N{PLUS-MINUS SIGN}{100 * self.band:.0f} %"
        return f"measured {self.milliseconds:.3g} ms, {modelled} ({self.milliseconds / self.modelled - 1:+.0%})"


@dataclass(frozen=True)
class MemoryReport:
    """Bytes on the board: image in flash, static RAM, deepest stack. None where the port cannot know."""

    flash: int | None
    ram: int | None
    stack_peak: int | None


@dataclass(frozen=True)
class LineReport:
    """The rate between host and board, and what was mended, over the run and those that it resumed.

    ``baud``: at the end; None where there is no rate (emulators). ``slowdowns``: of a raised rate. ``restarts``: of the
    board, noticed by what it forgot. ``silences``: longer than all repeats. ``reconnects``: of a port that had gone
    away. ``retries``: requests, or rests of forecasts, asked for again. ``damaged``: requests that the board refused as
    such. ``frames_dropped``: the board's own count since its start.
    """

    baud: int | None = None
    slowdowns: int = 0
    resumes: int = 0
    restarts: int = 0
    silences: int = 0
    reconnects: int = 0
    retries: int = 0
    damaged: int = 0
    frames_dropped: int = 0

    def sentence(self) -> str:
        """The rate and what is not 0, for people; "undisturbed" where all is."""
        said = [f"{count} {name.replace('_', ' ')}" for name, count in asdict(self).items() if count and name != "baud"]
        return ", ".join([*([f"{self.baud} baud"] if self.baud else ()), *(said or ["undisturbed"])])


@dataclass(frozen=True)
class DeviceCurves:
    """The board's rollouts step by step: RMSE against float, MSE against the truth (None without data), each value over
    ``every`` steps; and the rollout that ``BuildReport.host.curves.example`` shows (None where it was not run), no
    longer than it and in its unit."""

    rmse_vs_float: Series
    mse_vs_truth: Series | None = None
    example: Series | None = None
    every: int = 1


@dataclass(frozen=True)
class Check:
    """Something that the board's protocol promises: its name, whether the board keeps it, and what was seen."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class ClosedLoop:
    """What the host's rollouts from the same windows are when they run free: RMSE against the free-running float
    rollout, MSE against the truth. Beside the one-step errors of a teacher-forced run: how much the loop amplifies."""

    rmse_vs_float: Figure
    mse_vs_truth: Figure


@dataclass(frozen=True)
class ValidationReport:
    """validation.json. ``steps`` is rollouts times horizon; ``bit_exact`` says that every one of them agreed.

    ``engine``: what computes on the board: "c" (the generated C) or the name of a runtime. ``passed``: bit-exact, or,
    for a runtime with another arithmetic than tflite-micro's, within the error that it has on the host too; every
    one of ``checks`` holds; and what the board computes is still near float's. ``failures``: why it did not pass, in
    sentences. ``diagnosis``: what is likely wrong. ``operators``: of a probe build; else None.
    ``mode``: in a teacher-forced run all errors are those of one step ahead of true samples, against a float rollout
    that is forced alike, and ``closed_loop`` has those of the loop; it is None in a free-running one. ``drift``: None
    of a short run.
    """

    board: str
    port: str
    engine: str
    passed: bool
    model_hash: str
    rollouts: int
    horizon: int
    steps: int
    bit_exact: bool
    first_divergence: FirstDivergence | None
    rmse_vs_float: Figure
    mse_vs_truth: Figure
    latency: Latency
    memory: MemoryReport
    curves: DeviceCurves
    line: LineReport = LineReport()
    diagnosis: str | None = None
    operators: tuple[OperatorTime, ...] | None = None
    mode: Mode = "free-running"
    closed_loop: ClosedLoop | None = None
    checks: tuple[Check, ...] = ()
    drift: Drift | None = None
    failures: tuple[str, ...] = ()
    format: int = FORMAT

    def to_json(self) -> str:
        return strict.dump(self)

    @staticmethod
    def from_json(text: str, where: str = VALIDATION_JSON) -> ValidationReport:
        return load(ValidationReport, text, where)
