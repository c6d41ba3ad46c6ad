"""Importing TensorFlow: on the CPU, without its chatter, with one clear error where it is missing."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from edge_tqs.errors import ToolError
from edge_tqs.needs import Need, python_package


def needs() -> tuple[Need, ...]:
    """TensorFlow, which a finished build does without."""
    return (python_package("tensorflow", "reads and scores Keras models", "tensorflow>=2.18"),)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence Python warnings and file descriptor 2.

    TensorFlow's C++ writes to the descriptor before any log level can reach it. Exceptions pass through untouched.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            saved = os.dup(2)
        except OSError:  # a service without stderr: nothing to silence
            yield
            return
        null = os.open(os.devnull, os.O_WRONLY)
        sys.stderr.flush()
        try:
            os.dup2(null, 2)
            yield
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            os.close(null)


def import_tensorflow() -> Any:
    """The tensorflow module, GPUs hidden, with Keras 3 on top of it. Raises ToolError when it cannot be imported."""
    if "tensorflow" not in sys.modules:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
        os.environ["KERAS_BACKEND"] = "tensorflow"
    try:
        with quiet():
            import tensorflow
            from tensorflow import keras

            major = int(keras.__version__.split(".")[0])
    except ImportError as error:
        raise ToolError(
            f"reading and scoring a Keras model needs TensorFlow, which does not import: {error}",
            hint="Run: pip install 'edge-tqs[keras]'",
        ) from error
    if major < 3:
        raise ToolError(
            f"Keras {keras.__version__} is too old: .keras files need Keras 3",
            hint="Run: pip install --upgrade 'edge-tqs[keras]', and unset TF_USE_LEGACY_KERAS.",
        )
    return tensorflow
