"""Compiled work handed from thread to thread without the GIL, in numba's Python: see `kernels.lingering`."""

from typing import Any

from numba import types

from rank_rerank.kernels.atomics import make_load, make_rest, make_store, make_swap, make_take
from rank_rerank.kernels.compilation import KernelSource
from rank_rerank.kernels.intrinsics import WORD_BYTES, make_address, make_call
from rank_rerank.kernels.job_boxes import AWAY, BEGUN, BUSY, DONE, ENTRY, HELPER, STATE, TURNS, WAITING, WANTED
from rank_rerank.kernels.processor import VectorPath

_WORDS = types.CPointer(types.int64)


def make_linger(path: VectorPath) -> KernelSource:
    """Write ``linger(box)``: run the jobs that come into a box, until none has come for its number of turns."""
    call, take, swap, load, store = make_call(2), make_take(), make_swap(), make_load(), make_store()
    rest, address_of = make_rest(path), make_address()

    def linger(box: Any) -> None:
        state = address_of(box) + WORD_BYTES * STATE
        wanted, turns = state + WORD_BYTES * (WANTED - STATE), state + WORD_BYTES * (TURNS - STATE)
        left = load(turns)
        while True:
            job = load(state)
            if job > BUSY:
                if swap(state, job, BUSY) == job:
                    call(load(job + WORD_BYTES * ENTRY), job, job, load(state + WORD_BYTES * (HELPER - STATE)))
                    left = load(turns)
                    # before the caller hears of it, so that whom it hands this worker to finds it waiting
                    store(state, WAITING)
                    take(job + WORD_BYTES * DONE)
            elif job == AWAY:
                swap(state, AWAY, WAITING)
            elif (left <= 0 or load(wanted) != 0) and swap(state, WAITING, AWAY) == WAITING:
                return
            else:
                left -= 1
                rest()

    return KernelSource(linger, (_WORDS,))


def make_hand_over(path: VectorPath) -> KernelSource:
    """Write ``hand_over(job, boxes, num_boxes, turns)``: run a job together with the workers of some boxes.

    Who has not begun when the caller has ended is not waited for; the others are, for so many turns.
    """
    call, swap, load, store = make_call(2), make_swap(), make_load(), make_store()
    rest, address_of = make_rest(path), make_address()

    def hand_over(job: Any, boxes: Any, num_boxes: Any, turns: Any) -> None:
        address = address_of(job)
        for i in range(num_boxes):
            store(boxes[i] + WORD_BYTES * HELPER, i + 1)
            # nobody else gives jobs to these workers, so this overwrites no job
            store(boxes[i] + WORD_BYTES * STATE, address)
        call(job[ENTRY], address, address, 0)
        begun = 0
        for i in range(num_boxes):
            if swap(boxes[i] + WORD_BYTES * STATE, address, AWAY) != address:
                begun += 1
        job[BEGUN] = begun
        left = turns
        while load(address + WORD_BYTES * DONE) < begun and left > 0:
            left -= 1
            rest()

    return KernelSource(hand_over, (_WORDS, _WORDS, types.int64, types.int64))
