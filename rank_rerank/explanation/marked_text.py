"""A document's text as HTML: passages underlined, matched words marked by strength, all else escaped."""

import re
from collections.abc import Iterator
from html import escape
from itertools import pairwise

import numpy as np

from rank_rerank.explanation.explanations import Explanation
from rank_rerank.explanation.html_style import STRENGTHS

NOT_IN_PAGES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def marked_text(explanation: Explanation) -> Iterator[str]:
    """The document's text: passages underlined, matched words marked by strength, all else escaped."""
    text, spans = explanation.document.text, explanation.spans
    best = max(spans, key=lambda span: span.score, default=None)
    edges = [0, *(edge for span in spans for edge in (span.start, span.end)), len(text)]
    for number, (start, end) in enumerate(pairwise(edges)):
        inside = "".join(_words(explanation, start, end))
        if number % 2:
            span = spans[number // 2]
            classes = "passage best" if span is best else "passage"
            yield f'<span class="{classes}" title="passage, score {span.score:.2f}">{inside}</span>'
        else:
            yield inside


def _words(explanation: Explanation, start: int, end: int) -> Iterator[str]:
    text = explanation.document.text
    found = set(np.flatnonzero(explanation.matches.any(axis=0)).tolist())
    for column, word in enumerate(explanation.document_words):
        if column not in found or word.start < start or word.end > end:
            continue
        yield escaped(text[start : word.start])
        yield _mark(explanation, column, text[word.start : word.end])
        start = word.end
    yield escaped(text[start:end])


def _mark(explanation: Explanation, column: int, shown: str) -> str:
    rows = np.flatnonzero(explanation.matches[:, column]).tolist()
    pairs = [
        f"{explanation.query[word.start : word.end]} {explanation.similarities[row, column]:.2f}"
        for row in rows
        for word in [explanation.query_words[row]]
    ]
    best = max(float(explanation.similarities[row, column]) for row in rows)
    classes = " ".join([f"s{strength_class(best)}", *(f"w{row}" for row in rows)])
    return f'<mark class="{classes}" title="{escaped(", ".join(pairs))}">{escaped(shown)}</mark>'


def strength_class(similarity: float) -> int:
    """A similarity as one of ten classes; below 0 is the lowest."""
    return min(STRENGTHS - 1, max(0, int(similarity * STRENGTHS)))


def escaped(value: str) -> str:
    """Escaped; control characters and lone surrogates, which no page may hold, become a sign that one was there."""
    return escape(NOT_IN_PAGES.sub("\ufffd", value))
