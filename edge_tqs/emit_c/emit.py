"""The C of a model: model.c (tables and a list of kernel calls) and model.h (constants).

All other C is fixed and lies in firmware_templates: ``kernels/`` and ``core/tqs_model*``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from edge_tqs.emit_c.calls import Calls, loop_variable
from edge_tqs.emit_c.dense_kernels import PORTABLE, family
from edge_tqs.emit_c.fusion import Fusion, fusions
from edge_tqs.emit_c.memory import CODE_BYTES, WORD, MemoryPlan, Place, is_view, needed_ops, plan_memory
from edge_tqs.emit_c.tables import Kernel, Tables, kernel_of
from edge_tqs.emit_c.text import comment_lines, number, plain, string, wrap
from edge_tqs.errors import ModelError
from edge_tqs.graph.conversions import without_conversions
from edge_tqs.graph.graph import Graph, Scaling
from edge_tqs.graph.rescale import rescale_table
from edge_tqs.templates import fill, template_root

#: of the kernels that read codes of a type; those between the two are with int8's
HEADERS = {"int8": "tqs_kernels.h", "int16": "tqs_kernels_s16.h"}


@dataclass(frozen=True)
class GeneratedC:
    """files: text of model.c and model.h by name. kernels: the C files that model.c calls, sorted, relative to the
    template root ("kernels/tqs_fc_s8.c"). table_bytes: what the arrays of model.c take in flash: codes, what goes with
    each channel, and lookup tables.
    """

    files: Mapping[str, str]
    kernels: tuple[str, ...]
    table_bytes: int


def emit(graph: Graph, model_hash: str, name: str, core: str = PORTABLE) -> GeneratedC:
    """The C of an integer ``graph``.

    model_hash: 64 hexadecimal digits (docs/format.md). name: what firmware and reports call the model. core: the
    processor as boards name it, which decides the kernels; any but the Cortex-M get the portable ones. The text
    depends on the arguments alone.

    Raises:
        ModelError: The graph is not integer, or no kernel runs one of its operators.
        ValueError: ``model_hash`` is not a SHA-256.
    """
    _check(graph)
    graph = as_computed(graph, core)
    kernels = _kernels(graph, core)
    plan = _plan(graph, kernels)
    fused = fusions(graph, plan, kernels)
    tables = Tables(graph, core)
    source = _source(graph, plan, kernels, fused, tables, title := plain(name), model_hash)
    root = template_root()
    files = {
        "model.h": fill((root / "model.h.in").read_text(encoding="utf-8"), _header(graph, plan, title, name)),
        "model.c": fill((root / "model.c.in").read_text(encoding="utf-8"), source),
    }
    computed = {fusion.first for fusion in fused.values()}
    called = (fused[i].kernel if i in fused else kernel for i, kernel in kernels.items() if i not in computed)
    return GeneratedC(files, tuple(sorted({source for kernel in called for source in kernel.sources})), tables.bytes)


def as_computed(graph: Graph, core: str) -> Graph:
    """What the C for ``core`` computes of ``graph``, to the bit: without conversions that its kernels do not need."""
    return graph if family(core) == "neon" else without_conversions(graph)


def memory_plan(graph: Graph, core: str = PORTABLE) -> MemoryPlan:
    """Where the C of an integer ``graph`` for ``core`` keeps what it computes; scratch of its kernels included."""
    graph = as_computed(graph, core)
    return _plan(graph, _kernels(graph, core))


def _kernels(graph: Graph, core: str) -> dict[int, Kernel]:
    """The kernel of each operator that is not a view, by its index."""
    return {i: kernel_of(graph, op, core) for i, op in enumerate(graph.ops) if not is_view(graph, op)}


def _plan(graph: Graph, kernels: Mapping[int, Kernel]) -> MemoryPlan:
    return plan_memory(graph, _scratch(kernels))


def scratch_bytes(graph: Graph, core: str = PORTABLE) -> dict[int, int]:
    """What the kernels of an integer ``graph`` need beside its tensors while they run, by the operator's index."""
    return _scratch(_kernels(graph, core))


def _scratch(kernels: Mapping[int, Kernel]) -> dict[int, int]:
    return {i: WORD * (kernel.scratch + kernel.taps) for i, kernel in kernels.items()}


def probe_points(graph: Graph) -> tuple[str, ...]:
    """The tensors that a probe build tells of, by point: x, the states before an evaluation, what each operator writes.

    Views have no point: they are bytes of what they view.
    """
    written = [op.outputs[0] for op in graph.ops if not is_view(graph, op)]
    return (graph.input, *(state.input for state in graph.states), *written)


# --- checks -----------------------------------------------------------------------------------------------------------


