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
from pathlib import Path
from typing import Literal

import numpy as np

from edge_tqs.errors import UsageError
from edge_tqs.graph.graph import Array
from edge_tqs.planning.divergence import LEAST, REFERENCE_WIDTH, DivergenceCache, Experiment, Opener, measure
from edge_tqs.system.seeds import zero_data_seeds
from edge_tqs.system.system import System

FORMAT_VERSION = 1
DRAWS = 16
SEEDS = 8
#: Root mean square divergence, in standard deviations, beyond which the forecast counts as no longer predicted.
PREDICTABLE = 0.1
BOOTSTRAPS = 400


@dataclass(frozen=True)
class TensorScore:
    """The score of one Keras variable.

    name: its path. shape: as Keras has it, (in, out). channels: its scale groups. tqs: mean square divergence, in
    squared standard deviations, at the reference width. low, high: 90 % bootstrap interval over draws and seeds.
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
    system: System,
    *,
    horizon: int,
    draws: int = DRAWS,
    seeds: Array | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    model_hash: str = "",
    workers: int = 1,
    opener: Opener | None = None,
    cache: Path | None = None,
    variant: str = "",
) -> Sensitivity:
    """Score every quantizable weight of ``system`` over rollouts of ``horizon`` steps.

    seeds: real windows (S, W, F; normalised units) in place of zero-data ones; (S, W + T, F) with exogenous inputs.
    seed: of all random numbers. progress: called with rollouts done and rollouts in all. workers: processes, which need
    ``opener``, a picklable function that opens the same system. cache: folder where divergences are kept by
    ``model_hash``, ``variant`` (what makes another system of the same file) and settings; what an interrupted score has
    measured is not measured again.

    Raises UsageError for a horizon, draws or seeds out of range, ToolError where the system needs TensorFlow.
    """
    if horizon < 1 or draws < 2:
        raise UsageError(f"a score over {horizon} steps and {draws} draws", hint="At least 1 step and 2 draws.")
    kind: Literal["zero-data", "given"] = "zero-data" if seeds is None else "given"
    if seeds is None:
        seeds = zero_data_seeds(system, SEEDS, horizon, seed)
    wanted = (system.seed_length(horizon), system.channels)
    if seeds.ndim != 3 or seeds.shape[1:] != wanted or not len(seeds) or not np.isfinite(seeds).all():
        raise UsageError(
            f"seeds of shape {seeds.shape}: the model takes finite windows of shape (S, {wanted[0]}, {wanted[1]})"
        )
    experiment = Experiment(np.asarray(seeds, np.float32), horizon, draws, seed)
    kept = DivergenceCache.of(cache, model_hash, experiment, variant) if cache and model_hash else None
    divergences = measure(system, experiment, workers=workers, opener=opener, kept=kept, progress=progress)
    stacked = np.stack(list(divergences.values()))
    return Sensitivity(
        horizon=horizon,
        draws=draws,
        seeds_count=len(seeds),
        seed=seed,
        tensors=tuple(_tensor_score(system, source, found, seed) for source, found in divergences.items()),
        lyapunov=_lyapunov(stacked),
        predictability_steps=_predictability(stacked),
        seeds_kind=kind,
        model_hash=model_hash,
    )


def _tensor_score(system: System, source: str, divergence: Array, seed: int) -> TensorScore:
    draws, seeds, _ = divergence.shape
    rng = np.random.default_rng([seed, zlib.crc32(source.encode())])
    picks = rng.multinomial(draws, np.full(draws, 1 / draws), size=BOOTSTRAPS) / draws
    starts = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=BOOTSTRAPS) / seeds
    log_mean = np.log(np.tensordot(picks, divergence, 1)).mean(axis=2)  # (BOOTSTRAPS, S), each of other draws
    low, high = np.quantile(np.exp((log_mean * starts).sum(axis=1)), [0.05, 0.95])
    channels = sum(part.channels for part in system.weights[source])
    tqs = float(np.exp(np.log(divergence.mean(axis=0)).mean()))
    return TensorScore(source, system.shape(source), channels, tqs, float(low), float(high))


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
