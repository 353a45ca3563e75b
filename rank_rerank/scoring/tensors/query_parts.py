"""Queries as the kernel in Triton reads them: parts that tensor cores multiply, in one message to the device."""

from typing import Any

import numpy as np
import torch

from rank_rerank.arrays import AnyArray, Float32Matrix, Float32Vector, Int64Vector

PARTS = {"float32": 2, "float16": 2, "bfloat16": 3, "int8": 1, "signs": 2}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}  # of a query's parts; else float16
INT8_LIMIT = 127
# bits of a float32 that TF32 has not, and half of the last one that it has
TF32_REST, TF32_HALF = 0x1FFF, 0x1000
# words of a message before its offsets: the first is set where a document has to be settled
HEADER_WORDS = 4
ALIGNMENT = 16


def send_query(
    query: Float32Matrix, query_offsets: Int64Vector, weights: Float32Vector, storage: str, device: Any
) -> tuple[Any, Any]:
    """All that a kernel needs of the queries, in one copy.

    Returns:
        int32 words: a header, [num_queries + 1] offsets, and scale and weight of each query token as float32 bits; and
        [parts, num_query_tokens, dim] as split_query gives them.
    """
    num_query_tokens, dim = query.shape
    scales_at = HEADER_WORDS + len(query_offsets)
    weights_at = scales_at + num_query_tokens
    parts_at = -(-4 * (weights_at + num_query_tokens) // ALIGNMENT) * ALIGNMENT
    dtype = DTYPES.get(storage, torch.float16)
    message = torch.empty(parts_at + PARTS[storage] * num_query_tokens * dim * dtype.itemsize, dtype=torch.uint8)
    parts = message[parts_at:].view(dtype)
    words: AnyArray = message[:parts_at].numpy().view(np.int32)
    words[:HEADER_WORDS] = 0
    words[HEADER_WORDS:scales_at] = query_offsets
    factors: Float32Vector = words.view(np.float32)
    factors[scales_at:weights_at] = split_query(query, storage, parts.view(PARTS[storage], num_query_tokens, dim))
    factors[weights_at : weights_at + num_query_tokens] = weights
    # memory that is not pinned has been read when the call returns, whether or not it is on the device by then
    there = message.to(device, non_blocking=True)
    return there[:parts_at].view(torch.int32), there[parts_at:].view(dtype)


def split_query(query: Float32Matrix, storage: str, parts: Any) -> Float32Vector:
    """The query as the kernel multiplies it: parts that add up to it once each token is multiplied by its scale.

    Args:
        query: [num_query_tokens, dim].
        storage: of the documents.
        parts: [parts, num_query_tokens, dim] tensor in main memory, which is written.

    Returns:
        [num_query_tokens], the scales.
    """
    largest: Float32Vector = np.abs(query).max(axis=1, initial=0)
    if storage == "int8":
        return _round_query(query, largest, parts[0])
    if storage == "float32":
        high = _as_tf32(query)
        with np.errstate(over="ignore", invalid="ignore"):  # the kernel tells of what is beyond TF32
            low = _as_tf32(query - high)
        parts[0], parts[1] = torch.from_numpy(high), torch.from_numpy(low)
        return np.ones_like(largest)
    exponents = np.maximum(np.frexp(largest)[1], -125)  # the least whose scale has a float32 inverse
    scales = np.ldexp(np.float32(1), exponents - 1)  # 2**128 is none
    rest = torch.from_numpy(query / scales[:, None])  # from -2 to 2
    for number in range(PARTS[storage]):
        part = parts[number]
        part.copy_(rest)
        rest.sub_(part)
    return scales


def _round_query(query: Float32Matrix, largest: Float32Vector, rounded: Any) -> Float32Vector:
    """Write an int8 query; whole numbers that int8 holds stay what they are. Gives the scales: [num_query_tokens]."""
    is_whole = ((query == np.rint(query)) & (query >= -INT8_LIMIT - 1) & (query <= INT8_LIMIT)).all(axis=1)
    scales = np.where(is_whole | (largest == 0), np.float32(1), largest / np.float32(INT8_LIMIT))
    scales = np.maximum(scales, np.finfo(np.float32).tiny)
    numbers = np.rint(query / scales[:, None]).clip(-INT8_LIMIT - 1, INT8_LIMIT)
    rounded.copy_(torch.from_numpy(numbers))
    return scales


def _as_tf32(values: Float32Matrix) -> Float32Matrix:
    """The nearest float32 that are TF32 numbers."""
    bits: AnyArray = (values.view(np.uint32) + np.uint32(TF32_HALF)) & np.uint32(~TF32_REST & 0xFFFFFFFF)
    return bits.view(np.float32)
