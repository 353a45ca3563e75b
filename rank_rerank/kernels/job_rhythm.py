"""Whether it pays that workers linger: how closely jobs follow each other, and whether who lingers comes to help."""

import time
from threading import Lock

LINGER_S = 150e-6
# calls in which a worker is woken for the next one, until every second is left out, then three of four, …
NUM_FREE_TRIES = 4
MAX_SKIPPED = 255


class JobRhythm:
    """When jobs begin and end, of all threads.

    Where other processes keep the processors busy, a worker that was woken for the next job comes too late; then it is
    tried ever more rarely. Where several threads have jobs at once their processors are busy, and nobody lingers.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._num_running = 0
        self._last_end_s = -LINGER_S
        self._num_failed = self._num_skipped = 0

    def begin(self) -> bool:
        """Note that a job begins.

        Returns:
            Whether another one ended a moment ago, and none is running.
        """
        with self._lock:
            is_quick = self._num_running == 0 and time.perf_counter() - self._last_end_s < LINGER_S
            self._num_running += 1
        return is_quick

    def is_worth_a_try(self) -> bool:
        """Whether to wake a worker for the job after this one."""
        if self._num_skipped < min(2 ** max(0, self._num_failed - NUM_FREE_TRIES) - 1, MAX_SKIPPED):
            self._num_skipped += 1
            return False
        self._num_skipped = 0
        self._num_failed = min(self._num_failed + 1, MAX_SKIPPED)
        return True

    def end(self, *, was_helped: bool) -> None:
        """Note that a job has ended, and whether a worker had begun it."""
        with self._lock:
            self._num_running -= 1
            if was_helped:
                self._num_failed = self._num_skipped = 0
            self._last_end_s = time.perf_counter()
