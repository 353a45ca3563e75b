"""The documents of a call dealt out to threads in compiled code, in numba's Python: see `scoring.compiled.parts`."""

from typing import Any

from numba import types

from rank_rerank.kernels.atomics import make_increase, make_load, make_swap
from rank_rerank.kernels.compilation import KernelSource
from rank_rerank.kernels.intrinsics import WORD_BYTES, make_address, make_call
from rank_rerank.scoring.compiled.parts import (
    KERNEL,
    LEAST,
    LEFT,
    LENGTHS,
    NEXT,
    NUM_DOCUMENTS,
    NUM_LOOP_ARGUMENTS,
    NUM_THREADS,
    PART_THREADS,
    ROWS,
)


def make_parts() -> KernelSource:
    """Write ``score_parts(job, number)``: score one part of the documents after the other, until none is left."""
    call, load, swap, increase = make_call(NUM_LOOP_ARGUMENTS), make_load(), make_swap(), make_increase()
    address_of = make_address()

    def score_parts(job: Any, number: Any) -> None:
        address = address_of(job)
        row = address + WORD_BYTES * (ROWS + number * NUM_LOOP_ARGUMENTS)
        while True:
            first = load(address + WORD_BYTES * NEXT)
            if first >= job[NUM_DOCUMENTS]:
                return
            left = load(address + WORD_BYTES * LEFT)
            # at least one token, so that a part always has a document
            wanted = max(left // (PART_THREADS * job[NUM_THREADS]), job[LEAST], 1)
            last, tokens = first, 0
            while last < job[NUM_DOCUMENTS] and tokens < wanted:
                tokens += load(job[LENGTHS] + WORD_BYTES * last)
                last += 1
            if swap(address + WORD_BYTES * NEXT, first, last) == first:
                increase(address + WORD_BYTES * LEFT, -tokens)
                call(job[KERNEL], row, first, last)

    return KernelSource(score_parts, (types.CPointer(types.int64), types.int64))
