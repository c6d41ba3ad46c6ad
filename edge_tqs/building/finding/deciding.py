"""From when on one candidate is better than another: of scalings, of readings, and of the leads of a model.

Errors are relative to the standard deviation of a column.
"""

from __future__ import annotations

import numpy as np

from edge_tqs.graph.graph import Array

#: Windows that candidates are compared on, at most, and at least.
WINDOWS, FEWEST = 1024, 16
#: The next best's error over the best's, from which on it is beyond doubt.
CLEAR = 2.0
#: Likewise where only the best is better than the naive forecast.
CLEAR_ALONE = 1.25
#: Blocks of windows, and the t value of their differences, from which on one lead is better than another.
BLOCKS, BEYOND_DOUBT = 16, 3.0
MOST_LEAD = 24
#: How far from 1 the slope of the truth over the forecast may be at the lead of a model.
MOST_SLOPE = 0.1


def clearly_less(here: Array, there: Array) -> bool:
    """Whether the mean of ``here`` (N,) is less than that of ``there`` beyond what stretches of windows differ by."""
    means = np.array([block.mean() for block in np.array_split(there - here, BLOCKS)])
    return bool(means.mean() > BEYOND_DOUBT * means.std(ddof=1) / np.sqrt(BLOCKS))


def unbiased(made: Array, truth: Array) -> bool:
    """Whether what was ``made`` (N,) moves as far as the ``truth`` that it goes with: their regression has slope 1.

    So it is at the lead that a model was fitted to. At an earlier one its forecast, which is damped, moves too little.
    """
    centred = made - made.mean()
    power = float(np.mean(centred**2))
    return power > 0 and abs(float(np.mean(centred * (truth - truth.mean()))) / power - 1) <= MOST_SLOPE
