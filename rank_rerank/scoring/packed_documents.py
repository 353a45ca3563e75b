"""PackedDocuments: stored token vectors with what scoring needs beside them: scales, and which documents to score."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rank_rerank.arrays import NO_ARRAY, AnyArray, as_float32
from rank_rerank.encoding.offsets import check_indices
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.errors import InvalidArgumentError, InvalidItemError, NonFiniteError, ShapeError


@dataclass(frozen=True, eq=False)
class PackedDocuments:
    """Documents to score, taken from packed token embeddings without a copy.

    The dtype of ``embeddings.vectors`` says how numbers are stored:

    - float32, float16, bfloat16 (ml_dtypes' or torch's): as they are;
    - int8: times one scale per token or per document; 1 where no scales are given;
    - uint8: the sign bits of eight numbers, ±1, in the order of ``np.packbits``; the dim is eight times the columns.

    Attributes:
        embeddings: the vectors of a whole collection, memory-mapped or not.
        token_scales: for int8, [num_tokens] float32, not negative.
        document_scales: for int8, [num_texts] float32, not negative; not beside token_scales.
        candidates: [num_documents] which texts to score, in this order, repeated or not; None for all. They are copied.

    Raises:
        ShapeError: there are not as many scales as tokens or texts, or candidates are no whole numbers.
        NonFiniteError: a scale is NaN, infinite or beyond float32.
        InvalidArgumentError: a scale is negative or given for other vectors than int8, or a candidate does not exist.
        InvalidItemError: embeddings are no TokenEmbeddings, or something is no array of numbers.
    """

    embeddings: TokenEmbeddings
    token_scales: AnyArray | None = field(default=None, repr=False)
    document_scales: AnyArray | None = field(default=None, repr=False)
    candidates: AnyArray | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.embeddings, TokenEmbeddings):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidItemError(f"embeddings must be TokenEmbeddings, not {type(self.embeddings).__name__}")
        if self.token_scales is not None and self.document_scales is not None:
            raise InvalidArgumentError("vectors have token_scales or document_scales, not both")
        for name, count in (("token_scales", self.embeddings.num_tokens), ("document_scales", len(self.embeddings))):
            if (scales := getattr(self, name)) is not None:
                object.__setattr__(self, name, self._check_scales(scales, count, name))
        if self.candidates is not None:
            candidates = check_indices(_in_main_memory(self.candidates), len(self.embeddings), "candidates")
            object.__setattr__(self, "candidates", candidates)

    @property
    def num_documents(self) -> int:
        """How many documents are scored."""
        return self.embeddings.num_texts if self.candidates is None else len(self.candidates)

    def _check_scales(self, scales: Any, count: int, name: str) -> Any:
        dtype = str(self.embeddings.vectors.dtype).rpartition(".")[2]  # NumPy's int8, or torch.int8
        if dtype != "int8":
            raise InvalidArgumentError(f"{name} belong to int8 vectors; these are {dtype}")
        if not is_tensor(scales):
            scales = as_float32(scales, name)
        if tuple(scales.shape) != (count,):
            raise ShapeError(f"{name} need the shape ({count},), these have {tuple(scales.shape)}")
        with np.errstate(invalid="ignore"):
            is_finite = bool((scales - scales == 0).all())  # written so that tensors of any library understand it
        if not is_finite:
            raise NonFiniteError(f"{name} hold NaN or infinity")
        if bool((scales < 0).any()):
            raise InvalidArgumentError(f"{name} must not be negative")
        return scales


def is_tensor(value: Any) -> bool:
    """An array of PyTorch or CuPy, which may lie on a GPU."""
    return type(value).__module__.partition(".")[0] in ("torch", "cupy")


def _in_main_memory(candidates: Any) -> Any:
    """Candidates as NumPy reads them, from wherever they are."""
    if not is_tensor(candidates):
        return candidates
    try:
        return candidates.get() if hasattr(candidates, "get") else candidates.detach().cpu()
    except NO_ARRAY as error:
        raise InvalidItemError("candidates must be a tensor that holds numbers") from error
