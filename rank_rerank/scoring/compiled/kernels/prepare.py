"""The arguments of a MaxSim call checked and laid out in compiled code, in numba's Python: see `prepared_call`.

It reads arrays that Python code can change, so it runs with the interpreter's lock, and what it has checked is what it
writes down: no number is read twice. Whatever is unusual is refused without a reason, for Python code to look at.
"""

from typing import Any

from numba import njit, types

from rank_rerank.kernels.atomics import make_load, make_store
from rank_rerank.kernels.compilation import KernelSource
from rank_rerank.kernels.intrinsics import WORD_BYTES, make_address, make_read_integer
from rank_rerank.kernels.job_boxes import BEGUN, DONE
from rank_rerank.scoring.compiled.call_words import (
    ARRAY_AXES,
    ARRAY_DATA,
    ARRAY_DTYPE,
    ARRAY_SHAPE,
    ARRAY_STRIDES,
    ARRAY_TYPE,
    CAPACITY,
    CUBE,
    DIM,
    FLOAT32,
    INFINITY,
    INT64,
    ITEM_BYTES,
    NUM_COLUMNS,
    NUM_QUERY_TOKENS,
    NUM_ROWS,
    OBJECT_TYPE,
    PACKED,
    PANEL_COLUMNS,
    REFUSED,
    REGISTER_COLUMNS,
    ROW_NUM_DOCUMENTS,
    ROW_SCORES,
    STORED,
)
from rank_rerank.scoring.compiled.parts import (
    LEFT,
    NEXT,
    NUM_DOCUMENTS,
    NUM_LOOP_ARGUMENTS,
    ODD,
    ROWS,
    SCORES,
)

STEPS_AT_ONCE = 64


