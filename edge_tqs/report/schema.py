"""report.json, validation.json and report.html: what a build and a validation say of themselves.

The dataclasses below are the schema (docs/report.md explains every field). They are written and read by field name;
an unknown or missing key is refused, so that a report of another version is never half understood.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import inf, isfinite
from typing import Literal, TypeVar

from edge_tqs import strict
from edge_tqs.graph.graph import Centre, Target
from edge_tqs.report.drift import Drift

#: Raised by one whenever a field changes its meaning.
FORMAT = 7
#: Values in a curve of a validation: more would show nothing, and make files that no browser opens.
MOST_POINTS = 1000

REPORT_JSON = "report.json"
VALIDATION_JSON = "validation.json"
#: Of several boards at once (`board_runs`).
VALIDATIONS_JSON = "validations.json"
REPORT_HTML = "report.html"

#: A measured figure; None (JSON null) where it is not finite or was not measured.
Figure = float | None
Series = tuple[Figure, ...]
#: What a rollout is fed: its own predictions, or what really followed; of a model that feeds nothing back always that.
Mode = Literal["free-running", "teacher-forced", "rolling origin"]
Kind = Literal["closed loop", "direct", "reconstruction", "classes"]
T = TypeVar("T")


@dataclass(frozen=True)
class ModelInfo:
    """The forecaster. ``hash`` is the model hash in hexadecimal (docs/format.md); ``parameters`` counts all of them;
    ``activations`` is the type of its codes.

    ``kind``: how it is rolled out; of all but a closed loop each step evaluates the model on measured samples.
    ``outputs``: values in a predicted sample, ``steps`` samples an evaluation. ``exogenous``: input channels, from 0,
    that are known ahead. ``held``: those that keep their value. ``target``, ``centre``: as in passes/level.py.
    ``streamed``: built as one step with delay lines.
    """

    name: str
    hash: str
    window: int
    channels: int
    columns: tuple[str, ...]
    recurrence: Literal["none", "windowed", "stateful"]
    parameters: int
    activations: Literal["int8", "int16"] = "int8"
    outputs: int = 0
    steps: int = 1
    exogenous: tuple[int, ...] = ()
    target: Target = "level"
    centre: Centre = "none"
    streamed: bool = False
    kind: Kind = "closed loop"
    held: tuple[int, ...] = ()


@dataclass(frozen=True)
class TensorReport:
    """One planned weight: its Keras name, shape as in Keras, width in bits, bytes in the flatbuffer, and TQS."""

    name: str
    shape: tuple[int, ...]
    width: int
    bytes: int
    tqs: Figure


@dataclass(frozen=True)
class ByteReport:
    """Bytes of the weights with their metadata: in float32, all-int8, all-int4, as planned; the budget (None where
    the widths were given); and the size of model.tflite as a whole."""

    float32: int
    int8: int
    int4: int
    mixed: int
    budget: int | None
    tflite: int


@dataclass(frozen=True)
class Variants:
    """One figure for each integer model; None where it is not finite, or that model cannot be made."""

    int8: Figure
    int4: Figure
    mixed: Figure


@dataclass(frozen=True)
class Causes:
    """Where the divergence comes from: RMSE over rollouts, steps and channels, model's units.

    ``weights``: rollouts with rounded weights and float activations, from the float rollouts. ``activations``: the
    integer rollouts from those. In a closed loop the two do not add up: each error is amplified along with the other.
    """

    weights: Variants
    activations: Variants


@dataclass(frozen=True)
class VariantsAndFloat:
    """One figure for the float model and each integer model."""

    float: Figure
    int8: Figure
    int4: Figure
    mixed: Figure


@dataclass(frozen=True)
class DivergenceCurves:
    """RMSE against the float rollout at each step, over rollouts and channels; model's units; ``horizon`` values."""

    int8: Series
    int4: Series
    mixed: Series


@dataclass(frozen=True)
class TruthCurves:
    """MSE against the truth at each step, over rollouts and channels; model's units squared; ``horizon`` values."""

    float: Series
    int8: Series
    int4: Series
    mixed: Series


@dataclass(frozen=True)
class ExampleRollout:
    """One channel of one rollout. ``unit`` is "physical" (scaling undone) or "normalised".

    ``seed`` holds the window that the rollout starts from, ``truth`` what really followed (None without data).
    """

    column: str
    unit: Literal["physical", "normalised"]
    seed: Series
    float: Series
    int8: Series
    int4: Series
    mixed: Series
    truth: Series | None


@dataclass(frozen=True)
class Curves:
    """What the plots of report.html are drawn from."""

    divergence: DivergenceCurves
    mse_vs_truth: TruthCurves | None
    example: ExampleRollout | None


@dataclass(frozen=True)
class OutputDistance:
    """How far an output of the board's model is from float, and how much the float forecast moves: RMSE and standard
    deviation over rollouts and steps, model's units (building/sanity.py)."""

    name: str
    rmse_vs_float: Figure
    spread: Figure

    @property
    def ratio(self) -> float:
        """RMSE over deviation; infinite where either is not finite."""
        if self.rmse_vs_float is None or self.spread is None or not isfinite(self.rmse_vs_float + self.spread):
            return inf
        return self.rmse_vs_float / self.spread if self.spread else (inf if self.rmse_vs_float else 0.0)


