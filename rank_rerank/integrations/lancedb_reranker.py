"""LanceDB: a reranker for vector, full-text and hybrid searches.

::

    reranker = RankRerankReranker(column="text")
    table.search("query text", query_type="hybrid").rerank(reranker).limit(10).to_pandas()

With ``vector_column`` the token vectors that a multivector column holds are scored, and no text is read.
"""

# where the framework is not installed its types are unknown; CI checks this file where it is
# pyright: reportUntypedBaseClass=false, reportUnknownParameterType=false

from typing import Any, Literal

import numpy as np

from rank_rerank.devices import import_optional
from rank_rerank.documents import Document
from rank_rerank.documents.document import read_score
from rank_rerank.errors import InvalidArgumentError, InvalidItemError
from rank_rerank.inference.load_options import LoadOptions
from rank_rerank.integrations.model_source import ModelSource
from rank_rerank.integrations.stored_vectors import rank_vectors
from rank_rerank.rankings import Ranking
from rank_rerank.rerankers import Reranker, RerankRequest, answer
from rank_rerank.rerankers.argument_hints import with_hints
from rank_rerank.rerankers.blending import BlendRule
from rank_rerank.rerankers.tasks import LongDocuments

import_optional("lancedb", "lancedb", "the LanceDB adapter")

import pyarrow as pa  # noqa: E402 - after asking for it
from lancedb.rerankers import Reranker as LanceReranker  # noqa: E402

RELEVANCE = "_relevance_score"
SCORE = "_rerank_score"


class RankRerankReranker(LanceReranker):
    """Reranks LanceDB's results: ``_relevance_score`` is the relevance, from 0 to 1, and rows come best first.

    With ``return_score="all"`` the searches' scores stay, and ``_rerank_score`` is the raw score.
    """

    @with_hints
    def __init__(  # noqa: PLR0913 - every option of a request
        self,
        column: str = "text",
        *,
        model: str | LoadOptions | None = None,
        vector_column: str | None = None,
        return_score: Literal["relevance", "all"] = "relevance",
        long_documents: LongDocuments = "truncate",
        reranker: Reranker | None = None,
        blend: BlendRule = "auto",
    ) -> None:
        """Say what is read; the model is loaded at the first search.

        Args:
            column: of the texts.
            model: a folder or a Hub name, or LoadOptions; None for the bundled model.
            vector_column: a multivector column of the same model, whose vectors are scored in place of texts.
            return_score: "relevance", or "all" to keep the searches' scores too.
            long_documents: as of rerank().
            reranker: made before, in place of a model.
            blend: whether the scores or distances of a search are blended with the model's, as for rerank(); those of a
                hybrid search, which has two kinds, are not.

        Raises:
            InvalidArgumentError: long_documents or blend is unknown.
        """
        super().__init__(return_score)
        options = model if isinstance(model, LoadOptions) else LoadOptions.of(model)
        self._source = ModelSource(options, reranker)
        self._column, self._vector_column = column, vector_column
        self._long_documents: LongDocuments = long_documents
        self._blend: BlendRule = blend
        RerankRequest("", [], long_documents=long_documents, blend=blend)

    def __str__(self) -> str:
        return f"RankRerankReranker(column={self._vector_column or self._column})"

    def rerank_vector(self, query: str, vector_results: pa.Table) -> pa.Table:
        """Rerank what a vector search found; LanceDB calls it."""
        return self._rerank(query, vector_results)

    def rerank_fts(self, query: str, fts_results: pa.Table) -> pa.Table:
        """Rerank what a full-text search found; LanceDB calls it."""
        return self._rerank(query, fts_results)

    def rerank_hybrid(self, query: str, vector_results: pa.Table, fts_results: pa.Table) -> pa.Table:
        """Rerank what both found, each row once; LanceDB calls it."""
        merge = self._merge_and_keep_scores if self.score == "all" else self.merge_results
        return self._rerank(query, merge(vector_results, fts_results))

    def _rerank(self, query: object, results: pa.Table) -> pa.Table:
        if not isinstance(query, str):
            raise InvalidArgumentError(
                "rows are reranked for a text: after a search by vector write rerank(reranker, query_string=…)"
            )
        # an empty table is answered without a query: LanceDB asks for the column all the same
        ranking = self._rank(query, results) if len(results) else Ranking(query)
        rows = results.take(pa.array([hit.index for hit in ranking], pa.int64()))
        rows = self._keep_relevance_score(rows)
        rows = rows.append_column(RELEVANCE, pa.array([hit.relevance for hit in ranking], pa.float32()))
        if self.score == "all":
            rows = rows.append_column(SCORE, pa.array([hit.score for hit in ranking], pa.float32()))
        return rows

    def _rank(self, query: str, results: pa.Table) -> Ranking:
        reranker = self._source.reranker()
        if self._vector_column is None:
            texts = [self._text(value) for value in self._read(results, self._column)]
            documents = [Document(text, score=score) for text, score in zip(texts, _scores(results), strict=True)]
            return answer(
                reranker, RerankRequest(query, documents, long_documents=self._long_documents, blend=self._blend)
            )
        vectors = self._read(results, self._vector_column)
        dim = next((len(value[0]) for value in vectors if value), 0)
        matrices = [np.array(value or (), np.float32).reshape(-1, dim) for value in vectors]
        if dim == 0:
            raise InvalidArgumentError(f"the column {self._vector_column} holds no vectors. Name a multivector column")
        return rank_vectors(reranker, query, matrices, scores=_scores(results), blend=self._blend)

    def _text(self, value: object) -> str:
        if value is None:
            return ""
        if not isinstance(value, str):
            raise InvalidItemError(
                f"the column {self._column} must hold texts, and it has a value of type {type(value).__name__}. Name "
                "another with column="
            )
        return value

    def _read(self, results: pa.Table, column: str) -> list[Any]:
        if column not in results.column_names:
            raise InvalidArgumentError(
                f"the results have no column {column}: select it in the search, or name another with "
                "column= or vector_column="
            )
        return results[column].to_pylist()


def _scores(results: pa.Table) -> list[float | None]:
    """What the one search that found the rows gave each: of a full-text search, or a distance with its sign changed."""
    columns = [name for name in ("_score", "_distance") if name in results.column_names]
    if len(columns) != 1:  # a hybrid search has both, for some rows each
        return [None] * len(results)
    values = [read_score(value) for value in results[columns[0]].to_pylist()]
    return [None if value is None else -value for value in values] if columns == ["_distance"] else values
