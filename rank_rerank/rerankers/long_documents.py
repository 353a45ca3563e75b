"""Documents longer than the model reads: scored by the chunks they are cut into, with memory for a window of chunks.

A document that a store holds whole is scored as it lies there; one that it holds the beginning of is read again, from
the text that the store has kept.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace

import numpy as np

from rank_rerank.arrays import BoolVector, Float32Matrix, Float32Vector, Int64Vector
from rank_rerank.documents import Document
from rank_rerank.encoding.chunking import Chunking, each_chunk
from rank_rerank.encoding.mean_vectors import cosines
from rank_rerank.encoding.token_embeddings import TokenEmbeddings, unit_length
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.errors import DocumentTooLongError, InvalidArgumentError
from rank_rerank.rankings import RankedDocument, Ranking
from rank_rerank.rerankers.blending import Measured
from rank_rerank.rerankers.chunk_scores import WINDOW, Chunks, ScoredChunks, score_chunks
from rank_rerank.rerankers.hit_spans import BestSoFar, SpanFinder
from rank_rerank.rerankers.late_interaction import LateInteraction
from rank_rerank.rerankers.tasks import Steps, Task, finish
from rank_rerank.storage.model_identity import ModelIdentity
from rank_rerank.storage.reading import read_embeddings
from rank_rerank.storage.stored_documents import StoredDocuments

# chunks that are cut at one step
CUT_AT_ONCE = 4


def refuse_long(encoder: TokenEncoder, documents: Sequence[Document], name: str, first: int = 0) -> None:
    """Refuse a list with a document longer than the model reads.

    Args:
        encoder: reads the documents.
        documents: texts, or documents that lie in a store.
        name: what errors call the list.
        first: the index in it of the first of these documents.

    Raises:
        DocumentTooLongError: there is one; the message has the list's name and the index.
    """
    if isinstance(documents, StoredDocuments):
        is_long = documents.truncated().tolist()
    else:
        is_long = [encoder.tokenizer.read_document(document.text).truncated for document in documents]
    if any(is_long):
        raise DocumentTooLongError(
            f"{name}[{first + is_long.index(True)}] is longer than the {encoder.checkpoint.settings.document_length} "
            'tokens that the model reads. Shorten it, or pass long_documents="chunk"'
        )


def rank_chunks(model: LateInteraction, task: Task, chunking: Chunking) -> Ranking:
    """Rank documents of any length at once; arguments, ranking and errors as of ``rank_chunks_in_steps``."""
    return finish(rank_chunks_in_steps(model, task, chunking, lambda: WINDOW))


def rank_chunks_in_steps(model: LateInteraction, task: Task, chunking: Chunking, window: Callable[[], int]) -> Steps:
    """Rank documents of any length, a window of chunks at each step; errors as for ColbertReranker.rerank.

    Args:
        model: reads and scores the chunks.
        task: the query with its candidates.
        chunking: where texts are cut, and how a document's score comes from its chunks'.
        window: how many chunks to read at the next step.

    Returns:
        Hits with ``best_chunk``; one is truncated only if the model has not read a chunk of it whole.
    """
    chunks = yield from _cut(model.encoder, task, chunking)
    totals = _Totals(chunks, model.finder(task))
    for scored in score_chunks(model, chunks, window):
        totals.take(scored)
        yield len(scored.chunks) / len(chunks.spans)
    shown = model.scale.apply(totals.sums(), task, totals.truncated, totals.unknown_words, totals.measured())
    ranking = task.ranking(model.encoder.checkpoint.name, totals.num_tokens_read)
    ranking = ranking.filled(task.documents, shown, model.options.top_k)
    winners = _first_best(totals.scores, chunks.owners)
    hits = tuple(_with_chunk(hit, chunks.spans[winners[hit.index]]) for hit in ranking)
    return totals.finder.fill(replace(ranking, hits=hits), model.encoder)


class _Totals:
    """What is known of each document while its chunks pass.

    Args:
        chunks: of all documents.
        finder: finds the passages of the best chunk of each hit.
    """

    def __init__(self, chunks: Chunks, finder: SpanFinder) -> None:
        num_documents = len(chunks.task.documents)
        self._chunks, self.finder = chunks, finder
        #: [num_chunks]
        self.scores: Float32Vector = np.full(len(chunks.spans), -np.inf, np.float32)
        #: [num_documents, num_query_tokens]
        self._similarities: Float32Matrix = np.full((num_documents, len(chunks.task.vectors)), -np.inf, np.float32)
        #: [num_documents]
        self.truncated: BoolVector = np.zeros(num_documents, np.bool_)
        #: [num_documents] of the chunk that has most of them; None where a chunk came from a store
        self.unknown_words: Float32Vector | None = np.zeros(num_documents, np.float32)
        self.num_tokens_read = 0
        #: [num_documents]
        self._windows: Float32Vector = np.full(num_documents, -np.inf, np.float32)
        #: [num_documents, dim] sums of the chunks' mean vectors; None where nothing is blended
        self._means: Float32Matrix | None = None

    def take(self, scored: ScoredChunks) -> None:
        """Take in what is known of some chunks."""
        owners = self._chunks.owners[scored.chunks]
        self.scores[scored.chunks] = scored.scores
        if scored.similarities is not None:
            np.maximum.at(self._similarities, owners, scored.similarities)
        np.logical_or.at(self.truncated, owners, scored.truncated)
        self.num_tokens_read += scored.num_tokens_read
        if scored.best_windows is not None and scored.means is not None:
            self._measure(owners, scored.best_windows, scored.means)
        shares = None if scored.vectors is None else scored.vectors.unknown_words
        if shares is None:
            self.unknown_words = None
        elif self.unknown_words is not None:
            np.maximum.at(self.unknown_words, owners, shares)
        if scored.vectors is not None and self.finder.limit:
            self._find_spans(scored.chunks, scored.vectors)

    def sums(self) -> Float32Vector:
        """[num_documents] the score of each, as a sum of similarities."""
        if self._chunks.chunking.score == "all_tokens":
            with np.errstate(invalid="ignore"):
                return self._similarities.astype(np.float64).sum(axis=1).astype(np.float32)
        return self.scores[_first_best(self.scores, self._chunks.owners)]

    def measured(self) -> Measured | None:
        """What a blend needs of each document; None where nothing is blended."""
        if self._means is None:
            return None
        return Measured(self._windows, cosines(self._chunks.task.vectors, unit_length(self._means)))

    def _measure(self, owners: Int64Vector, windows: Float32Vector, means: Float32Matrix) -> None:
        if self._means is None:
            self._means = np.zeros((len(self._windows), means.shape[1]), np.float32)
        np.maximum.at(self._windows, owners, windows)
        # each chunk counts as one: what a document says in any of them
        np.add.at(self._means, owners, means)

    def _find_spans(self, chunks: Int64Vector, vectors: TokenEmbeddings) -> None:
        """Find passages in the chunks that are the best so far of the documents that are the best so far."""
        sums = self.sums()
        among = np.zeros(len(sums), np.bool_)
        among[BestSoFar(self.finder.limit).among(sums)] = True
        winners = _first_best(self.scores, self._chunks.owners)
        rows = [
            row
            for row, chunk in enumerate(chunks.tolist())
            if among[owner := int(self._chunks.owners[chunk])] and winners[owner] == chunk
        ]
        self.finder.offer(vectors, np.array(rows, np.int64), [self._chunks.key(int(chunks[row])) for row in rows])


def _cut(encoder: TokenEncoder, task: Task, chunking: Chunking) -> Generator[float, None, Chunks]:
    """Cut each document into its chunks, some at each step."""
    longest = encoder.checkpoint.settings.document_length
    length = longest if chunking.length is None else chunking.length
    if length > longest:
        raise InvalidArgumentError(f"the model reads {longest} tokens of a text; a chunk cannot have {length}")
    spans: list[list[tuple[int, int] | None]] = []
    for index, is_whole in enumerate(_stored_whole(encoder, task.documents, chunking).tolist()):
        if is_whole:
            spans.append([None])
            continue
        text = task.documents[index].text
        if not text and isinstance(task.documents, StoredDocuments) and _has_vectors(task.documents, index):
            raise InvalidArgumentError(
                f"{task.name}[{index}] can be read in chunks from its text only, and the store has not kept it. "
                'Keep texts in the store, pass the texts, or pass long_documents="truncate"'
            )
        spans.append([])
        for span in each_chunk(encoder.tokenizer, text, length, chunking.overlap):
            spans[-1].append(span)
            if len(spans[-1]) % CUT_AT_ONCE == 0:
                yield 0.0
    owners = np.repeat(np.arange(len(spans)), [len(each) for each in spans])
    return Chunks(task, chunking, owners, [span for each in spans for span in each])


def _stored_whole(encoder: TokenEncoder, documents: Sequence[Document], chunking: Chunking) -> BoolVector:
    """[num_documents]: documents whose stored vectors are those of their only chunk."""
    if not isinstance(documents, StoredDocuments):
        return np.zeros(len(documents), np.bool_)
    documents.identity.check(ModelIdentity.of(encoder.checkpoint))
    # a store does not say how many tokens a pooled document had, so shorter chunks are always made from the text
    return np.full(len(documents), chunking.length is None) & ~documents.truncated()


def _has_vectors(documents: StoredDocuments, index: int) -> bool:
    return read_embeddings(documents.select(np.array([index]))).num_tokens > 0


def _with_chunk(hit: RankedDocument, chunk: tuple[int, int] | None) -> RankedDocument:
    return replace(hit, best_chunk=(0, len(hit.text)) if chunk is None else chunk)


def _first_best(scores: Float32Vector, owners: Int64Vector) -> list[int]:
    """For each document the number of its best chunk, of equals the first."""
    order = np.lexsort((np.arange(len(scores)), -scores, owners))
    _, starts = np.unique(owners[order], return_index=True)
    return order[starts].tolist()
