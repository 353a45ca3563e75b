"""The functions that kernels are written with, compiled for every path of this processor and called on arrays."""

import math

import numpy as np
import pytest
from compiled_intrinsics import PATHS, compiled

from rank_rerank.inference.int8_weights.encoder_weights import ACTIVATIONS
from rank_rerank.kernels.expressions import Lanes, at
from rank_rerank.kernels.functions import exp2, gated, gelu
from rank_rerank.kernels.intrinsics import make_intrinsic

ERF = np.vectorize(math.erf)
SIZES = (16, 32, 48, 64, 80, 112, 384)

pytestmark = pytest.mark.skipif(not PATHS, reason="this processor has no instruction that these kernels need")


@pytest.fixture(params=PATHS, ids=lambda path: path.name)
def path(request):
    return request.param


def apply(path, function):
    """A function of registers as one of arrays."""

    def emit(builder, source, target, count):
        lanes = Lanes(builder, path)

        def body(here, number, _):
            function(here.load(at(builder, source, number))).store(at(builder, target, number))
            return []

        lanes.sweep(count, [], body)

    call = compiled(path, make_intrinsic(emit, 3), 3)

    def on_array(x):
        result = np.empty_like(x)
        call(x, result, len(x))
        return result

    return on_array


def test_exp2_is_exact_to_the_last_bits(path):
    x = np.linspace(-126, 126, 16 * 5000).astype(np.float32)
    exact = 2.0 ** x.astype(np.float64)
    assert (np.abs(apply(path, exp2)(x) - exact) / exact).max() < 2.5e-7


def test_exp2_stays_above_zero_far_down(path):
    x = np.full(16, -1e30, np.float32)
    assert apply(path, exp2)(x).tolist() == pytest.approx([2.0**-126] * 16, rel=2.5e-7)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_met(path, name):
    x = np.linspace(-30, 30, 16 * 4000).astype(np.float32)
    exact = x.astype(np.float64)
    expected = {
        "gelu": lambda: 0.5 * exact * (1 + ERF(exact / math.sqrt(2))),
        "silu": lambda: exact / (1 + np.exp(-exact)),
        "relu": lambda: np.maximum(exact, 0),
    }.get(name, lambda: 0.5 * exact * (1 + np.tanh(math.sqrt(2 / math.pi) * (exact + 0.044715 * exact**3))))()
    factors = [-math.log2(math.e) * coefficient for coefficient in ACTIVATIONS[name]]
    assert np.abs(apply(path, lambda value: gated(value, factors))(x) - expected).max() < 3e-5


def test_gelu_is_met(path):
    x = np.linspace(-30, 30, 16 * 4000).astype(np.float32)
    expected = 0.5 * x.astype(np.float64) * (1 + ERF(x.astype(np.float64) / math.sqrt(2)))
    assert (np.abs(apply(path, gelu)(x) - expected) < 5.5e-5 + 4e-6 * np.abs(x)).all()