def _check(graph: Graph) -> None:
    graph.check()
    forecast = graph.forecast
    forecast.check(graph.name, graph.tensors[graph.output].size)
    x = graph.tensors[graph.input]
    if (forecast.recurrence == "none") == bool(graph.states):
        raise ModelError(
            f"{graph.name}: recurrence {forecast.recurrence!r} does not go with {len(graph.states)} states"
        )
    expected = forecast.channels * (forecast.window if forecast.recurrence == "none" else 1)
    if x.size != expected:
        raise ModelError(f"{graph.name}: input {x.shape} does not fit its window and channels")
    for tensor in graph.tensors.values():
        if tensor.dtype == "float32":
            raise ModelError(
                f"{graph.name}: tensor {tensor.name} is float32, but C is emitted from integer graphs alone",
                hint="Quantise the graph first.",
            )
        if tensor.data is None and tensor.size > 0xFFFF:
            raise ModelError(f"{graph.name}: {tensor.name} has {tensor.size} values; the C kernels take 65535")
    ends = (graph.input, graph.output, *(name for state in graph.states for name in (state.input, state.output)))
    if len({graph.tensors[name].dtype for name in ends}) > 1:
        raise ModelError(f"{graph.name}: x, y and the states have codes of several types; the C takes one")
    alike = forecast.task == "reconstruction" or not (forecast.driven or graph.activations == "int8")
    loop = [(graph.input, graph.output)] if alike else []
    for a, b in [*loop, *((state.input, state.output) for state in graph.states)]:
        fed, source = graph.quant(a), graph.quant(b)
        if fed.zero_point != source.zero_point or not np.array_equal(fed.scale, source.scale):
            raise ModelError(f"{graph.name}: {b} is fed back to {a}, but has another scale or zero point")


# --- model.h ----------------------------------------------------------------------------------------------------------


def _header(graph: Graph, plan: MemoryPlan, title: str, name: str) -> dict[str, str]:
    forecast, code = graph.forecast, CODE_BYTES[graph.activations]
    columns = ", ".join(forecast.columns) or "not named"
    return {
        "TITLE": title,
        "COLUMNS": "\n".join(comment_lines(f"Channels of a sample: {columns}.")),
        "NAME": string(name),
        "WINDOW": str(forecast.window),
        "CHANNELS": str(forecast.channels),
        "OUTPUTS": str(forecast.outputs),
        "STEPS": str(forecast.steps),
        "EXOGENOUS": str(len(forecast.exogenous)),
        "HELD": str(len(forecast.held)),
        "DRIVEN": str(int(forecast.driven)),
        "TASK": forecast.task.upper(),
        "RECURRENCE": forecast.recurrence.upper(),
        "CODE_BITS": str(8 * code),
        "HISTORY": str(0 if forecast.recurrence == "stateful" else code * forecast.window * forecast.channels),
        "STATE_SIZE": str(plan.state_size),
        "ARENA_SIZE": str(max(1, plan.arena_size)),  # C has no empty arrays
        "ZERO_POINT": str(graph.quant(graph.input).zero_point),
        "OUTPUT_ZERO_POINT": str(graph.quant(graph.output).zero_point),
        "RESCALED": str(int(rescale_table(graph) is not None)),
    }


# --- model.c ----------------------------------------------------------------------------------------------------------


def _source(
    graph: Graph,
    plan: MemoryPlan,
    kernels: Mapping[int, Kernel],
    fused: Mapping[int, Fusion],
    tables: Tables,
    title: str,
    model_hash: str,
) -> dict[str, str]:
    digest = bytes.fromhex(model_hash)
    if len(digest) != 32:
        raise ValueError(f"model_hash has {len(digest)} bytes, not 32")
    writer = Calls(graph, plan, tables)
    points = {name: point for point, name in enumerate(probe_points(graph))}
    computed = {fusion.first for fusion in fused.values()}
    calls = {
        i: (writer.fused(i, fused[i]) if i in fused else writer.statement(i, kernel))
        + f"\n{writer.probe(points[name := graph.ops[i].outputs[0]], name)}"
        for i, kernel in kernels.items()
        if i not in computed
    }
    return {
        "TITLE": title,
        "SUMMARY": "\n".join(_summary(graph, plan)),
        "KERNELS": "\n".join(f'#include "{header}"' for header in _headers(graph)),
        "HASH": wrap(f"0x{byte:02x}" for byte in digest),
        "TABLES": "\n\n".join([*_channel_tables(graph), *tables.texts]),
        "FUNCTIONS": "\n\n".join(_functions(graph, plan, calls, writer)),
    }


def _headers(graph: Graph) -> list[str]:
    types = {graph.activations, *(graph.type_of(op) for op in graph.ops)}
    mixed = any(graph.tensors[name].dtype not in types for op in graph.ops for name in op.outputs) or len(types) > 1
    return [HEADERS[dtype] for dtype in HEADERS if dtype in types or (mixed and dtype == "int8")]


def _summary(graph: Graph, plan: MemoryPlan) -> list[str]:
    forecast = graph.forecast
    weights = dict.fromkeys(op.inputs[1] for op in graph.ops if op.signature.is_weighted)
    kept = {
        "none": "looks at the whole window",
        "windowed": "runs through the window from zero states for each forecast step",
        "stateful": "carries its states from sample to sample",
    }[forecast.recurrence]
    lines = comment_lines(
        f"Window of {forecast.window} samples of {forecast.channels} channels; {kept}. {_predicts(graph)}"
        f"States: {plan.state_size} bytes. Arena: {plan.arena_size} bytes."
    )
    lines += [
        " *",
        " * Weights of dense layers and convolutions (the inputs of all taps), in order:",
        " *   inputs  outputs  weights  bytes  tensor",
    ]
    for weight in (graph.tensors[name] for name in weights):
        rows = weight.shape[0]
        inputs = weight.size // rows
        size = (weight.size + 1) // 2 if weight.dtype == "int4" else weight.size
        lines.append(f" *   {inputs:6}  {rows:7}  {weight.dtype:>7}  {size:5}  {plain(weight.name)}")
    return lines


