"""Sixteen levels per number, two numbers to a byte, and back to bytes that kernels for int8 read.

A code ``k`` from −8 to 7 stands for ``16 k + 8`` times the token's scale: levels are evenly spaced and none is zero.
They reach to four fifths of the token's largest number: a few numbers are cut, and all others are nearer. The scale
keeps the product of what is stored with the vector itself, so that similarities are right on average; the scale of
least squared error would make them smaller (as in Gao and Long, "RaBitQ", 2024). Numbers 2 i and 2 i + 1 of a vector
are the lower and the upper half of its byte i, in two's complement, so that unpacking is shifts and masks.
"""

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Matrix, Float32Vector
from rank_rerank.errors import ShapeError

LOWEST, HIGHEST = -8, 7
# of the token's largest number the outermost level, which is 7.5 steps from zero
REACH = 0.8
OUTERMOST_STEPS = 7.5
# what one step is in bytes; half of it lies between zero and the first level
BYTE_STEP = 16
# rows that are unpacked in all steps before the next ones, so that they stay near the processor
ROWS_AT_ONCE = 1024
UPPER, LOWER, HALF_STEPS = np.uint16(0xF000), np.uint16(0x00F0), np.uint16(0x0808)


def to_four_bits(vectors: Float32Matrix) -> tuple[AnyArray, Float32Vector]:
    """Round token vectors, each row by itself.

    Args:
        vectors: [num_tokens, dim] float32, finite.

    Returns:
        [num_tokens, dim / 2] uint8, and [num_tokens] float32 scales, not negative.

    Raises:
        ShapeError: the dim is odd.
    """
    check_even_dim(int(vectors.shape[1]))
    exact = vectors.astype(np.float64)
    largest = np.abs(exact).max(axis=1, keepdims=True, initial=0)  # [num_tokens, 1]
    steps = largest * (REACH / OUTERMOST_STEPS)
    scaled = np.divide(exact, steps, out=np.zeros_like(exact), where=steps > 0)
    codes = np.clip(np.floor(scaled), LOWEST, HIGHEST)
    levels = codes * BYTE_STEP + BYTE_STEP / 2
    # sums in float64, so that their order does not show in the float32 scale
    squares, products = (exact**2).sum(axis=1), (levels * exact).sum(axis=1)
    scales = np.divide(squares, products, out=np.zeros_like(squares), where=products > 0)
    halves = codes.astype(np.int8).view(np.uint8) & np.uint8(0x0F)
    packed = halves[:, 0::2] | (halves[:, 1::2] << np.uint8(4))
    return np.ascontiguousarray(packed), scales.astype(np.float32)


def unpack_four_bits(packed: AnyArray) -> AnyArray:
    """[num_tokens, dim] int8, which times the scales are the vectors: [num_tokens, dim / 2] uint8 unpacked."""
    num_tokens, width = packed.shape
    pairs = np.empty((num_tokens, width), "<u2")
    upper = np.empty((min(ROWS_AT_ONCE, num_tokens), width), "<u2")
    for first in range(0, num_tokens, ROWS_AT_ONCE):
        # each byte becomes two: its lower half in the upper bits of the first, its upper half in those of the second
        some = pairs[first : first + ROWS_AT_ONCE]
        some[:] = packed[first : first + ROWS_AT_ONCE]
        both = np.left_shift(some, 8, out=upper[: len(some)])
        both &= UPPER
        some <<= np.uint16(4)
        some &= LOWER
        some |= both
        some |= HALF_STEPS
    return pairs.view(np.int8).reshape(num_tokens, 2 * width)


def check_even_dim(dim: int) -> None:
    """Refuse a dim that does not fill whole bytes.

    Raises:
        ShapeError: it is odd.
    """
    if dim % 2:
        raise ShapeError(f'"int4" packs two numbers per byte; the dim must be even, this is {dim}')
