"""The shapes in which models take a window: (W, F) itself, in one row, or as an image with an axis of size 1."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edge_tqs.errors import ModelError, UsageError


class FlatWindowError(ModelError):
    """A flat window whose length was not said."""

    def __init__(self, message: str, *, hint: str = "", values: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.values = values


def flat_values(error: BaseException | None) -> int:
    """The values of the flat window that an error is about, which may have been raised again; 0 of others."""
    while error is not None:
        if isinstance(error, FlatWindowError) and error.values:
            return error.values
        error = error.__context__
    return 0


def window_of(shape: Sequence[int | None], given: int | None = None) -> tuple[int | None, int]:
    """(W, F) of an input of ``shape``, without the batch; W is None where it is open.

    (W, F) is itself; (W, F, 1), (W, 1, F) and (1, W, F) hold the same values in that order; (W * F,) holds them in a
    row, the oldest sample first, where ``given`` is W. Sizes other than W are known, and one of three is 1.

    Raises FlatWindowError for a flat window whose length was not given, UsageError for one that is no
    ``given`` samples.
    """
    if len(shape) == 2:
        return shape[0], int(shape[1] or 0)
    sizes = [int(size or 0) for size in shape]
    if len(shape) == 3:
        return (sizes[1], sizes[2]) if sizes[0] == 1 else (sizes[0], sizes[1] * sizes[2])
    (values,) = sizes
    lengths = [length for length in range(1, values + 1) if values % length == 0]
    listed = ", ".join(map(str, lengths))
    if given is None:
        raise FlatWindowError(
            f"its input is a flat window of {values} values, and nothing says how many samples they are",
            hint=f"Say it with window = SAMPLES under [forecast] in edge-tqs.toml, or --window SAMPLES: {listed} "
            f"{'divides' if len(lengths) == 1 else 'divide'} {values}. Samples follow each other, the oldest first.",
            values=values,
        )
    if given not in lengths:
        raise UsageError(
            f"--window {given}: the flat window of {values} values is no {given} samples of as many channels each",
            hint=f"It can be {listed} samples.",
        )
    return given, values // given


def flat_note(window: int | None, channels: int) -> str:
    """What was made of a flat window, in a sentence."""
    return (
        f"Its flat window of {math.prod((window or 1, channels))} values is read as {window} samples of {channels}, "
        "the oldest sample first, its channels side by side."
    )
