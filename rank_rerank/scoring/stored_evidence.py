"""What a blend needs of stored documents: best windows from their vectors, cosines from their mean vectors."""

import numpy as np

from rank_rerank.arrays import Float32Matrix, Float32Vector
from rank_rerank.encoding.mean_vectors import cosines
from rank_rerank.encoding.quantization import binary_factor
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.scoring.best_windows import block_starts, window_scores
from rank_rerank.scoring.maxsim import maxsim_matches
from rank_rerank.scoring.readable_rows import ReadableRows, readable_rows
from rank_rerank.scoring.stored_source import StoredVectors
from rank_rerank.storage.stored_documents import StoredDocuments
from rank_rerank.storage.stored_means import read_mean_vectors


def measure_stored(
    query_vectors: Float32Matrix,
    documents: StoredDocuments,
    sums: Float32Vector,
    *,
    with_windows: bool,
    num_threads: int | None = None,
) -> tuple[Float32Vector, Float32Vector]:
    """Best windows and cosines of stored documents for one query.

    Args:
        query_vectors: [num_query_tokens, dim] of the store's model.
        documents: candidates.
        sums: [num_documents] their MaxSim. What has minus infinity is not looked at. Of a store that pools vectors,
            which leaves them in no order, a document is its own best window.
        with_windows: best windows are wanted; it takes one more MaxSim.
        num_threads: as for maxsim.

    Returns:
        [num_documents] each: the mean best cosine over the best window, minus infinity for what was not looked at; the
        cosine of the mean vectors.

    Raises:
        StoreFormatError: a document does not fit its checksum.
    """
    query = documents.compression.project(query_vectors)
    found = cosines(query, read_mean_vectors(documents))
    if documents.compression.pooling is not None and with_windows:
        return sums / np.float32(len(query)), found
    windows = np.full(len(documents), -np.inf, np.float32)
    if not with_windows:
        return windows, found
    scored = np.flatnonzero(np.isfinite(sums))
    fine = documents.compression.rescore_dtype is not None
    for group in documents.select(scored).groups():
        wanted, back = np.unique(group.rows, return_inverse=True)
        found_here = np.empty(len(wanted), np.float32)
        for part in readable_rows(group.segment, wanted, documents.compression.dtype, fine=fine):
            found_here[part.indices] = _best_windows(query, part, num_threads)
        windows[scored[group.indices]] = found_here[back]
    if documents.compression.dtype == "binary" and not fine:
        windows *= binary_factor(query.shape[1])
    return windows, found


def _best_windows(query: Float32Matrix, part: ReadableRows, num_threads: int | None) -> Float32Vector:
    embeddings, candidates = part.embeddings, part.candidates
    firsts, lasts = embeddings.offsets[candidates], embeddings.offsets[candidates + 1]
    starts, owners = block_starts(firsts, lasts - firsts)
    # a text for each block, and one for what lies between two documents and is not scored
    edges = np.unique(np.concatenate([[0], starts, lasts, [embeddings.num_tokens]]))
    blocks = StoredVectors(
        TokenEmbeddings(embeddings.vectors, edges),
        token_scales=part.scales,
        candidates=np.searchsorted(edges, starts),
    )
    found = maxsim_matches(query, blocks, num_threads=num_threads).similarities
    return window_scores(np.asarray(found), owners, len(candidates)).astype(np.float32)
