r"""MaxSim, the score of late interaction: for each query token the most similar document token, summed.

.. math:: s(Q, D) = \sum_i w_i \max_j \langle q_i, d_j \rangle

(Khattab and Zaharia, "ColBERT", SIGIR 2020, section 3.2.) Where the vectors live decides the kernel: NumPy arrays and
tensors in main memory go to the compiled kernel for the CPU, tensors and arrays on a GPU stay there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from rank_rerank.arrays import Float32Matrix, Float32Vector, Int32Matrix, Int64Vector
from rank_rerank.devices import check_num_threads
from rank_rerank.encoding.token_embeddings import TokenEmbeddings, offsets_of_lengths
from rank_rerank.errors import InvalidArgumentError, NonFiniteError, ShapeError
from rank_rerank.scoring.document_view import DocumentView, read_document, storage_of
from rank_rerank.scoring.maxsim_inputs import (
    DocumentEmbeddings,
    DocumentSource,
    QueryEmbeddings,
    check_dims,
    read_documents,
    read_query,
    read_weights,
)
from rank_rerank.scoring.maxsim_reference import best_matches_reference

TOP_K_BLOCK_DOCUMENTS = 32_768


@dataclass(frozen=True, eq=False)
class MaxsimMatches:
    """Scores, and which document token each query token found.

    Attributes:
        scores: [num_documents] float32.
        similarities: [num_documents, num_query_tokens] float32, before weights; minus infinity without tokens.
        indices: [num_documents, num_query_tokens] int32, the first of the most similar tokens of the document; −1
            where it has none.
    """

    scores: Float32Vector
    similarities: Float32Matrix
    indices: Int32Matrix


@dataclass(frozen=True, eq=False)
class TopDocuments:
    """The best documents, the best one first; equal scores keep the order of the documents.

    Attributes:
        indices: [at most top_k] int64, places in the documents passed.
        scores: as many float32.
    """

    indices: Int64Vector
    scores: Float32Vector


def maxsim(
    query_embeddings: QueryEmbeddings,
    document_embeddings: DocumentEmbeddings,
    *,
    query_weights: Any = None,
    num_threads: int | None = None,
    trusted: bool = False,
    kernel: str | None = None,
) -> Float32Vector:
    """Score documents for one query.

    Args:
        query_embeddings: TokenEmbeddings of one text, or [num_query_tokens, dim].
        document_embeddings: TokenEmbeddings, PackedDocuments, [num_documents, num_tokens, dim], or a list of
            [num_tokens, dim] arrays. Every row counts as a token: pass no padding.
        query_weights: [num_query_tokens]; None weighs every query token 1.
        num_threads: at most so many; None for RANK_RERANK_NUM_THREADS, else the processors of this process.
        trusted: do not refuse documents with NaN or infinity; the scores of such documents then mean nothing, the
            others' are right.
        kernel: for tests and benchmarks: "reference", "numba", or "numba-" and the name of a vector path.

    Returns:
        [num_documents] float32, higher is better. A document without tokens scores minus infinity.

    Raises:
        ShapeError: axes or dims do not fit.
        InvalidItemError: something is not an array of numbers.
        NonFiniteError: the query or a document holds NaN or infinity; the message names the document.
        InvalidArgumentError: num_threads or kernel is out of its range.
    """
    scorer = _Scorer([query_embeddings], [query_weights], num_threads, trusted, kernel)
    return scorer.score(read_documents(document_embeddings)).scores[0]


def maxsim_many(
    query_embeddings: TokenEmbeddings | Sequence[QueryEmbeddings],
    document_embeddings: DocumentEmbeddings,
    *,
    num_threads: int | None = None,
    trusted: bool = False,
    kernel: str | None = None,
) -> Float32Matrix:
    """Score documents for several queries at once: each document is read from memory once for all of them.

    Args:
        query_embeddings: TokenEmbeddings of any number of texts, or a list of what `maxsim` takes.
        document_embeddings: as for `maxsim`.
        num_threads: as for `maxsim`.
        trusted: as for `maxsim`.
        kernel: as for `maxsim`.

    Returns:
        [num_queries, num_documents] float32, each row equal to what `maxsim` gives for that query alone.

    Raises:
        InputError: as for `maxsim`.
    """
    queries: list[Any] = list(query_embeddings)
    source = read_documents(document_embeddings)
    if not queries:
        return np.empty((0, source.num_documents), np.float32)
    return _Scorer(queries, [None] * len(queries), num_threads, trusted, kernel).score(source).scores


def maxsim_matches(
    query_embeddings: QueryEmbeddings,
    document_embeddings: DocumentEmbeddings,
    *,
    query_weights: Any = None,
    num_threads: int | None = None,
    trusted: bool = False,
    kernel: str | None = None,
) -> MaxsimMatches:
    """Score documents for one query and tell which document token each query token found; arguments as for `maxsim`.

    Raises:
        InputError: as for `maxsim`.
    """
    scorer = _Scorer([query_embeddings], [query_weights], num_threads, trusted, kernel)
    result = scorer.score(read_documents(document_embeddings), with_matches=True)
    return MaxsimMatches(result.scores[0], result.similarities, result.indices)


def maxsim_top_k(
    query_embeddings: QueryEmbeddings,
    document_embeddings: DocumentEmbeddings,
    top_k: int,
    *,
    num_threads: int | None = None,
    trusted: bool = False,
    kernel: str | None = None,
) -> TopDocuments:
    """Find the best of very many documents, without ever holding the scores of all of them.

    Args:
        query_embeddings: as for `maxsim`.
        document_embeddings: as for `maxsim`.
        top_k: how many, at least 1; all where there are fewer.
        num_threads: as for `maxsim`.
        trusted: as for `maxsim`.
        kernel: as for `maxsim`.

    Raises:
        InputError: as for `maxsim`.
        InvalidArgumentError: top_k is below 1.
    """
    if isinstance(top_k, bool) or top_k < 1:
        raise InvalidArgumentError("top_k must be a whole number, at least 1")
    scorer = _Scorer([query_embeddings], [None], num_threads, trusted, kernel)
    source = read_documents(document_embeddings)
    indices, scores = np.empty(0, np.int64), np.empty(0, np.float32)
    for first in range(0, source.num_documents, TOP_K_BLOCK_DOCUMENTS):
        last = min(first + TOP_K_BLOCK_DOCUMENTS, source.num_documents)
        indices = np.concatenate([indices, np.arange(first, last)])
        scores = np.concatenate([scores, scorer.score(source, first, last).scores[0]])
        order = np.lexsort((indices, -scores))[:top_k]
        indices, scores = indices[order], scores[order]
    return TopDocuments(indices, scores)


@dataclass(frozen=True, eq=False)
class _Result:
    """Scores [num_queries, num_documents]; the rest as in MaxsimMatches, empty unless asked for."""

    scores: Float32Matrix
    similarities: Float32Matrix
    indices: Int32Matrix


class _Scorer:
    """Checked queries, ready to score documents block by block."""

    def __init__(
        self,
        queries: Sequence[QueryEmbeddings],
        weights: Sequence[Any],
        num_threads: int | None,
        trusted: bool,  # noqa: FBT001
        kernel: str | None,
    ) -> None:
        if kernel not in {None, "numba", "reference"} and not str(kernel).startswith("numba-"):
            raise InvalidArgumentError('kernel must be None, "reference", "numba" or "numba-" and a vector path')
        if num_threads is not None:
            check_num_threads(num_threads)
        names = ["the query"] if len(queries) == 1 else [f"query {index}" for index in range(len(queries))]
        read = [read_query(query, name) for query, name in zip(queries, names, strict=True)]
        if len({(query.shape[1], query.dtype) for query in read}) > 1:
            raise ShapeError("queries must have one dim and be all of one kind")
        self._queries = read[0] if len(read) == 1 else np.concatenate(read)
        self._offsets = offsets_of_lengths([len(query) for query in read])
        self._weights = np.concatenate([read_weights(w, len(q)) for w, q in zip(weights, read, strict=True)])
        self._num_threads = num_threads
        self._trusted = trusted
        self._kernel = kernel

    def score(
        self,
        source: DocumentSource,
        first: int = 0,
        last: int | None = None,
        *,
        with_matches: bool = False,
    ) -> _Result:
        end = source.num_documents if last is None else last
        if end == first or not source.has_tokens:
            return self._score_nothing(end - first, with_matches=with_matches)
        check_dims(self._queries, source)
        view = source.view(first, end)
        if self._kernel == "reference":
            result = self._blank(view.num_documents, with_matches=True)
            self._rescore(view, range(view.num_documents), first, result)
            return result
        return self._score_on_cpu(view, first, with_matches=with_matches)

    def _score_on_cpu(self, view: DocumentView, first: int, *, with_matches: bool) -> _Result:
        from rank_rerank.kernels.processor import vector_path  # noqa: PLC0415 - loads numba
        from rank_rerank.scoring.maxsim_numba import maxsim_numba  # noqa: PLC0415 - loads numba
        from rank_rerank.scoring.query_panels import pack_query  # noqa: PLC0415 - used here only

        path = vector_path((self._kernel or "").removeprefix("numba").removeprefix("-"))
        panels = pack_query(self._queries, self._offsets, self._form(view), path)
        found = maxsim_numba(
            panels, view, self._weights, num_threads=self._num_threads, with_matches=with_matches, path=path
        )
        blank = self._blank(0, with_matches=False)
        result = _Result(
            found.scores,
            blank.similarities if found.similarities is None else found.similarities,
            blank.indices if found.indices is None else found.indices,
        )
        if found.is_suspect.any():
            self._rescore(view, np.flatnonzero(found.is_suspect).tolist(), first, result)
        return result

    def _form(self, view: DocumentView) -> Literal["float32", "int8", "bits"]:
        if storage_of(self._queries) == "signs":
            return "bits"
        return "int8" if view.storage == "int8" else "float32"

    def _rescore(self, view: DocumentView, places: Sequence[int], first: int, result: _Result) -> None:
        """Score by the definition, in float64, what float32 could not hold; refuse NaN and infinity by name."""
        query = self._queries
        if storage_of(query) == "signs":
            query = np.unpackbits(query, axis=1).astype(np.float32) * 2 - 1
        for place in places:
            document = read_document(view, place)
            if not np.isfinite(document).all():
                if not self._trusted:
                    raise NonFiniteError(f"document {first + place} holds NaN, infinity or a number beyond float32")
                continue
            similarities, indices = best_matches_reference(query, document)
            with np.errstate(over="ignore", invalid="ignore"):
                weighted = self._weights * similarities
                for s, (begin, end) in enumerate(zip(self._offsets[:-1], self._offsets[1:], strict=True)):
                    result.scores[s, place] = weighted[begin:end].sum() if len(document) else -np.inf
                if len(result.similarities):
                    result.similarities[place], result.indices[place] = similarities, indices

    def _score_nothing(self, num_documents: int, *, with_matches: bool) -> _Result:
        result = self._blank(num_documents, with_matches=with_matches)
        result.scores[...] = -np.inf
        result.similarities[...] = -np.inf
        result.indices[...] = -1
        return result

    def _blank(self, num_documents: int, *, with_matches: bool) -> _Result:
        shape = (num_documents, len(self._weights)) if with_matches else (0, len(self._weights))
        scores = np.full((len(self._offsets) - 1, num_documents), np.nan, np.float32)
        return _Result(scores, np.full(shape, np.nan, np.float32), np.full(shape, -1, np.int32))
