"""Products of bytes on x86 without VNNI: exact where they say so, for every pair of bytes."""

import numpy as np
import pytest
from compiled_intrinsics import PATHS, compiled
from llvmlite import ir

from rank_rerank.kernels.intrinsics import make_intrinsic
from rank_rerank.kernels.vectors import (
    INT32,
    load,
    multiply_add_byte_pairs,
    multiply_add_bytes_less_128,
    multiply_add_pairs,
    store,
)

WITHOUT_VNNI = [path for path in PATHS if path.integer_product == "x86-pairs"]

pytestmark = pytest.mark.skipif(not WITHOUT_VNNI, reason="this processor is of another family")


@pytest.fixture(params=WITHOUT_VNNI, ids=lambda path: path.name)
def path(request):
    return request.param


def product_of(path, multiply_add):
    """[n, 4] uint8, [n, 4] int8, [n] int32 → [n] int32; n is a multiple of the lanes."""
    register = ir.VectorType(INT32, path.lanes)

    def emit(builder, left, right, total):
        loaded = [load(builder, register, address) for address in (left, right, total)]
        store(builder, multiply_add(builder, *loaded), total)

    call = compiled(path, make_intrinsic(emit, 3), 3)

    def on_arrays(left, right, total):
        result = total.copy()
        for first in range(0, len(total), path.lanes):
            call(*(np.ascontiguousarray(each[first : first + path.lanes]) for each in (left, right)), result[first:])
        return result

    return on_arrays


def lanes_of(path, rows, largest):
    random = np.random.default_rng(rows)
    edges = np.array([-127, -1, 0, 1, 127])
    right = np.where(
        random.random((rows, 4)) < 0.5,
        random.choice(edges, (rows, 4)),
        random.integers(-largest, largest + 1, (rows, 4)),
    )
    left = np.where(
        random.random((rows, 4)) < 0.5,
        random.choice([0, 1, 127, 128, 129, 254, 255], (rows, 4)),
        random.integers(0, 256, (rows, 4)),
    )
    return left.astype(np.uint8), right.clip(-largest, largest).astype(np.int8), np.arange(rows, dtype=np.int32)


def test_bytes_less_128_are_exact_for_all_weights(path):
    left, right, total = lanes_of(path, 4096, 127)
    expected = total + ((left.astype(np.int64) - 128) * right).sum(axis=1)
    assert np.array_equal(product_of(path, multiply_add_bytes_less_128)(left, right, total), expected)
    every = np.array(np.meshgrid(np.arange(256), np.arange(-127, 128))).reshape(2, -1).T
    every = every[: len(every) // 16 * 16]
    left, right = (np.repeat(column[:, None], 4, axis=1) for column in every.T)
    total = np.zeros(len(every), np.int32)
    found = product_of(path, multiply_add_bytes_less_128)(left.astype(np.uint8), right.astype(np.int8), total)
    assert np.array_equal(found, 4 * (every[:, 0] - 128) * every[:, 1])


def test_pairs_of_bytes_are_exact_for_small_weights_and_cut_off_for_others(path):
    product = product_of(path, multiply_add_byte_pairs)
    left, right, total = lanes_of(path, 4096, 64)
    assert np.array_equal(product(left, right, total), total + (left.astype(np.int64) * right).sum(axis=1))
    left, right = np.full((16, 4), 255, np.uint8), np.tile(np.array([127, 1, 127, 2], np.int8), (16, 1))
    assert product(left, right, np.zeros(16, np.int32)).tolist() == [255 * 128 + 2**15 - 1] * 16


def test_pairs_of_16_bit_numbers_are_added_up(path):
    random = np.random.default_rng(0)
    left, right = random.integers(-(2**15) + 1, 2**15, (2, 512, 2)).astype(np.int16)
    total = random.integers(-1000, 1000, 512).astype(np.int32)
    multiply_add = lambda builder, *registers: multiply_add_pairs(builder, path, *registers)  # noqa: E731
    found = product_of(path, multiply_add)(left, right, total)
    assert np.array_equal(found, total + (left.astype(np.int64) * right).sum(axis=1))
