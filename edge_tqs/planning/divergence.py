"""How far a rollout goes astray when noise is put on one weight: what the score is made of.

The noise is that of rounding to b0 = 6 bits: uniform in +-1/2 step, step = max|W_g| / 31 for each scale group g (an
output channel), and none on the elements that lie on every such grid: those that attain the maximum, and zeros.

Weights are measured one at a time, in this process or in several, and kept on disk as they are done.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from edge_tqs.graph.graph import Array
from edge_tqs.system.system import Part, Rollouts, System
from edge_tqs.templates import cache_root

Opener = Callable[[], System]

REFERENCE_WIDTH = 6
#: D is clipped to this range. Below float32 resolution squared there is only rounding; above, a rollout that ran away.
LEAST, MOST = float(np.finfo(np.float32).eps) ** 2, 1e3
#: Of the noise and of the kept files: a change of either makes old files worthless.
VERSION = 2


@dataclass(frozen=True, eq=False)
class Experiment:
    """What is done to each weight: ``draws`` noises, rolled out ``horizon`` steps from ``seeds``; ``seed`` of them."""

    seeds: Array
    horizon: int
    draws: int
    seed: int


@dataclass(frozen=True)
class DivergenceCache:
    """Where measured divergences are kept: one file a weight, in a folder named after all that they depend on."""

    folder: Path

    @classmethod
    def of(cls, root: Path, model_hash: str, experiment: Experiment, variant: str = "") -> DivergenceCache:
        """The folder in ``root`` for this model, by the hash of its file and its variant, and this experiment."""
        settings = {"version": VERSION, "model": model_hash, **asdict(experiment)}
        if variant:
            settings["variant"] = variant
        seeds = settings.pop("seeds")
        settings["seeds"] = hashlib.sha256(np.ascontiguousarray(seeds).tobytes()).hexdigest()
        return cls(root / hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:32])

    def load(self, source: str, shape: tuple[int, ...]) -> Array | None:
        """What was kept of ``source``; None where there is nothing, or something else."""
        try:
            found: Array = np.load(self._path(source), allow_pickle=False)
        except (OSError, ValueError):
            return None
        return found if found.shape == shape and found.dtype == np.float64 else None

    def save(self, source: str, divergence: Array) -> None:
        """Keep it; a folder that cannot be written keeps nothing, which costs time alone."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            partial = self.folder / f"{os.getpid()}.part"
            with partial.open("wb") as file:
                np.save(file, divergence)
            partial.replace(self._path(source))
        except OSError:
            return

    def _path(self, source: str) -> Path:
        return self.folder / f"{hashlib.sha256(source.encode()).hexdigest()[:24]}.npy"


def default_root() -> Path:
    """Where scores are kept unless something else is said."""
    return cache_root() / "scores"


def measure(
    system: System,
    experiment: Experiment,
    *,
    workers: int = 1,
    opener: Opener | None = None,
    kept: DivergenceCache | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Array]:
    """D of every weight: source -> (draws, S, T) float64, the mean over channels of the squared divergence.

    workers: processes, each with a system of its own from ``opener``, which must be picklable. The figures are the same
    for any number of them. progress: rollouts done, and rollouts in all.
    """
    shape = (experiment.draws, len(experiment.seeds), experiment.horizon)
    found: dict[str, Array] = {}
    for source in system.weights if kept else ():
        known = kept.load(source, shape) if kept else None
        if known is not None:
            found[source] = known
    missing = [source for source in system.weights if source not in found]
    total, done = len(system.weights) * experiment.draws, len(found) * experiment.draws

    def report(more: int) -> None:
        if progress:
            progress(done + more, total)

    report(0)
    parallel = opener is not None and workers > 1 and len(missing) > 1
    if parallel and opener is not None:
        measured = _in_processes(missing, experiment, min(workers, len(missing)), opener)
    else:
        measured = _here(system, missing, experiment, report)
    for source, divergence in measured:
        found[source] = divergence
        if kept:
            kept.save(source, divergence)
        done += experiment.draws
        if parallel:
            report(0)
    return {source: found[source] for source in system.weights}


def add_rounding_noise(part: Part, rng: np.random.Generator) -> Array:
    """A part as rounding to REFERENCE_WIDTH bits might leave it."""
    rows = np.asarray(part.rows(), np.float32)
    magnitude = np.abs(rows)
    largest = magnitude.max(axis=1, keepdims=True)
    step = largest / (2 ** (REFERENCE_WIDTH - 1) - 1)
    noise = rng.uniform(-0.5, 0.5, rows.shape) * step
    on_grid = (magnitude == largest) | (magnitude == 0)
    return part.with_rows(rows + np.where(on_grid, 0.0, noise).astype(np.float32))


