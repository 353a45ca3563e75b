"""Where checked documents lie in main memory: in one array, or each in one of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Vector, Int64Vector
from rank_rerank.encoding.offsets import rows_of_texts
from rank_rerank.errors import ShapeError
from rank_rerank.scoring.document_view import DocumentView, view_packed, view_separate


@dataclass(frozen=True, eq=False)
class PackedSource:
    """Documents in one array.

    Attributes:
        vectors: [num_tokens, dim], readable by kernels.
        offsets: [num_texts + 1].
        scales: [num_tokens] or [num_texts]; None where there are none.
        token_scales: which of the two.
        candidates: the texts that are documents; None for all.
    """

    vectors: AnyArray
    offsets: Int64Vector
    scales: Float32Vector | None = None
    token_scales: bool = False
    candidates: Int64Vector | None = None

    @property
    def num_documents(self) -> int:
        """How many documents there are."""
        return len(self.offsets) - 1 if self.candidates is None else len(self.candidates)

    @property
    def has_tokens(self) -> bool:
        """There is a vector at all."""
        return len(self.vectors) > 0

    @property
    def matrices(self) -> Sequence[AnyArray]:
        """The one array."""
        return [self.vectors]

    def view(self, first: int, last: int) -> DocumentView:
        """The documents from first to last, the end excluded."""
        chosen: Any = slice(first, last) if self.candidates is None else self.candidates[first:last]
        starts, lengths = rows_of_texts(self.offsets, chosen, len(self.vectors))
        scales = self.scales
        if scales is not None and len(scales) != (len(self.vectors) if self.token_scales else len(self.offsets) - 1):
            raise ShapeError("there are not as many scales as vectors or texts")
        if scales is not None and not self.token_scales:
            scales = np.ascontiguousarray(scales[chosen])
        return view_packed(self.vectors, starts, lengths, scales, self.token_scales)


@dataclass(frozen=True, eq=False)
class SeparateSource:
    """Documents in arrays of their own, [num_tokens, dim] each, of one dtype and dim and C-contiguous.

    Attributes:
        matrices: the arrays.
        addresses: of the first number of each.
    """

    matrices: Sequence[AnyArray]
    addresses: Sequence[int]

    @property
    def num_documents(self) -> int:
        """How many documents there are."""
        return len(self.matrices)

    @property
    def has_tokens(self) -> bool:
        """There is a vector at all."""
        return any(len(matrix) for matrix in self.matrices)

    def view(self, first: int, last: int) -> DocumentView:
        """The documents from first to last, the end excluded."""
        return view_separate(self.matrices[first:last], self.addresses[first:last])


class DocumentSource(Protocol):
    """Documents in main memory, wherever they lie there."""

    @property
    def num_documents(self) -> int:
        """How many documents there are."""
        ...

    @property
    def has_tokens(self) -> bool:
        """There is a vector at all."""
        ...

    @property
    def matrices(self) -> Sequence[AnyArray]:
        """Arrays of the documents' form: one of each document, or one for all."""
        ...

    def view(self, first: int, last: int) -> DocumentView:
        """The documents from first to last, the end excluded."""
        ...
