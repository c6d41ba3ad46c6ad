"""TQS: how strongly a closed-loop rollout reacts to noise on each weight tensor.

The method is that of arXiv 2606.13300 (a priori: forward passes alone, no data, no quantizer, no width); we know its
abstract only, so the formulas here are ours. For a tensor l, draws k, seeds s, steps t and output channels c, with y
the nominal rollout in the model's normalised units and y' the one with noise on l:

    D[k,s,t] = mean_c (y'[s,t,c] - y[s,t,c])^2
    TQS      = exp(mean_{s,t} log(mean_k D[k,s,t]))

The noise is that of rounding to b0 = 6 bits: uniform in +-1/2 step, step = max|W_g| / 31 for each scale group g (an
output channel), and none on the elements that attain the maximum, which lie on the grid.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edge_tqs.errors import ModelError, UsageError
from edge_tqs.graph import Graph, Tensor
from edge_tqs.interpret import float_rollout
from edge_tqs.trace import trace_rollout

Array = npt.NDArray[Any]

FORMAT_VERSION = 1
REFERENCE_WIDTH = 6
DRAWS = 16
SEEDS = 8
#: Seeds of the AR(1) kind: x[t+1] = PHI x[t] + noise, of unit variance as normalised sensor data is.
PHI = 0.9
#: A nominal rollout beyond this many standard deviations has run away; its divergence says nothing about rounding.
RUNAWAY = 5.0
#: Candidates drawn for each kind, over the seeds wanted.
CANDIDATES = 4
#: D is clipped to this range. Below float32 resolution squared there is only rounding; above, a rollout that ran away.
LEAST, MOST = float(np.finfo(np.float32).eps) ** 2, 1e3
#: Root mean square divergence, in standard deviations, beyond which the forecast counts as no longer predicted.
PREDICTABLE = 0.1
BOOTSTRAPS = 400


@dataclass(frozen=True)
class TensorScore:
    """The score of one Keras variable.

    name: its path. shape: as Keras has it, (in, out). channels: its scale groups. tqs: mean square divergence, in
    squared standard deviations, at the reference width. low, high: 90 % bootstrap interval over the draws.
    """

    name: str
    shape: tuple[int, ...]
    channels: int
    tqs: float
    low: float
    high: float


@dataclass(frozen=True)
class Sensitivity:
    """What ``score`` finds; score.json holds the same.

    lyapunov: finite-time exponent, the slope of the mean log divergence (as a distance, not squared) per step; it says
    whether errors grow, not which tensor matters. predictability_steps: first step, from 1, at which the root mean
    square divergence over all tensors, draws and seeds exceeds PREDICTABLE standard deviations; None if it never does.
    seeds_kind: "zero-data", or "given" for the user's windows. model_hash: of the model file, as its reader gave it.
    """

    horizon: int
    draws: int
    seeds_count: int
    seed: int
    tensors: tuple[TensorScore, ...]
    lyapunov: float
    predictability_steps: int | None
    reference_width: int = REFERENCE_WIDTH
    seeds_kind: Literal["zero-data", "given"] = "zero-data"
    model_hash: str = ""

    def to_json(self) -> str:
        """JSON text, the same for equal scores."""
        return json.dumps({"format_version": FORMAT_VERSION, **asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Sensitivity:
        """Read what to_json wrote. Raises UsageError when ``text`` is something else."""
        try:
            fields = json.loads(text)
            version = fields.pop("format_version")
            tensors = tuple(TensorScore(**{**item, "shape": tuple(item["shape"])}) for item in fields.pop("tensors"))
            if version == FORMAT_VERSION:
                return cls(tensors=tensors, **fields)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UsageError(f"not a score: {error}", hint="Run `edge-tqs score` to make it anew.") from error
        raise UsageError(
            f"the score has format version {version}, not {FORMAT_VERSION}",
            hint="Run `edge-tqs score` to make it anew.",
        )


def score(
    graph: Graph,
    *,
    horizon: int,
    draws: int = DRAWS,
    seeds: Array | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    model_hash: str = "",
) -> Sensitivity:
    """Score every quantizable weight of a float ``graph`` over rollouts of ``horizon`` steps.

    seeds: real windows (S, W, F; normalised units) in place of zero-data ones. seed: of all random numbers. progress:
    called with rollouts done and rollouts in all. Raises UsageError for a horizon, draws or seeds out of range,
    ModelError for a graph that is not float, ToolError without TensorFlow.
    """
    if horizon < 1 or draws < 2:
        raise UsageError(f"a score over {horizon} steps and {draws} draws", hint="At least 1 step and 2 draws.")
    weights = graph.weights()
    for tensor in (tensor for tensors in weights.values() for tensor in tensors):
        if tensor.data is None or tensor.dtype != "float32":
            raise ModelError(f"{graph.name}: weight {tensor.name} is {tensor.dtype}: only a float graph can be scored")
    kind: Literal["zero-data", "given"] = "zero-data" if seeds is None else "given"
    if seeds is None:
        seeds = zero_data_seeds(graph, SEEDS, horizon, seed)
    wanted = (graph.forecast.window, graph.forecast.channels)
    if seeds.ndim != 3 or seeds.shape[1:] != wanted or not len(seeds) or not np.isfinite(seeds).all():
        raise UsageError(
            f"seeds of shape {seeds.shape}: the model takes finite windows of shape (S, {wanted[0]}, {wanted[1]})"
        )
    rollout = trace_rollout(graph, horizon, len(seeds))
    nominal = rollout({}, seeds)
    divergences = []
    for index, (source, tensors) in enumerate(weights.items()):
        divergence = np.empty((draws, len(seeds), horizon))
        for draw in range(draws):
            rng = np.random.default_rng([seed, zlib.crc32(source.encode()), draw])
            noisy = {tensor.name: add_rounding_noise(tensor, rng) for tensor in tensors}
            divergence[draw] = _divergence(rollout(noisy, seeds), nominal)
            if progress:
                progress(index * draws + draw + 1, len(weights) * draws)
        divergences.append(divergence)
    scores = tuple(
        _tensor_score(source, tensors, divergence, seed)
        for (source, tensors), divergence in zip(weights.items(), divergences, strict=True)
    )
    stacked = np.stack(divergences)
    return Sensitivity(
        horizon=horizon,
        draws=draws,
        seeds_count=len(seeds),
        seed=seed,
        tensors=scores,
        lyapunov=_lyapunov(stacked),
        predictability_steps=_predictability(stacked),
        seeds_kind=kind,
        model_hash=model_hash,
    )


def zero_data_seeds(graph: Graph, count: int, horizon: int, seed: int) -> Array:
    """``count`` windows (S, W, F; float32, normalised units) made without data.

    Half are AR(1) noise, half what the model makes of such noise after feeding itself for 2 W steps. A seed whose
    nominal rollout over ``horizon`` steps leaves +-RUNAWAY is rejected while others are left, then the mildest are
    taken. A model that overflows by itself gives AR(1) seeds only.
    """
    forecast = graph.forecast
    rng = np.random.default_rng([seed, count])
    shape = (CANDIDATES * count, forecast.window, forecast.channels)
    noise, origins = _autoregressive(rng, shape), _autoregressive(rng, shape)

    def feed_itself(windows: Array) -> Array:
        outputs = float_rollout(graph, windows, 2 * forecast.window).outputs
        return outputs[:, -forecast.window :, list(forecast.feedback)]

    with np.errstate(over="ignore", invalid="ignore"):
        fed = _mildest(graph, origins, feed_itself, count // 2, horizon)
        return np.concatenate([_mildest(graph, noise, lambda windows: windows, count - len(fed), horizon), fed])


def add_rounding_noise(tensor: Tensor, rng: np.random.Generator) -> Array:
    """A weight (out, ...) as rounding to REFERENCE_WIDTH bits might leave it, one scale for each output channel."""
    weight = np.asarray(tensor.data, np.float32)
    largest = np.abs(weight).max(axis=tuple(range(1, weight.ndim)), keepdims=True)
    step = largest / (2 ** (REFERENCE_WIDTH - 1) - 1)
    noise = rng.uniform(-0.5, 0.5, weight.shape) * step
    noisy: Array = weight + np.where(np.abs(weight) == largest, 0.0, noise).astype(np.float32)
    return noisy


def _autoregressive(rng: np.random.Generator, shape: tuple[int, int, int]) -> Array:
    """(N, W, F) float32; stationary, of unit variance, channels independent."""
    shocks = rng.standard_normal(shape)
    series = np.empty(shape)
    series[:, 0] = shocks[:, 0]
    for t in range(1, shape[1]):
        series[:, t] = PHI * series[:, t - 1] + np.sqrt(1 - PHI**2) * shocks[:, t]
    return series.astype(np.float32)


def _mildest(graph: Graph, origins: Array, make: Callable[[Array], Array], count: int, horizon: int) -> Array:
    """The first ``count`` of make(origins) that do not run away; failing that, the mildest finite ones.

    Candidates are rolled out ``count`` at a time: most models need no more than the first few.
    """
    candidates, peaks = [origins[:0]], [np.empty(0)]
    for begin in range(0, len(origins) if count else 0, max(count, 1)):
        windows = make(origins[begin : begin + count])
        windows = windows[np.isfinite(windows).all(axis=(1, 2))]
        outputs = np.abs(float_rollout(graph, windows, horizon).outputs) if len(windows) else np.empty((0, 1, 1))
        candidates.append(windows)
        peaks.append(np.nan_to_num(outputs.max(axis=(1, 2)), nan=np.inf))
        if sum(int((peak <= RUNAWAY).sum()) for peak in peaks) >= count:
            break
    ranked = np.maximum(np.concatenate(peaks), RUNAWAY)
    return np.concatenate(candidates)[np.argsort(ranked, kind="stable")[:count]]


def _divergence(outputs: Array, nominal: Array) -> Array:
    """D (S, T), clipped; NaN, of a rollout that overflowed, counts as the most."""
    with np.errstate(over="ignore", invalid="ignore"):
        difference = outputs.astype(np.float64) - nominal.astype(np.float64)
        mean: Array = np.mean(difference**2, axis=2)
    clipped: Array = np.clip(np.nan_to_num(mean, nan=MOST, posinf=MOST), LEAST, MOST)
    return clipped


def _tensor_score(source: str, tensors: tuple[Tensor, ...], divergence: Array, seed: int) -> TensorScore:
    draws = len(divergence)
    flat = divergence.reshape(draws, -1)
    rng = np.random.default_rng([seed, zlib.crc32(source.encode())])
    picks = rng.multinomial(draws, np.full(draws, 1 / draws), size=BOOTSTRAPS) / draws
    low, high = np.quantile(np.exp(np.log(picks @ flat).mean(axis=1)), [0.05, 0.95])
    channels = sum(tensor.shape[0] for tensor in tensors)
    tqs = float(np.exp(np.log(flat.mean(axis=0)).mean()))
    return TensorScore(source, (*tensors[0].shape[1:], channels), channels, tqs, float(low), float(high))


def _lyapunov(divergences: Array) -> float:
    """Slope of the mean log distance over the steps, over the tensors that have any effect; (L, K, S, T)."""
    felt = divergences[(divergences > LEAST).any(axis=(1, 2, 3))]
    if not len(felt) or felt.shape[-1] < 2:
        return 0.0
    distance = 0.5 * np.log(felt.mean(axis=1)).mean(axis=(0, 1))
    return float(np.polyfit(np.arange(len(distance)), distance, 1)[0])


def _predictability(divergences: Array) -> int | None:
    beyond = np.flatnonzero(np.sqrt(divergences.mean(axis=(0, 1, 2))) > PREDICTABLE)
    return int(beyond[0]) + 1 if len(beyond) else None
