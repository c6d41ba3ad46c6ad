"""What report.html says of the board: the run, its memory and time, what its protocol promises, its operators."""

from __future__ import annotations

from html import escape

from edge_tqs.report.board_runs import BoardRun, BoardRuns
from edge_tqs.report.build_report import BuildReport
from edge_tqs.report.html import TIMES, count, figure, section, share, size, table
from edge_tqs.report.validation_report import ValidationReport


def board_section(build: BuildReport, validation: ValidationReport | None) -> str:
    """What a validation measured; of the image alone where there was none."""
    rows: list[tuple[str, str]] = []
    if build.image is not None:
        image = build.image
        rows += [
            ("image: text + rodata", f"{count(image.text)} + {count(image.rodata)} B"),
            ("image: data + bss", f"{count(image.data)} + {count(image.bss)} B"),
            ("largest stack frame", f"{count(image.largest_frame)} B, {image.largest_frame_function}"),
        ]
        if image.stack_bound is not None:
            path = " > ".join(image.stack_path)
            rows.append(("stack, at most", f"{count(image.stack_bound)} of {count(image.stack or 0)} B: {path}"))
    modelled = _modelled(build)
    if validation is None:
        return section("On the board", table(("memory", ""), rows) + modelled) if rows else ""
    memory, latency = validation.memory, validation.latency
    rows += [
        ("flash", size(memory.flash)),
        ("RAM, static", size(memory.ram)),
        ("stack, deepest seen", size(memory.stack_peak)),
    ]
    ticks = [
        ("counter", f"{latency.counter}, {count(latency.hz)} Hz" + (" (emulated)" if latency.emulated else "")),
        ("one step: median", f"{figure(latency.p50)} {latency.unit}"),
        ("one step: mean", f"{figure(latency.mean)} {latency.unit}"),
        ("95 % of steps within", f"{figure(latency.p95)} {latency.unit}"),
        ("99 % of steps within", f"{figure(latency.p99)} {latency.unit}"),
        ("slowest step", f"{figure(latency.max)} {latency.unit}"),
    ]
    if latency.evaluation is not None:
        ticks.append(("one evaluation (a block of steps): median", f"{figure(latency.evaluation)} {latency.unit}"))
    if latency.beside:
        ticks.append(("one evaluation", latency.beside))
    note = ""
    if latency.instructions is not None:
        ticks.append(("instructions of one step, median", figure(latency.instructions)))
        if latency.evaluation_instructions is not None:
            ticks.append(("instructions of one evaluation, median", figure(latency.evaluation_instructions)))
        note = '<p class="soft">Emulated: the counter follows instructions, not milliseconds.</p>'
    run = [
        ("port", validation.port),
        (f"rollouts {TIMES} steps", f"{validation.rollouts} {TIMES} {validation.horizon}, {validation.mode}"),
        ("line", validation.line.sentence()),
        ("computed by", "the generated C" if validation.engine == "c" else validation.engine),
        ("RMSE against float, model's units", figure(validation.rmse_vs_float)),
        ("MSE against truth, model's units squared", figure(validation.mse_vs_truth)),
    ]
    if validation.closed_loop is not None:
        loop = validation.closed_loop
        run += [
            ("RMSE against float in closed loop, on the host", figure(loop.rmse_vs_float)),
            ("MSE against truth in closed loop, on the host", figure(loop.mse_vs_truth)),
        ]
    tables = table(("run", ""), run) + table(("memory", ""), rows) + table(("time", ""), ticks)
    checks = [(check.name, "yes" if check.passed else "NO", check.detail) for check in validation.checks]
    tables += table(("the board keeps its protocol", "", ""), checks) if checks else ""
    return section(
        f"On the board: {validation.board}", tables + note + modelled + _drift(validation) + _operators(validation)
    )


def _modelled(build: BuildReport) -> str:
    """What an evaluation is modelled to take, by operator."""
    time = build.modelled
    if time is None:
        return ""
    rows = [
        (
            item.tensor or "between operators",
            item.kind or "-",
            count(item.instructions),
            count(item.cycles),
            f"{1e3 * item.cycles / time.clock_hz:.3g}",
            share(item.cycles, time.cycles),
        )
        for item in time.operators
    ]
    head = ("operator's output", "kind", "instructions", "cycles, modelled", "ms, modelled", "share")
    note = (
        f"{time.words[0].upper()}{time.words[1:]}: {count(time.instructions)} instructions of one evaluation, "
        f"counted in an emulator, under the timings of {time.source} and of the board's flash. Not measured."
    )
    return f'<p class="soft">{escape(note)}</p>\n{table(head, rows)}'


def _drift(validation: ValidationReport) -> str:
    """The tenths of a long run."""
    drift = validation.drift
    if drift is None:
        return ""
    head = (
        "tenth of the steps",
        "RMSE from float, model's units",
        "bias",
        "RMSE from the host",
        f"one step, {validation.latency.unit}",
    )
    tenths = zip(drift.rmse_vs_float, drift.bias_vs_float, drift.rmse_vs_host, drift.ticks, strict=True)
    rows = [(str(number), *map(figure, tenth)) for number, tenth in enumerate(tenths, 1)]
    slope = figure(drift.slope)
    note = f"Over the run the RMSE from float changes by {slope} a step, as the line through the tenths has it."
    return f'{table(head, rows)}<p class="soft">{escape(note)}</p>\n'


def _operators(validation: ValidationReport) -> str:
    """What each operator of a probe build took."""
    if not validation.operators:
        return ""
    unit, total = validation.latency.unit, sum(item.ticks for item in validation.operators)
    counted = any(item.instructions is not None for item in validation.operators)
    rows = [
        (item.tensor, item.operator, count(item.ticks), share(item.ticks, total))
        + ((figure(item.instructions),) if counted else ())
        for item in validation.operators
    ]
    head = ("operator's output", "kind", unit, "share") + (("guest instructions",) if counted else ())
    note = f"One evaluation of the graph, counted with {validation.latency.counter}, the telling of it included."
    return f'<p class="soft">{escape(note)}</p>\n{table(head, rows)}'


def boards_section(runs: BoardRuns) -> str:
    """Several boards side by side, and why those without a report have none."""
    head = ("port", "board", "passed", "bit-exact", "RMSE against float", "one step, median", "RAM", "stack", "line")
    why = [f"<p>{escape(run.why)}</p>" for run in runs.boards if run.why]
    return section("Boards side by side", table(head, map(_side, runs.boards)) + "\n".join(why))


def _side(run: BoardRun) -> tuple[str, ...]:
    found = run.report
    if found is None:
        return (run.port, "-", "NO", *("-" * 6))
    return (
        run.port,
        found.board,
        "yes" if found.passed else "NO",
        "yes" if found.bit_exact else "NO",
        figure(found.rmse_vs_float),
        f"{figure(found.latency.p50)} {found.latency.unit}",
        count(found.memory.ram),
        count(found.memory.stack_peak),
        found.line.sentence(),
    )
