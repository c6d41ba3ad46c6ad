"""What the commands print for people: small tables of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_tqs.cli.next_steps import after_validate, line
from edge_tqs.planning.file import NEAREST
from edge_tqs.report.choice_report import costs
from edge_tqs.report.figure_table import figure_cells
from edge_tqs.report.verdict import verdict
from edge_tqs.text_table import table

if TYPE_CHECKING:
    from edge_tqs.boards.board import Board
    from edge_tqs.boards.flash import FlashResult
    from edge_tqs.boards.serial_ports import FoundPort
    from edge_tqs.building.dry_run import Prediction
    from edge_tqs.cli.doctor import Examination
    from edge_tqs.planning.plan import Plan
    from edge_tqs.planning.score import Sensitivity
    from edge_tqs.report.board_runs import BoardRuns
    from edge_tqs.report.build_report import BuildReport, ModelInfo
    from edge_tqs.report.choice_report import ChoiceReport
    from edge_tqs.report.figures import Figures
    from edge_tqs.report.validation_report import ValidationReport

#: Operators of a probe build that a validation's summary names.
SLOWEST = 6
#: Rows of the figures that a build's summary shows.
MOST_FIGURES = 12

Costs = Mapping[str, Mapping[int, int]]


def score_table(sensitivity: Sensitivity, costs: Costs) -> str:
    """Weights from the most to the least sensitive."""
    ranked = sorted(sensitivity.tensors, key=lambda tensor: -tensor.tqs)
    rows = [
        [
            tensor.name,
            "x".join(map(str, tensor.shape)),
            f"{tensor.tqs:.2e}",
            f"{tensor.low:.1e} to {tensor.high:.1e}",
            f"{costs[tensor.name][8]:,}",
            f"{costs[tensor.name][4]:,}",
        ]
        for tensor in ranked
    ]
    left = sensitivity.predictability_steps
    within = f"all {sensitivity.horizon}" if left is None else f"{left - 1}"
    return "\n".join(
        [
            table(["weight", "shape", "TQS", "90 % interval", "bytes at 8", "bytes at 4"], rows),
            f"over {sensitivity.horizon} steps, {sensitivity.draws} draws, "
            f"{sensitivity.seeds_count} seeds; Lyapunov exponent {sensitivity.lyapunov:+.4f} a step, "
            f"predictable for {within} steps",
        ]
    )


def plan_table(plan: Plan, costs: Costs) -> str:
    """Each weight's width, then the bytes beside the budget and the uniform plans."""
    rows = [
        [
            tensor.name,
            "x".join(map(str, tensor.shape)),
            "-" if tensor.tqs is None else f"{tensor.tqs:.2e}",
            f"int{tensor.width}"
            + (", one scale" if tensor.rounded.one_scale else "")
            + ("" if tensor.clip == 1 else f", clip {tensor.clip:g}")
            + ("" if tensor.rounding == NEAREST else f", {tensor.rounding}"),
            f"{tensor.bytes:,}",
        ]
        for tensor in plan.tensors
    ]
    budget = "" if plan.budget_bytes is None else f" of {plan.budget_bytes:,}"
    int4, int8 = (sum(options[width] for options in costs.values()) for width in (4, 8))
    return "\n".join(
        [
            table(["weight", "shape", "TQS", "width", "bytes"], rows),
            f"{plan.total_bytes:,}{budget} bytes (all-int4 {int4:,}, all-int8 {int8:,}); "
            f"divergence RMSE {_divergence(plan)}",
        ]
    )


def _divergence(plan: Plan) -> str:
    by = "TQS" if plan.evidence is None or plan.evidence.predicted_by == "tqs" else "the Gram matrix"
    predicted = f"{plan.predicted_rmse:.4f} predicted by {by}"
    if plan.measured_rmse is None:
        return predicted
    corrected = ", output bias corrected" if plan.bias_correction else ""
    return f"{plan.measured_rmse:.4f} measured (weights alone{corrected}), {predicted}"


def _rolled(model: ModelInfo) -> list[str]:
    """A line of what is unusual in how ``model`` is rolled out, where anything is."""
    said = [
        ("streamed" if model.streamed else ""),
        (f"{model.steps} samples an evaluation" if model.steps > 1 else ""),
        ("" if model.kind == "closed loop" else f"{model.kind}: {model.outputs} outputs, nothing is fed back"),
        (f"{model.outputs} outputs, {len(model.exogenous)} inputs known ahead" if model.exogenous else ""),
        (f"{len(model.held)} inputs held" if model.held else ""),
        (f"target {model.target}" if model.target != "level" else ""),
        (f"centre {model.centre}" if model.centre != "none" else ""),
    ]
    return [f"rollout     {', '.join(filter(None, said))}"] if any(said) else []


