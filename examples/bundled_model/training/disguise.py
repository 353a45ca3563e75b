"""Words of a batch replaced by others, the same way in its queries and its documents.

What the data sets are about, medicine mostly, has its own words, and a projection fitted on them keeps these apart and
lets the words of other fields fall together. In a disguised batch the sentences and what matches what stay as they
were, while the words come from the whole vocabulary; the teacher is asked about the disguised texts, so its
similarities stay the truth.
"""

import random
import re
from collections.abc import Callable, Sequence

# shorter words are what holds sentences together
WORD = re.compile(r"[A-Za-z]{4,}")
PLAIN_WORD = re.compile(r"[a-z]{3,}")
ENDING = re.compile(r"##[a-z]{2,}")
# how many words have an ending put to them, which gives names that no vocabulary has
COINED = 0.4


class Disguise:
    """Other words for words, drawn from a vocabulary of word pieces."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        """Sort out which pieces are words and which are endings."""
        self._words = sorted(piece for piece in vocabulary if PLAIN_WORD.fullmatch(piece))
        self._endings = sorted(piece[2:] for piece in vocabulary if ENDING.fullmatch(piece))

    def replacement(self, share: float, draw: random.Random) -> Callable[[str], str]:
        """What replaces this share of the different words, each by the same word in every text it is given."""
        others: dict[str, str] = {}

        def other(match: re.Match[str]) -> str:
            word = match.group().lower()
            if word not in others:
                others[word] = self._draw_word(draw) if draw.random() < share else word
            return others[word]

        return lambda text: WORD.sub(other, text)

    def _draw_word(self, draw: random.Random) -> str:
        ending = draw.choice(self._endings) if draw.random() < COINED else ""
        return draw.choice(self._words) + ending
