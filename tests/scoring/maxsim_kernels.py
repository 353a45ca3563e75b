"""Every MaxSim kernel behind one face: how it stores documents, what it scores, how exact it must be."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise

import fake_cupy
import numpy as np
from maxsim_cases import UNIT_ROUNDOFF, Case, rounding_bound

from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.kernels.processor import usable_vector_paths
from rank_rerank.scoring.compiled.query_panels import round_to_int8
from rank_rerank.scoring.document_view import BFLOAT16
from rank_rerank.scoring.maxsim import maxsim, maxsim_matches
from rank_rerank.scoring.maxsim_reference import maxsim_reference
from rank_rerank.scoring.packed_documents import PackedDocuments
from rank_rerank.scoring.tensors.documents import DeviceDocuments
from rank_rerank.scoring.tensors.maxsim_cupy import maxsim_cupy


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
    rounds_the_query: bool = False
    dim_multiple: int = 1
    kernel: str | None = None
    is_bit_exact: bool = True
    is_split: bool = False
    is_on_tensor_cores: bool = False
    is_in_halves: bool = False
    missing: Callable[[], str] = lambda: ""

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
        if self.is_on_tensor_cores:
            per_token += rounding_bound(query, document)  # sums are cut off, not rounded
        if self.name.startswith("cupy-cuda"):  # a GPU's products may take numbers below the normal ones for zero
            per_token += query.shape[1] * np.finfo(np.float32).tiny * max(1.0, np.abs(document).max(initial=0))
        if self.is_in_halves:
            per_token += halves_bound(query, document)
        if self.rounds_the_query:
            per_token += int8_bound(query, document)
        if self.is_split:
            per_token += 2.0**-22 * np.abs(query).max(axis=1, initial=0) * np.abs(document).sum(axis=1).max()
        similarities = (query.astype(np.float64) @ document.astype(np.float64).T).max(axis=1)
        roundings = 4 + (0 if self.kernel and self.kernel.startswith("numba") else len(query))
        return float((factors * (per_token + roundings * UNIT_ROUNDOFF * np.abs(similarities))).sum())


def halves_bound(query: np.ndarray, document: np.ndarray) -> np.ndarray:
    """What float32 numbers cut into two TF32 numbers of 11 bits add to the error, per query token: [num_query_tokens].

    Each second part is rounded, and the product of both is left out, which is three times 2**-22 of a product. (Tensor
    cores cut off what does not fit instead of rounding it, which doubles the error of a sum: Fasi et al., "Numerical
    behavior of NVIDIA tensor cores", 2021.)
    """
    magnitudes = np.abs(query.astype(np.float64)) @ np.abs(document.astype(np.float64)).T
    return 3 * 2.0**-22 * magnitudes.max(axis=1)


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
        rounds_the_query=storage.startswith("int8"),
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


def has_cuda() -> bool:
    if find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


def tensor_device(kernel: str) -> str:
    """Where tensors for a kernel live: Triton's interpreter stands in for a GPU that is not there."""
    return "cuda" if kernel == "triton" and has_cuda() else "cpu"


def _torch_tensor(array: np.ndarray, device: str):
    import torch

    if array.dtype == BFLOAT16:
        return torch.from_numpy(array.view(np.uint16).view(np.int16)).view(torch.bfloat16).to(device)
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)


def to_torch(packed: PackedDocuments, device: str) -> PackedDocuments:
    embeddings = TokenEmbeddings(_torch_tensor(packed.embeddings.vectors, device), packed.embeddings.offsets)
    return PackedDocuments(embeddings, packed.token_scales, packed.document_scales, packed.candidates)


def _torch_score(kernel: str, storage: str, device: str):
    def score(case: Case, stored: Stored, weights: np.ndarray | None) -> np.ndarray:
        query = np.packbits(case.query > 0, axis=1) if storage == "bits" else case.query
        scores = maxsim(query, to_torch(stored.packed, device), query_weights=weights, kernel=kernel)
        return scores.cpu().numpy()

    return score


