"""Activations in NumPy, as their authors define them; for the few numbers of a head."""

import math
from collections.abc import Callable

import numpy as np

from rank_rerank.arrays import AnyArray


def activate(name: str, values: AnyArray) -> AnyArray:
    """Apply an activation of config_variants.ACTIVATIONS or checkpoint.DENSE_ACTIVATIONS.

    Args:
        name: one of them.
        values: any float array.

    Returns:
        The same shape, float64 where a function needs it.
    """
    return _FUNCTIONS[name](values)


def _gelu(x: AnyArray) -> AnyArray:
    """Hendrycks and Gimpel 2016: x times the normal distribution's function."""
    return 0.5 * x * (1 + np.array([math.erf(number / math.sqrt(2)) for number in x.ravel()]).reshape(x.shape))


def _gelu_by_tanh(x: AnyArray) -> AnyArray:
    """The approximation of the same paper."""
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _silu(x: AnyArray) -> AnyArray:
    """X times the logistic function, by tanh, which no number overflows."""
    return 0.5 * x * (1 + np.tanh(0.5 * x))


def _relu(x: AnyArray) -> AnyArray:
    return np.maximum(x, 0)


def _sigmoid(x: AnyArray) -> AnyArray:
    return 0.5 * (1 + np.tanh(0.5 * x))


def _identity(x: AnyArray) -> AnyArray:
    return x


_FUNCTIONS: dict[str, Callable[[AnyArray], AnyArray]] = {
    "gelu": _gelu,
    "gelu_new": _gelu_by_tanh,
    "gelu_pytorch_tanh": _gelu_by_tanh,
    "identity": _identity,
    "relu": _relu,
    "sigmoid": _sigmoid,
    "silu": _silu,
    "tanh": np.tanh,
}
