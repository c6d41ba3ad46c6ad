"""Windows of data: what activation ranges come from, and what is evaluated and saved for validation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edge_tqs.building.naive import Naive
from edge_tqs.graph.graph import Array, Scaling

#: Windows of the training part that activation ranges come from, at most; and windows that are saved for validation and
#: that the host's figures come from, at least and where the data allow.
CALIBRATION_WINDOWS = 256
LEAST_WINDOWS, EVALUATION_WINDOWS = 16, 64


@dataclass(frozen=True, eq=False)
class Windows:
    """Seeds in the model's units, as rollouts take them: calibration and evaluation, (N, W, F), or (N, W + T, F).

    truth: (N, T, outputs), what really followed the evaluation seeds, and naive forecasts of it; None without data.
    facts: how the data was read; warnings: what the reader should know of it, in sentences.
    """

    calibration: Array
    evaluation: Array
    truth: Array | None = None
    naive: Naive | None = None
    facts: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def saved(self) -> Array:
        """The numbers of the evaluation windows that are saved for validation: LEAST_WINDOWS, evenly spread."""
        count = len(self.evaluation)
        chosen: Array = np.linspace(0, count - 1, min(count, LEAST_WINDOWS)).round().astype(int)
        return chosen

    def scaled(self, x: Scaling, y: Scaling) -> Windows:
        """The same in other units of inputs and outputs."""
        truth = None if self.truth is None else y.scaled(self.truth)
        naive = None if self.naive is None else self.naive.scaled(y)
        calibration, evaluation = x.scaled(self.calibration), x.scaled(self.evaluation)
        return replace(self, calibration=calibration, evaluation=evaluation, truth=truth, naive=naive)
