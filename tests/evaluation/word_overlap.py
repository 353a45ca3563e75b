"""A reranker of the simplest kind: how many of the query's words a document has. Fast, and nothing is loaded."""

import numpy as np

from rank_rerank.documents import as_documents
from rank_rerank.rankings import Ranking, ScoredDocuments


class WordOverlap:
    """Counts its calls; ``worth`` turns every score, and ``breaks_at`` is the call at which Ctrl-C comes."""

    def __init__(self, worth=1.0, breaks_at=None):
        self.worth = worth
        self.breaks_at = breaks_at
        self.num_calls = 0

    def rerank(self, query, documents, *, top_k=None):
        if self.num_calls == self.breaks_at:
            raise KeyboardInterrupt
        self.num_calls += 1
        listed = as_documents(documents)
        words = query.lower().split()
        scores = np.array(
            [self.worth * sum(word in each.text.lower() for word in words) for each in listed], np.float32
        )
        relevance = np.clip(scores / max(len(words), 1), 0, 1)
        scored = ScoredDocuments(scores, relevance, np.zeros(len(scores), np.bool_))
        return Ranking(query).filled(listed, scored, top_k)

    def rerank_many(self, queries, documents_per_query, *, top_k=None):
        return [self.rerank(query, each, top_k=top_k) for query, each in zip(queries, documents_per_query, strict=True)]
