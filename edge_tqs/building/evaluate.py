"""What quantisation does to the closed loop, measured on the host: float beside int8, int4 and the planned mix."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass

import numpy as np

from edge_tqs.errors import CheckError, ModelError, ToolError
from edge_tqs.graph.graph import Array, Forecast, Graph, Scaling
from edge_tqs.graph.rollout import Rollout
from edge_tqs.passes.interpret import float_rollout
from edge_tqs.quantization import support
from edge_tqs.quantization.quantize import with_rounded_weights
from edge_tqs.quantization.simulate import decode, encode, integer_rollout
from edge_tqs.report.format import Series
from edge_tqs.report.host_report import (
    Causes,
    Curves,
    DivergenceCurves,
    ExampleRollout,
    TruthCurves,
    Variants,
    VariantsAndFloat,
)

VARIANTS = ("int8", "int4", "mixed")
#: Rollouts that are also run in tflite-micro and LiteRT: enough to see a wrong bit, few enough to be quick.
RUNTIME_ROLLOUTS = 2
#: RMSE of LiteRT's rollouts from float over those of the integer reference, from which on a Linux bundle warns of it.
DRIFT = 1.25


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Closed-loop outputs in the model's units, each (N, T, outputs).

    seeds: (N, W, F), or (N, W + T, F) with inputs known ahead. truth: (N, T, outputs), or None where no data was
    given. outputs: by "float", "mixed", and "int8" and "int4" where those can be made.
    mixed: the integer rollout of the planned model, in codes. rounded: by variant, the outputs with its weights and
    float activations.
    """

    seeds: Array
    truth: Array | None
    outputs: Mapping[str, Array]
    mixed: Rollout
    rounded: Mapping[str, Array]


def evaluate(
    graph: Graph,
    variants: Mapping[str, Graph],
    seeds: Array,
    truth: Array | None,
    horizon: int,
    warnings: list[str],
) -> Evaluation:
    """Roll the float graph and each integer variant ("mixed", and of "int8" and "int4" those that there are) from
    ``seeds``. ``warnings`` is told of a variant that is only shown and cannot be run."""
    outputs = {"float": float_rollout(graph, seeds, horizon).outputs}
    rollouts: dict[int, Rollout] = {}  # variants may be one and the same graph: roll it once
    rounded: dict[int, Array] = {}
    by_weights: dict[str, Array] = {}
    for name in ("mixed", *(name for name in VARIANTS if name in variants and name != "mixed")):
        integer = variants[name]
        if id(integer) not in rollouts:
            try:
                rollouts[id(integer)] = integer_rollout(integer, encode(integer, seeds), horizon)
                rounded[id(integer)] = float_rollout(with_rounded_weights(graph, integer), seeds, horizon).outputs
            except ModelError as error:
                if name == "mixed":
                    raise
                warnings.append(not_compared(name, error))
                continue
        outputs[name] = decode(integer, rollouts[id(integer)].outputs)
        by_weights[name] = rounded[id(integer)]
    return Evaluation(seeds, truth, outputs, rollouts[id(variants["mixed"])], by_weights)


def not_compared(name: str, error: ModelError) -> str:
    """The line of a variant that is only shown, and cannot be made."""
    return f"Not compared with all-{name}: {error.message.rstrip('.')}."


def rmse(a: Array, b: Array) -> float:
    """Root of the mean squared difference over everything."""
    return float(np.sqrt(np.mean(np.square(a.astype(np.float64) - b))))


def mse(a: Array, b: Array) -> float:
    """Mean squared difference over everything."""
    return float(np.mean(np.square(a.astype(np.float64) - b)))


def mse_by_step(a: Array, b: Array, every: int = 1) -> tuple[float, ...]:
    """Mean squared difference over each ``every`` steps: ``a``, ``b`` (N, T, outputs) -> T / every values, rounded up:
    the last may be of fewer steps."""
    by_step = np.mean(np.square(a.astype(np.float64) - b), axis=(0, 2))
    return tuple(float(by_step[start : start + every].mean()) for start in range(0, len(by_step), every))


def rmse_by_step(a: Array, b: Array, every: int = 1) -> tuple[float, ...]:
    """Root of what `mse_by_step` gives."""
    return tuple(v**0.5 for v in mse_by_step(a, b, every))


def physical(values: Array, scaling: Scaling, channel: int) -> tuple[float, ...]:
    """One channel's values (T,) in physical units."""
    return tuple(float(v) for v in values.astype(np.float64) * scaling.std[channel] + scaling.mean[channel])


def point_outputs(forecast: Forecast) -> list[int]:
    """The outputs that say what is expected: not deviations, nor quantiles beside the median; all where none does."""
    points = [
        output
        for output, said in enumerate(forecast.predicted)
        if said.statistic in ("value", "mean", "class") or (said.statistic == "quantile" and said.level == 0.5)
    ]
    return points or list(range(forecast.outputs))


def divergence(evaluation: Evaluation) -> Variants:
    """RMSE of each integer variant against the float rollout."""
    truth = evaluation.outputs["float"]
    return _of_variants(lambda name: rmse(evaluation.outputs[name], truth), evaluation)


def _of_variants(figure: Callable[[str], float], evaluation: Evaluation) -> Variants:
    return Variants(**{name: figure(name) if name in evaluation.outputs else None for name in VARIANTS})


