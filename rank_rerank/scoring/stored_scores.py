"""Score documents where they lie in a store: no vector is copied but to unpack it, and each mapped row is read once.

A store of sign bits with a finer form beside them is scored twice: all candidates by their bits, the best ones again.
"""

import numpy as np

from rank_rerank.arrays import Float32Matrix, Float32Vector
from rank_rerank.devices import check_num_threads
from rank_rerank.encoding.quantization import binary_factor
from rank_rerank.scoring.cpu_scorer import CpuScorer, Queries
from rank_rerank.scoring.stored_source import StoredSource
from rank_rerank.storage.mapped_memory import limit_mapped_memory
from rank_rerank.storage.stored_documents import StoredDocuments

# how many candidates are scored again for each hit asked for, and at least
RESCORED_PER_HIT = 8
MIN_RESCORED = 64


def score_stored(
    query_vectors: Float32Matrix,
    documents: StoredDocuments,
    *,
    top_k: int | None = None,
    num_threads: int | None = None,
) -> Float32Vector:
    """Score stored documents for one query.

    Args:
        query_vectors: [num_query_tokens, dim] of the store's model.
        documents: candidates.
        top_k: how many hits will be kept. Only a store of sign bits with a finer form makes use of it.
        num_threads: as for maxsim.

    Returns:
        [num_documents] float32: what maxsim gives for the stored vectors. Where signs chose the candidates to score
        again, minus infinity for those that were not chosen; at least top_k are, or all.

    Raises:
        ShapeError: the query has another dim than the store's model.
        NonFiniteError: the query, or a damaged document, holds NaN or infinity.
        StoreFormatError: a document does not fit its checksum, or a file was cut.
    """
    query = documents.compression.project(query_vectors)
    if documents.compression.rescore_dtype is None:
        return _score(query, documents, fine=False, num_threads=num_threads)
    chosen = np.arange(len(documents))
    num_rescored = len(documents) if top_k is None else max(RESCORED_PER_HIT * top_k, MIN_RESCORED)
    if num_rescored < len(documents):
        coarse = _score(query, documents, fine=False, num_threads=num_threads)
        chosen = np.sort(np.argsort(-coarse, kind="stable")[:num_rescored])
    scores = np.full(len(documents), -np.inf, np.float32)
    scores[chosen] = _score(query, documents.select(chosen), fine=True, num_threads=num_threads)
    return scores


def _score(query: Float32Matrix, documents: StoredDocuments, *, fine: bool, num_threads: int | None) -> Float32Vector:
    scores = np.empty(len(documents), np.float32)
    source = StoredSource(documents, fine)
    threads = None if num_threads is None else check_num_threads(num_threads)
    scorer = CpuScorer(Queries.read([query], [None]), source, threads, trusted=False, kernel=None)
    for first, last in source.blocks():
        scores[first:last] = scorer.score(first, last).scores[0]
        source.check_files(first, last)
        limit_mapped_memory()
    if documents.compression.dtype == "binary" and not fine:
        scores *= binary_factor(query.shape[1])
    return scores
