"""DenseReranker: candidates ordered by single vectors that they carry already."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from rank_rerank.arrays import check_whole_number
from rank_rerank.documents import Document, Documents, DocumentsPerQuery, Queries, as_documents
from rank_rerank.encoding.plain_vectors import plain_array
from rank_rerank.errors import InvalidArgumentError, InvalidItemError, NonFiniteError, ShapeError
from rank_rerank.rankings import Ranking, ScoredDocuments, Usage, check_top_k
from rank_rerank.refinement.dense import dense_scores
from rank_rerank.rerankers.argument_hints import with_hints
from rank_rerank.rerankers.async_twins import twin_of
from rank_rerank.rerankers.cancellation import run_in_thread, stop_if_abandoned
from rank_rerank.rerankers.candidates import read_many, read_query


@dataclass(frozen=True)
class DenseReranker:
    """Reranks by the cosine of one vector per text, for documents that a search has embedded.

    It is the cheapest stage of a cascade.

    With ``dims`` it compares the first numbers of the vectors only, for models trained so that these suffice
    (matryoshka): a cascade may begin with the first 64, go on with all of them, and then read the texts.

    ``score`` is the cosine, from −1 to 1, 0 where a vector is all zeros; ``relevance`` is the same cut to [0, 1], and
    no probability.

    Attributes:
        encode_query: makes the query's vector, [dim], with the model that made the documents' vectors.
        vector_key: where a document has its vector, [dim]: in its metadata, so that a mapping may carry it as it is.
        dims: how many numbers to compare; None for all.

    Raises:
        InvalidArgumentError: dims is not a whole number above 0.
    """

    encode_query: Callable[[str], Any]
    vector_key: str = "vector"
    dims: int | None = None

    def __post_init__(self) -> None:
        if self.dims is not None:
            object.__setattr__(self, "dims", check_whole_number(self.dims, "dims (None for all)", 1))
        if not callable(self.encode_query):
            raise InvalidArgumentError("encode_query must be a function that makes the query's vector")
        if not isinstance(self.vector_key, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError("vector_key must be the name of a key in the documents' metadata")

    @with_hints
    def rerank(self, query: str, documents: Documents, *, top_k: int | None = None) -> Ranking:
        """Order documents by the cosine of their vectors with the query's; no text is read.

        Args:
            query: a text; what is one without words is up to encode_query.
            documents: each a Document or a mapping, with a vector in its metadata; may be empty.
            top_k: how many hits to return; None, or more than there are, for all.

        Raises:
            InvalidItemError: a document is of a wrong type or carries no vector, the message has its index; or
                encode_query gives no array of real numbers.
            ShapeError: a vector is no [dim] array of numbers, or of another dim than the query's; likewise.
            NonFiniteError: a vector holds NaN or infinity; likewise.
            InvalidArgumentError: top_k is not a whole number above 0, or the vectors have fewer than ``dims`` numbers.
        """
        top_k = check_top_k(top_k)
        query = read_query(query, documents)
        return self._rerank(query, as_documents(documents), "documents", top_k)

    @with_hints
    def rerank_many(
        self, queries: Queries, documents_per_query: DocumentsPerQuery, *, top_k: int | None = None
    ) -> list[Ranking]:
        """Order several lists of documents, each by a query of its own; results and errors are those of rerank.

        Raises:
            InvalidArgumentError: the two lists differ in length.
        """
        top_k = check_top_k(top_k)
        texts, candidates = read_many(queries, documents_per_query, as_documents)
        return [
            self._rerank(query, candidates[number], f"documents_per_query[{number}]", top_k)
            for number, query in enumerate(texts)
        ]

    @twin_of(rerank)
    async def arerank(self, *arguments: Any, **options: Any) -> Ranking:
        """As rerank, in a thread; when the task that waits is cancelled, the work ends before the next query's.

        Raises:
            RankRerankError: as rerank.
        """
        return await run_in_thread(partial(self.rerank, *arguments, **options))

    @twin_of(rerank_many)
    async def arerank_many(self, *arguments: Any, **options: Any) -> list[Ranking]:
        """As rerank_many, in a thread; cancellation is as in arerank.

        Raises:
            RankRerankError: as rerank_many.
        """
        return await run_in_thread(partial(self.rerank_many, *arguments, **options))

    def _rerank(self, query: str, documents: list[Document], name: str, top_k: int | None) -> Ranking:
        stop_if_abandoned()
        asked = plain_array(self.encode_query(query), "what encode_query gives")
        if asked.ndim != 1 or asked.dtype.kind not in "fiu":
            raise ShapeError(f"encode_query must give one vector of numbers, [dim], not {asked.shape}")
        vectors = [self._vector(document, f"{name}[{index}]", len(asked)) for index, document in enumerate(documents)]
        matrix = np.array(vectors, np.float64).reshape(len(vectors), len(asked))
        scores = dense_scores(asked, matrix, dims=self.dims).astype(np.float32)
        scored = ScoredDocuments(scores, np.clip(scores, 0, 1), np.zeros(len(documents), np.bool_))
        return Ranking(query, usage=Usage(0, 0)).filled(documents, scored, top_k)

    def _vector(self, document: Document, name: str, dim: int) -> Any:
        value = document.metadata.get(self.vector_key)
        if value is None:
            raise InvalidItemError(f'{name} carries no vector: its metadata has no "{self.vector_key}"')
        try:
            vector = plain_array(value, name)
        except InvalidItemError as error:  # as lists of different lengths
            raise ShapeError(f'{name}: "{self.vector_key}" must be one vector of numbers, [dim]') from error
        if vector.ndim != 1 or vector.dtype.kind not in "fiu":
            raise ShapeError(f'{name}: "{self.vector_key}" must be one vector of numbers, [dim]')
        if len(vector) != dim:
            raise ShapeError(f"{name}: its vector has dim {len(vector)}, the query's has dim {dim}")
        if not np.isfinite(vector).all():
            raise NonFiniteError(f"{name}: its vector holds NaN or infinity")
        return vector