def output_units(system: System, nominal: Array) -> Array:
    """(outputs,) by which outputs are divided before they are compared.

    A closed loop is in the normalised units of its inputs: ones. The outputs of a driven system are in any units, of
    which the deviation over the nominal rollouts ``nominal`` (S, T, outputs) tells.
    """
    if not system.driven:
        return np.ones(nominal.shape[2])
    with np.errstate(over="ignore", invalid="ignore"):
        spread: Array = np.nan_to_num(nominal.astype(np.float64).std(axis=(0, 1)), nan=1.0, posinf=1.0)
    return np.maximum(spread, spread.max() * 1e-3) if spread.max() > 0 else np.ones_like(spread)


def divergence_of(outputs: Array, nominal: Array, units: Array) -> Array:
    """D (S, T), clipped; NaN, of a rollout that overflowed, counts as the most."""
    with np.errstate(over="ignore", invalid="ignore"):
        difference = (outputs.astype(np.float64) - nominal.astype(np.float64)) / units
        mean: Array = np.mean(difference**2, axis=2)
    clipped: Array = np.clip(np.nan_to_num(mean, nan=MOST, posinf=MOST), LEAST, MOST)
    return clipped


def _here(
    system: System, sources: list[str], experiment: Experiment, report: Callable[[int], None]
) -> Iterator[tuple[str, Array]]:
    if not sources:
        return
    rollout = system.trace(experiment.horizon, len(experiment.seeds))
    nominal = rollout({}, experiment.seeds)
    for source in sources:
        yield source, _one(system, source, experiment, rollout, nominal, report)


def _one(
    system: System,
    source: str,
    experiment: Experiment,
    rollout: Rollouts,
    nominal: Array,
    report: Callable[[int], None] = lambda done: None,
) -> Array:
    seeds, stream = experiment.seeds, _stream(system.weights[source])
    units = output_units(system, nominal)
    divergence = np.empty((experiment.draws, len(seeds), experiment.horizon))
    for draw in range(experiment.draws):
        rng = np.random.default_rng([experiment.seed, stream, draw])
        noisy = {part.name: add_rounding_noise(part, rng) for part in system.weights[source]}
        divergence[draw] = divergence_of(rollout(noisy, seeds), nominal, units)
        report(draw + 1)
    return divergence


def _stream(parts: tuple[Part, ...]) -> int:
    """Which random numbers a weight gets: by its rows, whatever it is called and however it is laid out.

    So a model that was converted to another format, with all tensors named anew, is scored with the same noise.
    """
    return zlib.crc32(b"".join(np.ascontiguousarray(part.rows(), "<f4").tobytes() for part in parts))


# --- other processes --------------------------------------------------------------------------------------------------

OPENBLAS_THREADS = "OPENBLAS_NUM_THREADS"
#: Of this worker process: its system, what to do, its rollouts, and the nominal outputs.
_work: tuple[System, Experiment, Rollouts, Array]


def _in_processes(
    sources: list[str], experiment: Experiment, workers: int, opener: Opener
) -> Iterator[tuple[str, Array]]:
    """Spawned, not forked: TensorFlow's threads do not survive a fork."""
    with ProcessPoolExecutor(workers, get_context("spawn"), _start, (opener, experiment)) as pool:
        with _interrupts_ignored(), single_threaded_workers():  # the workers are started here; Ctrl-C is the parent's
            futures = {pool.submit(_work_on, source): source for source in sources}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ignore Ctrl-C, in processes that are started meanwhile for good. Only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def single_threaded_workers() -> Iterator[None]:
    """Processes that are started meanwhile have one thread each for products.

    OpenBLAS reads the variable when numpy is first imported, which in a spawned process is before any code of ours.
    """
    before = os.environ.get(OPENBLAS_THREADS)
    os.environ[OPENBLAS_THREADS] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[OPENBLAS_THREADS]
        else:
            os.environ[OPENBLAS_THREADS] = before


def _start(opener: Opener, experiment: Experiment) -> None:
    global _work  # noqa: PLW0603  the state of a worker process, set once
    os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"
    system = opener()
    rollout = system.trace(experiment.horizon, len(experiment.seeds))
    _work = system, experiment, rollout, rollout({}, experiment.seeds)


def _work_on(source: str) -> Array:
    system, experiment, rollout, nominal = _work
    return _one(system, source, experiment, rollout, nominal)
