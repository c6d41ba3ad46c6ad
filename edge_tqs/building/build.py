"""`edge-tqs build`: from a Keras forecaster to firmware for a board, with the evidence beside it.

The pipeline of DESIGN.md: read, score, plan, quantize, write, evaluate, emit, compile, report. This module calls the
steps and decides nothing that one of them could decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_tqs.boards.board import Board
from edge_tqs.boards.firmware import Image, assemble, check_toolchain, compile_firmware, compile_library
from edge_tqs.building import evaluate, figures, sanity
from edge_tqs.building.choose import PlanRequest
from edge_tqs.building.folder import directory as build_dir
from edge_tqs.building.folder.manifest import write_manifest
from edge_tqs.building.folder.reserved import write_last, written
from edge_tqs.building.gateway.clocks import told
from edge_tqs.building.gateway.config import config
from edge_tqs.building.gateway.facts import facts
from edge_tqs.building.quantized import QuantizedModel, quantize_model
from edge_tqs.building.scored import Source
from edge_tqs.building.selection.modelled_time import modelled_or_warned
from edge_tqs.building.selection.said import costly, reported
from edge_tqs.emit_c.emit import emit
from edge_tqs.errors import CheckError
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.flatbuffer.form import FOR_ALL, FileForm
from edge_tqs.graph.graph import Forecast
from edge_tqs.progress import Progress
from edge_tqs.quantization.range_search import Narrowed
from edge_tqs.report.build_report import BuildReport, ByteReport, ImageReport, Kind, ModelInfo, TensorReport
from edge_tqs.report.figures import Figures
from edge_tqs.report.files import write_report
from edge_tqs.report.format import VALIDATION_JSON
from edge_tqs.report.host_report import HostReport, NarrowedRange, Narrowing, Sanity
from edge_tqs.report.modelled_time import ModelledTime


def build(
    source: Source,
    plan_request: PlanRequest,
    board: Board,
    out: Path,
    progress: Progress,
    *,
    probe: bool = False,
    force: bool = False,
    form: FileForm = FOR_ALL,
) -> BuildReport:
    """Run the whole pipeline into ``out`` (made if need be) and return its report; ``probe`` as in assemble.

    Raises:
        UsageError, ModelError: the input is wrong. ToolError: a compiler is missing (checked first).
        CheckError: the emitted model does not compute what tflite-micro computes; without ``force`` also where it is
            no longer the float model (`sanity`), or by its data another thing than was said (`doubts`). Nothing is
            written then.
    """
    quantized = quantize_model(source, plan_request, progress, board, form)
    return build_quantized(quantized, board, out, progress, probe=probe, force=force)


def build_quantized(
    quantized: QuantizedModel,
    board: Board,
    out: Path,
    progress: Progress,
    *,
    probe: bool = False,
    force: bool = False,
) -> BuildReport:
    """The part of `build` from a quantised model on. Raises ToolError and CheckError as `build`."""
    if quantized.request.refuted and not force:
        raise CheckError(
            f"{quantized.graph.name}: by the data it forecasts another thing than was said. "
            + " ".join(quantized.request.refuted),
            hint="Change that line of edge-tqs.toml; --force builds it as it was said.",
        )
    check_toolchain(board)
    graph, windows, model = quantized.graph, quantized.windows, quantized.flatbuffer
    horizon = quantized.request.horizon

    progress("evaluating the rollouts", 0, 1)
    held_out, truth = windows.evaluation, windows.truth
    evaluation = evaluate.evaluate(graph, quantized.variants, held_out, truth, horizon, quantized.warnings)
    floats, codes = evaluation.outputs["float"], evaluation.mixed.outputs
    sane = sanity.examine(quantized.integer, held_out, floats, codes, real=quantized.request.windows is not None)
    if sane.failures and not force:
        raise sanity.insane(quantized.integer, sane, evaluation)
    quantized.warnings.extend(f"Built by force: {failure}" for failure in sane.failures)
    quantized.warnings.extend(costly(quantized.selection, evaluate.mse_vs_truth(evaluation, graph.forecast)))
    agreement = evaluate.in_runtimes(
        model, quantized.integer, quantized.form.runtimes, evaluation, quantized.warnings, progress
    )
    if not board.bare_metal:
        quantized.warnings.extend(agreement.warnings())

    training = facts(quantized.request, graph.forecast, evaluation, windows)
    out.mkdir(parents=True, exist_ok=True)
    with written(out):
        (out / VALIDATION_JSON).unlink(missing_ok=True)  # it was of an earlier image
        build_dir.save(
            out,
            board=board,
            model=model,
            float_graph=graph,
            seeds=held_out[windows.saved],
            truth=None if truth is None else truth[windows.saved],
            score=quantized.scored.sensitivity.to_json(),
            plan=quantized.plan.to_json(),
            training=training,
        )
        progress("compiling", 0, 1)
        live = config(quantized.request, graph.forecast)
        image = _compile(quantized, board, out, training, live, probe)
        firmware, steps = out / build_dir.FIRMWARE, graph.forecast.steps
        time = None if probe else modelled_or_warned(board, firmware, steps, quantized.warnings)
        result = _build_report(quantized, board, evaluation, image, agreement, sane, time)
        if not board.bare_metal:
            result = replace(result, data=(*result.data, *told(live)))
        write_manifest(out, build_dir.IMAGE, Path(build_dir.BUNDLE))
        write_last(out, result.to_json())
        write_report(out)
    return result


def _compile(
    quantized: QuantizedModel,
    board: Board,
    out: Path,
    training: Mapping[str, Any],
    live: Mapping[str, Any],
    probe: bool,
) -> Image:
    graph, model = quantized.integer, quantized.flatbuffer
    generated = emit(graph, quantized.model_hash, graph.name, board.core)
    firmware = assemble(board, generated.files, generated.kernels, out / build_dir.FIRMWARE, probe=probe)
    image = compile_firmware(firmware)
    if not board.bare_metal:
        from edge_tqs.boards.bundle import write_bundle

        _, metadata = tflite_model.read(model)
        write_bundle(
            out / build_dir.BUNDLE,
            model,
            image.elf,
            board,
            name=graph.name,
            metadata=metadata,
            library=compile_library(firmware),
            facts=training,
            config=live,
        )
    return image


def _build_report(
    quantized: QuantizedModel,
    board: Board,
    evaluation: evaluate.Evaluation,
    image: Image,
    agreement: evaluate.Agreement,
    sane: Sanity,
    time: ModelledTime | None,
) -> BuildReport:
    loaded, graph, plan, costs = quantized.loaded, quantized.graph, quantized.plan, quantized.scored.costs
    request = quantized.request
    forecast = graph.forecast
    weights = graph.weights().values()
    return BuildReport(
        model=ModelInfo(
            name=graph.name,
            hash=quantized.model_hash,
            window=forecast.window,
            channels=forecast.channels,
            columns=forecast.columns,
            recurrence=forecast.recurrence,
            parameters=loaded.parameters,
            activations=quantized.activations,
            outputs=forecast.outputs,
            steps=forecast.steps,
            exogenous=() if forecast.driven else forecast.exogenous,
            target=request.target,
            centre=request.centre,
            streamed=any(state.delays for state in graph.states),
            kind=_kind(forecast),
            held=forecast.held,
            int16_activations=plan.activations.int16 if plan.activations else (),
        ),
        board=board.name,
        tensors=tuple(
            TensorReport(tensor.name, tensor.shape, tensor.width, tensor.bytes, tensor.tqs, tensor.rounded.scales)
            for tensor in plan.tensors
        ),
        bytes=ByteReport(
            float32=sum(4 * tensor.size for tensors in weights for tensor in tensors),
            int8=sum(options[8] for options in costs.values()),
            int4=sum(options[4] for options in costs.values()),
            mixed=plan.total_bytes,
            budget=plan.budget_bytes,
            tflite=len(quantized.flatbuffer),
        ),
        host=HostReport(
            rollouts=evaluation.seeds.shape[0],
            horizon=evaluation.mixed.outputs.shape[1],
            float_vs_keras_max_abs=loaded.float_vs_keras_max_abs,
            divergence=evaluate.divergence(evaluation),
            tflm_bit_exact=agreement.tflm_exact,
            litert_rmse=agreement.litert_rmse,
            mse_vs_truth=evaluate.mse_vs_truth(evaluation, forecast),
            curves=evaluate.curves(evaluation, graph),
            sanity=sane,
            figures=_figures(quantized, evaluation),
            causes=evaluate.causes(evaluation),
            ranges=_narrowing(quantized.narrowed),
        ),
        image=_image_report(image),
        warnings=tuple(quantized.warnings),
        data=quantized.windows.facts,
        choice=reported(quantized.selection),
        modelled=time,
    )


def _narrowing(found: Narrowed) -> Narrowing | None:
    if not found.parts:
        return None
    parts = tuple(NarrowedRange(name, part) for name, part in found.parts.items())
    return Narrowing(parts, found.tried, found.error)


def _kind(forecast: Forecast) -> Kind:
    if forecast.task != "forecast":
        return forecast.task
    return "direct" if forecast.driven else "closed loop"


def _figures(quantized: QuantizedModel, evaluation: evaluate.Evaluation) -> Figures | None:
    """What the forecast is worth; None without data."""
    naive = quantized.windows.naive
    if evaluation.truth is None or naive is None:
        return None
    return figures.measure(evaluation, quantized.graph.forecast, naive)


def _image_report(image: Image) -> ImageReport:
    deepest = image.deepest
    return ImageReport(
        text=image.text,
        rodata=image.rodata,
        data=image.data,
        bss=image.bss,
        stack=image.stack,
        stack_bound=None if deepest is None else deepest.bytes,
        stack_path=() if deepest is None else deepest.path,
        largest_frame=image.largest_frame,
        largest_frame_function=image.largest_frame_function,
    )
