"""Engine: the thread that does the work of a queue, piece by piece, on all processors."""

import logging
import time
import traceback
from collections.abc import Callable
from threading import Thread

from rank_rerank.errors import RankRerankError
from rank_rerank.serving.queue import Job, OverloadedError, TokenQueue

logger = logging.getLogger("rank_rerank")

# how often a thread without work looks whether it should end
LOOK_S = 0.2


class Engine:
    """Works on a queue until it is stopped.

    A single thread hands one piece after the other to the kernels, which run on all processors.

    Args:
        queue: what to do.
        computed: called with the tokens of each piece done.
    """

    def __init__(self, queue: TokenQueue, computed: Callable[[int], None] = lambda _: None) -> None:
        self.queue = queue
        self._computed = computed
        self._thread = Thread(target=self._run, name="rank-rerank-engine", daemon=True)
        self._is_stopping = False

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """End after the piece at hand; what waits is refused."""
        self._is_stopping = True
        self._thread.join(timeout_s)

    def work_once(self, timeout_s: float | None = None) -> bool:
        """Do a piece of the job whose turn it is.

        Returns:
            Whether there was a job.
        """
        is_busy, begun = len(self.queue) > 0, time.perf_counter()
        job = self.queue.take(timeout_s)
        if job is None:
            return False
        if job.result.cancelled():
            self._drop(job)
        elif self.queue.clock() > job.deadline:
            job.pieces.close()
            self._fail(job, OverloadedError("the answer would come too late; ask again", self.queue.wait_s()))
        else:
            # while work waits, all time is its time: choosing, and waiting for other threads of Python's
            self._work(job, begun if is_busy else time.perf_counter())
        return True

    def _run(self) -> None:
        while not self._is_stopping:
            try:
                self.work_once(LOOK_S)
            except Exception as error:  # noqa: BLE001 - without this thread nobody is answered
                self._log(error)

    def _work(self, job: Job, begun: float) -> None:
        try:
            tokens = next(job.pieces)
        except StopIteration as end:
            job.meter.take(0, time.perf_counter() - begun)
            self.queue.finish(job)
            if job.result.set_running_or_notify_cancel():
                job.result.set_result(end.value)
        except RankRerankError as error:
            self._fail(job, error)
        except Exception as error:  # noqa: BLE001 - the thread must go on; whoever waits is told
            self._log(error)
            self._fail(job, error)
        else:
            job.meter.take(tokens, time.perf_counter() - begun)
            self._computed(tokens)
            job.tokens -= tokens
            if job.result.cancelled():
                self._drop(job)
            else:
                self.queue.give_back(job)

    def _log(self, error: Exception) -> None:
        """Log where an error came from, and neither its message nor a value: both may hold texts."""
        frames = "".join(traceback.format_tb(error.__traceback__))
        logger.error("work failed with %s at:\n%s", type(error).__name__, frames)

    def _drop(self, job: Job) -> None:
        job.pieces.close()
        self.queue.finish(job)

    def _fail(self, job: Job, error: Exception) -> None:
        self.queue.finish(job)
        if job.result.set_running_or_notify_cancel():
            job.result.set_exception(error)
