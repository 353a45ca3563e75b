"""ColbertReranker: documents ranked by late interaction."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from tqdm import tqdm

from rank_rerank.arrays import Float32Vector
from rank_rerank.calibration.calibration import Calibration, mean_similarity
from rank_rerank.documents import Document, as_documents, check_queries
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.explanation.explanations import Explanation, explain_document
from rank_rerank.explanation.word_matches import MIN_SIMILARITY
from rank_rerank.rankings import Ranking, Usage, check_top_k, sort_hits
from rank_rerank.rerankers.candidates import StoredCandidates, distinct_texts, find_stored, read_candidates
from rank_rerank.rerankers.hit_spans import find_spans
from rank_rerank.rerankers.long_documents import (
    ChunkOptions,
    LongDocuments,
    rank_chunks,
    read_long_documents,
    refuse_long,
)
from rank_rerank.rerankers.text_scores import TextScores
from rank_rerank.scoring.stored_scores import score_stored
from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.storage.stored_documents import StoredDocuments
from rank_rerank.tokenization.texts import check_text

PROGRESS_DELAY_S = 1.0


@dataclass(frozen=True)
class _Options:
    """What a caller asks for, checked; as the arguments of ``rerank``."""

    top_k: int | None
    store: EmbeddingStore | None
    spans: bool
    long_documents: LongDocuments

    def __post_init__(self) -> None:
        check_top_k(self.top_k)
        read_long_documents(self.long_documents)


@dataclass(frozen=True)
class ColbertReranker:
    """Reranks by late interaction: every query token finds its best document token, and the similarities add up.

    Attributes:
        encoder: turns texts into token embeddings.
        num_threads: threads that score; None for the default.
        calibration: turns scores into probabilities for ``relevance``; None for the mean best similarity.
    """

    encoder: TokenEncoder
    num_threads: int | None = None
    calibration: Calibration | None = None

    def rerank(
        self,
        query: str,
        documents: Iterable[object],
        *,
        top_k: int | None = None,
        store: EmbeddingStore | None = None,
        spans: bool = False,
        long_documents: LongDocuments = "truncate",
    ) -> Ranking:
        """Order documents by how well they answer the query.

        The score of a document does not depend on the other documents. Memory is bounded by a window of documents,
        not by their number.

        Args:
            query: a text with at least one word.
            documents: each a str, a Document, or a mapping with "text"; may be empty. Or ``store.select(ids)``, whose
                stored vectors are scored as they are.
            top_k: how many hits to return; None, or more than there are, for all.
            store: a cache of texts: what it holds is not encoded again, what it lacks is encoded and kept. A string
                is always a text, never an id.
            spans: also find the passages of each hit that answer the query, which encodes the hits once more.
            long_documents: what to do with documents longer than the model reads: "truncate" reads their beginning and
                says so on the hit; "chunk", or a Chunking, reads all of them in chunks and tells the best one, where
                ``spans`` are then looked for, and which ``store`` keeps; "error" refuses them.

        Returns:
            Hits from best to worst. A document without words comes last, with the score minus infinity.

        Raises:
            EmptyQueryError: the query has no words.
            InvalidItemError: the query or a document is of a wrong type; the message has its index.
            InvalidTextError: a text holds lone surrogates; the message has its index.
            InvalidArgumentError: top_k is not a whole number above 0, a string is an id of the store, long_documents is
                unknown, chunks are to be longer than the model reads, or a document is to be read in chunks whose text
                its store has not kept.
            DocumentTooLongError: long_documents is "error", and a document is; the message has its index.
            StoreMismatchError: the store's vectors are of another model, or of other settings.
            StoreWriteError: new texts cannot be kept in the store.
        """
        options = _Options(top_k, store, spans, long_documents)
        candidates = [read_candidates(documents, "documents", store)]
        return self._rank([query], self.encoder.encode_query(query), candidates, ["documents"], options)[0]

    def explain(
        self,
        query: str,
        document: object,
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
        return find_spans(self.encoder, ranking, threshold=threshold, max_spans=max_spans)

    def rerank_many(
        self,
        queries: Sequence[str],
        documents_per_query: Sequence[Iterable[object]],
        *,
        top_k: int | None = None,
        store: EmbeddingStore | None = None,
        spans: bool = False,
        long_documents: LongDocuments = "truncate",
    ) -> list[Ranking]:
        """Order several lists of documents, each by a query of its own.

        A text that is a candidate of several queries is encoded once; its chunks are once a query, unless a store keeps
        them. Results are those of rerank, to the bit.

        Args:
            queries: texts, each with at least one word.
            documents_per_query: as many lists as queries, each as in rerank.
            top_k: how many hits to return a query.
            store: a cache of texts, as in rerank.
            spans: as in rerank.
            long_documents: as in rerank.

        Raises:
            InvalidArgumentError: the two lists differ in length, or as in rerank.
            EmptyQueryError, InvalidItemError, InvalidTextError, DocumentTooLongError: as in rerank; the message has
                the indices.
            StoreError: as in rerank.
        """
        options = _Options(top_k, store, spans, long_documents)
        check_queries(queries, documents_per_query)
        names = [f"documents_per_query[{number}]" for number in range(len(queries))]
        candidates = [
            read_candidates(documents, name, store) for documents, name in zip(documents_per_query, names, strict=True)
        ]
        return self._rank(queries, self.encoder.encode_queries(queries), candidates, names, options)

    def _rank(
        self,
        queries: Sequence[str],
        embeddings: TokenEmbeddings,
        candidates: list[list[Document] | StoredDocuments],
        names: list[str],
        options: "_Options",
    ) -> list[Ranking]:
        """Rank lists of documents, whole or in chunks."""
        if options.long_documents == "error":
            for documents, name in zip(candidates, names, strict=True):
                refuse_long(self.encoder, documents, name)
        chunking = read_long_documents(options.long_documents)
        if chunking is None:
            rankings = self._rerank_all(queries, embeddings, candidates, options.top_k, options.store)
        else:
            settings = ChunkOptions(
                chunking, options.top_k, self.num_threads, options.store, self._relevance, self._as_checkpoint
            )
            rankings = [
                rank_chunks(
                    self.encoder, query, embeddings.select(np.array([number])), each, replace(settings, name=name)
                )
                for number, (query, each, name) in enumerate(zip(queries, candidates, names, strict=True))
            ]
        return [self.with_spans(ranking) for ranking in rankings] if options.spans else rankings

    def _rerank_all(
        self,
        queries: Sequence[str],
        embeddings: TokenEmbeddings,
        candidates: list[list[Document] | StoredDocuments],
        top_k: int | None,
        store: EmbeddingStore | None,
    ) -> list[Ranking]:
        """Rerank each list where its vectors are: in a store, or still to be made."""
        stored = find_stored(self.encoder, candidates, store)
        rankings = {
            number: self._rerank_stored(queries[number], embeddings, number, each, top_k)
            for number, each in stored.items()
        }
        numbers = [number for number in range(len(queries)) if number not in stored]
        texts = [list(candidates[number]) for number in numbers]
        in_memory = embeddings.select(np.array(numbers, np.int64)) if stored else embeddings
        ranked = self._rerank([queries[number] for number in numbers], in_memory, texts, top_k) if numbers else []
        rankings |= dict(zip(numbers, ranked, strict=True))
        return [rankings[number] for number in range(len(queries))]

    def _rerank_stored(
        self, query: str, embeddings: TokenEmbeddings, number: int, stored: StoredCandidates, top_k: int | None
    ) -> Ranking:
        vectors = embeddings[number]
        scores = score_stored(vectors, stored.vectors, top_k=top_k, num_threads=self.num_threads)
        relevance = self._relevance(scores, len(vectors))
        shown = self._as_checkpoint(scores, len(vectors))
        return Ranking(
            query=query,
            hits=sort_hits(stored.documents, shown, relevance, stored.vectors.truncated(), top_k),
            query_truncated=embeddings.truncated is not None and bool(embeddings.truncated[number]),
            usage=Usage(len(vectors), stored.num_tokens_read),
            model=self.encoder.checkpoint.name,
        )

    def _rerank(
        self, queries: Sequence[str], embeddings: TokenEmbeddings, candidates: list[list[Document]], top_k: int | None
    ) -> list[Ranking]:
        texts, places = distinct_texts(candidates)
        results = TextScores.empty(len(texts), places)
        first = 0
        for window in self._encode(texts):
            results.read(window, first, embeddings, self.num_threads)
            first += len(window)
        return [
            self._ranking(query, number, embeddings, results, candidates[number], top_k)
            for number, query in enumerate(queries)
        ]

    def _encode(self, texts: list[str]) -> Iterator[TokenEmbeddings]:
        """Encode texts window by window; a bar shows on a terminal when it takes longer than a second."""
        with tqdm(total=len(texts), unit="doc", disable=None, delay=PROGRESS_DELAY_S, leave=False) as bar:
            for window in self.encoder.stream_documents(texts):
                yield window
                bar.update(len(window))

    def _relevance(self, scores: Float32Vector, num_query_tokens: int) -> Float32Vector:
        """A number from 0 to 1 for each raw score, 0 for a document without tokens."""
        if self.calibration is not None:
            return self.calibration.relevance(scores, num_query_tokens)
        return mean_similarity(scores, num_query_tokens)

    def _as_checkpoint(self, scores: Float32Vector, num_query_tokens: int) -> Float32Vector:
        """The score as the checkpoint defines it: the sum over the query's tokens, or their mean."""
        mean = self.encoder.checkpoint.similarity == "meanmaxsim"
        return scores / np.float32(num_query_tokens) if mean else scores

    def _ranking(
        self,
        query: str,
        number: int,
        embeddings: TokenEmbeddings,
        results: TextScores,
        documents: list[Document],
        top_k: int | None,
    ) -> Ranking:
        num_query_tokens = len(embeddings[number])
        scores = results.scores[number]
        relevance, shown = self._relevance(scores, num_query_tokens), self._as_checkpoint(scores, num_query_tokens)
        places = results.places[number]
        hits = sort_hits(documents, shown, relevance, results.truncated[places], top_k)
        return Ranking(
            query=query,
            hits=hits,
            query_truncated=embeddings.truncated is not None and bool(embeddings.truncated[number]),
            usage=Usage(num_query_tokens, int(results.num_tokens[places].sum())),
            model=self.encoder.checkpoint.name,
        )
