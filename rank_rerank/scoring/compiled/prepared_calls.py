"""The usual MaxSim call: one query, documents in NumPy's arrays of float32 or float16, with nothing left to be said.

What all calls of one shape share is made once: memory for the packed query and for where documents lie, what each
thread calls the loop with, what a token costs. A compiled kernel then checks the arrays of a call and writes down where
they are; Python code does little more than to call it. So a call takes some 5 µs beside the loop over documents.

All checks are those of `maxsim_inputs` and `offsets.rows_of_texts`, made at every call, for arrays are anybody's to
change. What does not pass, or has a score that is not finite, is left to the general way, which names what is wrong.
Scores are the same bits: it is the same loop.
"""

from array import array
from collections import OrderedDict
from functools import partial
from threading import get_ident
from typing import Any, Literal, TypeAlias

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Vector
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.kernels.loading import call_with_lock
from rank_rerank.kernels.processor import VectorPath, vector_path
from rank_rerank.kernels.thread_pool import share_job
from rank_rerank.scoring.compiled.array_objects import are_readable, items_of
from rank_rerank.scoring.compiled.call_words import (
    CUBE,
    NUM_FORM_WORDS,
    NUM_PREPARE_ARGUMENTS,
    PACKED,
    REFUSED,
    SEPARATE,
)
from rank_rerank.scoring.compiled.costs import WAKING_US, count_threads, token_us
from rank_rerank.scoring.compiled.loading import load_parts, load_prepare, load_scorer
from rank_rerank.scoring.compiled.maxsim_numba import LEAST_PART_US, list_arguments
from rank_rerank.scoring.compiled.parts import CACHE_LINE_BYTES, IS_SUSPECT, LEFT, NUM_THREADS, ODD, make_job
from rank_rerank.scoring.compiled.query_panels import pack_query
from rank_rerank.scoring.document_view import DocumentView, address_of
from rank_rerank.scoring.packed_documents import PackedDocuments

# the kind, the dtype that all arrays should have, how many documents there should be, the addresses of the objects that
# the kernel reads, and what keeps these
Given: TypeAlias = tuple[int, Any, int, tuple[int, int, int], Any]

_FLOAT32, _INT64 = np.dtype(np.float32), np.dtype(np.int64)
_STORAGES: dict[Any, Literal["float32", "float16"]] = {_FLOAT32: "float32", np.dtype(np.float16): "float16"}
MATRIX_AXES = 2
LEAST_CAPACITY = 128
MAX_KEPT = 16
MAX_KEPT_DOCUMENTS, MAX_KEPT_NUMBERS = 10_000, 100_000  # of calls whose memory is kept for the next one


class PreparedCall:
    """Memory for calls of one shape; only one thread uses it at a time."""

    def __init__(self, shape: tuple[int, int], dtype: Any, capacity: int, num_rows: int, path: VectorPath) -> None:
        num_query_tokens, dim = shape
        storage = _STORAGES[dtype]
        panels = pack_query(np.zeros(shape, np.float32), np.array((0, num_query_tokens)), "float32", path)
        places, lengths = np.empty(capacity, np.int64), np.empty(capacity, np.int64)
        view = DocumentView(storage, dim, dim * dtype.itemsize, places, lengths)
        weights, is_suspect = np.ones(num_query_tokens, np.float32), np.empty(capacity, np.bool_)
        arguments = list_arguments(panels, view, (weights, places, lengths), (0, address_of(is_suspect), 0, 0), path)
        scratch_bytes = arguments.scratch_bytes
        scratch = np.zeros(num_rows * scratch_bytes + CACHE_LINE_BYTES, np.uint8)
        start = address_of(scratch)
        rows = [arguments.row(start + number * scratch_bytes) for number in range(num_rows)]
        deal, prepare = load_parts(path), load_prepare(path)
        loop = load_scorer(storage, path, with_matches=False)
        self.capacity, self.num_rows = capacity, num_rows
        self._token_us = token_us(panels, view.row_stride, path)
        least = max(1, int(LEAST_PART_US / self._token_us))
        self._job = make_job(deal.address, loop.address, rows, address_of(lengths), (0, 0, least))
        self._job[IS_SUSPECT] = address_of(is_suspect)
        self._form = array("q", [0] * NUM_FORM_WORDS)
        self._form[:] = array("q", [
            1, num_query_tokens, dim, dtype.itemsize, panels.num_columns, path.panel_vectors * path.lanes, path.lanes,
            num_rows, capacity, id(np.ndarray), id(_FLOAT32), id(_INT64), id(dtype),
        ])  # fmt: skip
        form, job = self._form.buffer_info()[0], self._job.buffer_info()[0]
        memory = (form, job, address_of(panels.lanes), address_of(places), address_of(lengths))
        self._prepare = partial(call_with_lock(prepare, NUM_PREPARE_ARGUMENTS), *memory)
        self._run = partial(deal.call, job, 0)
        self._owners = panels, view, weights, is_suspect, scratch, dtype, deal, prepare, loop

    def prepare(self, query: AnyArray, given: Given, scores: AnyArray) -> bool:
        """Check everything, and note where it lies; whether it is as it should be."""
        kind, _, count, addresses, _ = given
        self._prepare(id(query), kind, *addresses, count, id(scores))
        return not self._form[REFUSED]

    def count_threads(self, count: int, num_threads: int | None) -> int:
        """How many threads so many prepared documents are worth."""
        return 1 if num_threads == 1 else count_threads(self._job[LEFT] * self._token_us, count, num_threads)

    def score(self, threads: int) -> bool:
        """Score what is prepared; whether all scores mean something."""
        if threads == 1:
            self._work_alone()
        else:
            is_large = self._job[LEFT] * self._token_us >= WAKING_US
            share_job(self._share, self._work_alone, threads, is_large=is_large)
        return not self._job[ODD]

    def _work_alone(self) -> None:
        self._job[NUM_THREADS] = 1
        self._run()

    def _share(self, threads: int) -> "array[int]":
        self._job[NUM_THREADS] = threads
        return self._job


