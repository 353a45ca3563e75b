"""CrossEncoderReranker: documents ranked by a model that reads each together with the query."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from rank_rerank.documents import Document, as_documents, check_queries
from rank_rerank.rankings import Ranking, ScoredDocuments, Usage, check_top_k
from rank_rerank.scoring.cross_encoder import CrossEncoder, PairScores
from rank_rerank.tokenization.texts import check_text

PROGRESS_DELAY_S = 1.0
# pairs whose tokens are held at once
WINDOW = 256


@dataclass(frozen=True)
class CrossEncoderReranker:
    """Reranks by reading query and document together: more exact than late interaction, and nothing can be stored.

    ``score`` is what the checkpoint gives: the logit, or its sigmoid; ``relevance`` is the sigmoid of the logit.

    Attributes:
        cross_encoder: scores pairs.
    """

    cross_encoder: CrossEncoder

    def rerank(self, query: str, documents: Iterable[object], *, top_k: int | None = None) -> Ranking:
        """Order documents by how well they answer the query.

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
        candidates = _read_documents(documents, "documents")
        return self._rerank(check_text(query, "the query"), candidates, top_k, "the query")

    def rerank_many(
        self, queries: Sequence[str], documents_per_query: Sequence[Iterable[object]], *, top_k: int | None = None
    ) -> list[Ranking]:
        """Order several lists of documents, each by a query of its own; results are those of rerank.

        Raises:
            InvalidArgumentError: the two lists differ in length, or top_k is not a whole number above 0.
            EmptyQueryError, InvalidItemError, InvalidTextError: as in rerank; the message has the indices.
        """
        check_top_k(top_k)
        check_queries(queries, documents_per_query)
        names = [f"queries[{number}]" for number in range(len(queries))]
        for query, name in zip(queries, names, strict=True):
            check_text(query, name)
        candidates = [
            _read_documents(documents, f"documents_per_query[{number}]")
            for number, documents in enumerate(documents_per_query)
        ]
        return [
            self._rerank(query, listed, top_k, name)
            for query, listed, name in zip(queries, candidates, names, strict=True)
        ]

    def _rerank(self, query: str, documents: list[Document], top_k: int | None, name: str) -> Ranking:
        texts = [document.text for document in documents]
        with tqdm(total=len(texts), unit="pair", disable=None, delay=PROGRESS_DELAY_S, leave=False) as bar:
            windows: list[PairScores] = []
            # a query without documents is checked like any other
            for first in range(0, max(len(texts), 1), WINDOW):
                windows.append(self.cross_encoder.score(query, texts[first : first + WINDOW], name))
                bar.update(len(windows[-1].scores))
        num_tokens = int(sum(int(window.num_tokens.sum()) for window in windows))
        query_tokens = windows[0].num_query_tokens
        ranking = Ranking(
            query=query,
            query_truncated=any(window.query_truncated for window in windows),
            # the query is read with every document; it is counted once as the query's
            usage=Usage(query_tokens, max(0, num_tokens - query_tokens)),
            model=self.cross_encoder.checkpoint.name,
        )
        scored = ScoredDocuments(
            np.concatenate([window.scores for window in windows]),
            np.concatenate([window.relevance for window in windows]),
            np.concatenate([window.truncated for window in windows]),
        )
        return ranking.filled(documents, scored, top_k)


def _read_documents(documents: Iterable[object], name: str) -> list[Document]:
    candidates = as_documents(documents, name)
    for index, document in enumerate(candidates):
        check_text(document.text, f"{name}[{index}]")
    return candidates
