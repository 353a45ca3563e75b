r"""MaxSim, the score of late interaction: for each query token the most similar document token, summed.

.. math:: s(Q, D) = \sum_i w_i \max_j \langle q_i, d_j \rangle

(Khattab and Zaharia, "ColBERT", SIGIR 2020, section 3.2.) Where the vectors live decides the kernel: NumPy arrays and
tensors in main memory go to the compiled kernel for the CPU, tensors and arrays on a GPU stay there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol

import numpy as np

from rank_rerank.arguments import check_flag
from rank_rerank.arrays import AnyArray, check_whole_number, is_iterable
from rank_rerank.devices import check_num_threads
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.errors import InvalidArgumentError, InvalidItemError
from rank_rerank.scoring.array_families import Family, family_of, is_in_main_memory, to_numpy
from rank_rerank.scoring.cpu_scorer import CpuScorer, Queries
from rank_rerank.scoring.maxsim_inputs import DocumentEmbeddings, QueryEmbeddings, read_documents
from rank_rerank.scoring.score_arrays import ScoreArrays
from rank_rerank.scoring.screened_documents import ScreenedDocuments
from rank_rerank.scoring.screening import Screening
from rank_rerank.scoring.top_documents import TopDocuments

DEVICE_KERNELS = ("torch", "triton", "cupy")
TOP_K_BLOCK_DOCUMENTS = 32_768


@dataclass(frozen=True, eq=False)
class MaxsimMatches:
    """Scores, and which document token each query token found.

    Attributes:
        scores: [num_documents] float32.
        similarities: [num_documents, num_query_tokens] float32, before weights; minus infinity without tokens.
        indices: [num_documents, num_query_tokens] int32, the first of the most similar tokens of the document; −1
            where it has none.
    """

    scores: Any
    similarities: Any = field(repr=False)
    indices: Any = field(repr=False)


@dataclass(frozen=True)
class _Options:
    num_threads: int | None
    trusted: bool
    kernel: str | None


def maxsim(
    query_embeddings: QueryEmbeddings,
    document_embeddings: DocumentEmbeddings,
    *,
    query_weights: Any = None,
    num_threads: int | None = None,
    trusted: bool = False,
    kernel: str | None = None,
) -> Any:
    """Score documents for one query.

    Args:
        query_embeddings: TokenEmbeddings of one text, or [num_query_tokens, dim].
        document_embeddings: TokenEmbeddings, PackedDocuments, [num_documents, num_tokens, dim], or a list of
            [num_tokens, dim] arrays. Every row counts as a token: pass no padding. Tensors of PyTorch and arrays of
            CuPy are scored where they live; no gradients are tracked.
        query_weights: [num_query_tokens]; None weighs every query token 1.
        num_threads: the most threads to use; None for RANK_RERANK_NUM_THREADS, else the processors of this process.
        trusted: do not look for NaN and infinity in documents, nor for scores beyond float32. The scores of documents
            that hold them then mean nothing; those of the others are right.
        kernel: for tests and benchmarks: "reference", "numba", "numba-" and the name of a vector path, "torch",
            "triton" or "cupy".

    Returns:
        [num_documents] float32, higher is better; an array of the documents' kind, where they live. A document without
        tokens scores minus infinity.

    Raises:
        ShapeError: axes or dims do not fit.
        InvalidItemError: something is not an array of numbers.
        NonFiniteError: the query or a document holds NaN or infinity, or a score is beyond float32; the message names
            the document.
        InvalidArgumentError: num_threads or kernel is out of its range, or trusted neither True nor False.
        DeviceError: this processor has no such vector path.
    """
    options = _Options(num_threads, trusted, kernel)
    scorer, convert = _make_scorer([query_embeddings], [query_weights], document_embeddings, options)
    return convert(scorer.score(0, scorer.num_documents).scores[0])


def maxsim_many(
    query_embeddings: TokenEmbeddings | Sequence[QueryEmbeddings],
    document_embeddings: DocumentEmbeddings,
    *,
    num_threads: int | None = None,
    trusted: bool = False,
    kernel: str | None = None,
) -> Any:
    """Score documents for several queries at once: each document is read from memory once for all of them.

    Args:
        query_embeddings: TokenEmbeddings of any number of texts, or a list of what `maxsim` takes.
        document_embeddings: as for `maxsim`.
        num_threads: as for `maxsim`.
        trusted: as for `maxsim`.
        kernel: as for `maxsim`.

    Returns:
        [num_queries, num_documents] float32, each row equal to what `maxsim` gives for that query alone.

    Raises:
        InputError: as for `maxsim`.
    """
    if not is_iterable(query_embeddings):
        raise InvalidItemError(f"query_embeddings must be a list of queries, not {type(query_embeddings).__name__}")
    queries: list[Any] = list(query_embeddings)
    options = _Options(num_threads, trusted, kernel)
    stand_ins = queries or [np.empty((0, 0), np.float32)]
    scorer, convert = _make_scorer(stand_ins, [None] * len(stand_ins), document_embeddings, options)
    if not queries:
        return convert(np.empty((0, scorer.num_documents), np.float32))
    return convert(scorer.score(0, scorer.num_documents).scores)


def maxsim_matches(
    query_embeddings: QueryEmbeddings,
    document_embeddings: DocumentEmbeddings,
    *,
    query_weights: Any = None,
    num_threads: int | None = None,
    trusted: bool = False,
    kernel: str | None = None,
) -> MaxsimMatches:
    """Score documents for one query, and find the document token of each query token; arguments as for `maxsim`.

    Raises:
        InputError: as for `maxsim`.
    """
    options = _Options(num_threads, trusted, kernel)
    scorer, convert = _make_scorer([query_embeddings], [query_weights], document_embeddings, options)
    found = scorer.score(0, scorer.num_documents, with_matches=True)
    return MaxsimMatches(convert(found.scores[0]), convert(found.similarities), convert(found.indices))


def maxsim_top_k(
    query_embeddings: QueryEmbeddings,
    document_embeddings: DocumentEmbeddings,
    top_k: int,
    *,
    num_threads: int | None = None,
    trusted: bool = False,
    kernel: str | None = None,
) -> TopDocuments:
    """Find the best of very many documents, without ever holding the scores of all of them.

    Args:
        query_embeddings: as for `maxsim`.
        document_embeddings: as for `maxsim`. ScreenedDocuments give the same result sooner.
        top_k: how many, at least 1; all where there are fewer.
        num_threads: as for `maxsim`.
        trusted: as for `maxsim`.
        kernel: as for `maxsim`.

    Raises:
        InputError: as for `maxsim`.
        InvalidArgumentError: top_k is below 1.
    """
    top_k = check_whole_number(top_k, "top_k", 1)
    options = _Options(num_threads, trusted, kernel)
    scorer, _ = _make_scorer([query_embeddings], [None], document_embeddings, options)
    screening = None
    if isinstance(document_embeddings, ScreenedDocuments) and isinstance(scorer, CpuScorer):
        screening = Screening.of(scorer, document_embeddings, top_k)
    best = TopDocuments.none()
    for first in range(0, scorer.num_documents, TOP_K_BLOCK_DOCUMENTS):
        last = min(first + TOP_K_BLOCK_DOCUMENTS, scorer.num_documents)
        if screening is not None:
            best = screening.best_of(best, first, last)
        else:
            best = best.with_others(np.arange(first, last), to_numpy(scorer.score(first, last).scores[0]), top_k)
    return best


class _Scorer(Protocol):
    """Queries and documents that have been checked and are scored block by block."""

    @property
    def num_documents(self) -> int: ...

    def score(self, first: int, last: int, *, with_matches: bool = False) -> ScoreArrays: ...


def _make_scorer(
    queries: Sequence[Any], weights: Sequence[Any], documents: Any, options: _Options
) -> tuple[_Scorer, Callable[[Any], Any]]:
    """Choose by where the documents live; also how to turn NumPy results into the caller's kind of array."""
    num_threads = None if options.num_threads is None else check_num_threads(options.num_threads)
    _check_kernel(options.kernel)
    trusted = check_flag(options.trusted, "trusted")
    checked = Queries.read([to_numpy(query) for query in queries], [to_numpy(given) for given in weights])
    family = family_of(documents)
    is_device_kernel = options.kernel in DEVICE_KERNELS
    is_on_device = family == "cupy" or (family == "torch" and not is_in_main_memory(documents))
    if is_on_device or (family == "torch" and is_device_kernel):
        return _make_device_scorer(checked, documents, family, options), _unchanged
    if is_device_kernel:
        raise InvalidArgumentError(f'the kernel "{options.kernel}" takes tensors, not NumPy arrays')
    source = read_documents(to_numpy(documents))
    scorer = CpuScorer(checked, source, num_threads, trusted, options.kernel)
    return scorer, _to_torch if family == "torch" else _unchanged