def _int16(model: ModelInfo) -> list[str]:
    """Which activations are int16 among int8 ones."""
    return [f"int16       {', '.join(model.int16_activations)}"] if model.int16_activations else []


def build_summary(result: BuildReport, out: Path, *, emulated: bool, linux: bool = False) -> str:
    """Whether it may be deployed, what it is worth, then what was built, its size, and where the report is."""
    model, size, host = result.model, result.bytes, result.host
    wide = sum(tensor.width == 8 for tensor in result.tensors)
    budget = "" if size.budget is None else f" of {size.budget:,}"
    answer = verdict(result)
    lines = [
        f"deploy?     {answer.words}",
        *_figures(host.figures),
        f"model       {model.name} ({model.recurrence}), window {model.window}, {model.channels} channels, "
        f"{model.parameters:,} parameters, {model.activations} activations, hash {model.hash[:12]}",
        *_rolled(model),
        *_choice(result),
        *_int16(model),
        f"float       differs from the model file by at most {_number(host.float_vs_keras_max_abs)}",
        f"plan        {wide} weights int8, {len(result.tensors) - wide} int4: {size.mixed:,}{budget} bytes "
        f"(int4 {size.int4:,}, int8 {size.int8:,}, float32 {size.float32:,})",
        f"divergence  RMSE from float over {host.horizon} steps, {host.rollouts} rollouts, model's units: "
        + _variants(asdict(host.divergence)),
    ]
    if host.causes is not None:
        lines.append("  weights   alone, activations float: " + _variants(asdict(host.causes.weights)))
        lines.append(f"  {model.activations:9} activations add: " + _variants(asdict(host.causes.activations)))
    if host.ranges is not None:
        lines.append(f"ranges      {host.ranges.words}")
    if host.mse_vs_truth is not None:
        lines.append(
            "accuracy    MSE against the truth, model's units squared: " + _variants(asdict(host.mse_vs_truth))
        )
    exact = {True: "bit for bit as the integer reference", False: "DIFFERS", None: "not compared"}
    litert = exact[None] if host.litert_rmse is None else f"RMSE {_number(host.litert_rmse)}"
    lines.append(f"runtimes    tflite-micro {exact[host.tflm_bit_exact]}; LiteRT {litert}")
    if result.image is not None:
        image = result.image
        lines.append(
            f"image       {result.board}: text {image.text:,}, rodata {image.rodata:,}, data {image.data:,}, "
            f"bss {image.bss:,} bytes; model.tflite {size.tflite:,}"
        )
        if image.stack_bound is not None:
            lines.append(f"stack       at most {image.stack_bound:,} of {image.stack:,} bytes")
    if result.modelled is not None:
        lines.append(f"time        {result.modelled.words}")
    lines += [f"data        {fact}" for fact in result.data]
    lines += [f"warning     {warning}" for warning in result.warnings]
    lines.append(f"report      {out / 'report.html'}")
    if linux:
        tried = f"edge-tqs validate {out}, then " if emulated else ""
        lines.append(line(f"{tried}edge-tqs deploy {out} USER@HOST"))
    else:
        ported = "" if emulated else f" --port PORT, after edge-tqs flash {out}"
        lines.append(line(f"edge-tqs validate {out}{ported}"))
    return "\n".join(lines)


def choice_lines(choice: ChoiceReport, cost: str = "") -> str:
    """What was chosen and why, what it costs, and what else there is: three lines; two where ``cost`` is not known."""
    said = (("chosen", choice.reason()), ("costs", cost), ("instead", choice.instead()))
    return "\n".join(f"{name:11} {text}" for name, text in said if text)


def _choice(result: BuildReport) -> list[str]:
    if result.choice is None:
        return []
    return choice_lines(result.choice, costs(result.host.figures, result.host.mse_vs_truth)).splitlines()


def _figures(figures: Figures | None) -> list[str]:
    """The figures as a table; of many outputs those over all leads."""
    if figures is None:
        return []
    rows = [row for row in figures.rows if row.measure not in ("mae", "mase")]
    shown = rows if len(rows) <= MOST_FIGURES else [row for row in rows if row.lead is None] or rows
    cells = figure_cells(figures, shown[:MOST_FIGURES])
    season = "" if figures.season is None else f"; seasonal: {figures.season} samples before"
    left = f"; {len(rows) - len(cells[1])} more in report.html" if len(rows) > len(cells[1]) else ""
    lines = table(*cells).splitlines()
    windows = f"{figures.windows} windows that nothing was fitted to"
    return [
        f"figures     {windows}, {figures.steps} steps of each{season}{left}",
        *(f"  {line}" for line in lines),
    ]


