"""In which order candidates are read where there is no time for all: the most promising ones first."""

import re
from collections.abc import Callable, Sequence

import numpy as np

from rank_rerank.arrays import Float64Vector
from rank_rerank.documents import Document
from rank_rerank.rerankers.blending import Blend, BlendRule, first_stage_scores
from rank_rerank.tokenization.known_words import FUNCTION_WORDS

# Robertson and Zaragoza 2009; values that suit short lists
SATURATION, LENGTH_WEIGHT = 0.9, 0.4
# of what the model reads of a text, in characters
READ_CHARACTERS = 3000
MIN_LETTERS = 2
WORD = re.compile(r"\w+")


def promise(query: str, documents: Sequence[Document], blend: BlendRule = None) -> Float64Vector:
    """How much each candidate promises, higher is better: [num_documents].

    It is the score of the search that found the candidates where each of them has one, else a score of shared words.

    Args:
        query: the text.
        documents: the candidates.
        blend: the caller's rule, which may say where scores lie, or that they are distances.
    """
    rule = blend if isinstance(blend, Blend) else Blend()
    if rule.by_rank:
        return -np.arange(len(documents), dtype=np.float64)
    scores = first_stage_scores(documents, rule.score_key)
    if np.isfinite(scores).all():
        return -scores if rule.lower_is_better else scores
    return lexical_scores(query, [document.text for document in documents])


def promise_of_windows(query: str) -> Callable[[Sequence[str]], Float64Vector]:
    """What tells how much each window of a text promises for a query."""
    return lambda windows: lexical_scores(query, windows)


def lexical_scores(query: str, texts: Sequence[str]) -> Float64Vector:
    """BM25 of the query's words over these texts alone, a word being found inside others too: [num_texts].

    A few microseconds a text: what is counted are strings, in the beginning that a model reads.
    """
    words = {word for word in WORD.findall(query.lower()) if len(word) >= MIN_LETTERS}
    words = words - FUNCTION_WORDS or words
    lowered = [text[:READ_CHARACTERS].lower() for text in texts]
    lengths = np.array([len(text) for text in lowered], np.float64)
    scores = np.zeros(len(texts))
    if not words or not lengths.any():
        return scores
    room = SATURATION * (1 - LENGTH_WEIGHT + LENGTH_WEIGHT * lengths / lengths.mean())
    for word in sorted(words):
        counts = np.array([text.count(word) for text in lowered], np.float64)
        num_found = np.count_nonzero(counts)
        rarity = np.log1p((len(texts) - num_found + 0.5) / (num_found + 0.5))
        scores += rarity * counts / (counts + room)
    return scores
