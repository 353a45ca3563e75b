"""The passages of a document that answer a query: runs of matched words, with a score."""

from collections.abc import Sequence

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Matrix
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.explanation.words import TextWord
from rank_rerank.rankings import RelevantSpan

# characters between two matched words of one passage: about half a sentence
MAX_GAP = 60


def find_spans(  # noqa: PLR0913 - what is found, and which of it is wanted
    similarities: Float32Matrix,
    matches: AnyArray,
    query_words: Sequence[TextWord],
    document_words: Sequence[TextWord],
    *,
    threshold: float = 0.0,
    max_spans: int | None = None,
    max_gap: int = MAX_GAP,
) -> tuple[RelevantSpan, ...]:
    """Join matched words that stand near each other into passages.

    Args:
        similarities: [query words, document words].
        matches: likewise, bool: which pairs count.
        query_words: of which only those that say something count.
        document_words: ascending.
        threshold: passages with a lower score are left out.
        max_spans: how many to keep, those with the highest scores; None for all.
        max_gap: how many characters may stand between two matched words of one passage.

    Returns:
        Passages ascending and apart from each other; they begin and end with a whole word.

    Raises:
        InvalidArgumentError: an option is out of its range.
    """
    _check_options(threshold, max_spans, max_gap)
    num_query_words = sum(word.says_something for word in query_words)
    found = np.flatnonzero(matches.any(axis=0)).tolist()
    spans: list[RelevantSpan] = []
    for group in _groups(found, document_words, max_gap):
        strengths = np.where(matches[:, group], similarities[:, group], 0).max(axis=1)  # [query words]
        score = float(np.clip(strengths, 0, 1).sum()) / num_query_words
        if score >= threshold:
            spans.append(RelevantSpan(document_words[group[0]].start, document_words[group[-1]].end, min(1.0, score)))
    best = sorted(spans, key=lambda span: -span.score)[:max_spans]
    return tuple(sorted(best, key=lambda span: span.start))


def _groups(found: Sequence[int], words: Sequence[TextWord], max_gap: int) -> list[list[int]]:
    """Places of words, those together that stand near each other."""
    groups: list[list[int]] = []
    for place in found:
        if groups and words[place].start - words[groups[-1][-1]].end <= max_gap:
            groups[-1].append(place)
        else:
            groups.append([place])
    return groups


def _check_options(threshold: float, max_spans: int | None, max_gap: int) -> None:
    if not 0 <= threshold <= 1:
        raise InvalidArgumentError(f"threshold must be from 0 to 1, not {threshold}")
    if max_spans is not None and max_spans < 1:
        raise InvalidArgumentError("max_spans must be a whole number above 0, or None for all")
    if max_gap < 0:
        raise InvalidArgumentError("max_gap must be a number of characters, 0 or more")
