"""report.html: one file without scripts or references to anything outside; every plot has a table of its figures."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from edge_tqs.report.board_runs import BoardRuns
from edge_tqs.report.build_report import BuildReport
from edge_tqs.report.choice_report import costs
from edge_tqs.report.figure_table import figure_cells
from edge_tqs.report.format import Series
from edge_tqs.report.html import TIMES, count, figure, section, share, table
from edge_tqs.report.page_board import board_section, boards_section
from edge_tqs.report.plot import STYLE, Bar, Line, bar_plot, line_plot
from edge_tqs.report.validation_report import ValidationReport
from edge_tqs.report.verdict import verdict

_CSS = """
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink)}
body{font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}
main{max-width:1000px;margin:0 auto;padding:32px 20px 56px}
h1{font-size:26px;line-height:1.2;margin:0 0 4px}
h2{font-size:18px;margin:40px 0 12px;padding-top:20px;border-top:1px solid var(--grid)}
p{margin:8px 0}.soft,figcaption,caption,summary{color:var(--soft)}
code,.hash{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:13px;overflow-wrap:anywhere}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(148px,1fr));gap:12px;margin:24px 0 0;padding:0}
.cards div{border:1px solid var(--grid);border-radius:8px;padding:12px 14px}
.cards dt{color:var(--soft);font-size:13px}.cards dd{margin:2px 0 0;font-size:18px;font-weight:600;line-height:1.25}
.cards small{display:block;color:var(--soft);font-size:13px;font-weight:400}
.verdict{display:inline-block;margin:14px 0 0;padding:6px 12px;border-radius:8px;border:2px solid;font-weight:600}
.good{color:var(--mixed)}.bad{color:var(--int4)}.open{color:var(--soft)}
.warn{border-left:4px solid var(--int4);padding:2px 0 2px 14px;margin:20px 0}
figure{margin:16px 0 24px}figure svg{width:100%;height:auto;display:block}figcaption{font-size:14px;margin-top:4px}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:14px}
th,td{padding:5px 0 5px 12px;text-align:right;border-bottom:1px solid var(--grid);overflow-wrap:anywhere}
th:first-child,td:first-child{padding-left:0}
th:first-child,td:first-child,.few{white-space:nowrap}
th:first-child,td:first-child{text-align:left}tbody th{font-weight:400}
thead th{color:var(--soft);font-weight:500}caption{text-align:left}
details{margin-top:6px}summary{cursor:pointer;font-size:14px}
@media screen and (max-width:760px){
main{padding:20px 14px 40px}
th:first-child,td:first-child,.few{white-space:normal}
.wide thead{display:none}
.wide tr{display:grid;grid-template-columns:1fr 1fr;padding:6px 0;border-bottom:1px solid var(--grid)}
.wide tbody th{grid-column:1/-1;font-weight:600;text-align:left}
.wide tbody th,.wide td{border:0;padding:1px 12px 1px 0;text-align:left}
.wide td::before{content:attr(data-label) ": ";color:var(--soft)}
figure{overflow:hidden}figure svg text{font-size:1.9em}
}
@media print{details{display:none}main{max-width:none;padding:0}
table{font-size:11px}th,td{padding:3px 0 3px 6px}th:first-child,td:first-child,.few{white-space:normal}
figure,tr{break-inside:avoid}}
"""


def page(build: BuildReport, validation: ValidationReport | None, runs: BoardRuns | None = None) -> str:
    """The whole page; the same reports give the same bytes.

    With ``runs``, of several boards, the curves are those of the first board that did not pass, else of the first.
    """
    if runs is not None:
        reports = [run.report for run in runs.boards if run.report is not None]
        validation = next((item for item in reports if not item.passed), reports[0] if reports else None)
    title = f"{build.model.name} on {build.board}"
    sections = [
        _head(build, validation, runs),
        _warnings(build.warnings),
        _cards(build, validation),
        _figures(build),
        _choice(build),
        "" if runs is None else boards_section(runs),
        _widths(build),
        _divergence(build, validation),
        _truth(build, validation),
        _example(build, validation),
        board_section(build, validation),
        _checks(build),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)} - edge-tqs report</title>\n<style>\n{STYLE}{_CSS.strip()}\n</style>\n</head>\n"
        "<body>\n<main>\n" + "\n".join(part for part in sections if part) + "\n</main>\n</body>\n</html>\n"
    )


def _head(build: BuildReport, validation: ValidationReport | None, runs: BoardRuns | None) -> str:
    model = build.model
    loop = {
        "none": f"the window of {model.window} samples is the input of every step",
        "windowed": f"each step runs the recurrent part over the {model.window} latest samples, from zero states",
        "stateful": "the states are carried on from step to step",
    }[model.recurrence]
    if model.streamed:
        loop = f"streamed: {loop}"
    if model.steps > 1:
        loop += f"; an evaluation predicts {model.steps} samples"
    for what, channels in (("known ahead", model.exogenous), ("held at the last value", model.held)):
        names = [model.columns[channel] if model.columns else str(channel) for channel in channels]
        loop += f"; {what}: {', '.join(names)}" if names else ""
    if (model.target, model.centre) != ("level", "none"):
        loop += f"; target {model.target}, centre {model.centre}"
    answer = verdict(build)
    if validation is None:
        state, words = "open", "Not validated on the board yet: run edge-tqs validate"
    elif validation.bit_exact and validation.passed:
        state, words = "good", f"✓ Bit-exact on {validation.board}: all {count(validation.steps)} steps agree"
    elif validation.passed:
        state, words = "good", f"✓ {validation.board} is within the tolerance of its runtime ({validation.engine})"
    elif validation.bit_exact:
        state, words = "bad", f"✗ Bit-exact on {validation.board}, and failed: {' '.join(validation.failures)}"
    else:
        state, words = "bad", f"✗ {validation.board} differs from the host's integer rollout"
    if validation is not None and (failed := [check.name for check in validation.checks if not check.passed]):
        state, words = "bad", f"✗ {validation.board} does not keep its protocol: {', '.join(failed)}"
    if runs is not None:
        failed = [run.port for run in runs.boards if not run.passed]
        state, words = "good", f"✓ All {len(runs.boards)} boards passed"
        if failed:
            state, words = "bad", f"✗ {len(failed)} of {len(runs.boards)} boards failed: {', '.join(failed)}"
    return (
        f"<header>\n<h1>{escape(model.name)} on {escape(build.board)}</h1>\n"
        f'<p class="soft">{count(model.parameters)} parameters, {model.channels} '
        f"channel{'s' if model.channels != 1 else ''}"
        f"{' (' + escape(', '.join(model.columns)) + ')' if model.columns else ''}; {escape(loop)}. "
        f"{escape(_rolled(build))}, {build.host.rollouts} rollouts on the host.</p>\n"
        f'<p class="soft">Model <span class="hash">{escape(model.hash)}</span></p>\n'
        f'<p class="verdict {answer.state}">May I deploy this? {escape(answer.words)}</p>\n'
        f'<p class="verdict {state}">{escape(words)}</p>\n{_first_divergence(validation)}</header>'
    )


def _rolled(build: BuildReport) -> str:
    horizon = build.host.horizon
    if build.model.kind == "closed loop":
        return f"Closed loop over {horizon} steps"
    return f"{build.model.kind.capitalize()}: nothing is fed back; rolling origin of {horizon} measured samples"


def _figures(build: BuildReport) -> str:
    """What the forecast is worth, by output and lead; RMSE first, all else folded away."""
    figures = build.host.figures
    if figures is None:
        return ""
    first = [row for row in figures.rows if row.measure not in ("mae", "mase")]
    season = "" if figures.season is None else f" Seasonal: the value {figures.season} samples before."
    note = (
        f"{figures.windows} windows that nothing was fitted to, {figures.steps} steps of each. Persistence: the last "
        f"value again.{season} 90 %: where mixed would lie with other windows. MASE: MAE over the mean step from one "
        "value to the next in the training part."
    )
    shown = table(*figure_cells(figures, first))
    rest = [row for row in figures.rows if row.measure in ("mae", "mase")]
    more = f"<details><summary>MAE and MASE</summary>{table(*figure_cells(figures, rest))}</details>" if rest else ""
    return section("What the forecast is worth", f'<p class="soft">{escape(note)}</p>\n{shown}{more}')


def _choice(build: BuildReport) -> str:
    """Why it was built like this, what that costs, and what the neighbours were measured to cost."""
    choice = build.choice
    if choice is None:
        return ""
    cost = costs(build.host.figures, build.host.mse_vs_truth)
    said = "".join(f"<p>{escape(text)}.</p>\n" for text in (_capital(choice.reason()), cost) if text)
    rows = [
        [item.option or "as built", item.words, choice.added(item), item.size, "yes" if item.fits else "no"]
        for item in (choice.chosen, *choice.others)
    ]
    head = ["option", "what it is", "added error", "takes", "fits"]
    return section("What was chosen, and what else there is", f"{said}{table(head, rows)}")


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _first_divergence(validation: ValidationReport | None) -> str:
    if validation is None or validation.first_divergence is None:
        return ""
    first = validation.first_divergence
    what = "the states" if first.channel is None else f"channel {first.channel}"
    return (
        f"<p>First difference: rollout {first.rollout}, step {first.step}, {what}: "
        f"expected <code>{first.expected}</code>, got <code>{first.got}</code>.</p>\n{_cause(validation)}"
    )


def _cause(validation: ValidationReport) -> str:
    first = validation.first_divergence
    at = None if first is None else first.operator
    where = ""
    if at is not None:
        where = (
            f"<p>It comes from evaluation {at.evaluation} of that step: {at.operator or 'input'} "
            f"<code>{escape(at.tensor)}</code>, channel {at.channel}: expected <code>{at.expected}</code>, got "
            f"<code>{at.got}</code>; {count(at.wrong)} of {count(at.codes)} codes differ.</p>\n"
        )
    return where + ("" if validation.diagnosis is None else f"<p>Likely: {escape(validation.diagnosis)}.</p>\n")


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    items = "".join(f"<p>{escape(text)}</p>" for text in warnings)
    return f'<section class="warn" aria-label="Warnings">{items}</section>'


def _cards(build: BuildReport, validation: ValidationReport | None) -> str:
    size, divergence = build.bytes, build.host.divergence
    budget = f"budget {count(size.budget)} B" if size.budget is not None else "no budget"
    cards = [
        ("Weights", f"{count(size.mixed)} B", f"{share(size.mixed, size.int8)} of all-int8; {budget}"),
        ("model.tflite", f"{count(size.tflite)} B", f"float32 weights alone: {count(size.float32)} B"),
        (
            "RMSE against float",
            figure(divergence.mixed),
            f"model's units; all-int8 {figure(divergence.int8)}, all-int4 {figure(divergence.int4)}",
        ),
    ]
    if build.host.mse_vs_truth is not None:
        truth = build.host.mse_vs_truth
        cards.append(
            (
                "MSE against truth",
                figure(truth.mixed),
                f"model's units²; float {figure(truth.float)}, all-int4 {figure(truth.int4)}",
            )
        )
    if validation is not None and validation.latency.p50 is not None:
        latency = validation.latency
        block = "" if latency.evaluation is None else f"one evaluation: {figure(latency.evaluation)}, "
        cards.append(
            (
                "One step, median",
                f"{figure(latency.p50)} {latency.unit}",
                f"{block}95 %: {figure(latency.p95)}, most: {figure(latency.max)}",
            )
        )
    if build.modelled is not None:
        time = build.modelled
        per = "one step" if time.steps == 1 else f"one evaluation, for {time.steps} steps"
        cards.append(
            (
                "Modelled, not measured",
                f"{figure(time.milliseconds)} ms",
                f"{per}, at {time.clock_hz / 1e6:g} MHz; \N{PLUS-MINUS SIGN}{time.band * 100:.0f} %",
            )
        )
    items = "\n".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(note)}</small></dd></div>"
        for name, value, note in cards
    )
    return f'<dl class="cards">\n{items}\n</dl>'


def _widths(build: BuildReport) -> str:
    bars = [
        Bar(tensor.name, f"int{tensor.width}", tensor.tqs, f"{tensor.width} bits, {count(tensor.bytes)} B")
        for tensor in build.tensors
    ]
    wide = [tensor.name for tensor in build.tensors if tensor.width == max(t.width for t in build.tensors)]
    svg = bar_plot(
        bars,
        ident="tqs",
        title="Sensitivity of each weight (TQS), by the width it was given",
        description="Horizontal bars on a logarithmic axis; the table below holds the same figures. "
        f"Widest: {', '.join(wide)}.",
        x_label="TQS: mean squared rollout error under noise of 6 bits (logarithmic)",
        legend=[(f"{width} bits", f"int{width}") for width in (8, 4)],
    )
    rows = [
        (
            t.name,
            TIMES.join(map(str, t.shape)),
            f"{t.width}{', one scale' if t.scales == 'tensor' else ''}",
            count(t.bytes),
            figure(t.tqs),
        )
        for t in build.tensors
    ]
    weights = table(("weight", "shape", "bits", "bytes", "TQS"), rows)
    size = build.bytes
    sizes = table(
        ("", "float32", "int8", "int4", "mixed", "budget"),
        [("bytes of all weights", *(count(v) for v in (size.float32, size.int8, size.int4, size.mixed, size.budget)))],
    )
    caption = "The longer the bar, the more noise in this weight moves the rollout."
    return section("Weights", _plot(svg, caption, weights, is_open=True) + sizes)


def _divergence(build: BuildReport, validation: ValidationReport | None) -> str:
    curves = build.host.curves.divergence
    lines = [
        Line("int8", "int8", curves.int8, 1, dash="7 3"),
        Line("int4", "int4", curves.int4, 1, dash="2 3"),
        Line("mixed", "mixed", curves.mixed, 1),
    ]
    if validation is not None:
        lines.append(_board_line(build, validation, validation.curves.rmse_vs_float))
    figures = build.host.divergence
    lines = [line for line in lines if line.values]
    svg = line_plot(
        lines,
        ident="divergence",
        title="How far the rollout is from the float model's",
        description=f"RMSE at each of {build.host.horizon} steps; over all steps int8 {figure(figures.int8)}, "
        f"int4 {figure(figures.int4)}, mixed {figure(figures.mixed)}.",
        x_label=_x_label(build),
        y_label="RMSE against float, model's units",
        from_zero=True,
    )
    caption = f"Model's units, over channels and {build.host.rollouts} rollouts on the host."
    return section("Rollout error", _plot(svg, caption, _step_table(lines)) + _causes(build))


def _x_label(build: BuildReport) -> str:
    return "step of the rollout" if build.model.kind == "closed loop" else "sample of the rolling origin"


def _causes(build: BuildReport) -> str:
    causes, divergence = build.host.causes, build.host.divergence
    if causes is None:
        return ""
    rows = [
        ("weights rounded, activations float: from float", causes.weights),
        (f"activations {build.model.activations} as well: from that", causes.activations),
        ("both: from float", divergence),
    ]
    shown = [(what, *(figure(v) for v in (figures.int8, figures.int4, figures.mixed))) for what, figures in rows]
    loop = build.model.kind == "closed loop"
    why = "the loop amplifies each along with the other" if loop else "errors of the two may cancel"
    note = f"<p>RMSE over all steps, model's units. The parts do not add up: {why}.</p>\n"
    ranges = "" if build.host.ranges is None else f"<p>Ranges of activations: {escape(build.host.ranges.words)}.</p>\n"
    int16 = ", ".join(build.model.int16_activations)
    wide = f"<p>Activations with int16 codes among int8 ones: {escape(int16)}.</p>\n" if int16 else ""
    return table(("what is rounded", "int8", "int4", "mixed"), shown) + note + wide + ranges


def _board_label(build: BuildReport, validation: ValidationReport) -> str:
    """Over other rollouts than the host's, or fed the truth, the board's curve lies elsewhere though it is bit-exact:
    say so."""
    words = ["on the board"]
    if validation.rollouts != build.host.rollouts:
        words.append(f"{validation.rollouts} rollouts")
    if validation.mode == "teacher-forced":
        words.append(validation.mode)
    if validation.curves.every > 1:
        words.append(f"over {validation.curves.every} steps each")
    return ", ".join(words)


def _board_line(build: BuildReport, validation: ValidationReport, values: Series) -> Line:
    every = validation.curves.every
    return Line(_board_label(build, validation), "device", values, every, marks=8, every=every)


def _truth(build: BuildReport, validation: ValidationReport | None) -> str:
    curves, figures = build.host.curves.mse_vs_truth, build.host.mse_vs_truth
    if curves is None or figures is None:
        return ""
    lines = [
        Line("float", "float", curves.float, 1),
        Line("int8", "int8", curves.int8, 1, dash="7 3"),
        Line("int4", "int4", curves.int4, 1, dash="2 3"),
        Line("mixed", "mixed", curves.mixed, 1),
    ]
    if validation is not None and validation.curves.mse_vs_truth is not None:
        lines.append(_board_line(build, validation, validation.curves.mse_vs_truth))
    lines = [line for line in lines if line.values]
    svg = line_plot(
        lines,
        ident="truth",
        title="Error against what really followed",
        description=f"MSE at each of {build.host.horizon} steps; over all steps float {figure(figures.float)}, "
        f"int8 {figure(figures.int8)}, int4 {figure(figures.int4)}, mixed {figure(figures.mixed)}.",
        x_label=_x_label(build),
        y_label="MSE against truth, model's units squared",
        from_zero=True,
    )
    caption = f"Model's units squared, over channels and {build.host.rollouts} rollouts on the host."
    return _plot(svg, caption, _step_table(lines))


def _example(build: BuildReport, validation: ValidationReport | None) -> str:
    example = build.host.curves.example
    if example is None:
        return ""
    lines = [Line("seed", "soft", example.seed, 1 - len(example.seed))]
    if example.truth is not None:
        lines.append(Line("truth", "truth", example.truth, 1))
    lines += [
        Line("float", "float", example.float, 1),
        Line("int4", "int4", example.int4, 1, dash="2 3"),
        Line("mixed", "mixed", example.mixed, 1),
    ]
    if validation is not None and validation.curves.example is not None:
        forced = f", {validation.mode}" if validation.mode == "teacher-forced" else ""
        lines.append(Line(f"on the board{forced}", "device", validation.curves.example, 1, marks=8))
    unit = "" if example.unit == "physical" else " (normalised)"
    fed = "their own predictions" if build.model.kind == "closed loop" else "what was measured"
    lines = [line for line in lines if line.values]
    svg = line_plot(
        lines,
        ident="example",
        title=f"One rollout: {example.column}",
        description=f"The seed window, then {len(example.float)} steps fed with {fed}.",
        x_label="step; up to 0 the seed window",
        y_label=f"{example.column}{unit}",
    )
    return _plot(svg, "Left of the dotted line: the window that the rollout starts from.", _step_table(lines[1:]))


def _checks(build: BuildReport) -> str:
    host = build.host
    exact = {True: "yes", False: "NO", None: "not compared"}[host.tflm_bit_exact]
    rows = [
        ("float graph against the model file, largest difference", figure(host.float_vs_keras_max_abs)),
        ("integer reference equals tflite-micro bit for bit", exact),
        (
            "RMSE of ai-edge-litert against it",
            "not installed" if host.litert_rmse is None else figure(host.litert_rmse),
        ),
    ]
    read = "".join(f"<p>{escape(fact)}</p>" for fact in build.data)
    return section("Checks on the host", table(("check", "result"), rows) + read)


def _plot(svg: str, caption: str, table: str, *, is_open: bool = False) -> str:
    shown = " open" if is_open else ""
    return (
        f"<figure>\n{svg}<figcaption>{escape(caption)}</figcaption>\n"
        f"<details{shown}><summary>The figures as a table</summary>{table}</details>\n</figure>"
    )


def _step_table(lines: Sequence[Line]) -> str:
    """Every eighth value of each line, its first and its last."""
    shown: set[int] = set()
    for line in lines:
        last = len(line.values)
        shown.update(number * line.every for number in range(1, last + 1) if number % 8 == 0 or number in (1, last))
    rows = [(str(step), *(_at(line, step) for line in lines)) for step in sorted(shown)]
    return table(("step", *(line.label for line in lines)), rows)


def _at(line: Line, step: int) -> str:
    number, rest = divmod(step, line.every)
    return figure(line.values[number - 1]) if rest == 0 and 0 < number <= len(line.values) else "-"
