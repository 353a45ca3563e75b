"""Documents as a store would hold them, in memory only: to try a compression before choosing it."""

import numpy as np

from rank_rerank.arguments import check_kind
from rank_rerank.encoding.compression import Compression
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.errors import InvalidItemError
from rank_rerank.storage.manifest import Manifest
from rank_rerank.storage.model_identity import ModelIdentity
from rank_rerank.storage.segment import build_segment
from rank_rerank.storage.snapshot import Places, Snapshot
from rank_rerank.storage.stored_documents import StoredDocuments


def hold_in_memory(embeddings: TokenEmbeddings, compression: Compression, identity: ModelIdentity) -> StoredDocuments:
    """Compress documents as a store does.

    Args:
        embeddings: of all documents, as the model gives them; their ids are their indices, "0", "1" and so on.
        compression: to try.
        identity: of the model.

    Raises:
        InvalidItemError: embeddings are no TokenEmbeddings, or their vectors no array in main memory.
        InvalidArgumentError: compression or identity are of another type.
        NonFiniteError: a vector holds NaN or infinity.
        ShapeError: the dim does not fit.
    """
    if not isinstance(embeddings, TokenEmbeddings):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidItemError(f"embeddings must be TokenEmbeddings, not {type(embeddings).__name__}")
    check_kind(compression, "compression", Compression)
    check_kind(identity, "identity", ModelIdentity)
    count = len(embeddings)
    ids = [str(index) for index in range(count)]
    compressed = compression.compress(embeddings)
    segment = build_segment(ids, compressed, [None] * count, [b""] * count, embeddings.truncated, keep_texts=False)
    manifest = Manifest(
        generation=0,
        next_file=0,
        identity=identity,
        dtype=compression.dtype,
        rescore_dtype=compression.rescore_dtype,
        pooling=compression.pooling,
        projected_dim=None if compression.projection is None else compression.projection.projected_dim,
        projection=None,
        keep_texts=False,
    )
    places = Places(np.zeros(count, np.int64), np.arange(count))
    return StoredDocuments(Snapshot(manifest, (segment,), compression), places)