def causes(evaluation: Evaluation) -> Causes:
    """What rounding the weights does, and what rounding the activations does on top of it."""
    exact, rounded, outputs = evaluation.outputs["float"], evaluation.rounded, evaluation.outputs
    return Causes(
        weights=_of_variants(lambda name: rmse(rounded[name], exact), evaluation),
        activations=_of_variants(lambda name: rmse(outputs[name], rounded[name]), evaluation),
    )


def mse_vs_truth(evaluation: Evaluation, forecast: Forecast) -> VariantsAndFloat | None:
    """MSE of each variant against what really followed, over the `point_outputs`; None without data."""
    if evaluation.truth is None:
        return None
    truth, points = evaluation.truth, point_outputs(forecast)
    measured = {name: mse(values[..., points], truth[..., points]) for name, values in evaluation.outputs.items()}
    return VariantsAndFloat(**dict.fromkeys(VARIANTS) | measured)


def curves(evaluation: Evaluation, graph: Graph) -> Curves:
    """The step-by-step figures and one example rollout (rollout 0, output 0) that the report draws."""
    outputs, truth = evaluation.outputs, evaluation.truth
    points = point_outputs(graph.forecast)
    said = {name: values[..., points] for name, values in outputs.items()}
    forecast, units = graph.forecast, graph.forecast.scaling_of_outputs()
    channel = forecast.output_channels[0]
    seed = () if channel is None else evaluation.seeds[0, : forecast.window, channel]
    of_inputs = forecast.scaling or Scaling((0.0,) * forecast.channels, (1.0,) * forecast.channels)
    missing: dict[str, Series] = dict.fromkeys(VARIANTS, ())
    example = missing | {name: physical(values[0, :, 0], units, 0) for name, values in outputs.items()}
    return Curves(
        divergence=DivergenceCurves(
            **{name: rmse_by_step(outputs[name], outputs["float"]) if name in outputs else () for name in VARIANTS}
        ),
        mse_vs_truth=None
        if truth is None
        else TruthCurves(**missing | {name: mse_by_step(said[name], truth[..., points]) for name in said}),
        example=ExampleRollout(
            column=forecast.output_names[0],
            unit="normalised" if forecast.scaling is None else "physical",
            seed=() if channel is None else physical(np.asarray(seed), of_inputs, channel),
            truth=None if truth is None else physical(truth[0, :, 0], units, 0),
            **example,
        ),
    )


@dataclass(frozen=True)
class Agreement:
    """What runtimes compute beside the integer reference; None where one is missing, does not run the model or was not
    asked.

    tflm_exact: whether tflite-micro agrees bit for bit. litert_rmse: of LiteRT's rollouts from the reference's.
    litert_drift: their RMSE from float over that of the reference.
    """

    tflm_exact: bool | None
    litert_rmse: float | None
    litert_drift: float | None

    def warnings(self) -> list[str]:
        """For a Linux bundle, whose Python agent runs LiteRT: where that forecasts worse than its program."""
        if self.litert_drift is None or self.litert_drift <= DRIFT:
            return []
        return [
            f"In LiteRT the rollout is {self.litert_drift:.2f} times as far from float as in the integer reference: it "
            "rounds some operators otherwise, and the loop carries that on. The bundle's program, which install.sh "
            "installs, computes the reference; forecaster.py and --server agent forecast as LiteRT does. "
            "--activations int16 brings both nearer to float."
        ]


def in_runtimes(
    model: bytes,
    graph: Graph,
    runtimes: Container[str],
    evaluation: Evaluation,
    warnings: list[str],
    progress: Callable[[str, int, int], None],
) -> Agreement:
    """What the ``runtimes`` that are here compute.

    Raises CheckError where tflite-micro computes something else, or a runtime refuses what it should run; appends
    to ``warnings`` what could not be compared.
    """
    from edge_tqs.quantization.runtimes import rollout_in

    codes = encode(graph, evaluation.seeds[:RUNTIME_ROLLOUTS])
    expected = evaluation.mixed.outputs[:RUNTIME_ROLLOUTS]
    horizon = expected.shape[1]
    exact: bool | None = None
    error: float | None = None
    drift: float | None = None
    able = [runtime for runtime in support.runtimes_of(graph) if runtime in runtimes]
    try:
        if "tflm" in able:
            progress("running in tflite-micro", 0, 1)
            exact = bool(np.array_equal(rollout_in("tflm", model, graph, codes, horizon).outputs, expected))
    except ToolError as missing:
        warnings.append(f"Not compared with tflite-micro: {missing.message}")
    if exact is False:
        raise CheckError(
            f"{graph.name}: tflite-micro computes other values than the integer reference",
            hint="This is a bug in edge-tqs: report it with the model.",
        )
    try:
        if "litert" in able:
            progress("running in LiteRT", 0, 1)
            litert = rollout_in("litert", model, graph, codes, horizon).outputs
            said, reference, floats = decode(graph, litert), decode(graph, expected), evaluation.outputs["float"]
            error = rmse(said, reference)
            of_reference = rmse(reference, floats[:RUNTIME_ROLLOUTS])
            drift = rmse(said, floats[:RUNTIME_ROLLOUTS]) / of_reference if of_reference else 1.0
    except ToolError as missing:
        warnings.append(f"Not compared with LiteRT: {missing.message}")
    return Agreement(exact, error, drift)
