"""The errors that edge-tqs raises on purpose; everything else is a bug and keeps its traceback."""

from __future__ import annotations


class TqsError(Exception):
    """Something the user can act on.

    Args:
        message: What happened, where (file, layer, port) and why, in one or two sentences.
        hint: What to try next; printed on a line of its own.
        figures: A table of what was measured, printed before the message.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", figures: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.figures = figures


class UsageError(TqsError):
    """The command or its input is wrong (no such board, no such file, an impossible budget)."""

    exit_code = 2


class ModelError(UsageError):
    """The model cannot be read, or has a layer, a shape or a value that cannot be built."""


class ToolError(UsageError):
    """A compiler, an emulator, a flash tool or a Python package is missing or too old."""


class DeviceError(TqsError):
    """A board did not answer, answered with an error, or runs another model."""


class SilentError(DeviceError):
    """The board did not answer in time."""


class UnknownRequestError(DeviceError):
    """The board's firmware does not know the request."""


class RestartedError(DeviceError):
    """The board forgot what it was told: it restarted."""


class GoneError(DeviceError):
    """The port went away."""


class CheckError(TqsError):
    """A check that edge-tqs itself makes (float against Keras, C against the integer reference, a quantised
    model that no longer forecasts what the float one does) failed."""


class StorageError(TqsError):
    """The disk takes no more of what a command writes."""
