"""Mean vectors of a segment: as they were stored, or made of its token vectors where an earlier version wrote it."""

import numpy as np

from rank_rerank.arrays import AnyArray, Int64Vector
from rank_rerank.encoding.quantization import NUMBERS_PER_BYTE, QuantizedVectors, StoredDtype, dequantize
from rank_rerank.encoding.token_embeddings import sum_rows, unit_length
from rank_rerank.storage.segment import Segment


def segment_means(segment: Segment, rows: Int64Vector, dtype: StoredDtype) -> AnyArray:
    """The mean vectors of some rows, float16: [num_rows, dim].

    Args:
        segment: of any version.
        rows: of its documents.
        dtype: of its vectors.
    """
    if "means" in segment.arrays:
        return segment.arrays["means"][rows]
    if len(rows) == 0:
        return np.zeros((0, segment.arrays["vectors"].shape[1] * NUMBERS_PER_BYTE.get(dtype, 1)), np.float16)
    return np.stack([_mean(segment, row, dtype) for row in rows.tolist()]).astype(np.float16)


def _mean(segment: Segment, row: int, dtype: StoredDtype) -> AnyArray:
    first, last = segment.embeddings.offsets[row : row + 2].tolist()
    scales = segment.arrays.get("scales")
    stored = QuantizedVectors(segment.arrays["vectors"][first:last], None if scales is None else scales[first:last])
    return unit_length(sum_rows(dequantize(stored, dtype))[np.newaxis])[0]
