"""Every MaxSim kernel behind one face: how it stores documents, what it scores, how exact it must be."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from maxsim_cases import UNIT_ROUNDOFF, Case, rounding_bound

from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.kernels.processor import usable_vector_paths
from rank_rerank.scoring.document_view import BFLOAT16
from rank_rerank.scoring.maxsim import maxsim, maxsim_matches
from rank_rerank.scoring.maxsim_reference import maxsim_reference
from rank_rerank.scoring.packed_documents import PackedDocuments
from rank_rerank.scoring.query_panels import round_to_int8


@dataclass(frozen=True)
class Stored:
    """Documents as a storage keeps them, and the numbers that they stand for."""

    packed: PackedDocuments
    exact: list[np.ndarray]


@dataclass(frozen=True)
class KernelUnderTest:
    name: str
    storage: str
    score: Callable[[Case, Stored, np.ndarray | None], np.ndarray]
    has_matches: bool = False
    is_int8: bool = False
    dim_multiple: int = 1
    kernel: str | None = None

    def scores(self, case: Case, weights: np.ndarray | None = None) -> np.ndarray:
        return self.score(case, store(case.documents, self.storage, case.dim), weights)

    def expected(self, case: Case, weights: np.ndarray | None = None) -> np.ndarray:
        stored = store(case.documents, self.storage, case.dim)
        return maxsim_reference(self.query(case), stored.exact, weights)

    def query(self, case: Case) -> np.ndarray:
        return np.where(case.query > 0, np.float32(1), np.float32(-1)) if self.storage == "bits" else case.query

    def bounds(self, case: Case, weights: np.ndarray | None = None) -> np.ndarray:
        """How far each score may be from the reference: derived from dtype, dim and number of tokens."""
        stored = store(case.documents, self.storage, case.dim)
        factors = np.ones(len(case.query)) if weights is None else np.abs(weights.astype(np.float64))
        return np.array([self._bound(case, document, factors) for document in stored.exact])

    def _bound(self, case: Case, document: np.ndarray, factors: np.ndarray) -> float:
        if len(document) == 0:
            return 0.0
        query = self.query(case)
        per_token = rounding_bound(query, document)
        if self.is_int8:
            per_token += int8_bound(query, document)
        similarities = (query.astype(np.float64) @ document.astype(np.float64).T).max(axis=1)
        return float((factors * (per_token + 4 * UNIT_ROUNDOFF * np.abs(similarities))).sum())


def int8_bound(query: np.ndarray, document: np.ndarray) -> np.ndarray:
    """A query number is off by at most half its token's scale, so a similarity by at most that times sum |d|."""
    rounded, scales = round_to_int8(query)
    errors = np.abs(query.astype(np.float64) - rounded * scales.astype(np.float64)[:, None]).max(axis=1)
    return errors * np.abs(document.astype(np.float64)).sum(axis=1).max()


def store(documents: list[np.ndarray], storage: str, dim: int) -> Stored:
    """Round documents to a storage."""
    matrices = documents or [np.empty((0, dim), np.float32)]
    embeddings = TokenEmbeddings.from_list(matrices) if documents else TokenEmbeddings(matrices[0], np.zeros(1, int))
    vectors, offsets = embeddings.vectors, embeddings.offsets
    scales = None
    exact = vectors
    if storage == "float16":
        vectors = vectors.astype(np.float16)
        exact = vectors.astype(np.float32)
    elif storage == "bfloat16":
        words = ((vectors.view(np.uint32).astype(np.uint64) + 0x8000) >> 16).astype(np.uint16)
        vectors, exact = words.view(BFLOAT16), (words.astype(np.uint32) << 16).view(np.float32)
    elif storage == "int8-tokens":
        vectors, scales = round_to_int8(vectors)
        exact = vectors * scales.astype(np.float64)[:, None]
    elif storage == "int8-documents":
        vectors, scales, exact = _round_documents(documents, dim)
    elif storage in {"signs", "bits"}:
        exact = np.where(vectors > 0, np.float32(1), np.float32(-1))
        vectors = np.packbits(vectors > 0, axis=1)
    embeddings = TokenEmbeddings(vectors, offsets)
    packed = (
        PackedDocuments(embeddings, document_scales=scales)
        if storage == "int8-documents"
        else PackedDocuments(embeddings, token_scales=scales)
    )
    return Stored(packed, [exact[a:b] for a, b in pairwise(offsets)])


def _round_documents(documents: list[np.ndarray], dim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rounded, scales, exact = [np.empty((0, dim), np.int8)], [], [np.empty((0, dim))]
    for document in documents:
        flat, scale = round_to_int8(document.reshape(1, -1))
        rounded.append(flat.reshape(document.shape))
        scales.append(float(scale[0]))
        exact.append(rounded[-1] * np.float64(scale[0]))
    return np.concatenate(rounded), np.array(scales, np.float32), np.concatenate(exact)


def _numba_score(kernel: str, storage: str):
    def score(case: Case, stored: Stored, weights: np.ndarray | None) -> np.ndarray:
        query = np.packbits(case.query > 0, axis=1) if storage == "bits" else case.query
        return maxsim(query, stored.packed, query_weights=weights, kernel=kernel)

    return score


STORAGES = ("float32", "float16", "bfloat16", "int8-tokens", "int8-documents", "signs", "bits")
NUMBA_KERNELS = [
    KernelUnderTest(
        name=f"numba-{path.name}-{storage}",
        storage=storage,
        score=_numba_score(f"numba-{path.name}", storage),
        has_matches=True,
        is_int8=storage.startswith("int8"),
        dim_multiple=8 if storage in {"signs", "bits"} else 1,
        kernel=f"numba-{path.name}",
    )
    for path in usable_vector_paths()  # of the others, the generated assembly is tested
    for storage in STORAGES
]
REFERENCE = KernelUnderTest(
    name="reference",
    storage="float32",
    score=lambda case, stored, weights: maxsim(case.query, stored.packed, query_weights=weights, kernel="reference"),
    has_matches=True,
    kernel="reference",
)
KERNELS = [REFERENCE, *NUMBA_KERNELS]


def zero_padding(case: Case, _stored: Stored, weights: np.ndarray | None) -> np.ndarray:
    """The bug that packing rules out: documents padded with zeros to the longest, and zeros may win."""
    longest = max((len(document) for document in case.documents), default=0)
    padded = np.zeros((len(case.documents), longest, case.dim), np.float32)
    for row, document in zip(padded, case.documents, strict=True):
        row[: len(document)] = document
    similarities = np.einsum("qd,ntd->nqt", case.query, padded).max(axis=2, initial=-np.inf)
    return (similarities * (1 if weights is None else weights)).sum(axis=1)


ZERO_PADDING = KernelUnderTest(name="zero-padding", storage="float32", score=zero_padding)

__all__ = ["KERNELS", "ZERO_PADDING", "KernelUnderTest", "Stored", "maxsim_matches", "store"]
