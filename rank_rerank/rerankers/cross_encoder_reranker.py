"""CrossEncoderReranker: documents ranked by a model that reads each together with the query."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from rank_rerank.arrays import Float32Vector
from rank_rerank.documents import Document, Documents, DocumentsPerQuery, Queries
from rank_rerank.rankings import Ranking, ScoredDocuments, Usage, check_top_k
from rank_rerank.rerankers.argument_hints import with_hints
from rank_rerank.rerankers.async_twins import twin_of
from rank_rerank.rerankers.cancellation import run_in_thread
from rank_rerank.rerankers.candidates import read_documents, read_many, read_query
from rank_rerank.rerankers.progress import check_show_progress, progress_bar
from rank_rerank.scoring.cross_encoder import CrossEncoder, PairScores

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

    @with_hints
    def rerank(
        self,
        query: str,
        documents: Documents,
        *,
        top_k: int | None = None,
        text_key: str | None = None,
        show_progress: bool | None = None,
    ) -> Ranking:
        """Order documents by how well they answer the query.

        Args:
            query: a text with at least one word.
            documents: each a str, a Document, a mapping with "text", or a document of LangChain, LlamaIndex or
                Haystack; may be empty.
            top_k: how many hits to return; None, or more than there are, for all.
            text_key: where mappings have their text; None for "text", "content", "page_content" or "contents".
            show_progress: True and False show a bar or none; None shows one on a terminal, after a second.

        Returns:
            Hits from best to worst. A document without words comes last, with the score minus infinity.

        Raises:
            EmptyQueryError: the query has no words.
            InvalidItemError: the query or a document is of a wrong type; the message has its index.
            InvalidTextError: a text holds lone surrogates; the message has its index.
            InvalidArgumentError: top_k is not a whole number above 0, or another option is of a wrong type.
        """
        top_k, show_progress = check_top_k(top_k), check_show_progress(show_progress)
        query = read_query(query, documents)
        candidates = read_documents(documents, "documents", text_key)
        with progress_bar(len(candidates), "pair", show_progress) as bar:
            return self._rerank(query, candidates, top_k, "the query", bar.update)

    @with_hints
    def rerank_many(
        self,
        queries: Queries,
        documents_per_query: DocumentsPerQuery,
        *,
        top_k: int | None = None,
        text_key: str | None = None,
        show_progress: bool | None = None,
    ) -> list[Ranking]:
        """Order several lists of documents, each by a query of its own; results are those of rerank.

        Raises:
            InvalidArgumentError: the two lists differ in length, or as in rerank.
            EmptyQueryError, InvalidItemError, InvalidTextError: as in rerank; the message has the indices.
        """
        top_k, show_progress = check_top_k(top_k), check_show_progress(show_progress)
        texts, candidates = read_many(
            queries, documents_per_query, lambda documents, name: read_documents(documents, name, text_key)
        )
        with progress_bar(sum(map(len, candidates)), "pair", show_progress) as bar:
            return [
                self._rerank(query, candidates[number], top_k, f"queries[{number}]", bar.update)
                for number, query in enumerate(texts)
            ]

    @twin_of(rerank)
    async def arerank(self, *arguments: Any, **options: Any) -> Ranking:
        """As rerank, in a thread; when the task that waits is cancelled, the work ends before its next window.

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

    def _rerank(
        self,
        query: str,
        documents: list[Document],
        top_k: int | None,
        name: str,
        progress: Callable[[int], object],
    ) -> Ranking:
        texts = [document.text for document in documents]
        windows: list[PairScores] = []
        # a query without documents is checked like any other
        for first in range(0, max(len(texts), 1), WINDOW):
            windows.append(self.cross_encoder.score(query, texts[first : first + WINDOW], name))
            progress(len(windows[-1].scores))
        num_tokens = int(sum(int(window.num_tokens.sum()) for window in windows))
        query_tokens = windows[0].num_query_tokens
        ranking = Ranking(
            query=query,
            query_truncated=any(window.query_truncated for window in windows),
            query_unknown_words=windows[0].query_unknown_words,
            # the query is read with every document; it is counted once as the query's
            usage=Usage(query_tokens, max(0, num_tokens - query_tokens)),
            model=self.cross_encoder.checkpoint.name,
        )
        scored = ScoredDocuments(
            np.concatenate([window.scores for window in windows]),
            np.concatenate([window.relevance for window in windows]),
            np.concatenate([window.truncated for window in windows]),
            _join([window.unknown_words for window in windows]),
        )
        return ranking.filled(documents, scored, top_k)


def _join(parts: list[Float32Vector | None]) -> Float32Vector | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if len(known) == len(parts) else None
