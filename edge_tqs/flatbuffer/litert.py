"""The one place that makes a LiteRT interpreter: quiet, single-threaded, with its default delegate (XNNPACK)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edge_tqs.errors import ToolError


def interpreter(model: bytes, batch: int | None = None) -> Any:
    """An interpreter of ``model`` that is ready to run; with its first input resized to ``batch`` where that is given.

    Raises RuntimeError or ValueError, in the runtime's words, for what it refuses; ToolError without ai-edge-litert.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise ToolError(
            "The Python package ai-edge-litert is not installed", hint="pip install ai-edge-litert"
        ) from error
    with silent_stderr():  # XNNPACK announces itself from C++, and so do refused shapes
        made = Interpreter(model_content=model, num_threads=1)
        if batch is not None:
            detail = made.get_input_details()[0]
            made.resize_tensor_input(detail["index"], [batch, *detail["shape"][1:]])
        made.allocate_tensors()
    return made


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Point file descriptor 2 at nothing for a while: C++ code writes to it past sys.stderr."""
    saved, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nothing)
