"""DeviceScorer: checked queries against checked documents in tensors: on a GPU, or wherever their library puts them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from rank_rerank.devices import import_optional
from rank_rerank.errors import InvalidArgumentError, ShapeError
from rank_rerank.scoring.array_families import Family, to_numpy
from rank_rerank.scoring.cpu_scorer import Queries, refuse_infinite, settle_document
from rank_rerank.scoring.score_arrays import ScoreArrays
from rank_rerank.scoring.tensors.collection import DeviceCollection, as_float32_tensor
from rank_rerank.scoring.tensors.documents import DeviceDocuments


@dataclass(frozen=True, eq=False)
class DeviceScorer:
    """Scores documents block by block, where they are.

    Attributes:
        queries: what is asked, in main memory.
        collection: the documents.
        trusted: documents with NaN or infinity are not refused, and nothing waits for the device.
        kernel: "torch", "triton" or "cupy".
    """

    queries: Queries
    collection: DeviceCollection
    trusted: bool
    kernel: str

    @property
    def num_documents(self) -> int:
        """How many documents there are."""
        return self.collection.num_documents

    def score(self, first: int, last: int, *, with_matches: bool = False) -> ScoreArrays:
        """Score the documents from first to last, the end excluded; the arrays stay on the device.

        Raises:
            NonFiniteError: one holds NaN or infinity, or has a score beyond float32, and the caller is not trusted.
            ShapeError: documents have another dim than the query.
        """
        collection, queries, is_triton = self.collection, self.queries, self.kernel == "triton"
        documents = collection.documents(first, last, needs_spans=is_triton)
        numbers = queries.numbers
        if not collection.num_tokens:
            numbers = np.ascontiguousarray(numbers[:, : collection.dim])
        else:
            self._check_dim(numbers.shape[1])
        if is_triton:  # which brings them to the device by itself
            found = _kernel("triton")(
                numbers, queries.offsets, documents, queries.weights, with_matches=with_matches, trusted=self.trusted
            )
        else:
            query, weights = collection.as_tensor(numbers), collection.as_tensor(queries.weights)
            found = _kernel(self.kernel)(query, queries.offsets, documents, weights, with_matches=with_matches)
        if self.trusted or (found.is_any_odd is not None and not found.is_any_odd()):
            return found
        self._settle_suspects(documents, first, found)
        return found

    def _check_dim(self, dim: int) -> None:
        if self.collection.dim != dim:
            raise ShapeError(f"the query has dim {dim}, the documents have dim {self.collection.dim}")
        if dim == 0:
            raise ShapeError("vectors have dim 0: a similarity needs at least one number per vector")

    def _settle_suspects(self, documents: DeviceDocuments, first: int, result: ScoreArrays) -> None:
        """Settle documents with odd similarities, and refuse the first whose score is not finite."""
        # NaN is not itself; tensors of any library understand this
        is_suspect = to_numpy(result.scores != result.scores if result.is_suspect is None else result.is_suspect)
        is_suspect = is_suspect.any(axis=0) if is_suspect.ndim > 1 else is_suspect  # [num_documents]
        if is_suspect.any():
            self._settle(documents, np.flatnonzero(is_suspect).tolist(), first, result)
        is_finite = to_numpy((result.scores - result.scores == 0).all(axis=0))
        refuse_infinite(~is_finite & (documents.lengths > 0), first)

    def _settle(self, documents: DeviceDocuments, places: Sequence[int], first: int, result: ScoreArrays) -> None:
        for place in places:
            start, length = int(documents.starts[place]), int(documents.lengths[place])
            numbers = to_numpy(as_float32_tensor(documents.vectors[start : start + length], documents.storage))
            if documents.token_scales is not None:
                numbers = numbers * to_numpy(documents.token_scales[start : start + length])[:, None]
            if documents.document_scales is not None:
                numbers = numbers * documents.document_scales[place]
            settle_document(self.queries, numbers, place, first, result, trusted=self.trusted)


@cache
def _kernel(name: str) -> Any:
    return getattr(import_module(f"rank_rerank.scoring.tensors.maxsim_{name}"), f"maxsim_{name}")


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


def choose_device_kernel(family: Family, device_type: str, kernel: str | None) -> str:
    """Name the kernel for tensors of a library on a kind of device: what was asked for, else the best there is.

    Raises:
        InvalidArgumentError: the kernel asked for does not take such tensors.
        MissingDependencyError: it needs a package that is not installed.
    """
    if kernel is None:
        if family == "cupy":
            return "cupy"
        return "triton" if device_type == "cuda" and _has_triton() else "torch"
    if (kernel == "cupy") != (family == "cupy"):
        raise InvalidArgumentError(f'the kernel "{kernel}" does not take arrays of {family}')
    if kernel == "triton":
        import_optional("triton", "cuda", "The Triton kernel")
    return kernel
