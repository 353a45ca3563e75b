"""Why a query may have failed: its words, its candidates, and the documents above the relevant one."""

import re
from collections.abc import Sequence

import numpy as np

from rank_rerank.evaluation.evaluation import Evaluation
from rank_rerank.evaluation.systems import System
from rank_rerank.rerankers import ColbertReranker
from rank_rerank.tokenization.tokenizer import UNKNOWN_TOKENS

NOT_A_CANDIDATE = "no relevant document is among the candidates"
TRUNCATED = "a relevant document is longer than the model reads"
QUERY_TRUNCATED = "the query is longer than the model reads"
UNKNOWN_WORDS = "the model's vocabulary lacks a word of the query"
FOREIGN_WORDS = "no word of the query is in a relevant document"
NEAR_DUPLICATE = "a near-duplicate of a relevant document, judged otherwise, is ranked above it"
UNJUDGED = "most documents above the relevant one are not judged"
OTHER = "none of these"

# of three-word pieces in common, by those of both; two copies with some words changed
NEAR_SHARE = 0.6
PIECE_WORDS = 3
# documents above the relevant one that are compared with it
MAX_COMPARED = 10

_WORD = re.compile(r"\w+")


class FailureFinder:
    """Puts the failed queries of one system into groups.

    Args:
        evaluation: of the system.
        system: which.
        depth: a query fails where no relevant document is among so many of the first.
    """

    def __init__(self, evaluation: Evaluation, system: System, depth: int) -> None:
        self._evaluation = evaluation
        self._system = system
        self._depth = depth
        self._reranker = evaluation.rerankers.get(system.name)

    def find(self, query: str) -> tuple[str, ...]:
        """The groups of a query; none where a relevant document is among the first, or where there is none at all."""
        relevant = {key for key, grade in self._evaluation.collection.qrels[query].items() if grade > 0}
        ids = self._system.run.rankings[query].ids
        if not relevant or relevant.intersection(ids[: self._depth]):
            return ()
        found = [name for name, is_so in self._reasons(query, ids, relevant) if is_so]
        return tuple(found) or (OTHER,)

    def _reasons(self, query: str, ids: Sequence[str], relevant: set[str]) -> list[tuple[str, bool]]:
        present = [identifier for identifier in ids if identifier in relevant]
        if not present:
            return [(NOT_A_CANDIDATE, True), (UNKNOWN_WORDS, self._has_unknown_words(query))]
        result = self._system.results.get(query)
        truncated = set[str]()
        if result is not None:
            truncated = {result.ranked.ids[row] for row in np.flatnonzero(result.truncated).tolist()}
        above = ids[: ids.index(present[0])]
        judged = self._evaluation.collection.qrels[query]
        texts = self._texts(present)
        return [
            (TRUNCATED, bool(truncated.intersection(present))),
            (QUERY_TRUNCATED, result is not None and result.query_truncated),
            (UNKNOWN_WORDS, self._has_unknown_words(query)),
            (FOREIGN_WORDS, not any(self._words(query).intersection(_words(text)) for text in texts)),
            (NEAR_DUPLICATE, self._has_near_duplicate(above[-MAX_COMPARED:], texts)),
            (UNJUDGED, sum(identifier not in judged for identifier in above) > len(above) / 2),
        ]

    def _texts(self, ids: Sequence[str]) -> list[str]:
        missing = set(self._evaluation.texts.missing(ids))
        known = [identifier for identifier in ids if identifier not in missing]
        return [document.text for document in self._evaluation.texts.read(known)]

    def _words(self, query: str) -> set[str]:
        return _words(self._evaluation.collection.queries[query])

    def _has_unknown_words(self, query: str) -> bool:
        if not isinstance(self._reranker, ColbertReranker):
            return False
        tokenizer = self._reranker.encoder.tokenizer
        tokens = tokenizer.tokenize_queries([self._evaluation.collection.queries[query]])
        return any(token in UNKNOWN_TOKENS for token in tokenizer.token_strings(tokens.token_ids))

    def _has_near_duplicate(self, above: Sequence[str], relevant: Sequence[str]) -> bool:
        pieces = [_pieces(text) for text in relevant]
        return any(_share(_pieces(text), each) >= NEAR_SHARE for text in self._texts(above) for each in pieces)


def _words(text: str) -> set[str]:
    """Words of three letters or more, whatever their case."""
    return {word for word in _WORD.findall(text.casefold()) if len(word) >= PIECE_WORDS}


def _pieces(text: str) -> set[tuple[str, ...]]:
    words = _WORD.findall(text.casefold())
    return {tuple(words[first : first + PIECE_WORDS]) for first in range(len(words) - PIECE_WORDS + 1)}


def _share(one: set[tuple[str, ...]], other: set[tuple[str, ...]]) -> float:
    """How much two sets have in common, from 0 to 1 (Jaccard)."""
    return len(one & other) / max(1, len(one | other))