def validation_summary(result: ValidationReport, build: Path) -> str:
    """The verdict first, then the figures behind it."""
    diverged = result.first_divergence
    if result.bit_exact:
        verdict = f"bit-exact in all {result.steps:,} steps"
    elif diverged is None or diverged.channel is None:
        step = "" if diverged is None else f" from step {diverged.step} of rollout {diverged.rollout}"
        verdict = f"hidden state differs{step}"
    else:
        verdict = (
            f"differs first at step {diverged.step}, channel {diverged.channel} of rollout {diverged.rollout}: "
            f"expected {diverged.expected}, got {diverged.got}"
        )
    latency, memory = result.latency, result.memory
    evaluation = []
    if latency.evaluation is not None:
        exact = latency.evaluation_instructions
        evaluation = [
            f"evaluation  {_number(latency.evaluation)} {latency.unit}, once a block"
            + ("" if exact is None else f" = {_number(exact)} guest instructions")
        ]
    lines = [
        f"{'passed' if result.passed else 'FAILED'}      {result.board} at {result.port}: {verdict}",
        *_cause(result),
        *(f"failed      {failure}" for failure in result.failures),
        f"rollouts    {result.rollouts} of {result.horizon} steps, {result.mode}, model {result.model_hash[:12]}, "
        f"engine {result.engine}",
        f"line        {result.line.sentence()}",
        f"error       RMSE {_number(result.rmse_vs_float)} from float, model's units"
        + ("" if result.mse_vs_truth is None else f"; MSE {_number(result.mse_vs_truth)} against the truth"),
        *_amplification(result),
        *_drift(result),
        f"latency     {_number(latency.p50)} {latency.unit} a step (mean {_number(latency.mean)}, "
        f"p95 {_number(latency.p95)}, p99 {_number(latency.p99)}, max {_number(latency.max)}; "
        f"{latency.counter}, {latency.hz:,} Hz)"
        + ("" if latency.instructions is None else f" = {_number(latency.instructions)} guest instructions")
        + (", emulated: not the board's time" if latency.emulated else ""),
        *evaluation,
        *([f"time        {latency.beside}"] if latency.beside else []),
        f"memory      flash {_bytes(memory.flash)}, RAM {_bytes(memory.ram)}, "
        f"deepest stack {_bytes(memory.stack_peak)}",
        f"bit_exact   {'true' if result.bit_exact else 'false'}",
        *_slowest(result),
        f"report      {build / 'report.html'}",
        after_validate(result, build),
    ]
    return "\n".join(lines)


def boards_summary(runs: BoardRuns, build: Path) -> str:
    """Several boards side by side, then what went wrong, a line a board."""
    rows, wrong = [], []
    for run in runs.boards:
        found = run.report
        if found is None:
            rows.append(["FAILED", run.port, *("-" * 5)])
            wrong.append(run.why)
            continue
        verdict, *lines = validation_summary(found, build).splitlines()
        rows.append(
            [
                "passed" if found.passed else "FAILED",
                run.port,
                found.board,
                f"{found.steps:,}",
                _number(found.rmse_vs_float),
                f"{_number(found.latency.p50)} {found.latency.unit}",
                found.line.sentence(),
            ]
        )
        if not found.passed:
            wrong += [verdict, *(line for line in lines if line.startswith(("operator ", "likely ", "failed ")))]
    head = ["", "port", "board", "steps", "RMSE from float", "a step", "line"]
    return "\n".join([table(head, rows), *wrong, f"report      {build / 'report.html'}"])


def _amplification(result: ValidationReport) -> list[str]:
    """The loop's errors beside those of one step, where the run was teacher-forced."""
    loop, one = result.closed_loop, result.mse_vs_truth
    if loop is None or loop.mse_vs_truth is None or one is None:
        return []
    times = f", {loop.mse_vs_truth / one:.3g} times" if one > 0 else ""
    return [
        f"one step    RMSE {_number(one**0.5)}, MSE {_number(one)} against the truth; in closed loop, on the host, "
        f"RMSE {_number(loop.mse_vs_truth**0.5)}, MSE {_number(loop.mse_vs_truth)}{times}"
    ]


def _drift(result: ValidationReport) -> list[str]:
    """The first tenth of a long run beside the last."""
    if result.drift is None:
        return []
    rmse, bias, ticks = result.drift.rmse_vs_float, result.drift.bias_vs_float, result.drift.ticks
    return [
        f"drift       from the first to the last tenth: RMSE from float {_number(rmse[0])} to {_number(rmse[-1])} "
        f"({_number(result.drift.slope)} a step), its bias {_number(bias[0])} to {_number(bias[-1])}; "
        f"a step {_number(ticks[0])} to {_number(ticks[-1])} {result.latency.unit}"
    ]


