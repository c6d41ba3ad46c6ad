"""What a file of measurements holds before its times are put in order: the same for text and Parquet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_tqs.graph.graph import Array


@dataclass(frozen=True, eq=False)
class Table:
    """values (rows, columns) float32, NaN where a value is missing. times (rows,): nanoseconds since 1970 as written,
    offsets (rows,): seconds from UTC or NO_OFFSET; both None where there is no column of times, called ``time``.

    sensors: for one sensor a row, (number of the sensor of each row, their names). line: where a row is: "line 5" of a
    text, "row 4" of a Parquet file. labels: columns of text, which may be what makes a time come twice. facts,
    warnings: what was found, in sentences.
    """

    path: Path
    columns: tuple[str, ...]
    values: npt.NDArray[np.float32]
    line: Callable[[int], str]
    times: Array | None = None
    offsets: Array | None = None
    time: str = ""
    sensors: tuple[Array, tuple[str, ...]] | None = None
    labels: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
