# SPDX-License-Identifier: Apache-2.0
"""The model as compiled C, libforecaster.so of the bundle: what the host's rollout gives, bit for bit."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

from forecastd.model import Model

LIBRARY = "libforecaster.so"
_VERSION, _ABOUT = 1, 11


class LibraryError(Exception):
    """The library is missing, of another processor, or of another model."""


class Compiled:
    """Push samples, then forecast; a forecast changes nothing that was pushed.

    Samples are ``len(model.columns)`` numbers in physical units, rounded to float32 as a C program's are. Raises
    LibraryError.
    """

    name = "compiled"

    def __init__(self, folder: Path, model: Model) -> None:
        path = folder / LIBRARY
        try:
            library = ctypes.CDLL(str(path))
            about, digest = (ctypes.c_uint32 * _ABOUT)(), (ctypes.c_uint8 * 32)()
            library.tqs_library_about(about)
            library.tqs_library_hash(digest)
        except (OSError, AttributeError) as error:
            raise LibraryError(f"{path} cannot be loaded: {error}") from error
        version, size, window, channels, outputs, steps, exogenous = list(about)[:7]
        if version != _VERSION or bytes(digest).hex() != model.model_hash:
            raise LibraryError(f"{path} is of another build than model.json")
        if (window, channels, outputs, steps) != (model.window, len(model.columns), model.outputs, model.steps):
            raise LibraryError(f"{path} has other shapes than model.json")
        self._library, self._size, self._exogenous = library, size, exogenous
        self._model = (ctypes.c_uint64 * ((size + 7) // 8))()
        self._sample = (ctypes.c_float * channels)()
        self._outputs, self._predicted = outputs, (ctypes.c_float * (outputs * steps))()
        self.reset()

    def reset(self) -> None:
        """Forget all samples and states."""
        self._library.tqs_library_reset(self._model)

    def push(self, sample: Sequence[float]) -> None:
        """Append one sample. NaN counts as the mean of its channel."""
        self._sample[:] = sample
        self._library.tqs_library_push(self._model, self._sample)

    def forecast(self, horizon: int, ahead: Sequence[float] = ()) -> tuple[float, ...]:
        """The next ``horizon`` samples, one after the other: horizon * outputs numbers. ahead: what is known of their
        times, horizon * exogenous numbers."""
        assert len(ahead) == horizon * self._exogenous
        made, known = (ctypes.c_float * (horizon * self._outputs))(), (ctypes.c_float * len(ahead))(*ahead)
        self._library.tqs_library_forecast(self._model, ctypes.c_uint32(horizon), known, made)
        return tuple(made)

    def predict(self) -> tuple[float, ...]:
        """What the model says of the samples pushed so far: steps * outputs numbers."""
        self._library.tqs_library_predict(self._model, self._predicted)
        return tuple(self._predicted)

    def anomaly(self) -> float:
        """Of a reconstruction: the mean squared difference between the window and it, in the model's units."""
        score = ctypes.c_float()
        self._library.tqs_library_anomaly(self._model, ctypes.byref(score))
        return score.value

    def snapshot(self) -> bytes:
        """All that it knows of what was pushed; for `restore`, of the same library."""
        return ctypes.string_at(self._model, self._size)

    def restore(self, state: bytes) -> bool:
        """Go on where ``snapshot`` was taken. False where it cannot be of this library."""
        if len(state) != self._size:
            return False
        ctypes.memmove(self._model, state, self._size)
        return True
