"""What is done to rows between products, compiled for every path of this processor and called on arrays."""

import math

import numpy as np
import pytest
from compiled_intrinsics import PATHS, compiled
from softmax_of_rows import softmax_of

from rank_rerank.inference.compiled.kernels.rows import (
    make_activate,
    make_normalize,
    make_quantize,
    make_transpose,
)

ERF = np.vectorize(math.erf)
SIZES = (16, 32, 48, 64, 80, 112, 384)

pytestmark = pytest.mark.skipif(not PATHS, reason="this processor has no instruction that these kernels need")


@pytest.fixture(params=PATHS, ids=lambda path: path.name)
def path(request):
    return request.param


def unrounded(path, u, record):
    kind = np.int8 if path.integer_product == "arm-bytes" else np.uint8
    return u.view(kind).astype(np.float64) * float(record[0]) + float(record[1])


@pytest.mark.parametrize("values", ["normal", "one-sided", "equal", "zero", "an outlier"])
def test_rounding_is_off_by_half_a_step_at_most(path, values):
    quantize = compiled(path, make_quantize(path, with_factors=False), 5)
    for size in SIZES:
        x = np.random.default_rng(size).standard_normal(size).astype(np.float32)
        x = {
            "normal": x, "one-sided": np.abs(x) + 5, "equal": np.full_like(x, 3), "zero": np.zeros_like(x),
            "an outlier": np.where(np.arange(size) == 3, np.float32(1e4), x),
        }[values]  # fmt: skip
        u, record = np.zeros(size, np.uint8), np.zeros(2, np.float32)
        quantize(x, x, u, record, size)
        step = max(float(x.max()) - float(x.min()), 1e-30) / 255
        assert np.abs(unrounded(path, u, record) - x).max() <= 0.501 * step + 1e-6 * np.abs(x).max()


def test_activation_and_gate_come_before_rounding(path):
    activate = compiled(path, make_activate(path, with_gate=True, is_gelu=False), 6)
    x, gate = np.random.default_rng(0).standard_normal((2, 48)).astype(np.float32)
    coefficients = np.array([-math.log2(math.e), 0, 0], np.float32)
    expected = x / (1 + np.exp(-x.astype(np.float64))) * gate
    u, record = np.zeros(48, np.uint8), np.zeros(2, np.float32)
    activate(x, gate, coefficients, u, record, 48)
    assert np.abs(unrounded(path, u, record) - expected).max() <= 0.51 * np.ptp(expected) / 255


def test_gelu_and_gate_come_before_rounding(path):
    activate = compiled(path, make_activate(path, with_gate=True, is_gelu=True), 6)
    x, gate = np.random.default_rng(0).standard_normal((2, 48)).astype(np.float32)
    expected = 0.5 * x * (1 + ERF(x / math.sqrt(2))) * gate
    u, record = np.zeros(48, np.uint8), np.zeros(2, np.float32)
    activate(x, gate, x, u, record, 48)
    assert np.abs(unrounded(path, u, record) - expected).max() <= 0.51 * np.ptp(expected) / 255


def test_normalize_is_layer_norm_of_the_sum(path):
    normalize = compiled(path, make_normalize(path, with_summand=True), 7)
    for size in SIZES:
        x, y, gamma, beta = np.random.default_rng(size).standard_normal((4, size)).astype(np.float32)
        total = x.astype(np.float64) + y
        expected = (total - total.mean()) / np.sqrt(total.var() + 1e-5) * gamma + beta
        target = np.empty(size, np.float32)
        normalize(x, y, target, gamma, beta, np.array([1e-5, 0], np.float32), size)
        np.testing.assert_allclose(target, expected, atol=1e-5)
        np.testing.assert_allclose(x, total, atol=1e-6)


@pytest.mark.parametrize("size", [17, 20, 31, 97])
def test_zeros_behind_a_row_do_not_count_in_its_norm(path, size):
    normalize = compiled(path, make_normalize(path, with_summand=False), 7)
    padded = -(-size // 16) * 16
    x, gamma, beta = np.random.default_rng(size).standard_normal((3, padded)).astype(np.float32) + np.float32(2)
    x[size:] = gamma[size:] = beta[size:] = 0
    exact = x[:size].astype(np.float64)
    expected = (exact - exact.mean()) / np.sqrt(exact.var() + 1e-5) * gamma[:size] + beta[:size]
    target = np.empty(padded, np.float32)
    normalize(x, x, target, gamma, beta, np.array([1e-5, padded - size], np.float32), padded)
    np.testing.assert_allclose(target[:size], expected, atol=2e-5)
    assert not target[size:].any()


def test_softmax_leaves_the_division_for_later(path):
    softmax = softmax_of(path, "float32")
    for size in SIZES:
        scores = (20 * np.random.default_rng(size).standard_normal(size)).astype(np.float32)
        scores[size // 2 :] -= np.float32(1e30)  # masked
        expected = 2.0 ** (scores.astype(np.float64) - scores.max())
        inverse_sum = np.zeros(1, np.float32)
        softmax(scores, inverse_sum, size)
        np.testing.assert_allclose(scores * inverse_sum, expected / expected.sum(), atol=1e-6)


def test_zeros_behind_a_row_change_no_bit_of_a_sum(path):
    softmax = softmax_of(path, "float32")
    scores = np.random.default_rng(0).standard_normal(96).astype(np.float32)
    sums = []
    for size in range(96, 256, 16):
        padded = np.full(size, -1e30, np.float32)
        padded[:96] = scores
        inverse_sum = np.zeros(1, np.float32)
        softmax(padded, inverse_sum, size)
        sums.append(float(inverse_sum[0]))
    assert len(set(sums)) == 1


def test_a_square_is_transposed(path):
    transpose = compiled(path, make_transpose(path), 5)
    size = path.lanes
    source = np.arange(size * (size + 3), dtype=np.float32).reshape(size, size + 3)
    for rows in (1, 2, size - 1, size):
        target = np.zeros((size, size), np.float32)
        transpose(source, source.strides[0], rows, target, target.strides[0])
        there = np.minimum(np.arange(size), rows - 1)
        np.testing.assert_array_equal(target, source[there][:, :size].T)
