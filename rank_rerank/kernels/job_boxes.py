"""What threads that share compiled work write to each other: jobs, and the box by which a worker is reached.

A job is an array of 64-bit words. The first ones are these, and what follows is for the job's own kernel, the entry:

    0, 1      what numba's convention asks for
    ENTRY     the address of a kernel entry(job, number), called once by each thread that takes part, the caller as 0
    DONE      how many helpers have ended
    BEGUN     how many helpers had begun when the caller had ended

A box is a line of the cache, so that to watch it disturbs nobody:

    STATE     AWAY, WAITING, BUSY, or the address of a job
    WANTED    not 0 if the worker is to come back to Python
    HELPER    the worker's number in the job, from 1
    TURNS     how long the worker lingers after a job
"""

import numpy as np

from rank_rerank.arrays import Int64Vector

ENTRY, DONE, BEGUN, NUM_HEADER_WORDS = 2, 3, 4, 5
STATE, WANTED, HELPER, TURNS = 0, 1, 2, 3
AWAY, WAITING, BUSY = 0, 1, 2

_CACHE_LINE_WORDS = 8


def make_box() -> Int64Vector:
    """The box of a worker that is away."""
    words = np.zeros(2 * _CACHE_LINE_WORDS, np.int64)
    skipped = -words.ctypes.data // 8 % _CACHE_LINE_WORDS
    return words[skipped : skipped + _CACHE_LINE_WORDS]
