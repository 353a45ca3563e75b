"""A queue by tokens: it takes a request only if its deadline, and those it has promised already, can be met."""

import itertools
import math
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition
from typing import Any

from rank_rerank.errors import RankRerankError
from rank_rerank.serving.costs import Meter
from rank_rerank.serving.schedule import Demand, choose_next, lateness_s
from rank_rerank.serving.window_length import SHORTEST_S, WindowLength

# speeds vary: a promise is made for a machine a tenth slower than it was at its slowest
CAUTION = 1.1
# what a client that is asked to wait waits at least
MIN_RETRY_S = 0.05
# a large request gets at least so many times what it needs alone, if it names no deadline: small ones can go first
STRETCH = 2.0


class OverloadedError(RankRerankError, RuntimeError):
    """A request cannot be done in time.

    Args:
        message: for people.
        retry_after_s: when it could.
    """

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = max(MIN_RETRY_S, retry_after_s)


class TooLargeError(RankRerankError, RuntimeError):
    """A request would take longer than any may, even alone."""


@dataclass(frozen=True)
class Terms:
    """What a request may ask of the queue.

    Attributes:
        tokens: about how many it will read.
        priority: lower goes first.
        deadline_s: seconds it may take; None for the queue's own, or twice what the request needs alone if that is
            more.
        waited_s: how many of them are over.
        budget_s: seconds from when it came after which it ends with what it has read; None for when all is read.
    """

    tokens: int
    priority: int = 0
    deadline_s: float | None = None
    waited_s: float = 0.0
    budget_s: float | None = None


@dataclass(eq=False)
class Job(Demand):
    """A request in the queue.

    Attributes:
        pieces: does a piece of the work at each step, and yields how many tokens it was.
        meter: of this kind of work.
        tokens: about how many are left to read.
        result: what the pieces return.
        is_running: a worker has it at this moment.
        ends: when it ends with what it has read, on the queue's clock; infinite for when all is read.
    """

    pieces: Generator[int, None, Any] = field(kw_only=True)
    meter: Meter = field(kw_only=True)
    tokens: float = field(kw_only=True)
    result: "Future[Any]" = field(default_factory=Future, kw_only=True)
    is_running: bool = field(default=False, kw_only=True)
    ends: float = field(default=math.inf, kw_only=True)

    def measure(self, now: float) -> None:
        """Bring the seconds up to date with what is left and what the meter says now."""
        seconds = (self.meter.most_seconds(max(self.tokens, 0)) + self.meter.fixed_s) * CAUTION
        self.seconds = min(seconds, max(0.0, self.ends - now))


@dataclass(frozen=True)
class Limits:
    """What the queue promises.

    Attributes:
        deadline_s: of a request that names none.
        max_deadline_s: the longest that any may name or need.
    """

    deadline_s: float = 9.0
    max_deadline_s: float = 60.0


class TokenQueue:
    """Requests that wait for their turn; safe to use from many threads.

    Args:
        limits: what it promises.
        clock: seconds that only move forward.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self.clock = clock
        self._jobs: list[Job] = []
        self._numbers = itertools.count()
        self._changed = Condition()
        self._windows = WindowLength()
        self._is_draining = False

    @property
    def tokens(self) -> int:
        """About how many tokens are waiting to be read."""
        with self._changed:
            return int(sum(max(job.tokens, 0) for job in self._jobs))

    @property
    def is_draining(self) -> bool:
        """Whether new requests are refused because the server stops."""
        return self._is_draining

    def __len__(self) -> int:
        return len(self._jobs)

    def wait_s(self) -> float:
        """About how long all that is here takes."""
        with self._changed:
            return self._measured_seconds()

    def piece_s(self) -> float:
        """How long a piece that begins now may take: it is over when the next budget is."""
        now = self.clock()
        with self._changed:
            ends = min((job.ends for job in self._jobs if not job.is_running), default=math.inf)
        return min(self._windows.seconds(now), max(SHORTEST_S, ends - now))

    def admit(self, pieces: Generator[int, None, Any], meter: Meter, terms: Terms) -> Job:
        """Take a request, or refuse it at once.

        Args:
            pieces: the work; nothing of it is done here.
            meter: of this kind of work.
            terms: what it asks.

        Raises:
            OverloadedError: its deadline, or one that was promised before, could not be met.
            TooLargeError: it would take longer than any request may.
        """
        with self._changed:
            if self._is_draining:
                raise OverloadedError("the server is stopping; ask again", 1.0)
            now = self.clock()
            job = self._job(pieces, meter, terms, now)
            self._measured_seconds()
            if (late_s := lateness_s(self._jobs, job, now)) > 0:
                raise OverloadedError(_too_late(has_others=bool(self._jobs)), late_s)
            self._windows.meet(min(meter.seconds(terms.tokens), job.ends - now), now)
            self._jobs.append(job)
            self._changed.notify()
        return job

    def take(self, timeout_s: float | None = None) -> Job | None:
        """The job to work on next, which is then this caller's until give_back or finish; None after the timeout."""
        with self._changed:
            self._changed.wait_for(self._has_work, timeout_s)
            waiting = [job for job in self._jobs if not job.is_running]
            if not waiting:
                return None
            self._measured_seconds()
            now = self.clock()
            # whoever is late is told so first, and whose budget is over gets what was read: both take no time
            over = [job for job in waiting if now > job.deadline or now >= job.ends]
            job = over[0] if over else choose_next(waiting, now)
            job.is_running = True
            return job

    def give_back(self, job: Job) -> None:
        """Leave a job to whoever comes next."""
        with self._changed:
            job.is_running = False
            self._changed.notify()

    def finish(self, job: Job) -> None:
        """Forget a job that is done."""
        with self._changed:
            self._jobs.remove(job)
            self._changed.notify_all()

    def cancel(self, job: Job) -> None:
        """Drop a job whose client has left, now or after the piece that is being done."""
        with self._changed:
            job.result.cancel()
            if job in self._jobs and not job.is_running:
                self._jobs.remove(job)
                job.pieces.close()
                self._changed.notify_all()

    def drain(self) -> None:
        """Refuse new requests; those that are here are done."""
        with self._changed:
            self._is_draining = True
            self._changed.notify_all()

    def _has_work(self) -> bool:
        return any(not job.is_running for job in self._jobs)

    def _measured_seconds(self) -> float:
        now = self.clock()
        for job in self._jobs:
            job.measure(now)
        return sum(job.seconds for job in self._jobs)

    def _job(self, pieces: Generator[int, None, Any], meter: Meter, terms: Terms, now: float) -> Job:
        left = math.inf if terms.budget_s is None else max(0.0, terms.budget_s - terms.waited_s)
        alone = min((meter.most_seconds(terms.tokens) + meter.fixed_s) * CAUTION, left)
        longest = self.limits.max_deadline_s
        if min(meter.seconds(terms.tokens) * CAUTION, left) > longest:
            raise TooLargeError(
                f"the request would take about {math.ceil(alone)} s, and {longest:g} s are allowed: send fewer or "
                "shorter documents at once"
            )
        given = terms.deadline_s
        wanted = max(self.limits.deadline_s, alone * STRETCH) if given is None else given
        return Job(
            alone,
            now + min(wanted, longest) - terms.waited_s,
            terms.priority,
            next(self._numbers),
            pieces=pieces,
            meter=meter,
            tokens=terms.tokens,
            ends=now + left,
        )


def _too_late(*, has_others: bool) -> str:
    if has_others:
        return "too much is waiting to answer in time; ask again after the time stated"
    return "at the speed of late the answer would come too late; ask again, or send fewer or shorter documents"