def _cause(result: ValidationReport) -> list[str]:
    """Where a difference comes from, as far as it is known."""
    lines = []
    diverged = result.first_divergence
    if diverged is not None and diverged.operator is not None:
        at = diverged.operator
        lines.append(
            f"operator    evaluation {at.evaluation} of step {diverged.step}: {at.operator or 'input'} {at.tensor}, "
            f"channel {at.channel}: expected {at.expected}, got {at.got}; {at.wrong} of {at.codes} codes differ"
        )
    return lines if result.diagnosis is None else [*lines, f"likely      {result.diagnosis}"]


def _slowest(result: ValidationReport) -> list[str]:
    """The operators of a probe build that take longest."""
    if not result.operators:
        return []
    total = sum(item.ticks for item in result.operators)
    ranked = sorted(result.operators, key=lambda item: -item.ticks)[:SLOWEST]
    return ["operators   " + ", ".join(f"{item.tensor} {item.ticks / total:.0%}" for item in ranked)]


def prediction_table(prediction: Prediction) -> str:
    """What an image needs beside what its board has."""
    stack = prediction.stack or 0
    variables = f"variables, arena {prediction.arena:,} and states {prediction.states:,} among them"
    kept = f"{prediction.ram:,} {variables}; {stack:,} kept for the stack" if stack else variables
    needs = (
        ("flash", prediction.flash, prediction.flash_size, "code, tables, weights"),
        ("RAM", prediction.ram + stack, prediction.ram_size, kept),
        ("stack", prediction.stack_bound, prediction.stack, "at its deepest: " + " > ".join(prediction.stack_path)),
    )
    rows = [
        [name, f"{needed:,}", "-" if size is None else f"{size:,}", what]
        for name, needed, size, what in needs
        if needed is not None
    ]
    lines = [table(["", "needs", f"{prediction.board} has", ""], rows)]
    if prediction.modelled is not None:
        lines.append(f"time        {prediction.modelled.words}")
    return "\n".join([*lines, *(f"warning     {warning}" for warning in prediction.warnings)])


def flash_summary(result: FlashResult) -> tuple[dict[str, Any], str]:
    """(JSON object, text) of what a flash tool did."""
    body = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(result).items()}
    return body, ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in body.items())


def boards_table(boards: Sequence[Board]) -> tuple[list[dict[str, Any]], str]:
    """(JSON list, text) of the boards. modelled: whether milliseconds are, and how far they may be off."""
    from edge_tqs.boards.timing.modelled import model_of

    body = [
        {
            "name": board.name,
            "core": board.core,
            "clock_hz": board.clock_hz if board.bare_metal else None,
            "modelled": model_of(board) is not None,
            "proven": board.proven,
            "description": board.description,
        }
        for board in boards
    ]
    rows = [
        [
            board.name,
            board.core,
            f"{board.clock_hz / 1e6:g} MHz" if board.bare_metal else "-",
            "-" if (model := model_of(board)) is None else f"\N{PLUS-MINUS SIGN}{model.band * 100:.0f} %",
            board.proven,
            board.description,
        ]
        for board in boards
    ]
    return body, table(["board", "core", "clock", "modelled ms", "proven", ""], rows)


def ports_table(ports: Sequence[FoundPort]) -> tuple[list[dict[str, Any]], str]:
    """(JSON list, text) of the serial ports; the ids are hexadecimal as lsusb prints them."""
    if not ports:
        return [], "no serial port: is the board plugged in, and its cable not for charging only?"
    body = [asdict(port) | {"boards": list(port.boards)} for port in ports]
    rows = [
        [
            port.device,
            "-" if port.vid is None or port.pid is None else f"{port.vid:04x}:{port.pid:04x}",
            ", ".join(port.boards) or "-",
            port.description,
        ]
        for port in ports
    ]
    return body, table(["port", "usb", "may be", ""], rows)


def doctor_table(examination: Examination) -> tuple[dict[str, Any], str]:
    """(JSON object, text) of what is there and what is missing."""
    missing = [finding for finding in examination.findings if finding.found is None]
    body = {
        "complete": examination.complete,
        "findings": [asdict(finding) | {"boards": list(finding.boards)} for finding in examination.findings],
        "commands": list(examination.commands),
    }
    rows = [
        [
            "ok" if item.found is not None else "MISSING",
            item.name,
            item.purpose,
            item.found or f"install: {item.install}",
        ]
        for item in examination.findings
    ]
    lines = [table(["", "what", "what it does", "where"], rows), ""]
    if not missing:
        return body, "\n".join([*lines, "nothing is missing"])
    lines.append(f"{len(missing)} missing" + ("; to install what is:" if examination.commands else ""))
    return body, "\n".join([*lines, *(f"  {command}" for command in examination.commands)])


def _variants(values: Mapping[str, float | None]) -> str:
    return ", ".join(f"{name} {_number(value)}" for name, value in values.items())


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    whole = abs(value) >= 10_000 or (value == int(value) and abs(value) >= 1)
    return f"{value:,.0f}" if whole else f"{value:.4g}"


def _bytes(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,} B"
