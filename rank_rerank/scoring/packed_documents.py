"""PackedDocuments: stored token vectors with what scoring needs beside them: scales, and which documents to score."""

from dataclasses import dataclass, field

import numpy as np

from rank_rerank.arrays import AnyArray
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.errors import InvalidArgumentError, NonFiniteError, ShapeError


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
        candidates: [num_documents] which texts to score, in this order, repeated or not; None for all.

    Raises:
        ShapeError: there are not as many scales as tokens or texts.
        NonFiniteError: a scale is NaN or infinite.
        InvalidArgumentError: a scale is negative or given for other vectors than int8, or a candidate does not
            exist.
    """

    embeddings: TokenEmbeddings
    token_scales: AnyArray | None = field(default=None, repr=False)
    document_scales: AnyArray | None = field(default=None, repr=False)
    candidates: AnyArray | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.token_scales is not None and self.document_scales is not None:
            raise InvalidArgumentError("vectors have token_scales or document_scales, not both")
        if self.token_scales is not None:
            self._check_scales(self.token_scales, self.embeddings.num_tokens, "token_scales")
        if self.document_scales is not None:
            self._check_scales(self.document_scales, self.embeddings.num_texts, "document_scales")
        if self.candidates is not None:
            self._check_candidates(np.asarray(self.candidates))

    @property
    def num_documents(self) -> int:
        """How many documents are scored."""
        return self.embeddings.num_texts if self.candidates is None else len(self.candidates)

    def _check_scales(self, scales: AnyArray, count: int, name: str) -> None:
        dtype = str(self.embeddings.vectors.dtype).rpartition(".")[2]  # NumPy's int8, or torch.int8
        if dtype != "int8":
            raise InvalidArgumentError(f"{name} belong to int8 vectors; these are {dtype}")
        if tuple(scales.shape) != (count,):
            raise ShapeError(f"{name} need the shape ({count},), these have {tuple(scales.shape)}")
        with np.errstate(invalid="ignore"):
            is_finite = bool((scales - scales == 0).all())  # written so that tensors of any library understand it
        if not is_finite:
            raise NonFiniteError(f"{name} hold NaN or infinity")
        if bool((scales < 0).any()):
            raise InvalidArgumentError(f"{name} must not be negative")

    def _check_candidates(self, candidates: AnyArray) -> None:
        if candidates.ndim != 1 or (candidates.size and candidates.dtype.kind not in "iu"):
            raise ShapeError("candidates need one axis of whole numbers")
        num_texts = self.embeddings.num_texts
        if candidates.size and not (candidates.min() >= 0 and candidates.max() < num_texts):
            raise InvalidArgumentError(f"candidates must be from 0 to {num_texts - 1}")
