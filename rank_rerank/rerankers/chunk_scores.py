"""Chunks of long documents, scored window by window.

Their vectors are made, or come from a store that is used as a cache.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from rank_rerank.arrays import BoolVector, Float32Matrix, Float32Vector, Int64Vector
from rank_rerank.encoding.chunking import Chunking
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.rerankers.late_interaction import LateInteraction
from rank_rerank.rerankers.progress import progress_bar
from rank_rerank.rerankers.tasks import Task
from rank_rerank.scoring.best_windows import best_windows
from rank_rerank.scoring.maxsim import maxsim_matches
from rank_rerank.scoring.stored_evidence import measure_stored
from rank_rerank.scoring.stored_scores import score_stored
from rank_rerank.storage.reading import read_embeddings
from rank_rerank.storage.stored_documents import StoredDocuments
from rank_rerank.storage.stored_means import read_mean_vectors

# chunks whose texts and vectors are held at once
WINDOW = 128


@dataclass(frozen=True, eq=False)
class Chunks:
    """The chunks of all documents, one document after the other.

    Attributes:
        task: the query with its candidates.
        chunking: where texts are cut, and how a document's score comes from its chunks'.
        owners: [num_chunks] which document each is of.
        spans: the code points of each; None for a document that is scored as it is stored.
    """

    task: Task
    chunking: Chunking
    owners: Int64Vector
    spans: list[tuple[int, int] | None]

    def key(self, chunk: int) -> tuple[int, int, int]:
        """The document and the code points that were read of it."""
        owner, span = int(self.owners[chunk]), self.spans[chunk]
        return (owner, 0, len(self.task.documents[owner].text)) if span is None else (owner, *span)

    def text(self, chunk: int) -> str:
        """What is read of the document."""
        text, span = self.task.documents[int(self.owners[chunk])].text, self.spans[chunk]
        return text if span is None else text[span[0] : span[1]]


@dataclass(frozen=True)
class ScoredChunks:
    """What is known of some chunks.

    Attributes:
        chunks: [num_chunks] their numbers.
        scores: [num_chunks].
        similarities: [num_chunks, num_query_tokens], where they are needed.
        truncated: [num_chunks].
        num_tokens_read: of all of them.
        vectors: of each, where they were made now.
        best_windows: [num_chunks], where a blend needs them.
        means: [num_chunks, dim] mean vectors of unit length, likewise.
    """

    chunks: Int64Vector
    scores: Float32Vector
    similarities: Float32Matrix | None
    truncated: BoolVector
    num_tokens_read: int
    vectors: TokenEmbeddings | None = None
    best_windows: Float32Vector | None = None
    means: Float32Matrix | None = None


def score_chunks(model: LateInteraction, chunks: Chunks, window: Callable[[], int]) -> Iterator[ScoredChunks]:
    """What is known of the chunks, window by window."""
    task = chunks.task
    is_stored = np.array([span is None for span in chunks.spans], np.bool_)
    stored, made = np.flatnonzero(is_stored), np.flatnonzero(~is_stored)
    if isinstance(task.documents, StoredDocuments) and len(stored):
        yield _score_stored(model, chunks, stored, task.documents.select(chunks.owners[stored]))
    with progress_bar(len(made), "chunk", model.options.show_progress) as bar:
        first = 0
        while first < len(made):
            numbers = made[first : first + window()]
            yield _score_made(model, chunks, numbers)
            bar.update(len(numbers))
            first += len(numbers)


def _score_made(model: LateInteraction, chunks: Chunks, numbers: Int64Vector) -> ScoredChunks:
    """What is known of a window of chunks, whose vectors are made now or were kept by the store."""
    task, store = chunks.task, model.options.store
    texts = [chunks.text(chunk) for chunk in numbers.tolist()]
    if store is None:
        window = model.encoder.encode_documents(texts)
        found = maxsim_matches(task.vectors, window, num_threads=model.num_threads, trusted=True)
        windows, means = None, None
        if task.wants_measured(model.options.blend):
            windows = np.full(len(window), -np.inf, np.float32)
            if task.wants_windows(model.options.blend):
                windows = best_windows(task.vectors, window, model.num_threads).astype(np.float32)
            means = window.mean_vectors()
        cut = np.zeros(len(window), np.bool_) if window.truncated is None else window.truncated
        return ScoredChunks(numbers, found.scores, found.similarities, cut, window.num_tokens, window, windows, means)
    cached = store.encode_texts(texts, model.encoder)
    scored = _score_stored(model, chunks, numbers, cached.documents)
    return replace(scored, num_tokens_read=int(cached.num_tokens_read.sum()))


def _score_stored(
    model: LateInteraction, chunks: Chunks, numbers: Int64Vector, documents: StoredDocuments
) -> ScoredChunks:
    """Score chunks where they lie; similarities of query tokens are needed for "all_tokens" only, from a copy."""
    query = chunks.task.vectors
    scores = score_stored(query, documents, num_threads=model.num_threads)
    similarities: list[Float32Matrix] = []
    if chunks.chunking.score == "all_tokens":
        projected = documents.compression.project(query)
        for first in range(0, len(documents), WINDOW):
            window = read_embeddings(documents[first : first + WINDOW])
            similarities.append(maxsim_matches(projected, window, num_threads=model.num_threads).similarities)
    joined = np.concatenate(similarities) if similarities else None
    scored = ScoredChunks(numbers, scores, joined, documents.truncated(), 0)
    if not chunks.task.wants_measured(model.options.blend):
        return scored
    windows, _ = measure_stored(
        query,
        documents,
        scores,
        with_windows=chunks.task.wants_windows(model.options.blend),
        num_threads=model.num_threads,
    )
    return replace(scored, best_windows=windows, means=read_mean_vectors(documents))
