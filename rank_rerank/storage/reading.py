"""Read stored vectors back as TokenEmbeddings."""

import numpy as np

from rank_rerank.arrays import Float32Matrix
from rank_rerank.encoding.quantization import QuantizedVectors, StoredDtype, dequantize
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.storage.mapped_memory import limit_mapped_memory
from rank_rerank.storage.read_ahead import read_ahead
from rank_rerank.storage.row_checksums import PARTS, Part
from rank_rerank.storage.segment import Segment
from rank_rerank.storage.stored_documents import StoredDocuments


def read_embeddings(documents: StoredDocuments) -> TokenEmbeddings:
    """Read stored vectors, float32, in the order of the documents; the finer form where there are two."""
    compression = documents.compression
    dtype, prefix = compression.dtype, ""
    if compression.rescore_dtype is not None:
        dtype, prefix = compression.rescore_dtype, "rescore_"
    dim = compression.stored_dim(documents.identity.dim)
    matrices: list[Float32Matrix] = [np.empty((0, dim), np.float32)] * len(documents)
    part: Part = "vectors" if prefix == "" else "rescore"
    groups = documents.groups()
    read_ahead([(group.segment, group.rows) for group in groups], PARTS[part])
    for group in groups:
        group.segment.check_rows(part, group.rows)
        for index, row in zip(group.indices.tolist(), group.rows.tolist(), strict=True):
            matrices[index] = _read_row(group.segment, row, dtype, prefix)
        group.segment.file.check_length()  # zeros follow the end of a file that was cut meanwhile, up to its last page
    limit_mapped_memory()
    if not matrices:
        return TokenEmbeddings(np.empty((0, dim), np.float32), np.zeros(1, np.int64), documents.truncated())
    packed = TokenEmbeddings.from_list(matrices)
    return TokenEmbeddings(packed.vectors, packed.offsets, documents.truncated())


def _read_row(segment: Segment, row: int, dtype: StoredDtype, prefix: str) -> Float32Matrix:
    first, last = (int(segment.embeddings.offsets[index]) for index in (row, row + 1))
    scales = segment.arrays.get(f"{prefix}scales")
    stored = QuantizedVectors(
        segment.arrays[f"{prefix}vectors"][first:last], None if scales is None else scales[first:last]
    )
    return dequantize(stored, dtype)
