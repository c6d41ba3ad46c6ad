"""Functions of one value, by Keras' names: each is written once and computed by numpy and by TensorFlow.

A function takes (maths, x, *parameters), ``maths`` being NUMPY or what ``tensorflow_maths`` gives. Parameters are
Python floats, in the order of DEFAULTS; one that may be left out is infinite then.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

_erf = np.frompyfunc(math.erf, 1, 1)


def _erf_of(x: Any) -> Any:
    return _erf(x).astype(x.dtype)


#: What the functions below are made of.
NUMPY = SimpleNamespace(
    exp=np.exp,
    log=np.log,
    log1p=np.log1p,
    sqrt=np.sqrt,
    tanh=np.tanh,
    sin=np.sin,
    cos=np.cos,
    erf=_erf_of,
    abs=np.abs,
    sign=np.sign,
    where=np.where,
    maximum=np.maximum,
    minimum=np.minimum,
)


def tensorflow_maths(tf: Any) -> SimpleNamespace:
    """The same of TensorFlow."""
    return SimpleNamespace(**{name: getattr(tf.math, name, None) or getattr(tf, name) for name in vars(NUMPY)})


def _clip(m: Any, x: Any, low: float, high: float) -> Any:
    return m.minimum(m.maximum(x, low), high)


def _hard_sigmoid(m: Any, x: Any) -> Any:
    return _clip(m, x / 6.0 + 0.5, 0.0, 1.0)


def _softplus(m: Any, x: Any) -> Any:
    return m.maximum(x, 0.0) + m.log1p(m.exp(-m.abs(x)))


def _gelu(m: Any, x: Any, approximate: float) -> Any:
    if approximate:
        return 0.5 * x * (1.0 + m.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    return 0.5 * x * (1.0 + m.erf(x * math.sqrt(0.5)))


def _elu(m: Any, x: Any, alpha: float) -> Any:
    return m.where(x > 0, x, alpha * (m.exp(m.minimum(x, 0.0)) - 1.0))


def _celu(m: Any, x: Any, alpha: float) -> Any:
    return m.maximum(x, 0.0) + alpha * (m.exp(m.minimum(x, 0.0) / alpha) - 1.0)


def _selu(m: Any, x: Any) -> Any:
    return 1.0507009873554805 * _elu(m, x, 1.6732632423543772)


def _relu(m: Any, x: Any, slope: float, limit: float, threshold: float) -> Any:
    y = m.where(x >= threshold, x, slope * (x - threshold))
    return y if math.isinf(limit) else m.minimum(y, limit)


def _sparse_plus(m: Any, x: Any) -> Any:
    return m.where(x <= -1, 0.0 * x, m.where(x < 1, 0.25 * (x + 1.0) * (x + 1.0), x))


def _soft_shrink(m: Any, x: Any, threshold: float) -> Any:
    return m.where(x > threshold, x - threshold, m.where(x < -threshold, x + threshold, 0.0 * x))


#: How far from 0, in sizes, a pulse may be other than 0.
PULSE_REACH = 0.6


def _pulse(m: Any, x: Any, size: float) -> Any:
    """1 about 0, and 0 from half of ``size`` on: which of the whole numbers times ``size`` x is."""
    return _clip(m, 5.5 - (10.0 / size) * m.abs(x), 0.0, 1.0)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "hard_sigmoid": _hard_sigmoid,
    "hard_silu": lambda m, x: x * _hard_sigmoid(m, x),
    "hard_tanh": lambda m, x: _clip(m, x, -1.0, 1.0),
    "softplus": _softplus,
    "softsign": lambda m, x: x / (1.0 + m.abs(x)),
    "gelu": _gelu,
    "elu": _elu,
    "celu": _celu,
    "selu": _selu,
    "relu": _relu,
    "mish": lambda m, x: x * m.tanh(_softplus(m, x)),
    "log_sigmoid": lambda m, x: -_softplus(m, -x),
    "squareplus": lambda m, x, b: 0.5 * (x + m.sqrt(x * x + b)),
    "sparse_plus": _sparse_plus,
    "sparse_sigmoid": lambda m, x: _clip(m, 0.5 * (x + 1.0), 0.0, 1.0),
    "tanh_shrink": lambda m, x: x - m.tanh(x),
    "soft_shrink": _soft_shrink,
    "hard_shrink": lambda m, x, threshold: m.where(m.abs(x) > threshold, x, 0.0 * x),
    "exponential": lambda m, x: m.exp(x),
    "sqrt": lambda m, x: m.sqrt(x),
    "rsqrt": lambda m, x: 1.0 / m.sqrt(x),
    "log": lambda m, x: m.log(x),
    "square": lambda m, x: x * x,
    "reciprocal": lambda m, x: 1.0 / x,
    "absolute": lambda m, x: m.abs(x),
    "negative": lambda m, x: -x,
    "sin": lambda m, x: m.sin(x),
    "cos": lambda m, x: m.cos(x),
    "pulse": _pulse,
}

#: Parameters and what Keras takes where they are not given.
DEFAULTS: dict[str, tuple[float, ...]] = {
    "gelu": (0.0,),
    "elu": (1.0,),
    "celu": (1.0,),
    "relu": (0.0, math.inf, 0.0),
    "squareplus": (4.0,),
    "soft_shrink": (0.5,),
    "hard_shrink": (0.5,),
    "pulse": (1.0,),
}
