"""Attention's numbers as 16-bit integers: rounded to half a step, and no sum of products leaves an int32."""

import numpy as np
import pytest
from compiled_intrinsics import PATHS, compiled
from softmax_of_rows import softmax_of

from rank_rerank.inference.compiled.kernels.pairs import make_key_scales, make_pair, make_round_query, make_value_scales

SIZES = (32, 64, 128, 256)
MASKED = -1e30

pytestmark = pytest.mark.skipif(not PATHS, reason="this processor has no instruction that these kernels need")


@pytest.fixture(params=PATHS, ids=lambda path: path.name)
def path(request):
    return request.param


def rows_of(kind, *shape):
    x = np.random.default_rng(len(kind)).standard_normal(shape).astype(np.float32)
    return {
        "normal": x,
        "equal": np.full_like(x, 3),
        "alternating": np.where(np.arange(x.size).reshape(shape) % 2, np.float32(1e5), np.float32(-1e5)),
        "zero": np.zeros_like(x),
        "an outlier": np.where(np.arange(shape[-1]) == 3, np.float32(1e4), x),
    }[kind]


def paired(pairs):
    """Pairs [rows / 2, columns] int32 → [rows, columns] as int64."""
    halves = np.ascontiguousarray(pairs).view(np.int16).reshape(*pairs.shape, 2)
    return halves.transpose(0, 2, 1).reshape(-1, pairs.shape[1]).astype(np.int64)


@pytest.mark.parametrize("kind", ["normal", "equal", "alternating", "zero", "an outlier"])
def test_scores_are_near_and_fit_an_int32(path, kind):
    columns = path.panel_vectors * path.lanes
    round_query, key_scales = compiled(path, make_round_query(path), 4), compiled(path, make_key_scales(path), 4)
    pair = compiled(path, make_pair(path), 4)
    for size in SIZES:
        query, panel = rows_of(kind, 1, size)[0], np.ascontiguousarray(rows_of(kind, columns, size).T)
        rounded, query_scale = np.empty(size, np.int16), np.empty(1, np.float32)
        round_query(query, rounded, query_scale, size)
        factors, scales = np.empty((2, columns), np.float32)
        key_scales(panel, size, factors, scales)
        pairs = np.empty((size // 2, columns), np.int32)
        for d in range(size // 2):
            pair(panel[2 * d], panel[2 * d + 1], factors, pairs[d])
        products = rounded.astype(np.int64) @ paired(pairs)
        assert np.abs(rounded.astype(np.int64)) @ np.abs(paired(pairs)).max(axis=1) < 2**31
        exact = query.astype(np.float64) @ panel
        allowed = 2 * size * np.abs(query).max() * np.abs(panel).max(axis=0) / np.sqrt(2**31 / size)
        assert (np.abs(products * float(query_scale[0]) * scales - exact) <= allowed + 1e-30).all()


@pytest.mark.parametrize("kind", ["normal", "equal", "alternating", "zero", "an outlier"])
@pytest.mark.parametrize("num_tokens", [2, 31, 512, 8192])
def test_mixed_values_are_near_and_fit_an_int32(path, kind, num_tokens):
    columns = path.panel_vectors * path.lanes
    values = rows_of(kind, num_tokens, columns)
    masks = np.zeros(num_tokens, np.float32)
    masks[num_tokens - num_tokens // 5 :] = MASKED
    values[masks != 0] *= np.float32(1e6)  # what is not seen takes no room
    factors, scales = np.empty((2, columns), np.float32)
    compiled(path, make_value_scales(path), 5)(values, num_tokens, masks, factors, scales)
    integers = np.rint(values[masks == 0] * factors).astype(np.int64)
    largest_weight = 16386
    assert np.abs(integers).max() <= 32767
    assert (np.abs(integers).sum(axis=0) * largest_weight < 2**31).all()
    assert (np.abs(integers * scales - values[masks == 0]) <= 0.51 * scales).all()
    bits_that_are_left = np.abs(integers).sum(axis=0).max() / min(2**17, 32767 * integers.shape[0])
    assert kind == "zero" or bits_that_are_left > (0.4 if kind == "normal" else 0.05)


def test_weights_as_integers_add_up(path):
    softmax = softmax_of(path, "int16")
    for size in (32, 64, 96, 160, 384):
        scores = (20 * np.random.default_rng(size).standard_normal(size)).astype(np.float32)
        scores[size // 2 :] += np.float32(MASKED)
        weights = 2.0 ** (scores.astype(np.float64) - scores.max())
        inverse_sum = np.zeros(1, np.float32)
        softmax(scores, inverse_sum, size)
        integers = scores.view(np.int16)[:size]
        assert not integers[size // 2 :].any()
        assert integers.max() in {2**14 - 1, 2**14, 2**14 + 1}
        np.testing.assert_allclose(integers * float(inverse_sum[0]), weights / weights.sum(), atol=1.2e-4)
