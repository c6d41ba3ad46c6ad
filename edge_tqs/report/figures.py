"""What a forecast is worth on held-out data, in report.json."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge_tqs.report.format import Figure

Measure = Literal["rmse", "mae", "mase", "pinball", "coverage", "accuracy", "agreement", "score"]


@dataclass(frozen=True)
class FigureRow:
    """One figure of each forecast, over all windows and, where nothing is fed back, all steps of the rolling origin.

    ``name``: of the column, or of what is measured. ``lead``: samples ahead; None over all of them. ``level``: of a
    quantile, or the coverage that is promised, 0 to 1. ``measure``: docs/report.md says each. ``unit``: that of the
    data, of the model (normalised), or none. ``low``, ``high``: the 90 % interval of ``mixed``. None: not to be had.
    """

    name: str
    lead: int | None
    level: float | None
    measure: Measure
    unit: Literal["data", "model", "none"]
    float: Figure
    int8: Figure
    int4: Figure
    mixed: Figure
    low: Figure = None
    high: Figure = None
    persistence: Figure = None
    seasonal: Figure = None


@dataclass(frozen=True)
class Skill:
    """How much better than a naive forecast: 1 is perfect, 0 is no better, below 0 is worse.

    ``against``: "persistence" and "seasonal", or of a soft sensor, whose quantity is not measured where it runs,
    "mean", that of the training part: 1 less RMSE over theirs, outputs in terms of the variance of their truth;
    "majority": 1 less the wrong classes over those of always saying the commonest. ``low``, ``high``: the 90 % interval
    of ``mixed``.
    """

    against: Literal["persistence", "seasonal", "mean", "majority"]
    float: Figure
    mixed: Figure
    low: Figure
    high: Figure


@dataclass(frozen=True)
class Figures:
    """What the forecast is worth on data that nothing was fitted to.

    ``windows``: rollouts, ``steps`` of each. ``season``: samples of the seasonal naive forecast. ``cost``: RMSE of the
    board's model over float's, less 1.
    """

    windows: int
    steps: int
    season: int | None
    rows: tuple[FigureRow, ...]
    skill: tuple[Skill, ...]
    cost: Figure
