"""A module of PyTorch as a model, by way of litert-torch and a .tflite file."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from edge_tqs.api.steps import open_model
from edge_tqs.building.opened import Model
from edge_tqs.errors import ModelError, ToolError, UsageError
from edge_tqs.flatbuffer.litert import silent_stderr

StrPath = str | os.PathLike[str]


def from_torch(module: Any, example: Any, path: StrPath, **settings: Any) -> Model:
    """Convert a module of PyTorch, write ``path``, and open that.

    Args:
        module: A torch.nn.Module that takes ``example``; converted as its eval() is, and left in the mode that it has.
        example: A tensor (1, W, F): W samples of F channels, the oldest first. Its values do not matter.
        path: The .tflite file to write, which the model is from then on.
        settings: Keywords of `open_model`.

    Raises UsageError for an ``example`` of another shape, or a ``path`` without the suffix .tflite; ToolError without
    litert-torch; ModelError where that cannot convert the module; else as `open_model`.
    """
    target = Path(path)
    if target.suffix != ".tflite":
        raise UsageError(f"{target} is not named as what is written", hint=f"Give {target.with_suffix('.tflite')}.")
    shape = tuple(getattr(example, "shape", ()))
    if len(shape) != 3 or shape[0] != 1:
        raise UsageError(
            f"example has the shape {shape}, and a window is (1, W, F)",
            hint="Give torch.zeros(1, W, F): W samples of F channels, one window.",
        )
    try:
        import litert_torch
    except ImportError as error:
        raise ToolError(
            "litert-torch is not installed, which converts modules of PyTorch", hint="pip install litert-torch"
        ) from error
    trained = bool(module.training)
    try:
        with silent_stderr(), contextlib.redirect_stdout(None):
            litert_torch.convert(module.eval(), (example,)).export(str(target))
    except Exception as error:  # whatever its converter raises
        said = next(iter(str(error).strip().splitlines()), "")[:200]
        raise ModelError(
            f"litert-torch cannot convert {type(module).__name__}: {type(error).__name__}: {said}",
            hint="Leave out of the module what no forecast needs, or write that part of it in other operators.",
        ) from error
    finally:
        module.train(trained)
    return open_model(target, **settings)
