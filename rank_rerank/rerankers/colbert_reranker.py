"""ColbertReranker: documents ranked by late interaction."""

import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from rank_rerank.arguments import check_kind
from rank_rerank.calibration.calibration import Calibration
from rank_rerank.devices import check_num_threads
from rank_rerank.documents import DocumentLike, Documents, DocumentsPerQuery, Queries, as_documents
from rank_rerank.encoding.embedding_cache import CacheInfo
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.explanation.explanations import Explanation, explain_document
from rank_rerank.explanation.word_matches import MIN_SIMILARITY
from rank_rerank.rankings import Ranking
from rank_rerank.rerankers.argument_hints import with_hints
from rank_rerank.rerankers.async_twins import twin_of
from rank_rerank.rerankers.blending import BlendRule
from rank_rerank.rerankers.cancellation import run_in_thread
from rank_rerank.rerankers.candidates import read_candidates, read_many, read_query
from rank_rerank.rerankers.hit_spans import with_spans
from rank_rerank.rerankers.late_interaction import LateInteraction
from rank_rerank.rerankers.score_scale import ScoreScale
from rank_rerank.rerankers.shared_calls import Call, SharedCalls
from rank_rerank.rerankers.task_ranking import rank_tasks
from rank_rerank.rerankers.tasks import LongDocuments, RankOptions, Task
from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.tokenization.texts import check_text


