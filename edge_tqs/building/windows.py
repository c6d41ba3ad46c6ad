"""Windows of data: what activation ranges come from, and what is evaluated and saved for validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edge_tqs.building.naive import Naive, naive_forecasts
from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Forecast, Scaling
from edge_tqs.project.rollouts import ProjectData, cut, evaluation_origins, labelled, room, seeds_of
from edge_tqs.read.loaded import Masked

#: Windows of the training part that activation ranges come from, and that choices are measured on, at most; and windows
#: that are saved for validation and that the host's figures come from, at least and where the data allow.
CALIBRATION_WINDOWS, SELECTION_WINDOWS = 256, 64
LEAST_WINDOWS, EVALUATION_WINDOWS = 16, 64
#: The parts of a series.
PARTS: tuple[Literal["train", "test"], ...] = ("train", "test")


@dataclass(frozen=True, eq=False)
class Windows:
    """Seeds in the model's units, as rollouts take them: calibration and evaluation, (N, W, F), or (N, W + T, F).

    truth: (N, T, outputs), what really followed the evaluation seeds, and naive forecasts of it; None without data.
    selection, selection_truth: likewise of the training part, what choices are measured on; the calibration seeds where
    there are none.
    facts: how the data was read; warnings: what the reader should know of it, in sentences.
    """

    calibration: Array
    evaluation: Array
    truth: Array | None = None
    naive: Naive | None = None
    facts: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    selection: Array | None = None
    selection_truth: Array | None = None

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
        selection = None if self.selection is None else x.scaled(self.selection)
        followed = None if self.selection_truth is None else y.scaled(self.selection_truth)
        return Windows(calibration, evaluation, truth, naive, self.facts, self.warnings, selection, followed)


def check_unmasked(windows: Windows, masked: Sequence[Masked]) -> None:
    """Raise ModelError where a window of data holds a sample that the model's Masking skips: its graph would not."""
    for mask in masked:
        for part in (windows.calibration, windows.evaluation):
            skipped = (part[..., list(mask.channels)] == np.float32(mask.value)).all(axis=-1).any(axis=-1)
            if skipped.any():
                raise ModelError(
                    f"{int(skipped.sum())} of {len(part)} windows of the data hold a sample that is {mask.value:g} in "
                    "all channels: the model's Masking skips it, and a board, whose samples are all measured, does not",
                    hint="Take these rows out of the CSV, where they are padding or gaps. Where they are measured, "
                    "train with another mask_value, which no sample has.",
                )


def training_of(data: ProjectData) -> Callable[[Forecast, int, int], Array]:
    """What cuts ``count`` seeds of the training part: called with (forecast, horizon, count)."""
    return lambda forecast, horizon, count: seeds_of(data, forecast, horizon, count, "train")


def windows_of(data: ProjectData) -> Callable[[Forecast, int], Windows]:
    """What cuts the windows of a series, and the truth after them: called with (forecast, horizon).

    Of classes there is no truth where no column holds it.
    """

    def cut_parts(forecast: Forecast, horizon: int) -> Windows:
        length, series = forecast.seed_length(horizon), data.series
        (possible, lost), (possible_after, lost_after) = (room(data, forecast, horizon, part) for part in PARTS)
        calibration = seeds_of(data, forecast, horizon, min(CALIBRATION_WINDOWS, max(1, possible)), "train")
        selected = min(SELECTION_WINDOWS, max(1, possible))
        selection, followed = seeds_of(data, forecast, horizon, selected, "train"), None
        count = min(EVALUATION_WINDOWS, max(LEAST_WINDOWS, possible_after))
        evaluation, truth, naive = seeds_of(data, forecast, horizon, count, "test"), None, None
        if forecast.task != "classes" or labelled(data):
            evaluation, truth = cut(data, forecast, horizon, count, "test")
            selection, followed = cut(data, forecast, horizon, selected, "train")
            begun = evaluation_origins(data, forecast, horizon, count, "test")
            naive = naive_forecasts(data, forecast, begun, horizon)
        warnings = series.warnings
        if lost or lost_after:
            warnings += (
                f"{lost + lost_after:,} of {lost + lost_after + possible + possible_after:,} windows of "
                f"{forecast.window} rows with {horizon} rows of truth are left out: they would cross a hole of "
                f"{series.path.name}.",
            )
        seeds = (part[:, :length] for part in (calibration, evaluation, selection))
        calibration, evaluation, selection = seeds
        return Windows(calibration, evaluation, truth, naive, series.facts, warnings, selection, followed)

    return cut_parts
