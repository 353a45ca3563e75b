"""What work costs: an estimate in tokens before anything is read, and how many of them a second a model does."""

import math
from collections.abc import Sequence
from threading import Lock

# bytes of UTF-8 that make a token in English; in scripts with three bytes a letter it makes the estimate larger
BYTES_PER_TOKEN = 4
# the marker and the special tokens of a text
TOKENS_PER_TEXT = 4
MIN_PIECE_TOKENS, MAX_PIECE_TOKENS = 64, 1 << 17
# what was measured longer ago than so many seconds of work hardly counts
MEMORY_S = 5.0
# within how many seconds of work promises follow a machine that has become faster
RECOVERY_S = 60.0
# a piece with tokens for less than this tells what a request takes beside its tokens
FIXED_WORK_S = 0.002
MOST_FIXED_S = 0.05
# how much a measurement of that counts
FIXED_SHARE = 0.05


def estimate_tokens(text: str, limit: int | None = None) -> int:
    """An estimate of a text's number of tokens, from its length alone.

    Args:
        text: of any length; only what the limit lets through is looked at.
        limit: how many tokens the model reads of it; None for all.
    """
    read = text if limit is None else text[: limit * 2 * BYTES_PER_TOKEN]
    num_bytes = len(read) if read.isascii() else len(read.encode("utf-8", "replace"))
    tokens = num_bytes // BYTES_PER_TOKEN + TOKENS_PER_TEXT
    return tokens if limit is None else min(tokens, limit)


def end_of_piece(costs: Sequence[int], first: int, largest: int) -> int:
    """Where a piece of a list ends that costs no more than ``largest``, or is one item and those that cost nothing.

    Args:
        costs: of each item.
        first: the index the piece begins at.
        largest: cost of a piece.
    """
    total, end = 0, first
    while end < len(costs) and (end == first or costs[end] == 0 or total + costs[end] <= largest):
        total += costs[end]
        end += 1
    return end


class Meter:
    """How many tokens per second a kind of work does, as it was measured lately.

    A promise looks further ahead than a measurement looks back, and a machine that does other work too is now faster,
    now slower. So promises rest on the slowest speed of the last minute or so.

    Args:
        tokens_per_s: what to believe before anything was measured.
    """

    def __init__(self, tokens_per_s: float = 5000.0) -> None:
        self._lock = Lock()
        # a guess counts as a tenth of a second of work
        self._seconds = 0.1
        self._tokens = tokens_per_s * self._seconds
        self._slowest, self._measured_s = tokens_per_s, 0.0
        self._fixed_s, self._num_fixed = 0.0, 0

    @property
    def tokens_per_s(self) -> float:
        """The rate."""
        return self._tokens / self._seconds

    def piece_tokens(self, seconds: float) -> int:
        """How many tokens make a piece of work that takes so long."""
        return min(MAX_PIECE_TOKENS, max(MIN_PIECE_TOKENS, int(self.tokens_per_s * seconds)))

    def seconds(self, tokens: float) -> float:
        """How long so many tokens will take."""
        return tokens / self.tokens_per_s

    def most_seconds(self, tokens: float) -> float:
        """How long so many tokens will take at the slowest speed of late."""
        return tokens / self._slowest

    @property
    def fixed_s(self) -> float:
        """What a request takes beside its tokens: one time to begin, and one to end."""
        return 2 * self._fixed_s

    def take(self, tokens: float, seconds: float) -> None:
        """Take a measurement in; work that reads no tokens takes its time too."""
        if tokens < 0 or seconds <= 0:
            return
        with self._lock:
            expected_s = tokens / self.tokens_per_s
            if expected_s < FIXED_WORK_S:
                self._num_fixed += 1
                share = max(1 / self._num_fixed, FIXED_SHARE)
                self._fixed_s += (min(max(0.0, seconds - expected_s), MOST_FIXED_S) - self._fixed_s) * share
                return
            kept = math.exp(-seconds / MEMORY_S)
            self._seconds = self._seconds * kept + seconds
            self._tokens = self._tokens * kept + tokens
            self._measured_s += seconds
            # downwards at once, upwards slowly; the first measurement counts in full
            step = min(1.0, seconds / min(self._measured_s, RECOVERY_S))
            risen = self._slowest + (self.tokens_per_s - self._slowest) * step
            self._slowest = min(self.tokens_per_s, risen)