@dataclass(frozen=True)
class ColbertReranker:
    """Reranks by late interaction: every query token finds its best document token, and the similarities add up.

    Attributes:
        encoder: turns texts into token embeddings.
        num_threads: threads that score; None for the default.
        calibration: turns scores into probabilities for ``relevance``; None for the mean best similarity.

    Raises:
        InvalidArgumentError: num_threads is out of its range, or calibration is none.
    """

    encoder: TokenEncoder
    num_threads: int | None = None
    calibration: Calibration | None = None
    _calls: SharedCalls = field(default_factory=SharedCalls, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.calibration is not None:
            check_kind(self.calibration, "calibration", Calibration)
        if self.num_threads is not None:
            check_num_threads(self.num_threads)

    @property
    def scale(self) -> ScoreScale:
        """What becomes of the sums of similarities."""
        return ScoreScale.of(self.encoder.checkpoint, self.calibration)

    def cache_info(self) -> CacheInfo | None:
        """What the cache of texts holds and was good for; None where ``load`` was given no ``cache_bytes``."""
        return None if self.encoder.cache is None else self.encoder.cache.info

    @with_hints
    def rerank(  # noqa: PLR0913 - every option of a request
        self,
        query: str,
        documents: Documents,
        *,
        top_k: int | None = None,
        store: EmbeddingStore | None = None,
        spans: bool | int = False,
        long_documents: LongDocuments = "truncate",
        text_key: str | None = None,
        show_progress: bool | None = None,
        blend: BlendRule = "auto",
        budget_ms: float | None = None,
        settled: float | None = None,
    ) -> Ranking:
        """Order documents by how well they answer the query.

        The score of a document does not depend on the other documents. Memory is bounded by a window of documents,
        not by their number.

        Args:
            query: a text with at least one word.
            documents: each a str, a Document, a mapping with "text", or a document of LangChain, LlamaIndex or
                Haystack; may be empty. Or ``store.select(ids)``, whose stored vectors are scored as they are.
            top_k: how many hits to return; None, or more than there are, for all.
            store: a cache of texts: what it holds is not encoded again, what it lacks is encoded and kept. A string
                is always a text, never an id.
            spans: also find the passages of each hit that answer the query and the words that matched, or of so many of
                the best hits. A hit whose vectors come from a store is encoded once more for it.
            long_documents: what to do with documents longer than the model reads: "truncate" reads their beginning and
                says so on the hit; "chunk", or a Chunking, reads all of them in chunks and tells the best one, where
                ``spans`` are then looked for, and which ``store`` keeps; "error" refuses them. "best-windows" reads of
                texts of more than some 150 words the beginning and what has most of the query's words, in about half
                the time; ``hit.read_spans`` says what.
            text_key: where mappings have their text; None for "text", "content", "page_content" or "contents".
            show_progress: True and False show a bar or none; None shows one on a terminal, after a second.
            blend: what to do with scores that the documents bring from the search that found them. "auto" blends them
                with the model's where weights for that were fitted, as for the bundled model, and the documents are
                evidently the hits of one search: each has a score, and they come from best to worst. A Blend blends
                whatever scores there are; None leaves them out. ``hit.score`` is the model's own in any case.
            budget_ms: how many milliseconds the call may take; None for as many as it needs. Documents are read in the
                order of their scores in the first stage, where each has one, else of a score of the words that they
                share with the query; what there is no time to read follows below in the caller's order, with
                ``hit.was_read`` False. Passages for ``spans`` are found after that. The first call of a process reads
                a document per thread in any case, to learn how fast the model is.
            settled: the probability, as 0.9, with which the first ``top_k`` hits must be those that reading every
                document would give; then reading stops. None reads all. It needs first-stage scores that are blended
                with the weights of a model that bounds were fitted for, as the bundled one, on queries of training
                collections: of queries like those it is right so often. ``ranking.stopped`` and ``num_unread`` say
                what came of it; where nothing settles, as for many hits, all is read. Goes with ``budget_ms``.

        Returns:
            Hits from best to worst. A document without words comes last, with the score minus infinity. Where scores
            were blended, ``ranking.is_blended`` is True, and ``hit.blended_score`` is what orders the hits.

        Raises:
            EmptyQueryError: the query has no words.
            InvalidItemError: the query or a document is of a wrong type, the message has its index; or a Blend is to be
                made of documents without scores.
            InvalidTextError: a text holds lone surrogates; the message has its index.
            InvalidArgumentError: top_k is not a whole number above 0, a string is an id of the store, budget_ms is not
                above 0 or comes with a store or chunks, long_documents is unknown or best windows come with a store,
                chunks are to be longer than the model reads, or a document is to be read in chunks whose text its
                store has not kept.
            DocumentTooLongError: long_documents is "error", and a document is; the message has its index.
            StoreMismatchError: the store's vectors are of another model, or of other settings.
            StoreWriteError: new texts cannot be kept in the store.
        """
        begun = time.perf_counter()
        options = RankOptions(top_k, store, spans, long_documents, show_progress, blend, budget_ms, settled)
        query = read_query(query, documents)
        candidates = read_candidates(documents, "documents", store, text_key)
        task = Task(query, self.encoder.encode_query(query), candidates, "documents")
        return rank_tasks(self.at_work(options), [task], begun)[0]

    def explain(
        self,
        query: str,
        document: DocumentLike,
        *,
        min_similarity: float = MIN_SIMILARITY,
        threshold: float = 0.0,
        max_spans: int | None = None,
    ) -> Explanation:
        """Tell why a document has its score: which of its words the query's words found, and where.

        Args:
            query: a text with at least one word.
            document: a str, a Document, or a mapping with "text".
            min_similarity: pairs of words below this cosine have not found each other; the default fits the bundled
                model.
            threshold: passages with a lower score are left out.
            max_spans: how many passages to keep, the best ones; None for all.

        Raises:
            EmptyQueryError, InvalidItemError, InvalidTextError: as in rerank.
            InvalidArgumentError: an option is out of its range.
        """
        embeddings = self.encoder.encode_query(query)
        [read] = as_documents([document], "document")
        check_text(read.text, "the document")
        return explain_document(
            embeddings, query, self.encoder.encode_document(read.text), read,
            min_similarity=min_similarity, threshold=threshold, max_spans=max_spans,
        )  # fmt: skip

    def with_spans(self, ranking: Ranking, *, threshold: float = 0.0, max_spans: int | None = None) -> Ranking:
        """The same ranking with the passages of each hit that answer the query; its hits are encoded once more.

        Of a hit that was read in chunks the passages of the best one are found.

        Args:
            ranking: made by this reranker; leave it its first hits only (``top_k``), for each costs an encoding.
            threshold: as in explain.
            max_spans: as in explain.

        Raises:
            InvalidArgumentError: an option is out of its range.
        """
        return with_spans(self.encoder, ranking, threshold=threshold, max_spans=max_spans)

    @with_hints
    def rerank_many(  # noqa: PLR0913 - every option of a request
        self,
        queries: Queries,
        documents_per_query: DocumentsPerQuery,
        *,
        top_k: int | None = None,
        store: EmbeddingStore | None = None,
        spans: bool | int = False,
        long_documents: LongDocuments = "truncate",
        text_key: str | None = None,
        show_progress: bool | None = None,
        blend: BlendRule = "auto",
        budget_ms: float | None = None,
        settled: float | None = None,
    ) -> list[Ranking]:
        """Order several lists of documents, each by a query of its own.

        A text that is a candidate of several queries is encoded once. Its chunks are encoded once per query, unless a
        store keeps them. Results are those of rerank, to the bit.

        Args:
            queries: texts, each with at least one word.
            documents_per_query: as many lists as queries, each as in rerank.
            top_k: how many hits to return a query.
            store: a cache of texts, as in rerank.
            spans: as in rerank.
            long_documents: as in rerank.
            text_key: as in rerank.
            show_progress: as in rerank.
            blend: as in rerank, for each query.
            budget_ms: as in rerank, for each query: they are ranked one after the other then.
            settled: as in rerank, for each query, one after the other.

        Raises:
            InvalidArgumentError: the two lists differ in length, or as in rerank.
            EmptyQueryError, InvalidItemError, InvalidTextError, DocumentTooLongError: as in rerank; the message has
                the indices.
            StoreError: as in rerank.
        """
        options = RankOptions(top_k, store, spans, long_documents, show_progress, blend, budget_ms, settled)
        texts, candidates = read_many(
            queries, documents_per_query, lambda documents, name: read_candidates(documents, name, store, text_key)
        )
        embeddings: TokenEmbeddings = self.encoder.encode_queries(texts)
        tasks = [
            Task(query, embeddings.select(np.array([number])), candidates[number], f"documents_per_query[{number}]")
            for number, query in enumerate(texts)
        ]
        return rank_tasks(self.at_work(options), tasks)

    @twin_of(rerank)
    async def arerank(
        self, query: str, documents: Documents, *, text_key: str | None = None, **options: Any
    ) -> Ranking:
        """As rerank, without holding up the event loop; results are those of rerank, to the bit.

        Calls that wait at the same time are answered together, but for those that may not read all. When the task that
        waits is cancelled, the work ends before its next window of documents.

        Raises:
            RankRerankError: as rerank.
        """
        asked = RankOptions(**options)
        candidates = read_candidates(documents, "documents", asked.store, text_key)
        alone = partial(self.rerank, query, candidates, **vars(asked))
        if asked.reads_by_promise:
            return await run_in_thread(alone)
        many = partial(self.rerank_many, **vars(asked))
        call = Call([read_query(query, documents)], [candidates], asked, many, lambda: [alone()])
        return (await self._calls.rank(call))[0]

    @twin_of(rerank_many)
    async def arerank_many(
        self, queries: Queries, documents_per_query: DocumentsPerQuery, *, text_key: str | None = None, **options: Any
    ) -> list[Ranking]:
        """As rerank_many, without holding up the event loop; calls and cancellation are as in arerank.

        Raises:
            RankRerankError: as rerank_many.
        """
        asked = RankOptions(**options)
        texts, candidates = read_many(
            queries,
            documents_per_query,
            lambda documents, name: read_candidates(documents, name, asked.store, text_key),
        )
        many = partial(self.rerank_many, **vars(asked))
        alone = partial(many, texts, candidates)
        if asked.reads_by_promise:
            return await run_in_thread(alone)
        return await self._calls.rank(Call(texts, candidates, asked, many, alone))

    def at_work(self, options: RankOptions) -> LateInteraction:
        """The model with what is asked of it, which ranks queries that are encoded already."""
        return LateInteraction(self.encoder, self.scale, self.num_threads, options)
