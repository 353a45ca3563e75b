"""Sixteen levels per number: the bytes, how near they come, and what kernels read."""

import numpy as np
import pytest
from example_counts import examples
from hypothesis import given
from hypothesis import strategies as st

from rank_rerank.encoding.four_bits import to_four_bits, unpack_four_bits
from rank_rerank.encoding.quantization import dequantize, quantize
from rank_rerank.errors import ShapeError


def by_definition(packed, scales):
    """As the page on the format says it, number by number."""
    rows = []
    for row, scale in zip(packed.tolist(), scales.tolist(), strict=True):
        codes = [code for byte in row for code in (byte % 16, byte // 16)]
        rows.append([(16 * (code - 16 if code > 7 else code) + 8) * scale for code in codes])
    return np.array(rows, np.float32).reshape(len(packed), 2 * packed.shape[1])


@examples(60)
@given(st.integers(0, 10_000), st.integers(0, 20), st.sampled_from([1e-30, 1e-3, 1.0, 1e4, 1e30]))
def test_bytes_are_what_the_format_says_and_come_near(seed, num_tokens, size):
    vectors = np.random.default_rng(seed).standard_normal((num_tokens, 64)).astype(np.float32) * np.float32(size)
    stored = quantize(vectors, "int4")
    back = dequantize(stored, "int4")
    assert stored.vectors.shape == (num_tokens, 32)
    np.testing.assert_allclose(back, by_definition(stored.vectors, stored.scales), rtol=1e-6)
    exact, found = vectors.astype(np.float64), back.astype(np.float64)
    norms, products = (exact**2).sum(1), (exact * found).sum(1)
    assert (products > 0.98 * np.sqrt(norms * (found**2).sum(1))).all()
    # scales keep products right on average: what is left is at right angles to the vector
    np.testing.assert_allclose(((exact - found) * exact).sum(1) / norms, 0, atol=1e-5)


def test_levels_are_even_and_the_outer_ones_take_what_is_beyond():
    # a step is 0.8 / 7.5 of the largest number, here 1
    row = np.array([[0.01, -0.01, 0.99, -0.99, 1.01, -1.01, 9.375, -9.375]], np.float32)
    packed, _ = to_four_bits(row)
    assert unpack_four_bits(packed).tolist() == [[8, -8, 8, -8, 24, -24, 120, -120]]


def test_all_codes_are_unpacked():
    packed = np.arange(256, dtype=np.uint8).reshape(2, 128)
    numbers = unpack_four_bits(packed).astype(int)
    assert numbers.dtype == int
    assert by_definition(packed, np.ones(2)).tolist() == numbers.tolist()
    assert sorted(set(numbers.ravel().tolist())) == list(range(-120, 121, 16))


def test_many_rows_are_unpacked_as_each_alone():
    packed = np.random.default_rng(0).integers(0, 256, (2500, 8), np.uint8)
    apart = np.concatenate([unpack_four_bits(packed[first : first + 1]) for first in range(len(packed))])
    assert unpack_four_bits(packed).tobytes() == apart.tobytes()


def test_rows_of_zeros_stay_zero_and_no_rows_stay_none():
    stored = quantize(np.zeros((2, 4), np.float32), "int4")
    assert (stored.scales.tolist(), dequantize(stored, "int4").tolist()) == ([0, 0], [[0] * 4] * 2)
    assert unpack_four_bits(np.empty((0, 8), np.uint8)).shape == (0, 16)


def test_a_read_only_array_is_left_as_it_is():
    packed = np.full((3, 4), 0x7F, np.uint8)
    packed.flags.writeable = False
    unpack_four_bits(packed)
    assert (packed == 0x7F).all()


def test_an_odd_dim_is_refused():
    with pytest.raises(ShapeError, match="two numbers per byte"):
        quantize(np.ones((1, 3), np.float32), "int4")
