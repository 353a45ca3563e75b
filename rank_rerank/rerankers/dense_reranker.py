"""DenseReranker: candidates ordered by single vectors that they carry already."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rank_rerank.documents import Document, as_documents, check_queries
from rank_rerank.errors import InvalidArgumentError, InvalidItemError, NonFiniteError, ShapeError
from rank_rerank.rankings import Ranking, ScoredDocuments, Usage, check_top_k
from rank_rerank.refinement.dense import dense_scores
from rank_rerank.tokenization.texts import check_text


@dataclass(frozen=True)
class DenseReranker:
    """Reranks by the cosine of one vector a text: the cheapest stage of a cascade, for documents a search has embedded.

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
        if self.dims is not None and (type(self.dims) is not int or self.dims < 1):
            raise InvalidArgumentError("dims must be a whole number above 0, or None for all")

    def rerank(self, query: str, documents: Iterable[object], *, top_k: int | None = None) -> Ranking:
        """Order documents by the cosine of their vectors with the query's; no text is read.

        Args:
            query: a text; what is one without words is up to encode_query.
            documents: each a Document or a mapping, with a vector in its metadata; may be empty.
            top_k: how many hits to return; None, or more than there are, for all.

        Raises:
            InvalidItemError: a document is of a wrong type or carries no vector; the message has its index.
            ShapeError: a vector is no [dim] array of numbers, or of another dim than the query's; likewise.
            NonFiniteError: a vector holds NaN or infinity; likewise.
            InvalidArgumentError: top_k is not a whole number above 0, or the vectors have fewer than ``dims`` numbers.
        """
        check_top_k(top_k)
        candidates = as_documents(documents, "documents")
        return self._rerank(check_text(query, "the query"), candidates, "documents", top_k)

    def rerank_many(
        self, queries: Sequence[str], documents_per_query: Sequence[Iterable[object]], *, top_k: int | None = None
    ) -> list[Ranking]:
        """Order several lists of documents, each by a query of its own; results and errors are those of rerank.

        Raises:
            InvalidArgumentError: the two lists differ in length.
        """
        check_top_k(top_k)
        check_queries(queries, documents_per_query)
        names = [f"documents_per_query[{number}]" for number in range(len(queries))]
        candidates = [as_documents(each, name) for each, name in zip(documents_per_query, names, strict=True)]
        return [
            self._rerank(check_text(query, f"queries[{number}]"), candidates[number], names[number], top_k)
            for number, query in enumerate(queries)
        ]

    def _rerank(self, query: str, documents: list[Document], name: str, top_k: int | None) -> Ranking:
        asked = np.asarray(self.encode_query(query))
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
            vector = np.asarray(value)
        except ValueError:  # lists of different lengths
            vector = np.empty((0, 0), np.object_)
        if vector.ndim != 1 or vector.dtype.kind not in "fiu":
            raise ShapeError(f'{name}: "{self.vector_key}" must be one vector of numbers, [dim]')
        if len(vector) != dim:
            raise ShapeError(f"{name}: its vector has dim {len(vector)}, the query's has dim {dim}")
        if not np.isfinite(vector).all():
            raise NonFiniteError(f"{name}: its vector holds NaN or infinity")
        return vector
