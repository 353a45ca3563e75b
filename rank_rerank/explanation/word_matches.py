"""Which words of a document a query's words found."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Matrix
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.explanation.words import TextWord, words_of

# below this cosine the best match of a query word is background for the bundled model
MIN_SIMILARITY = 0.5
# a word that stands in a document several times is found wherever it is nearly as similar as at its best
NEARLY_BEST = 0.9


@dataclass(frozen=True, slots=True)
class WordMatch:
    """A word of the text that a query word found.

    Attributes:
        start: first code point.
        end: the code point behind the last.
        similarity: the cosine of the best pair of tokens in it, from 0 to 1.
    """

    start: int
    end: int
    similarity: float


def match_words(
    query: TokenEmbeddings,
    query_text: str,
    document: TokenEmbeddings,
    text: str,
    min_similarity: float = MIN_SIMILARITY,
) -> list[WordMatch]:
    """Find the document's words that are the best match of a word of the query, or nearly so.

    Special tokens, punctuation and words of one or two small letters match each other in every text, so they are left
    out on both sides.

    Args:
        query: embeddings of one text, with character spans.
        query_text: that text.
        document: likewise.
        text: likewise.
        min_similarity: weaker pairs are left out.

    Returns:
        Whole words, ascending and apart from each other.

    Raises:
        InvalidArgumentError: the embeddings have no character spans.
    """
    query_words, document_words = words_of(query, query_text), words_of(document, text)
    similarities = word_similarities(query, query_words, document, document_words)
    strengths = np.where(find_matches(similarities, query_words, document_words, min_similarity), similarities, -1)
    best = strengths.max(axis=0, initial=-1)  # [document words]
    return [
        WordMatch(word.start, word.end, min(1.0, max(0.0, float(strength))))
        for word, strength in zip(document_words, best.tolist(), strict=True)
        if strength > -1
    ]


def word_similarities(
    query: TokenEmbeddings,
    query_words: Sequence[TextWord],
    document: TokenEmbeddings,
    document_words: Sequence[TextWord],
) -> Float32Matrix:
    """The best cosine of a token of each query word with a token of each document word: [query words, words]."""
    if not query_words or not document_words:
        return np.empty((len(query_words), len(document_words)), np.float32)
    rows = [token for word in query_words for token in word.tokens]
    columns = [token for word in document_words for token in word.tokens]
    similarities = query.vectors[rows] @ document.vectors[columns].T  # [tokens, tokens]
    by_row = np.maximum.reduceat(similarities, _starts(query_words), axis=0)
    return np.maximum.reduceat(by_row, _starts(document_words), axis=1)


def find_matches(
    similarities: Float32Matrix,
    query_words: Sequence[TextWord],
    document_words: Sequence[TextWord],
    min_similarity: float,
) -> AnyArray:
    """Which words found each other: [query words, document words] bool.

    A query word finds the document's words that are as similar to it as its best match, or nearly so.
    """
    speaking = _speaking(query_words)[:, None] & _speaking(document_words)[None, :]
    among = np.where(speaking, similarities, -1)
    best = among.max(axis=1, initial=-1)[:, None]
    return speaking & (among >= np.maximum(min_similarity, NEARLY_BEST * best))


def _speaking(words: Sequence[TextWord]) -> AnyArray:
    return np.array([word.says_something for word in words], np.bool_)


def _starts(words: Sequence[TextWord]) -> AnyArray:
    return np.cumsum([0, *(len(word.tokens) for word in words[:-1])])