def _predicts(graph: Graph) -> str:
    """What is not one sample of all channels, said in a sentence; else nothing."""
    forecast = graph.forecast
    if forecast.driven:
        return f"Nothing is fed back: an evaluation gives {forecast.outputs} values. "
    if forecast.steps == 1 and forecast.outputs == forecast.channels:
        return ""
    return (
        f"An evaluation predicts {forecast.steps} samples of {forecast.outputs} channels; "
        f"{len(forecast.exogenous)} channels are known ahead. "
    )


def _channel_tables(graph: Graph) -> list[str]:
    """What tqs_model.c and tqs_model_float.c read, see tqs_graph.h."""
    forecast = graph.forecast
    count = forecast.channels
    scaling = forecast.scaling or Scaling((0.0,) * count, (1.0,) * count)
    scale = float(graph.quant(graph.input).scale[0])
    of_outputs, output_scale = forecast.scaling_of_outputs(), float(graph.quant(graph.output).scale[0])
    known = {channel: forecast.outputs + index for index, channel in enumerate(forecast.exogenous)}
    known |= dict.fromkeys(forecast.held, forecast.outputs + len(forecast.exogenous))
    fed = [known[i] if source is None else source for i, source in enumerate(forecast.feedback)]
    steps, output_steps = [scale * std for std in scaling.std], [output_scale * std for std in of_outputs.std]
    numbers = np.array([*scaling.mean, *of_outputs.mean, *steps, *output_steps], np.float32)
    if not np.isfinite(numbers).all() or np.array([*steps, *output_steps], np.float32).min() <= 0:
        raise ModelError(
            f"{graph.name}: the scaling is not finite, or a standard deviation is not positive",
            hint="Look for a constant or an empty column in the data.",
        )
    rescaled = rescale_table(graph)
    table = [] if rescaled is None else [f"const int8_t tqs_rescaled[256] = {{\n{wrap(map(str, rescaled))}\n}};"]
    return [
        *table,
        f"const uint16_t tqs_feedback[TQS_CHANNELS] = {{\n{wrap(map(str, fed))}\n}};",
        _floats("tqs_sample_mean", scaling.mean),
        _floats("tqs_sample_step", steps),
        _floats("tqs_output_mean", of_outputs.mean, "TQS_OUTPUTS"),
        _floats("tqs_output_step", output_steps, "TQS_OUTPUTS"),
        f"const float tqs_code_step = {number(scale)};",
    ]


def _floats(name: str, values: Iterable[float], size: str = "TQS_CHANNELS") -> str:
    return f"const float {name}[{size}] = {{\n{wrap(number(value) for value in values)}\n}};"


def _functions(graph: Graph, plan: MemoryPlan, calls: dict[int, str], writer: Calls) -> list[str]:
    x, y, arena = "const tqs_code_t *x", "tqs_code_t *y", "tqs_code_t *arena"
    state = ["tqs_code_t *state"] if graph.states else []
    begin = [writer.probe(point, name) for point, name in enumerate(probe_points(graph)[: 1 + len(graph.states)])]
    run = [*begin, *calls.values(), *map(writer.copy, plan.copies)]
    functions = [_function("tqs_graph_run", [x, *state, y, arena], run)]
    if graph.forecast.recurrence == "windowed" or (graph.states and graph.forecast.steps > 1):
        needed = needed_ops(graph, [s.output for s in graph.states])
        advance = [*begin, *(calls[index] for index in needed if index in calls)]
        advance += [writer.copy(moved) for moved in plan.copies if moved.target.region != "y"]
        functions.append(_function("tqs_graph_advance", [x, *state, arena], advance))
    if graph.states:
        # The zero point of int16 codes is 0, in either byte.
        reset = [
            f"    /* {plain(s.name)[:108]} */\n"
            f"    memset({writer.pointer(Place('state', plan.state_offsets[s.name], 0))}, "
            f"{graph.quant(s.input).zero_point}, {CODE_BYTES[graph.activations] * graph.tensors[s.input].size});"
            for s in graph.states
        ]
        functions.append(_function("tqs_graph_reset", state, reset))
    return functions


def _function(name: str, parameters: list[str], statements: list[str]) -> str:
    body = "\n".join(statements)
    code = re.sub(r"/\*.*?\*/", "", body)
    unused = [p for p in (parameter.split("*")[-1] for parameter in parameters) if not re.search(rf"\b{p}\b", code)]
    ignored = [f"    (void){parameter};" for parameter in unused]
    head = f"void {name}({', '.join(parameters)}) {{"
    return "\n".join([head, *loop_variable(statements), *ignored, body, "}"])