def make_prepare() -> KernelSource:  # noqa: C901, PLR0915 - one kernel
    """Write ``prepare(form, job, panels, addresses, lengths, query, kind, documents, offsets, candidates, …)``."""
    read_word, store, address_of = make_load(), make_store(), make_address()
    read_int32 = make_read_integer(32)

    @njit(inline="always")
    def is_array(array: Any, kind: Any, dtype: Any, axes: Any) -> Any:
        # the upper half of the word is padding
        return (
            read_word(array + OBJECT_TYPE) == kind
            and read_word(array + ARRAY_DTYPE) == dtype
            and read_word(array + ARRAY_AXES) & 0xFFFFFFFF == axes
        )

    @njit(inline="always")
    def length_of(array: Any, axis: Any) -> Any:
        return read_word(read_word(array + ARRAY_SHAPE) + WORD_BYTES * axis)

    @njit(inline="always")
    def stride_of(array: Any, axis: Any) -> Any:
        return read_word(read_word(array + ARRAY_STRIDES) + WORD_BYTES * axis)

    @njit(inline="always")
    def is_vector(array: Any, form: Any) -> Any:
        return is_array(array, form[ARRAY_TYPE], form[INT64], 1) and stride_of(array, 0) == WORD_BYTES

    @njit(inline="always")
    def is_matrix(array: Any, form: Any, dtype: Any, item_bytes: Any) -> Any:
        return (
            is_array(array, form[ARRAY_TYPE], dtype, 2)
            and length_of(array, 1) == form[DIM]
            # of an array without numbers strides mean nothing
            and (
                length_of(array, 0) == 0
                or (stride_of(array, 1) == item_bytes and stride_of(array, 0) == item_bytes * form[DIM])
            )
        )

    def prepare(  # noqa: ANN202, C901, PLR0911, PLR0912, PLR0913, PLR0915, PLR0917
        form: Any, job: Any, panels: Any, addresses: Any, lengths: Any, query: Any, kind: Any, documents: Any,
        offsets: Any, candidates: Any, num_documents: Any, scores: Any,
    ):  # fmt: skip
        form[REFUSED] = 1
        dim, num_query_tokens, item_bytes = form[DIM], form[NUM_QUERY_TOKENS], form[ITEM_BYTES]
        row_bytes = item_bytes * dim
        if num_documents > form[CAPACITY] or not is_matrix(query, form, form[FLOAT32], 4):
            return
        if length_of(query, 0) != num_query_tokens:
            return
        num_tokens = 0
        if kind == PACKED:
            if not is_matrix(documents, form, form[STORED], item_bytes) or not is_vector(offsets, form):
                return
            vectors, num_rows = read_word(documents + ARRAY_DATA), length_of(documents, 0)
            bounds, num_texts = read_word(offsets + ARRAY_DATA), length_of(offsets, 0) - 1
            if candidates == 0:
                if num_texts != num_documents:
                    return
                end = read_word(bounds)
                if end < 0:
                    return
                for n in range(num_documents):
                    begin = end
                    end = read_word(bounds + WORD_BYTES * (n + 1))
                    if end < begin or end > num_rows:
                        return
                    addresses[n] = vectors + row_bytes * begin
                    lengths[n] = end - begin
                    num_tokens += end - begin
            else:
                if not is_vector(candidates, form) or length_of(candidates, 0) != num_documents:
                    return
                texts = read_word(candidates + ARRAY_DATA)
                for n in range(num_documents):
                    text = read_word(texts + WORD_BYTES * n)
                    if text < 0 or text >= num_texts:
                        return
                    begin = read_word(bounds + WORD_BYTES * text)
                    end = read_word(bounds + WORD_BYTES * (text + 1))
                    if begin < 0 or end < begin or end > num_rows:
                        return
                    addresses[n] = vectors + row_bytes * begin
                    lengths[n] = end - begin
                    num_tokens += end - begin
        elif kind == CUBE:
            if not is_array(documents, form[ARRAY_TYPE], form[STORED], 3) or length_of(documents, 0) != num_documents:
                return
            each = length_of(documents, 1)
            if length_of(documents, 2) != dim:
                return
            is_dense = stride_of(documents, 2) == item_bytes and stride_of(documents, 1) == row_bytes
            if each != 0 and not (is_dense and stride_of(documents, 0) == row_bytes * each):
                return
            vectors = read_word(documents + ARRAY_DATA)
            for n in range(num_documents):
                addresses[n] = vectors + row_bytes * each * n
                lengths[n] = each
            num_tokens = each * num_documents
        else:
            for n in range(num_documents):
                matrix = read_word(documents + WORD_BYTES * n)
                if not is_matrix(matrix, form, form[STORED], item_bytes):
                    return
                addresses[n] = read_word(matrix + ARRAY_DATA)
                lengths[n] = length_of(matrix, 0)
                num_tokens += lengths[n]

        source, largest = read_word(query + ARRAY_DATA), 0
        wide_end = form[NUM_COLUMNS] - form[NUM_COLUMNS] % form[PANEL_COLUMNS]
        # some steps of all tokens at a time, so that the lines of the cache that they are written to stay near
        for first_step in range(0, dim, STEPS_AT_ONCE):
            end_step = min(first_step + STEPS_AT_ONCE, dim)
            for i in range(num_query_tokens):
                begin, width = 0, form[PANEL_COLUMNS]
                if i >= wide_end:
                    begin, width = wide_end, form[REGISTER_COLUMNS]
                column = i - begin
                target = begin * dim + column // width * width * dim + column % width + first_step * width
                row = source + 4 * dim * i
                for k in range(first_step, end_step):
                    number = read_int32(row + 4 * k)
                    largest = max(largest, number & 0x7FFFFFFF)
                    panels[target] = number
                    target += width
        if largest >= INFINITY:
            return

        data = read_word(scores + ARRAY_DATA)
        row = address_of(job) + WORD_BYTES * ROWS
        for _ in range(form[NUM_ROWS]):
            store(row + ROW_SCORES, data)
            store(row + ROW_NUM_DOCUMENTS, num_documents)
            row += WORD_BYTES * NUM_LOOP_ARGUMENTS
        job[NEXT], job[LEFT], job[NUM_DOCUMENTS], job[SCORES] = 0, num_tokens, num_documents, data
        job[DONE], job[BEGUN], job[ODD] = 0, 0, 0
        form[REFUSED] = 0

    words = types.CPointer(types.int64)
    return KernelSource(prepare, (words, words, types.CPointer(types.int32), words, words, *[types.int64] * 7))
