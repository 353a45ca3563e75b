"""Reranker: what every reranker can do."""

from typing import Protocol

from rank_rerank.documents import Documents, DocumentsPerQuery, Queries
from rank_rerank.rankings import Ranking


class Reranker(Protocol):
    """Documents in, ranking out."""

    def rerank(self, query: str, documents: Documents, *, top_k: int | None = None) -> Ranking:
        """Order documents by how well they answer the query."""
        ...

    def rerank_many(
        self, queries: Queries, documents_per_query: DocumentsPerQuery, *, top_k: int | None = None
    ) -> list[Ranking]:
        """Order several lists of documents, each by a query of its own."""
        ...