def _make_device_scorer(queries: Queries, documents: Any, family: Family, options: _Options) -> _Scorer:
    make_scorer, choose_kernel, read_collection = _device_scoring()
    collection = read_collection(documents, family)
    kernel = choose_kernel(family, getattr(collection.device, "type", "cuda"), options.kernel)
    return make_scorer(queries, collection, options.trusted, kernel)


@cache  # an import statement takes a third of a microsecond for each name
def _device_scoring() -> tuple[Callable[..., _Scorer], Callable[..., str], Callable[..., Any]]:
    from rank_rerank.scoring.tensors.collection import read_collection  # noqa: PLC0415 - a kernel is chosen
    from rank_rerank.scoring.tensors.scorer import DeviceScorer, choose_device_kernel  # noqa: PLC0415

    return DeviceScorer, choose_device_kernel, read_collection


def _check_kernel(kernel: str | None) -> None:
    is_named = isinstance(kernel, str) and kernel in {"numba", "reference", *DEVICE_KERNELS}
    if kernel is None or is_named or str(kernel).startswith("numba-"):
        return
    raise InvalidArgumentError(
        f'kernel must be None, "reference", "numba", "numba-" and a vector path, or one of {", ".join(DEVICE_KERNELS)}'
    )


def _to_torch(array: AnyArray) -> Any:
    from importlib import import_module  # noqa: PLC0415 - torch made the documents, so it is loaded

    return import_module("torch").from_numpy(array)


def _unchanged(array: Any) -> Any:
    return array
