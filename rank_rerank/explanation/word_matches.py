"""Which words of a document a query's words found."""

from collections.abc import Sequence

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Matrix
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.explanation.words import TextWord
from rank_rerank.rankings import WordMatch

# below this cosine the best match of a query word is background for the bundled model
MIN_SIMILARITY = 0.5
# a word that stands in a document several times is found wherever it is nearly as similar as at its best
NEARLY_BEST = 0.9


def words_that_matched(
    similarities: Float32Matrix, matches: AnyArray, document_words: Sequence[TextWord]
) -> tuple[WordMatch, ...]:
    """The document's words that are the best match of a word of the query, or nearly so.

    Args:
        similarities: [query words, document words].
        matches: likewise, bool: which pairs found each other.
        document_words: ascending.

    Returns:
        Whole words, ascending and apart from each other.
    """
    best = np.where(matches, similarities, -1).max(axis=0, initial=-1)  # [document words]
    return tuple(
        WordMatch(word.start, word.end, min(1.0, max(0.0, float(strength))))
        for word, strength in zip(document_words, best.tolist(), strict=True)
        if strength > -1
    )


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
