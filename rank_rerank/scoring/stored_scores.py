"""Score documents where they lie in a store: no vector is copied but to unpack it, and each mapped row is read once.

A store of sign bits with a finer form beside them is scored twice: all candidates by their bits, the best ones again.
"""

import numpy as np

from rank_rerank.arrays import Float32Matrix, Float32Vector
from rank_rerank.encoding.quantization import binary_factor
from rank_rerank.scoring.maxsim import maxsim
from rank_rerank.scoring.packed_documents import PackedDocuments
from rank_rerank.scoring.readable_rows import readable_rows
from rank_rerank.storage.stored_documents import StoredDocuments

# how many candidates are scored again for each hit asked for, and at least
RESCORED_PER_HIT = 8
MIN_RESCORED = 64


class StoredVectors(PackedDocuments):
    """Packed documents of a store: kernels refuse NaN, so a query need not first read the scales of a million."""

    def __post_init__(self) -> None:
        """Offsets and scales were checked when the segment was opened, candidates by StoredDocuments."""


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
    for segment, indices, rows in documents.groups():
        segment.check_rows("rescore" if fine else "vectors", rows)
        for part in readable_rows(segment, rows, documents.compression.dtype, fine=fine):
            packed = StoredVectors(part.embeddings, token_scales=part.scales, candidates=part.candidates)
            scores[indices[part.indices]] = maxsim(query, packed, num_threads=num_threads)
        segment.file.check_length()  # zeros follow the end of a file that was cut meanwhile, up to its last page
    if documents.compression.dtype == "binary" and not fine:
        scores *= binary_factor(query.shape[1])
    return scores
