"""load() and the rerankers: each joins the stages into one call."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from tqdm import tqdm

from rank_rerank.arrays import AnyArray, BoolVector, Float32Vector, Int64Vector
from rank_rerank.documents import Document, as_documents
from rank_rerank.encoding.self_check import self_check
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.errors import InvalidArgumentError, InvalidItemError
from rank_rerank.rankings import Ranking, Usage, check_top_k, sort_hits
from rank_rerank.scoring.maxsim import maxsim
from rank_rerank.tokenization.texts import check_text

PROGRESS_DELAY_S = 1.0


class Reranker(Protocol):
    """Documents in, ranking out."""

    def rerank(self, query: str, documents: Iterable[object], *, top_k: int | None = None) -> Ranking:
        """Order documents by how well they answer the query."""
        ...

    def rerank_many(
        self, queries: Sequence[str], documents_per_query: Sequence[Iterable[object]], *, top_k: int | None = None
    ) -> list[Ranking]:
        """Order several lists of documents, each by a query of its own."""
        ...


def load(
    name_or_folder: str | Path | None = None,
    *,
    revision: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    num_threads: int | None = None,
) -> "ColbertReranker":
    """Load a reranker.

    A model that carries golden vectors, as the bundled one does, is checked against them first (some milliseconds):
    a processor that computes something else is refused rather than used.

    Args:
        name_or_folder: None for the bundled model (no download), a folder, or a Hub name.
        revision: branch, tag or commit on the Hub.
        device: "auto" or "cpu".
        precision: "auto" (INT8 where the model has it), "int8" or "fp32".
        num_threads: threads that work; None for RANK_RERANK_NUM_THREADS, else the processors there are.

    Raises:
        CheckpointNotFoundError: there is no such model.
        CheckpointFormatError: its files are damaged or of a kind that is not supported.
        SelfCheckError: the model computes something else than its golden vectors.
        DeviceError: the device is not available.
        InvalidArgumentError: an option is out of its range.
    """
    encoder = TokenEncoder.from_pretrained(
        name_or_folder, revision=revision, device=device, precision=precision, num_threads=num_threads
    )
    self_check(encoder)
    return ColbertReranker(encoder, num_threads)


@dataclass(frozen=True)
class ColbertReranker:
    """Reranks by late interaction: every query token finds its best document token, and the similarities add up.

    Attributes:
        encoder: turns texts into token embeddings.
        num_threads: threads that score; None for the default.
    """

    encoder: TokenEncoder
    num_threads: int | None = None

    def rerank(self, query: str, documents: Iterable[object], *, top_k: int | None = None) -> Ranking:
        """Order documents by how well they answer the query.

        The score of a document does not depend on the other documents. Memory is bounded by a window of documents,
        not by their number.

        Args:
            query: a text with at least one word.
            documents: each a str, a Document, or a mapping with "text"; may be empty.
            top_k: how many hits to return; None, or more than there are, for all.

        Returns:
            Hits from best to worst. A document without words comes last, with the score minus infinity.

        Raises:
            EmptyQueryError: the query has no words.
            InvalidItemError: the query or a document is of a wrong type; the message has its index.
            InvalidTextError: a text holds lone surrogates; the message has its index.
            InvalidArgumentError: top_k is not a whole number above 0.
        """
        check_top_k(top_k)
        candidates = as_documents(documents)
        for index, document in enumerate(candidates):
            check_text(document.text, f"documents[{index}]")
        query_embeddings = self.encoder.encode_query(query)
        return self._rerank([query], query_embeddings, [candidates], top_k)[0]

    def rerank_many(
        self, queries: Sequence[str], documents_per_query: Sequence[Iterable[object]], *, top_k: int | None = None
    ) -> list[Ranking]:
        """Order several lists of documents, each by a query of its own.

        A text that is a candidate of several queries is encoded once. Results are those of rerank, to the bit.

        Args:
            queries: texts, each with at least one word.
            documents_per_query: as many lists as queries.
            top_k: how many hits to return a query.

        Raises:
            InvalidArgumentError: the two lists differ in length, or top_k is not a whole number above 0.
            EmptyQueryError, InvalidItemError, InvalidTextError: as in rerank; the message has the indices.
        """
        check_top_k(top_k)
        if isinstance(queries, str | bytes) or isinstance(documents_per_query, str | bytes):
            raise InvalidItemError("queries and documents_per_query must be lists; for one query use rerank()")
        if len(queries) != len(documents_per_query):
            raise InvalidArgumentError(f"{len(queries)} queries, but {len(documents_per_query)} lists of documents")
        candidates = [
            as_documents(documents, f"documents_per_query[{number}]")
            for number, documents in enumerate(documents_per_query)
        ]
        for number, documents in enumerate(candidates):
            for index, document in enumerate(documents):
                check_text(document.text, f"documents_per_query[{number}][{index}]")
        return self._rerank(queries, self.encoder.encode_queries(queries), candidates, top_k)

    def _rerank(
        self, queries: Sequence[str], embeddings: TokenEmbeddings, candidates: list[list[Document]], top_k: int | None
    ) -> list[Ranking]:
        texts, places = _distinct_texts(candidates)
        results = _Results.empty(len(texts), [len(listed) for listed in candidates])
        first = 0
        for window in self._encode(texts):
            results.describe(window, first)
            for query_vectors, query_places, scores in zip(embeddings, places, results.scores, strict=True):
                self._score(query_vectors, window, query_places - first, scores)
            first += len(window)
        return [
            self._ranking(query, number, embeddings, results, (candidates[number], places[number], top_k))
            for number, query in enumerate(queries)
        ]

    def _encode(self, texts: list[str]) -> Iterator[TokenEmbeddings]:
        """Encode texts window by window; a bar shows on a terminal when it takes longer than a second."""
        with tqdm(total=len(texts), unit="doc", disable=None, delay=PROGRESS_DELAY_S, leave=False) as bar:
            for window in self.encoder.stream_documents(texts):
                yield window
                bar.update(len(window))

    def _score(self, query: AnyArray, window: TokenEmbeddings, places: Int64Vector, scores: Float32Vector) -> None:
        """Score those of a query's candidates that stand in this window; ``places`` count from its first text."""
        here = np.flatnonzero((places >= 0) & (places < len(window)))
        if len(here) == 0:
            return
        wanted, back = np.unique(places[here], return_inverse=True)
        chosen = window if len(wanted) == len(window) else window.select(wanted)
        # the encoder has refused NaN already
        scores[here] = maxsim(query, chosen, num_threads=self.num_threads, trusted=True)[back]

    def _ranking(
        self,
        query: str,
        number: int,
        embeddings: TokenEmbeddings,
        results: "_Results",
        candidates: tuple[list[Document], Int64Vector, int | None],
    ) -> Ranking:
        documents, places, top_k = candidates
        num_query_tokens = len(embeddings[number])
        scores = results.scores[number]
        hits = sort_hits(documents, scores, _relevance(scores, num_query_tokens), results.truncated[places], top_k)
        return Ranking(
            query=query,
            hits=hits,
            query_truncated=embeddings.truncated is not None and bool(embeddings.truncated[number]),
            usage=Usage(num_query_tokens, int(results.num_tokens[places].sum())),
            model=self.encoder.checkpoint.name,
        )


