"""One thread for products while a function of ours runs.

Rollouts are long loops of small products, which OpenBLAS slows down, tenfold and more on a busy machine, by handing
each to its threads. The command asks for one thread before numpy is imported; a notebook has imported numpy already.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from threadpoolctl import threadpool_limits

P = ParamSpec("P")
R = TypeVar("R")


def single_threaded(function: Callable[P, R]) -> Callable[P, R]:
    """``function``, in which numpy's products have one thread; what they had before is theirs again afterwards."""

    @functools.wraps(function)
    def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        with threadpool_limits(1, user_api="blas"):
            return function(*args, **kwargs)

    return limited
