# SPDX-License-Identifier: Apache-2.0
"""model.tflite in LiteRT by forecaster.py of the bundle, where no compiled library can be loaded."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from forecastd.model import Model, ModelError


class Litert:
    """As `compiled.Compiled`; LiteRT does not round everywhere as the C does. Raises ModelError."""

    def __init__(self, folder: Path, model: Model) -> None:
        sys.path.insert(0, str(folder))
        try:
            from forecaster import Forecaster, ForecasterError

            self._forecaster = Forecaster(folder / "model.tflite")
        except ImportError as error:
            raise ModelError(str(error)) from error
        except ForecasterError as error:
            raise ModelError(str(error)) from error
        finally:
            sys.path.remove(str(folder))
        if self._forecaster.model_hash != model.model_hash:
            raise ModelError(f"{folder}/model.tflite is not what model.json describes")
        self.name = self._forecaster.runtime

    def reset(self) -> None:
        self._forecaster.reset()

    def push(self, sample: Sequence[float]) -> None:
        self._forecaster.push(sample)

    def forecast(self, horizon: int, ahead: Sequence[float] = ()) -> tuple[float, ...]:
        rows = None
        if ahead:
            width = len(ahead) // horizon
            rows = [ahead[step * width : (step + 1) * width] for step in range(horizon)]
        return tuple(float(value) for value in self._forecaster.forecast(horizon, rows).reshape(-1))

    def predict(self) -> tuple[float, ...]:
        return tuple(float(value) for value in self._forecaster.predict().reshape(-1))

    def anomaly(self) -> float:
        return float(self._forecaster.anomaly())

    def snapshot(self) -> bytes | None:
        """None: what it knows is rebuilt from the last samples."""
        return None

    def restore(self, state: bytes) -> bool:
        return False