@dataclass(frozen=True)
class _Results:
    """What is known of each distinct text, and the scores of each query's candidates."""

    truncated: BoolVector
    num_tokens: Int64Vector
    scores: list[Float32Vector]

    @classmethod
    def empty(cls, num_texts: int, num_candidates: list[int]) -> "_Results":
        return cls(
            truncated=np.zeros(num_texts, np.bool_),
            num_tokens=np.zeros(num_texts, np.int64),
            scores=[np.empty(count, np.float32) for count in num_candidates],
        )

    def describe(self, window: TokenEmbeddings, first: int) -> None:
        last = first + len(window)
        self.num_tokens[first:last] = np.diff(window.offsets)
        if window.truncated is not None:
            self.truncated[first:last] = window.truncated


def _distinct_texts(candidates: list[list[Document]]) -> tuple[list[str], list[Int64Vector]]:
    """Each text once, in order of first appearance, and for each list the places of its texts among them."""
    place_of: dict[str, int] = {}
    places = [
        np.array([place_of.setdefault(document.text, len(place_of)) for document in documents], np.int64)
        for documents in candidates
    ]
    return list(place_of), places


def _relevance(scores: Float32Vector, num_query_tokens: int) -> Float32Vector:
    """The mean best similarity of the query's tokens, cut to [0, 1]; 0 for a document without tokens."""
    return np.clip(scores / np.float32(num_query_tokens), 0, 1)
