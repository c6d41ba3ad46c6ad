"""What was measured on the host, in report.json: errors, curves, sanity."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite
from typing import Literal

from edge_tqs.report.figures import Figures
from edge_tqs.report.format import Figure, Series


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


@dataclass(frozen=True)
class NarrowedRange:
    """Activations whose range is narrower than what calibration saw: the part of it that is left, 0 to 1."""

    name: str
    part: float


@dataclass(frozen=True)
class Narrowing:
    """Ranges that were narrowed, of ``tried`` that could be.

    ``error``: of the integer model's rollouts from float over that with all that calibration saw, both RMSE in
    deviations of the outputs, on training windows that did not choose the ranges.
    """

    narrowed: tuple[NarrowedRange, ...]
    tried: int
    error: float

    @property
    def words(self) -> str:
        """What was done, in a line."""
        return f"{len(self.narrowed)} of {self.tried} narrowed, error from float {self.error:.2f} of min/max's"


@dataclass(frozen=True)
class HostReport:
    """What was measured on the host, over ``rollouts`` closed-loop rollouts of ``horizon`` steps.

    ``divergence``: RMSE against the float rollout over rollouts, steps and channels, model's units. ``litert_rmse``:
    the same for ai-edge-litert against tflite-micro's arithmetic. ``tflm_bit_exact`` and ``litert_rmse`` are None where
    that package is missing, or does not run the model. ``mse_vs_truth``: over all as well; None without data.
    ``ranges`` is None where none was narrowed.
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
    ranges: Narrowing | None = None
