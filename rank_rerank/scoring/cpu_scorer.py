"""CpuScorer: checked queries against checked documents in main memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from rank_rerank.arrays import AnyArray, BoolVector, Float32Matrix, Float32Vector, Int32Matrix, Int64Vector, is_finite
from rank_rerank.encoding.token_embeddings import offsets_of_lengths
from rank_rerank.errors import NonFiniteError, ShapeError
from rank_rerank.scoring.document_sources import DocumentSource
from rank_rerank.scoring.document_view import DocumentView, read_document, storage_of
from rank_rerank.scoring.maxsim_inputs import check_dims, read_query, read_weights
from rank_rerank.scoring.maxsim_reference import best_matches_reference
from rank_rerank.scoring.score_arrays import ScoreArrays

# kernels sum products of bytes in 32 bits: 127 * 128 * dim must stay below 2 ** 31
MAX_INT8_DIM = 131_072


@dataclass(frozen=True, eq=False)
class Queries:
    """One query or several, checked.

    Attributes:
        vectors: [num_query_tokens, dim] float32, or uint8 sign bits; of all queries.
        offsets: [num_queries + 1].
        weights: [num_query_tokens] float32.
    """

    vectors: AnyArray
    offsets: Int64Vector
    weights: Float32Vector

    @classmethod
    def read(cls, queries: Sequence[Any], weights: Sequence[Any]) -> "Queries":
        """Check queries and the weights of each.

        Raises:
            InputError: one does not fit; the message names it where there are several.
        """
        if len(queries) == 1:
            vectors = read_query(queries[0])
            return cls(vectors, np.array((0, len(vectors))), read_weights(weights[0], len(vectors)))
        names = [f"query {index}" for index in range(len(queries))]
        read = [read_query(query, name) for query, name in zip(queries, names, strict=True)]
        if len({(query.shape[1], query.dtype) for query in read}) > 1:
            raise ShapeError("queries must have one dim and be all of one kind")
        return cls(
            np.concatenate(read),
            offsets_of_lengths([len(query) for query in read]),
            np.concatenate([read_weights(given, len(query)) for given, query in zip(weights, read, strict=True)]),
        )

    @property
    def numbers(self) -> AnyArray:
        """The vectors as float32, signs as ±1."""
        if storage_of(self.vectors) == "signs":
            return np.unpackbits(self.vectors, axis=1).astype(np.float32) * 2 - 1
        return self.vectors


@dataclass(frozen=True, eq=False)
class CpuScorer:
    """Scores documents block by block.

    Attributes:
        queries: what is asked.
        source: the documents.
        num_threads: at most so many; None for the default.
        trusted: documents with NaN or infinity are not refused.
        kernel: None, "reference", "numba", or "numba-" and a vector path.
    """

    queries: Queries
    source: DocumentSource
    num_threads: int | None
    trusted: bool
    kernel: str | None

    @property
    def num_documents(self) -> int:
        """How many documents there are."""
        return self.source.num_documents

    def score(self, first: int, last: int, *, with_matches: bool = False) -> ScoreArrays:
        """Score the documents from first to last, the end excluded.

        Raises:
            NonFiniteError: one holds NaN or infinity, or has a score beyond float32, and the caller is not trusted.
            ShapeError: documents have another dim than the query.
        """
        if first == last or not self.source.has_tokens:
            return self._fill(last - first, -np.inf, with_matches=with_matches)
        check_dims(self.queries.vectors, self.source)
        view = self.source.view(first, last)
        if view.storage == "int8" and view.dim > MAX_INT8_DIM:
            raise ShapeError(f"int8 vectors can have a dim of at most {MAX_INT8_DIM}; pass float32 or float16")
        if self.kernel != "reference":
            result = self._score_compiled(view, first, with_matches=with_matches)
        else:
            result = self._fill(view.num_documents, np.nan, with_matches=True)
            self._settle(view, range(view.num_documents), first, result)
        if not self.trusted and not is_finite(result.scores):
            refuse_infinite(~np.isfinite(result.scores).all(axis=0) & (view.lengths > 0), first)
        return result

    def _score_compiled(self, view: DocumentView, first: int, *, with_matches: bool) -> ScoreArrays:
        vector_path, pack_query, maxsim_numba = _compiled()
        path = vector_path((self.kernel or "").removeprefix("numba").removeprefix("-"))
        queries = self.queries
        panels = pack_query(queries.vectors, queries.offsets, self._form(view), path)
        found = maxsim_numba(
            panels, view, queries.weights, num_threads=self.num_threads, with_matches=with_matches, path=path
        )
        if np.count_nonzero(found.is_suspect):  # of few documents it takes a quarter of the time of any()
            self._settle(view, np.flatnonzero(found.is_suspect).tolist(), first, found)
        return ScoreArrays(found.scores, found.similarities, found.indices)

    def _form(self, view: DocumentView) -> Literal["float32", "int8", "bits"]:
        if storage_of(self.queries.vectors) == "signs":
            return "bits"
        return "int8" if view.storage == "int8" else "float32"

    def _settle(self, view: DocumentView, places: Sequence[int], first: int, result: ScoreArrays) -> None:
        for place in places:
            settle_document(self.queries, read_document(view, place), place, first, result, trusted=self.trusted)

    def _fill(self, num_documents: int, value: float, *, with_matches: bool) -> ScoreArrays:
        scores: Float32Matrix = np.full((len(self.queries.offsets) - 1, num_documents), value, np.float32)
        if not with_matches:
            return ScoreArrays(scores)
        shape = (num_documents, len(self.queries.weights))
        indices: Int32Matrix = np.full(shape, -1, np.int32)
        return ScoreArrays(scores, np.full(shape, value, np.float32), indices)


@cache  # an import statement takes a third of a microsecond each time
def _compiled() -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., ScoreArrays]]:
    from rank_rerank.kernels.processor import vector_path  # noqa: PLC0415 - a kernel is chosen
    from rank_rerank.scoring.compiled.maxsim_numba import maxsim_numba  # noqa: PLC0415
    from rank_rerank.scoring.compiled.query_panels import pack_query  # noqa: PLC0415

    return vector_path, pack_query, maxsim_numba


def settle_document(
    queries: Queries, document: AnyArray, place: int, first: int, result: ScoreArrays, *, trusted: bool
) -> None:
    """Refuse a document with NaN or infinity by name; score by the definition, in float64, what float32 cannot hold.

    Raises:
        NonFiniteError: the document is not finite and not trusted.
    """
    if not np.isfinite(document).all():
        if not trusted:
            raise NonFiniteError(f"document {first + place} holds NaN, infinity or a number beyond float32")
        return
    similarities, indices = best_matches_reference(queries.numbers, document)
    with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 is infinite
        weighted = queries.weights * similarities
        for s, (begin, end) in enumerate(pairwise(queries.offsets.tolist())):
            score = np.float32(weighted[begin:end].sum() if len(document) else -np.inf)
            result.scores[s, place] = float(score)
        if result.similarities is not None:
            result.similarities[place] = _like(result.similarities, similarities.astype(np.float32))
            result.indices[place] = _like(result.indices, indices.astype(np.int32))


def refuse_infinite(is_infinite: BoolVector, first: int) -> None:
    """Refuse finite vectors whose score float32 cannot hold: [num_documents] of the block that begins at first.

    Raises:
        NonFiniteError: there is one; the message names the document.
    """
    if is_infinite.any():
        raise NonFiniteError(
            f"the score of document {first + int(np.argmax(is_infinite))} is beyond float32: query, document or "
            "weights hold too large numbers. Bring vectors to unit length"
        )


def _like(array: Any, values: AnyArray) -> Any:
    """Values as an array of the same library, on the same device."""
    if isinstance(array, np.ndarray):
        return values
    if hasattr(array, "new_tensor"):
        return array.new_tensor(values)
    return import_module("cupy").asarray(values)
