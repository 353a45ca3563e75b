"""Mean vectors of stored documents."""

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Matrix
from rank_rerank.encoding.quantization import StoredDtype
from rank_rerank.storage.fresh_rows import Group, read_fresh_rows
from rank_rerank.storage.mapped_memory import limit_mapped_memory
from rank_rerank.storage.read_ahead import read_ahead
from rank_rerank.storage.row_copies import RowsOfFile, copy_rows
from rank_rerank.storage.segment_means import segment_means
from rank_rerank.storage.stored_documents import StoredDocuments


def read_mean_vectors(documents: StoredDocuments) -> Float32Matrix:
    """The mean token vector of each document, of unit length, zeros without tokens: [num_documents, dim of the store].

    Raises:
        StoreFormatError: a document does not fit its checksum.
    """
    dim = documents.compression.stored_dim(documents.identity.dim)
    means = np.zeros((len(documents), dim), np.float32)
    groups = documents.groups()
    read_fresh_rows(groups, "vectors")
    read_ahead([(group.segment, group.rows) for group in groups if group.segment.file.descriptor is None], ["means"])
    for group in groups:
        group.segment.check_rows("vectors", group.rows)
        means[group.indices] = _means(group, documents.compression.dtype)
        group.segment.file.check_length()  # zeros follow the end of a file that was cut meanwhile, up to its last page
    limit_mapped_memory()
    return means


def _means(group: Group, dtype: StoredDtype) -> AnyArray:
    segment, rows = group.segment, group.rows
    if segment.file.descriptor is None or "means" not in segment.arrays:
        return segment_means(segment, rows, dtype)
    segment.file.check_descriptor()
    return copy_rows([RowsOfFile(segment.file, segment.arrays["means"], rows, rows + 1)]).rows
