"""The documents of one MaxSim call dealt out to threads: the job that they share, and how much each takes at once.

A thread takes a part of the tokens that are left, as many documents as hold them, and comes back for the next. So the
first parts are large and the last ones small, nobody waits long at the end, and a thread that comes late, or whose
processor is needed elsewhere, takes less. Parts are cut between documents, so they change no score.
"""

from array import array
from collections.abc import Sequence
from typing import NamedTuple

from rank_rerank.kernels.job_boxes import NUM_HEADER_WORDS

NUM_LOOP_ARGUMENTS = 27  # of the loop over documents; the last two are the range
CACHE_LINE_BYTES = 64
PART_THREADS = 2  # a part is what is left, divided by so many times the threads

# Words of the job after its header. Where SCORES of one query are given, and IS_SUSPECT beside them, ODD tells whether
# some document is suspect or has a score that is not finite. From ROWS on stands what each thread calls the loop with.
(
    NEXT, LEFT, NUM_DOCUMENTS, LENGTHS, LEAST, NUM_THREADS, KERNEL, SCORES, IS_SUSPECT, ODD, ROWS,
) = range(NUM_HEADER_WORDS, NUM_HEADER_WORDS + 11)  # fmt: skip


class LoopArguments(NamedTuple):
    """What the loop over documents is called with, but for the range, on any thread.

    Attributes:
        inputs: addresses of what it reads.
        results: addresses of what it writes, and sizes.
        column_bytes: of a number per query token.
        register_bytes: of a register.
        staged_bytes: of converted rows.
    """

    inputs: tuple[int, ...]
    results: tuple[int, ...]
    column_bytes: int
    register_bytes: int
    staged_bytes: int

    @property
    def scratch_bytes(self) -> int:
        """The memory that each thread needs of its own; no two threads write to one line of the cache."""
        num_bytes = 2 * self.column_bytes + self.register_bytes + self.staged_bytes
        return num_bytes + -num_bytes % CACHE_LINE_BYTES + CACHE_LINE_BYTES

    def row(self, best: int) -> tuple[int, ...]:
        """The arguments of a thread whose memory begins at ``best``."""
        index = best + self.column_bytes
        check = index + self.column_bytes
        return (*self.inputs, best, index, check, check + self.register_bytes, *self.results)


def make_job(
    entry: int, kernel: int, rows: Sequence[Sequence[int]], lengths: int, sizes: tuple[int, int, int]
) -> "array[int]":
    """A job for `kernels.thread_pool.share_job`.

    Args:
        entry: the address of the kernel that deals documents out.
        kernel: the address of the loop over documents.
        rows: the arguments of the loop but for the range, for each thread.
        lengths: the address of the number of tokens of each document, int64.
        sizes: how many documents and tokens there are, and the least number of tokens to take at once.
    """
    num_documents, num_tokens, least = sizes
    words = [0, 0, entry, 0, 0, 0, num_tokens, num_documents, lengths, least, len(rows), kernel, 0, 0, 0]
    for row in rows:
        words += (0, 0)
        words += row
    return array("q", words)
