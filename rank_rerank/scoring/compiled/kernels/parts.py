"""The documents of a call dealt out to threads in compiled code, in numba's Python: see `scoring.compiled.parts`."""

from typing import Any

from numba import njit, types

from rank_rerank.kernels.atomics import make_increase, make_load, make_store, make_swap
from rank_rerank.kernels.compilation import KernelSource
from rank_rerank.kernels.intrinsics import WORD_BYTES, make_address, make_call, make_read_integer
from rank_rerank.scoring.compiled.call_words import INFINITY
from rank_rerank.scoring.compiled.parts import (
    IS_SUSPECT,
    KERNEL,
    LEAST,
    LEFT,
    LENGTHS,
    NEXT,
    NUM_DOCUMENTS,
    NUM_LOOP_ARGUMENTS,
    NUM_THREADS,
    ODD,
    PART_THREADS,
    ROWS,
    SCORES,
)


def make_parts() -> KernelSource:  # noqa: C901 - one kernel
    """Write ``score_parts(job, number)``: score one part of the documents after the other, until none is left."""
    call, load, swap, increase = make_call(NUM_LOOP_ARGUMENTS), make_load(), make_swap(), make_increase()
    store, read_int32, read_int8 = make_store(), make_read_integer(32), make_read_integer(8)
    address_of = make_address()

    @njit(inline="always")
    def is_any_odd(job: Any, first: Any, last: Any) -> Any:
        is_odd = False
        for n in range(first, last):
            bits = read_int32(job[SCORES] + 4 * n) & 0x7FFFFFFF
            is_odd |= bits >= INFINITY and load(job[LENGTHS] + WORD_BYTES * n) > 0
        for n in range(first, last):
            is_odd |= read_int8(job[IS_SUSPECT] + n) != 0
        return is_odd

    @njit(inline="always")
    def tokens_of_part(job: Any, left: Any) -> Any:
        # at least one token, so that a part always has a document
        if job[NUM_THREADS] == 1:
            return max(left, 1)
        return max(left // (PART_THREADS * job[NUM_THREADS]), job[LEAST], 1)

    def score_parts(job: Any, number: Any) -> None:
        address = address_of(job)
        row = address + WORD_BYTES * (ROWS + number * NUM_LOOP_ARGUMENTS)
        while True:
            first = load(address + WORD_BYTES * NEXT)
            if first >= job[NUM_DOCUMENTS]:
                return
            wanted = tokens_of_part(job, load(address + WORD_BYTES * LEFT))
            last, tokens = first, 0
            while last < job[NUM_DOCUMENTS] and tokens < wanted:
                tokens += load(job[LENGTHS] + WORD_BYTES * last)
                last += 1
            if swap(address + WORD_BYTES * NEXT, first, last) == first:
                increase(address + WORD_BYTES * LEFT, -tokens)
                call(job[KERNEL], row, first, last)
                if job[SCORES] != 0 and is_any_odd(job, first, last):
                    store(address + WORD_BYTES * ODD, 1)

    return KernelSource(score_parts, (types.CPointer(types.int64), types.int64))
