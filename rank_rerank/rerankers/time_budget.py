"""Read as many candidates as a number of milliseconds allows, the most promising first."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rank_rerank.arguments import check_number
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.rerankers.pace import Pace

# a window's share of the budget, and its longest time: the load may change while it is read
WINDOW_SHARE, WINDOW_S = 0.2, 0.025
# what is left of the time for ranking and for the caller, for each call that is under way
RESERVE_S = 0.002
# of all the time, however many calls there are
MOST_RESERVED = 0.25
# estimates are wrong by so much now and then
CAUTION = 1.15


def check_budget(budget_ms: Any) -> float | None:
    """The budget as a number; None for none, which an infinite one is too.

    Raises:
        InvalidArgumentError: it is no number above 0.
    """
    if budget_ms is None:
        return None
    # an infinity is fine here, and is what check_number refuses
    if isinstance(budget_ms, float | np.floating) and math.isinf(budget_ms) and budget_ms > 0:
        return None
    return check_milliseconds(budget_ms)


def check_milliseconds(budget_ms: Any) -> float:
    """A budget as a finite number.

    Raises:
        InvalidArgumentError: it is no number above 0.
    """
    number = check_number(budget_ms, "budget_ms (milliseconds, or None for no limit)", 0)
    if number == 0:
        raise InvalidArgumentError("budget_ms must be above 0, or None for no limit")
    return number


@dataclass(frozen=True)
class TimeBudget:
    """How long a call may take, from when it began.

    Attributes:
        begun: by the clock.
        seconds: from then on.
        clock: seconds, always ascending.
        window_s: how long a window may take at most, at this moment.
    """

    begun: float
    seconds: float
    clock: Callable[[], float] = time.perf_counter
    window_s: Callable[[], float] = lambda: WINDOW_S

    @classmethod
    def start(
        cls, budget_ms: float | None, begun: float | None = None, window_s: Callable[[], float] = lambda: WINDOW_S
    ) -> "TimeBudget":
        """A budget that runs from now on, or from when a call began, by time.perf_counter; None for one without end."""
        seconds = math.inf if budget_ms is None else budget_ms / 1000
        return cls(time.perf_counter() if begun is None else begun, seconds, window_s=window_s)

    @property
    def ends(self) -> float:
        """When it is over, by the clock."""
        return self.begun + self.seconds

    @property
    def left_s(self) -> float:
        """Seconds that are left; below 0 when it is over."""
        return self.ends - self.clock()

    def left_to_read_s(self, pace: Pace) -> float:
        """Seconds that are left but for what this call, and those beside it, need to end."""
        return self.left_s - min(RESERVE_S * max(1, pace.num_calls), MOST_RESERVED * self.seconds)

    def window(self, texts: Sequence[str], pace: Pace) -> int:
        """How many of these texts to read next, in their order; 0 to stop.

        While nothing is known of the encoder, a text per thread is read, which tells.

        Args:
            texts: those that are left.
            pace: of the encoder.
        """
        left = self.left_to_read_s(pace)
        if left <= 0:
            return 0
        if pace.tokens_per_s <= 0:
            return min(len(texts), pace.num_threads)
        seconds = pace.seconds(pace.num_tokens(texts)) * CAUTION
        fitting = int(np.searchsorted(seconds, left, side="right"))
        longest = min(self.window_s(), WINDOW_S, WINDOW_SHARE * self.seconds)
        wanted = int(np.searchsorted(seconds, longest, side="right"))
        # threads that have nothing to do make a window no shorter
        return min(fitting, max(wanted, pace.num_threads))
