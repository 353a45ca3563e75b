"""BestWindows: of a long text the windows of whole sentences that promise most, read together as one shorter text.

Time goes with the tokens that are read. The first window is always among them, since texts say at their beginning what
they are about; the others are those with most of the query's words. Which they are depends on the query and the text
alone, so the score of a document does not depend on the other documents.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from rank_rerank.arrays import Float64Vector, check_whole_number
from rank_rerank.encoding.chunking import MIN_LENGTH, SENTENCE_END

#: the words for what can be done with long documents
LONG_DOCUMENTS = ("truncate", "chunk", "error", "best-windows")
# a token of English has as many bytes or more; in other scripts a letter has two or three
BYTES_PER_TOKEN = 4
# between windows that do not follow each other
JOINT = " "

#: how much each of some texts promises: [num_texts], higher is better
Promise: TypeAlias = Callable[[Sequence[str]], Float64Vector]
Span: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class BestWindows:
    """How much is read of a long text.

    Attributes:
        length: tokens of a window at most, estimated from its bytes; English has two thirds of them.
        num_windows: that are read. A text that has no more of them is read whole.

    Raises:
        InvalidArgumentError: length is no whole number of 16 or more, or num_windows none of 1 or more.
    """

    length: int = 64
    num_windows: int = 3

    def __post_init__(self) -> None:
        object.__setattr__(self, "length", check_whole_number(self.length, "length, in tokens,", MIN_LENGTH))
        object.__setattr__(self, "num_windows", check_whole_number(self.num_windows, "num_windows", 1))

    @classmethod
    def of(cls, long_documents: object) -> "BestWindows | None":
        """What is done with long documents, where that is to read their best windows; None where it is not."""
        if isinstance(long_documents, BestWindows):
            return long_documents
        return cls() if isinstance(long_documents, str) and long_documents == "best-windows" else None

    @property
    def num_tokens(self) -> int:
        """The most tokens that are read of a text."""
        return self.length * self.num_windows


@dataclass(frozen=True)
class Excerpt:
    """What is read of a text.

    Attributes:
        text: that is read.
        pieces: the half-open spans of code points that it is made of, ascending; None where it is the whole text.
    """

    text: str
    pieces: tuple[Span, ...] | None = None

    @classmethod
    def of(cls, text: str, pieces: Sequence[Span] | None) -> "Excerpt":
        """Some spans of a text, or all of it."""
        if pieces is None:
            return cls(text)
        return cls(JOINT.join(text[start:end] for start, end in pieces), tuple(pieces))

    def spans_in_whole(self, start: int, end: int) -> list[Span]:
        """Where a span of what is read lies in the whole text; several, where it goes over a joint."""
        if self.pieces is None:
            return [(start, end)]
        found: list[Span] = []
        offset = 0
        for first, last in self.pieces:
            begin, stop = max(start - offset, 0), min(end - offset, last - first)
            if begin < stop:
                found.append((first + begin, first + stop))
            offset += last - first + len(JOINT)
        return found


def best_excerpt(text: str, rule: BestWindows, promise: Promise) -> Excerpt:
    """What is to be read of a text.

    Args:
        text: of valid Unicode.
        rule: how much.
        promise: of windows; of equal ones the first is taken.
    """
    if _num_tokens(text) <= rule.num_tokens:
        return Excerpt(text)
    windows = sentence_windows(text, rule.length)
    if len(windows) <= rule.num_windows:
        return Excerpt(text)
    order = np.argsort(-promise([text[start:end] for start, end in windows]), kind="stable").tolist()
    chosen = sorted([0, *(number for number in order if number)][: rule.num_windows])
    return Excerpt.of(text, _trimmed(text, _joined([windows[number] for number in chosen])))


def sentence_windows(text: str, length: int) -> list[Span]:
    """Cut a text into windows of whole sentences; a sentence longer than a window is cut between words.

    Args:
        text: of valid Unicode.
        length: tokens of a window at most, estimated.

    Returns:
        Half-open spans of code points that follow each other and cover the text.
    """
    windows: list[Span] = []
    for start, end in _sentences(text, length):
        if windows and _num_tokens(text[windows[-1][0] : end]) <= length:
            windows[-1] = (windows[-1][0], end)
        else:
            windows.append((start, end))
    return windows


def _sentences(text: str, length: int) -> list[Span]:
    """Sentences, the long ones in parts of so many tokens at most."""
    ends = [match.end() for match in SENTENCE_END.finditer(text)]
    parts: list[Span] = []
    for start, end in pairwise(dict.fromkeys([0, *ends, len(text)])):
        first = start
        while _num_tokens(text[first:end]) > length:
            cut = _cut(text, first, end, length)
            parts.append((first, cut))
            first = cut
        parts.append((first, end))
    return parts


def _cut(text: str, start: int, end: int, length: int) -> int:
    """Where a part ends that has so many tokens at most: after a word, or within one that is all there is."""
    last = start + BYTES_PER_TOKEN * length
    while _num_tokens(text[start:last]) > length:
        last = start + max(1, (last - start) * length // _num_tokens(text[start:last]))
    last = min(last, end - 1)
    space = text.rfind(" ", start + 1, last + 1)
    return space if space > start else last


def _num_tokens(text: str) -> int:
    num_bytes = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
    return -(-num_bytes // BYTES_PER_TOKEN)


def _joined(windows: Sequence[Span]) -> list[Span]:
    """Windows that follow each other as one span."""
    pieces: list[Span] = []
    for start, end in windows:
        if pieces and pieces[-1][1] == start:
            pieces[-1] = (pieces[-1][0], end)
        else:
            pieces.append((start, end))
    return pieces


def _trimmed(text: str, pieces: Sequence[Span]) -> list[Span]:
    """Pieces without the white space at their ends."""
    found: list[Span] = []
    for start, end in pieces:
        words = text[start:end].strip()
        first = start + len(text[start:end]) - len(text[start:end].lstrip())
        if words:
            found.append((first, first + len(words)))
    return found
