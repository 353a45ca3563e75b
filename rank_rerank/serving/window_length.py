"""How long a piece of work may take: a small request that comes during it waits until it ends."""

import math

# work of a client that left ends after one piece, so none is longer
LONGEST_S = 0.04
# shorter pieces spend too much of their time on beginning and ending
SHORTEST_S = 0.008
# a request waits for the piece at hand about as long as it works itself
SHARE = 1.0
# how long the server makes itself ready for another request as small as one that came
REMEMBERED_S = 3.0


class WindowLength:
    """Pieces as long as the smallest request that came lately, within limits.

    A request that is alone with its like is done in one piece. Where small requests come, the pieces of large ones are
    cut to their size: so none takes much longer than twice its own time, whatever else is at work.
    """

    def __init__(self) -> None:
        self._smallest_s, self._forgotten_at = math.inf, -math.inf

    def meet(self, seconds: float, now: float) -> None:
        """Take note of a request.

        Args:
            seconds: that it needs alone.
            now: on a clock that only moves forward.
        """
        if seconds <= self._smallest_s or now >= self._forgotten_at:
            self._smallest_s, self._forgotten_at = seconds, now + REMEMBERED_S

    def seconds(self, now: float) -> float:
        """How long a piece that begins now may take."""
        if now >= self._forgotten_at:
            return LONGEST_S
        return min(LONGEST_S, max(SHORTEST_S, SHARE * self._smallest_s))
