"""Explanation: which words of a document a query's words found, and the passages they make up."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rank_rerank.arguments import check_number
from rank_rerank.arrays import AnyArray, Float32Matrix
from rank_rerank.documents import Document
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.explanation.spans import find_spans
from rank_rerank.explanation.word_matches import MIN_SIMILARITY, find_matches, word_similarities, words_that_matched
from rank_rerank.explanation.words import TextWord, sentence_numbers, words_of
from rank_rerank.rankings import RelevantSpan, WordMatch
from rank_rerank.scoring.maxsim import maxsim_matches


@dataclass(frozen=True, slots=True)
class TokenAlignment:
    """The document token that one query token found.

    Attributes:
        query_token: its index in the query.
        document_token: the index of the most similar token of the document; −1 where it has none.
        similarity: their inner product; minus infinity where there is none.
    """

    query_token: int
    document_token: int
    similarity: float


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a document has its score.

    Attributes:
        query: the query's text.
        document: what was scored.
        score: the sum of the similarities of ``alignments``.
        alignments: one per query token, special tokens included; their similarities add up to the score.
        query_words: the query's words, as code point spans.
        document_words: likewise; what the model did not read has none.
        similarities: [query words, document words] float32, the best cosine of a token of each.
        matches: [query words, document words] bool: the pairs that found each other.
        spans: passages with matched words, ascending.
        truncated: the document is longer than the model reads.
    """

    query: str
    document: Document = field(repr=False)
    score: float
    alignments: tuple[TokenAlignment, ...] = field(repr=False)
    query_words: tuple[TextWord, ...] = field(repr=False)
    document_words: tuple[TextWord, ...] = field(repr=False)
    similarities: Float32Matrix = field(repr=False)
    matches: AnyArray = field(repr=False)
    spans: tuple[RelevantSpan, ...]
    truncated: bool = False

    @property
    def word_matches(self) -> tuple[WordMatch, ...]:
        """The document's words that a word of the query found, ascending."""
        return words_that_matched(self.similarities, self.matches, self.document_words)

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can carry: for each query word its best match, and the passages."""
        text = self.document.text
        words: list[dict[str, Any]] = []
        for row, word in enumerate(self.query_words):
            best = int(self.similarities[row].argmax()) if self.document_words else None
            found = None if best is None else self.document_words[best]
            words.append(
                {
                    "query_word": self.query[word.start : word.end],
                    "document_word": None if found is None else text[found.start : found.end],
                    "start": None if found is None else found.start,
                    "end": None if found is None else found.end,
                    "similarity": None if best is None else float(self.similarities[row, best]),
                }
            )
        return {
            "query": self.query,
            "id": self.document.id,
            "score": self.score if np.isfinite(self.score) else None,
            "truncated": self.truncated,
            "words": words,
            "relevant_spans": [span.to_dict() for span in self.spans],
        }


def align_tokens(query_vectors: AnyArray, document_vectors: AnyArray) -> tuple[TokenAlignment, ...]:
    """Find the most similar document token of each query token, for vectors of any tokens, words or image patches.

    Args:
        query_vectors: [num_query_tokens, dim].
        document_vectors: [num_tokens, dim].

    Raises:
        InputError: as for `maxsim`.
    """
    found = maxsim_matches(query_vectors, [document_vectors])
    pairs = zip(found.indices[0].tolist(), found.similarities[0].tolist(), strict=True)
    return tuple(TokenAlignment(index, token, similarity) for index, (token, similarity) in enumerate(pairs))


def explain_document(  # noqa: PLR0913 - what is compared, and which of it is wanted
    query: TokenEmbeddings,
    query_text: str,
    embeddings: TokenEmbeddings,
    document: Document,
    *,
    min_similarity: float = MIN_SIMILARITY,
    threshold: float = 0.0,
    max_spans: int | None = None,
) -> Explanation:
    """Compare one document with a query, word by word.

    Args:
        query: embeddings of one text, with character spans.
        query_text: that text.
        embeddings: of the document, likewise.
        document: whose text was encoded.
        min_similarity: pairs of words below this cosine have not found each other.
        threshold: passages with a lower score are left out.
        max_spans: how many passages to keep, the best ones; None for all.

    Raises:
        InvalidArgumentError: embeddings without character spans, or an option out of its range.
    """
    check_number(min_similarity, "min_similarity", -1, 1)
    query_words, document_words = words_of(query, query_text), words_of(embeddings, document.text)
    similarities = word_similarities(query, query_words, embeddings, document_words)
    matches = find_matches(similarities, query_words, document_words, min_similarity)
    alignments = align_tokens(query.vectors, embeddings.vectors)
    return Explanation(
        query=query_text,
        document=document,
        score=_total(alignments),
        alignments=alignments,
        query_words=tuple(query_words),
        document_words=tuple(document_words),
        similarities=similarities,
        matches=matches,
        spans=find_spans(
            similarities,
            matches,
            query_words,
            document_words,
            threshold=threshold,
            max_spans=max_spans,
            sentences=sentence_numbers(document_words, document.text),
        ),
        truncated=embeddings.truncated is not None and bool(embeddings.truncated[0]),
    )


def _total(alignments: Sequence[TokenAlignment]) -> float:
    """The score: added in the order and precision of `maxsim`, so that it is the same number."""
    return float(np.float32(sum(alignment.similarity for alignment in alignments)))