@dataclass(frozen=True)
class Sanity:
    """Whether the board's model is still the float one.

    ``saturated_x``, ``saturated_y``: the part of the codes, 0 to 1, that are at an end of their range without reason.
    ``failures``: why it is not, in sentences; such a build was forced.
    """

    outputs: tuple[OutputDistance, ...]
    saturated_x: Figure
    saturated_y: Figure
    failures: tuple[str, ...] = ()

    @property
    def saturated(self) -> float:
        """The larger of the two parts."""
        return max(self.saturated_x or 0.0, self.saturated_y or 0.0)


Measure = Literal["rmse", "mae", "mase", "pinball", "coverage", "accuracy", "agreement", "score"]


@dataclass(frozen=True)
class FigureRow:
    """One figure of each forecast, over all windows and, where nothing is fed back, all steps of the rolling origin.

    ``name``: of the column, or of what is measured. ``lead``: samples ahead; None over all of them. ``level``: of a
    quantile, or the coverage that is promised, 0 to 1. ``measure``: docs/report.md says each. ``unit``: that of the
    data, of the model (normalised), or none. ``low``, ``high``: the 90 % interval of ``mixed``. None: not to be had.
    """

    name: str
    lead: int | None
    level: float | None
    measure: Measure
    unit: Literal["data", "model", "none"]
    float: Figure
    int8: Figure
    int4: Figure
    mixed: Figure
    low: Figure = None
    high: Figure = None
    persistence: Figure = None
    seasonal: Figure = None


@dataclass(frozen=True)
class Skill:
    """How much better than a naive forecast: 1 is perfect, 0 is no better, below 0 is worse.

    ``against``: "persistence" and "seasonal", or of a soft sensor, whose quantity is not measured where it runs,
    "mean", that of the training part: 1 less RMSE over theirs, outputs in terms of the variance of their truth;
    "majority": 1 less the wrong classes over those of always saying the commonest. ``low``, ``high``: the 90 % interval
    of ``mixed``.
    """

    against: Literal["persistence", "seasonal", "mean", "majority"]
    float: Figure
    mixed: Figure
    low: Figure
    high: Figure


@dataclass(frozen=True)
class Figures:
    """What the forecast is worth on data that nothing was fitted to.

    ``windows``: rollouts, ``steps`` of each. ``season``: samples of the seasonal naive forecast. ``cost``: RMSE of the
    board's model over float's, less 1.
    """

    windows: int
    steps: int
    season: int | None
    rows: tuple[FigureRow, ...]
    skill: tuple[Skill, ...]
    cost: Figure


@dataclass(frozen=True)
class HostReport:
    """What was measured on the host, over ``rollouts`` closed-loop rollouts of ``horizon`` steps.

    ``divergence``: RMSE against the float rollout over rollouts, steps and channels, model's units. ``litert_rmse``:
    the same for ai-edge-litert against tflite-micro's arithmetic. ``tflm_bit_exact`` and ``litert_rmse`` are None where
    that package is missing, or does not run the model. ``mse_vs_truth``: over all as well; None without data.
    """

    rollouts: int
    horizon: int
    float_vs_keras_max_abs: Figure
    divergence: Variants
    tflm_bit_exact: bool | None
    litert_rmse: Figure
    mse_vs_truth: VariantsAndFloat | None
    curves: Curves
    sanity: Sanity
    figures: Figures | None = None
    causes: Causes | None = None


@dataclass(frozen=True)
class ImageReport:
    """Sizes of the firmware image in bytes: sections; what is kept for the stack, and its deepest, one interrupt
    included, on ``stack_path`` (None and () for a Linux program); the largest frame of one function."""

    text: int
    rodata: int
    data: int
    bss: int
    stack: int | None
    stack_bound: int | None
    stack_path: tuple[str, ...]
    largest_frame: int
    largest_frame_function: str


@dataclass(frozen=True)
class BuildReport:
    """report.json. ``image`` is None where nothing was compiled; ``warnings`` are sentences for the reader;
    ``data`` says how the series was read."""

    model: ModelInfo
    board: str
    tensors: tuple[TensorReport, ...]
    bytes: ByteReport
    host: HostReport
    image: ImageReport | None
    warnings: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    format: int = FORMAT

    def to_json(self) -> str:
        return strict.dump(self)

    @staticmethod
    def from_json(text: str, where: str = REPORT_JSON) -> BuildReport:
        return load(BuildReport, text, where)


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
    where each step does.
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


def load(kind: type[T], text: str, where: str) -> T:
    """A report of ``kind`` from its JSON; ``where`` names the file. Raises UsageError when it is of another schema."""
    hint = "Run `edge-tqs build` again."
    value = strict.parse_json(text, where, hint)
    strict.require_format(value, FORMAT, where, hint)
    return strict.read(kind, value, where, hint, complete=True)
