"""Reranker: what every reranker can do."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from rank_rerank.rankings import Ranking


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
