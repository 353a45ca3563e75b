"""Turns: calls that read on a budget at the same time read their windows one after the other.

Two windows at once each take as long as both together, and who comes meanwhile makes both longer still. One after the
other, a window takes what its tokens take, so that the time of each can be told before it begins.
"""

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(eq=False)
class _Waiting:
    """A call that waits for its turn, with the seconds of reading that it has had."""

    used_s: float
    number: int
    granted: threading.Event = field(default_factory=threading.Event)


class Turns:
    """Whose turn it is to read; may be used from many threads at once.

    The next turn is that of the call that has read least so far, so that no call ends before it has read anything.

    Args:
        num_at_once: how many may read at the same time.
    """

    def __init__(self, num_at_once: int = 1) -> None:
        self._lock = threading.Lock()
        self._free = num_at_once
        self._waiting: list[_Waiting] = []
        self._numbers = itertools.count()

    def take(self, used_s: float, left_s: Callable[[], float]) -> bool:
        """Wait for a turn, which is to be given back.

        Args:
            used_s: seconds of reading that the call has had.
            left_s: how long it may still wait.

        Returns:
            Whether there was one in time.
        """
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            mine = _Waiting(used_s, next(self._numbers))
            self._waiting.append(mine)
        try:
            mine.granted.wait(min(max(0.0, left_s()), threading.TIMEOUT_MAX))
        except BaseException:  # an interrupt: a turn that nobody gives back would hold up all others
            if self._leave(mine):
                self.give_back()
            raise
        return self._leave(mine)

    def _leave(self, mine: _Waiting) -> bool:
        """Wait no longer; whether the turn had come."""
        with self._lock:
            if not mine.granted.is_set():
                self._waiting.remove(mine)
            return mine.granted.is_set()

    def give_back(self) -> None:
        """Let the next call read."""
        with self._lock:
            if not self._waiting:
                self._free += 1
                return
            chosen = min(self._waiting, key=lambda each: (each.used_s, each.number))
            self._waiting.remove(chosen)
            chosen.granted.set()
