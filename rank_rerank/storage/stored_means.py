"""Mean vectors of stored documents."""

import numpy as np

from rank_rerank.arrays import Float32Matrix
from rank_rerank.storage.read_ahead import read_ahead
from rank_rerank.storage.row_checksums import PARTS
from rank_rerank.storage.segment_means import segment_means
from rank_rerank.storage.stored_documents import StoredDocuments


def read_mean_vectors(documents: StoredDocuments) -> Float32Matrix:
    """The mean token vector of each document, of unit length, zeros without tokens: [num_documents, dim of the store].

    Raises:
        StoreFormatError: a document does not fit its checksum.
    """
    dim = documents.compression.stored_dim(documents.identity.dim)
    means = np.zeros((len(documents), dim), np.float32)
    read_ahead(((segment, rows) for segment, _, rows in documents.groups()), PARTS["vectors"])
    for segment, indices, rows in documents.groups():
        segment.check_rows("vectors", rows)
        means[indices] = segment_means(segment, rows, documents.compression.dtype)
    return means
