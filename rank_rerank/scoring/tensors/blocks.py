"""How much the kernel in Triton takes at a time, by storage, dim and query; figures of an H100."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from rank_rerank.scoring.tensors.query_parts import PARTS

MAX_BLOCK_QUERY = 64
BLOCK_TOKENS = 64
# of float32 a thread holds the parts of a whole block in registers, so that blocks are smaller
MAX_BLOCK_DIM = {"float32": 32, "float16": 128, "bfloat16": 128, "int8": 128, "signs": 128}
NUM_WARPS = 4
# as measured on an H100: with a third block in flight float32 takes 0.383 ms instead of 0.413 for 10,000 documents of
# 180 vectors of dim 128, float16 less too; bfloat16, int8 and signs take longer
NUM_STAGES = {"float32": 3, "float16": 3, "bfloat16": 2, "int8": 2, "signs": 2}
# of vectors up to 128 numbers and queries up to 32 tokens: three programs or more then share a processor, which hides
# their waiting for memory
MAX_REGISTERS = {"float16": 168, "bfloat16": 168, "int8": 128, "signs": 168}
LIMITED_QUERY, LIMITED_DIM = 32, 128
# of those also: tokens, stages and warps; 100,000 documents in int8 take 1.053 ms so, 1.094 with the values above
NARROW_BLOCKS = {"int8": (32, 4, 2)}
# of vectors that are too wide to lie in shared memory whole
WIDE_BLOCK_QUERY, WIDE_BLOCK_DIM, WIDE_STAGES = 32, 64, 2
MIN_BLOCK = 16  # the least that a tensor core multiplies
MIN_BLOCK_DIM_INT8 = 32
ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1, "signs": 2}
# shared memory that a kernel may take where the device does not tell, and what Triton needs besides blocks
LEAST_SHARED_BYTES, SPARE_SHARED_BYTES = 99 * 1024, 8 * 1024


def next_power_of_2(number: int) -> int:
    """The least power of two that is not below a number; 1 for 0."""
    return 1 << max(0, number - 1).bit_length()


def block_of_query(num_query_tokens: int) -> int:
    """How many tokens of a query are multiplied at once."""
    return min(MAX_BLOCK_QUERY, max(MIN_BLOCK, next_power_of_2(num_query_tokens)))


@dataclass(frozen=True)
class Blocks:
    """How much a program takes at a time.

    Attributes:
        query: query tokens.
        tokens: tokens of a document.
        dim: numbers of a vector.
        num_dim: blocks of dim.
        is_wide: the blocks of dim are a loop of their own, which reads the query again for each block of tokens.
        stages: blocks in flight.
        warps: of a program.
        registers: the most that a thread may have; None for what the compiler likes.
    """

    query: int
    tokens: int
    dim: int
    num_dim: int
    is_wide: bool
    stages: int
    warps: int = NUM_WARPS
    registers: int | None = None


@cache
def plan_kernel(storage: str, dim: int, num_query_tokens: int, shared_bytes: int) -> Blocks:
    """Choose blocks that fit into shared memory.

    Args:
        storage: of the documents.
        dim: numbers per vector.
        num_query_tokens: of the longest query.
        shared_bytes: what a program may take.
    """
    least = MIN_BLOCK_DIM_INT8 if storage == "int8" else MIN_BLOCK
    query = block_of_query(num_query_tokens)
    whole = max(least, next_power_of_2(dim))
    block = min(MAX_BLOCK_DIM[storage], whole)
    num_dim = -(-dim // block)
    width = num_dim * block * ITEM_BYTES[storage]  # bytes of one vector
    tokens, most_stages, warps, registers = BLOCK_TOKENS, NUM_STAGES[storage], NUM_WARPS, None
    if query <= LIMITED_QUERY and dim <= LIMITED_DIM:
        registers = MAX_REGISTERS.get(storage)
        tokens, most_stages, warps = NARROW_BLOCKS.get(storage, (tokens, most_stages, warps))
    for stages in range(most_stages, 1, -1):
        if width * (PARTS[storage] * query + stages * tokens) + SPARE_SHARED_BYTES <= shared_bytes:
            return Blocks(query, tokens, block, num_dim, False, stages, warps, registers)  # noqa: FBT003 - is_wide
    block = min(whole, WIDE_BLOCK_DIM)
    return Blocks(min(query, WIDE_BLOCK_QUERY), BLOCK_TOKENS, block, -(-dim // block), is_wide=True, stages=WIDE_STAGES)


@cache
def shared_bytes_of(index: int | None) -> int:
    """What one program may take of a CUDA device's shared memory; None is the CPU, where Triton interprets."""
    if index is None:
        return LEAST_SHARED_BYTES
    properties: Any = torch.cuda.get_device_properties(index)
    return int(getattr(properties, "shared_memory_per_block_optin", LEAST_SHARED_BYTES))