def _cupy_score(storage: str):
    def score(case: Case, stored: Stored, weights: np.ndarray | None) -> np.ndarray:
        query = np.where(case.query > 0, np.float32(1), np.float32(-1)) if storage == "bits" else case.query
        packed, offsets = stored.packed, np.asarray(stored.packed.embeddings.offsets, np.int64)
        documents = DeviceDocuments(
            packed.embeddings.vectors, offsets[:-1], np.diff(offsets),
            "signs" if storage == "bits" else storage.partition("-")[0], packed.token_scales, packed.document_scales,
        )  # fmt: skip
        factors = np.ones(len(query), np.float32) if weights is None else weights
        return maxsim_cupy(query, np.array([0, len(query)]), documents, factors, cupy=fake_cupy).scores[0]

    return score


def _cupy_gpu_score(storage: str):
    def score(case: Case, stored: Stored, weights: np.ndarray | None) -> np.ndarray:
        import cupy

        packed = stored.packed
        embeddings = TokenEmbeddings(cupy.asarray(packed.embeddings.vectors), packed.embeddings.offsets)
        documents = PackedDocuments(embeddings, packed.token_scales, packed.document_scales)
        query = np.packbits(case.query > 0, axis=1) if storage == "bits" else case.query
        return maxsim(query, documents, query_weights=weights).get()

    return score


def why_no_cupy_gpu() -> str:
    if find_spec("cupy") is None:
        return "CuPy is not installed"
    return "" if has_cuda() else "CuPy needs a CUDA GPU"


def _needs(package: str):
    return lambda: "" if find_spec(package) else f"{package} is not installed"


def _tensor_kernel(kernel: str, storage: str, device: str) -> KernelUnderTest:
    return KernelUnderTest(
        name=f"{kernel}-{storage}" if device == tensor_device(kernel) else f"{kernel}-{device}-{storage}",
        storage=storage,
        score=_torch_score(kernel, storage, device),
        has_matches=True,
        rounds_the_query=kernel == "triton" and storage.startswith("int8"),
        dim_multiple=8 if storage in {"signs", "bits"} else 1,
        kernel=kernel,
        is_bit_exact=kernel == "triton",
        is_split=kernel == "triton" and storage in {"float16", "bfloat16", "signs", "bits"},
        is_on_tensor_cores=kernel == "triton" and device == "cuda",
        is_in_halves=kernel == "triton" and storage == "float32",
        missing=_needs(kernel),
    )


TORCH_KERNELS = [
    _tensor_kernel(kernel, storage, tensor_device(kernel))
    for kernel in ("torch", "triton")
    for storage in STORAGES
    if (kernel, storage) != ("triton", "bfloat16") or has_cuda()  # Triton's interpreter multiplies its bits as integers
] + [_tensor_kernel("torch", storage, "cuda") for storage in STORAGES if has_cuda()]


def _cupy_kernel(name: str, storage: str, score, missing) -> KernelUnderTest:
    return KernelUnderTest(
        name=name,
        storage=storage,
        score=score,
        dim_multiple=8 if storage in {"signs", "bits"} else 1,
        kernel="cupy",
        is_bit_exact=False,
        missing=missing,
    )


def _why_no_compiler() -> str:
    return "" if fake_cupy.has_compiler() else "no C++ compiler to run CuPy's kernel on the CPU"


CUPY_KERNELS = [
    _cupy_kernel(f"cupy-{storage}", storage, _cupy_score(storage), _why_no_compiler)
    for storage in STORAGES
    if storage != "bfloat16"
] + [
    _cupy_kernel(f"cupy-cuda-{storage}", storage, _cupy_gpu_score(storage), why_no_cupy_gpu)
    for storage in STORAGES
    if storage != "bfloat16" and has_cuda()
]
KERNELS = [REFERENCE, *NUMBA_KERNELS, *TORCH_KERNELS, *CUPY_KERNELS]


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
