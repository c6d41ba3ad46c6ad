# SPDX-License-Identifier: Apache-2.0
"""What computes: the compiled library, or LiteRT where none can be loaded. Both take and give physical units."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from forecastd.engines.compiled import Compiled, LibraryError
from forecastd.model import Model, ModelError


class Engine(Protocol):
    """What an engine does; `compiled.Compiled` says each."""

    name: str

    def reset(self) -> None: ...
    def push(self, sample: Sequence[float]) -> None: ...
    def forecast(self, horizon: int, ahead: Sequence[float] = ()) -> tuple[float, ...]: ...
    def predict(self) -> tuple[float, ...]: ...
    def anomaly(self) -> float: ...
    def snapshot(self) -> bytes | None: ...
    def restore(self, state: bytes) -> bool: ...


def load_engine(folder: Path, model: Model) -> tuple[Engine, str]:
    """(engine, why it is not the compiled library; "" where it is). Raises ModelError where there is neither."""
    try:
        return Compiled(folder, model), ""
    except LibraryError as error:
        from forecastd.engines.litert import Litert

        try:
            return Litert(folder, model), str(error)
        except ModelError as missing:
            raise ModelError(
                f"{error}; and LiteRT cannot compute in its place: {missing}. Build for this kind of board, or install "
                "the packages of requirements.txt"
            ) from error
