"""The passages of a document that answer a query: runs of matched words within a sentence, with a score.

What a passage is worth is MaxSim again, in words: for each query word the best similarity in the passage or near it.
Words that matched choose where a passage begins and ends, words around it how well it answers. (Measured against
passages of the matches alone, and across sentences, in benchmarks/bench_highlights.py.)
"""

from collections.abc import Sequence

import numpy as np

from rank_rerank.arguments import check_number
from rank_rerank.arrays import AnyArray, Float32Matrix, check_whole_number
from rank_rerank.explanation.words import TextWord
from rank_rerank.rankings import RelevantSpan

# characters between two matched words of one passage: about half a sentence
MAX_GAP = 60
# words of the sentence before and after a passage that count for its score
CONTEXT_WORDS = 8


def find_spans(  # noqa: PLR0913 - what is found, and which of it is wanted
    similarities: Float32Matrix,
    matches: AnyArray,
    query_words: Sequence[TextWord],
    document_words: Sequence[TextWord],
    *,
    threshold: float = 0.0,
    max_spans: int | None = None,
    max_gap: int = MAX_GAP,
    sentences: Sequence[int] | None = None,
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
        sentences: [document words] the number of each word's sentence, ascending; no passage crosses from one to the
            next. None for a single sentence.

    Returns:
        Passages ascending and apart from each other; they begin and end with a whole word.

    Raises:
        InvalidArgumentError: an option is out of its range.
    """
    check_span_options(threshold, max_spans, max_gap)
    in_sentence = np.zeros(len(document_words), np.int64) if sentences is None else np.asarray(sentences)
    asked = np.clip(similarities[[word.says_something for word in query_words]], 0, 1)
    spans: list[RelevantSpan] = []
    for group in _groups(np.flatnonzero(matches.any(axis=0)).tolist(), document_words, in_sentence, max_gap):
        first, last = group[0], group[-1]
        sentence_start, sentence_end = np.searchsorted(in_sentence, [in_sentence[first], in_sentence[first] + 1])
        near = slice(max(int(sentence_start), first - CONTEXT_WORDS), min(int(sentence_end), last + 1 + CONTEXT_WORDS))
        score = float(asked[:, near].max(axis=1).mean())
        if score >= threshold:
            spans.append(RelevantSpan(document_words[first].start, document_words[last].end, min(1.0, score)))
    best = sorted(spans, key=lambda span: -span.score)[:max_spans]
    return tuple(sorted(best, key=lambda span: span.start))


def _groups(found: Sequence[int], words: Sequence[TextWord], in_sentence: AnyArray, max_gap: int) -> list[list[int]]:
    """Indices of words, those together that stand near each other in one sentence."""
    groups: list[list[int]] = []
    for index in found:
        before = groups[-1][-1] if groups else None
        if (
            before is not None
            and in_sentence[index] == in_sentence[before]
            and words[index].start - words[before].end <= max_gap
        ):
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def check_span_options(threshold: float, max_spans: int | None, max_gap: int = MAX_GAP) -> None:
    """Refuse options of find_spans that are out of their range; errors as there."""
    check_number(threshold, "threshold", 0, 1)
    if max_spans is not None:
        check_whole_number(max_spans, "max_spans (None for all)", 1)
    check_whole_number(max_gap, "max_gap, in characters,", 0)