_kept: OrderedDict[Any, PreparedCall] = OrderedDict()


def score_prepared(
    query: Any, documents: Any, num_threads: int | None, path: VectorPath | None = None
) -> Float32Vector | None:
    """Score documents for one query.

    Args:
        query: as for `maxsim`.
        documents: as for `maxsim`.
        num_threads: from 1 to 256; None for the default.
        path: how to use the processor; None for the best way.

    Returns:
        [num_documents] float32, finite but for documents without tokens; None where the general way is needed.
    """
    if type(query) is TokenEmbeddings and len(query.offsets) == 2:  # noqa: PLR2004 - of one text
        query = query.vectors
    if type(query) is not np.ndarray or query.dtype is not _FLOAT32 or (given := _read(documents)) is None:
        return None
    shape, count = query.shape, given[2]
    key = (get_ident(), shape, given[1], path and path.name)
    # nobody else can have it while it is at work, not even a signal handler
    call = _kept.pop(key, None)
    if call is None or call.capacity < count:
        call = _make_call(shape, given, 1, path)
    scores = np.empty(count, np.float32)
    if call is None or not call.prepare(query, given, scores):
        return None
    threads = call.count_threads(count, num_threads)
    if threads > call.num_rows:
        call = _make_call(shape, given, threads, path)
        if call is None or not call.prepare(query, given, scores):
            return None
    is_sound = call.score(threads)
    _keep(key, call)
    return scores if is_sound else None


def _read(documents: Any) -> Given | None:
    """What there is of documents before any check; None where it is not the usual."""
    kind = type(documents)
    if kind is list or kind is tuple:
        held = tuple(documents)
        vectors, given, count, address = held[0] if held else None, SEPARATE, len(held), items_of(held)
        others: tuple[int, int] = (0, 0)
    elif kind is np.ndarray:
        held = vectors = documents
        given, count, address, others = CUBE, len(documents) if documents.ndim else 0, id(documents), (0, 0)
    elif kind is TokenEmbeddings or kind is PackedDocuments:
        candidates = None if kind is TokenEmbeddings else documents.candidates
        embeddings = documents if kind is TokenEmbeddings else documents.embeddings
        vectors, offsets = embeddings.vectors, embeddings.offsets
        held, given, address = (vectors, offsets, candidates), PACKED, id(vectors)
        count = len(offsets) - 1 if candidates is None else len(candidates)
        others = (id(offsets), 0 if candidates is None else id(candidates))
    else:
        return None
    if type(vectors) is not np.ndarray or vectors.dtype not in _STORAGES or count < 1:
        return None
    return given, vectors.dtype, count, (address, others[0], others[1]), held


def _make_call(shape: tuple[int, ...], given: Given, num_rows: int, path: VectorPath | None) -> PreparedCall | None:
    """Memory for calls of a shape; None where a kernel has nothing to do, or cannot read arrays."""
    if len(shape) != MATRIX_AXES or 0 in shape or not are_readable():
        return None
    capacity = max(LEAST_CAPACITY, 1 << (given[2] - 1).bit_length())
    return PreparedCall((shape[0], shape[1]), given[1], capacity, num_rows, vector_path() if path is None else path)


def _keep(key: Any, call: PreparedCall) -> None:
    """Let the next call of this shape on this thread have the memory, if it is not much."""
    if call.capacity > 2 * MAX_KEPT_DOCUMENTS or key[1][0] * key[1][1] > MAX_KEPT_NUMBERS:
        return
    _kept[key] = call
    if len(_kept) > MAX_KEPT:
        _kept.popitem(last=False)
