# SPDX-License-Identifier: Apache-2.0
"""Sensors that Linux shows as files: hwmon and IIO, of I2C, SPI and 1-Wire devices."""

from __future__ import annotations

import glob
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forecastd.asking import Asking, every
from forecastd.resample import Reading
from forecastd.settings import key
from forecastd.sources import Context, SourceError
from forecastd.trouble import Trouble


@dataclass(frozen=True)
class Settings:
    """every: how often the files are read. `from` of a column is its file, as
    /sys/bus/iio/devices/iio:device0/in_temp_input; where numbers change from boot to boot, with * for them."""

    every: float = key(every, '"every": "10s"', 10.0)


class Source:
    """A number a file. Raises SourceError for a column that is no file of /sys, and one that several files fit."""

    live = True

    def __init__(self, settings: Settings, context: Context) -> None:
        self.counters = {"unreadable": 0}
        self._columns = context.columns
        self._trouble = {column.source: Trouble("source sysfs") for column in context.columns}
        for column in context.columns:
            if not column.source.startswith("/"):
                raise SourceError(
                    f"column {column.name} is read from {column.source}, which is no path: write "
                    f'"{column.name}": {{"from": "/sys/class/hwmon/hwmon*/temp1_input", "scale": 0.001}} '
                    'under "columns"'
                )
            if len(found := glob.glob(column.source)) > 1:
                raise SourceError(
                    f"column {column.name}: several files are {column.source}: {', '.join(sorted(found))}"
                )
        self._asking = Asking(settings.every, self._read)

    def poll(self, seconds: float) -> Sequence[Reading]:
        return self._asking.poll(seconds)

    def _read(self) -> dict[str, float]:
        values = {}
        for column in self._columns:
            try:
                found = glob.glob(column.source)
                if len(found) != 1:
                    raise ValueError("there is no such file" if not found else f"{len(found)} files are so named")
                (path,) = found
                value = float(Path(path).read_text(encoding="ascii"))
                if not math.isfinite(value):
                    raise ValueError(f"it holds {value}")
            except (OSError, ValueError) as error:  # away, or a device that answers with an error
                self.counters["unreadable"] += 1
                self._trouble[column.source].said(f"{column.source} is not read: {error}")
                continue
            self._trouble[column.source].over()
            values[column.name] = column.value(value)
        return values

    def close(self) -> None:
        """Nothing is open."""
