"""TokenEmbeddings: the token vectors of many texts, packed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from rank_rerank.arrays import AnyArray, BoolVector, Int32Matrix, Int64Vector
from rank_rerank.errors import ShapeError


@dataclass(frozen=True, eq=False, repr=False)
class TokenEmbeddings:
    """The token vectors of many texts, one after the other, without padding.

    Text ``i`` owns the rows ``offsets[i]`` to ``offsets[i + 1]`` (the end excluded) of ``vectors``. A text without
    scored tokens owns none. There is no padding, so a padded position can never win against a negative similarity.

    Attributes:
        vectors: [num_tokens, dim] float32, C-contiguous; rows of the encoders here have unit length.
        offsets: [num_texts + 1] int64, ascending from 0 to num_tokens.
        truncated: [num_texts] bool: the text was longer than the model reads; None when that is not known.
        character_spans: [num_tokens, 2] int32: the half-open span of code points of each token in its text,
            empty for tokens that stand for no text (markers, [CLS]); None when that is not known.

    Raises:
        ShapeError: axes or offsets do not fit the vectors.
    """

    vectors: AnyArray
    offsets: Int64Vector
    truncated: BoolVector | None = None
    character_spans: Int32Matrix | None = None

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2:  # noqa: PLR2004
            raise ShapeError(f"vectors need the axes [num_tokens, dim]; these have {self.vectors.ndim} axes")
        check_offsets(self.offsets, self.num_tokens)

    @property
    def num_texts(self) -> int:
        """How many texts there are."""
        return len(self.offsets) - 1

    @property
    def num_tokens(self) -> int:
        """How many vectors there are in all."""
        return int(self.vectors.shape[0])

    @property
    def dim(self) -> int:
        """Numbers a vector."""
        return int(self.vectors.shape[1])

    def __repr__(self) -> str:
        dtype = self.vectors.dtype
        return (
            f"TokenEmbeddings(num_texts={self.num_texts}, num_tokens={self.num_tokens}, dim={self.dim}, dtype={dtype})"
        )

    def __len__(self) -> int:
        return self.num_texts

    def __getitem__(self, index: int) -> AnyArray:
        """The vectors of one text, a view of [num_tokens of the text, dim]."""
        position = index + self.num_texts if index < 0 else index
        if not 0 <= position < self.num_texts:
            raise IndexError(f"text {index} of {self.num_texts}")
        return self.vectors[self.offsets[position] : self.offsets[position + 1]]

    def __iter__(self) -> Iterator[AnyArray]:
        return (self.vectors[start:end] for start, end in pairwise(self.offsets.tolist()))

    def select(self, indices: Int64Vector) -> "TokenEmbeddings":
        """Copy some texts, in the order given.

        Args:
            indices: [num_selected] places of texts, each from 0 to num_texts - 1.
        """
        lengths = np.diff(self.offsets)[indices]
        rows = _rows_of_texts(self.offsets[:-1][indices], lengths)
        return TokenEmbeddings(
            vectors=self.vectors[rows],
            offsets=offsets_of_lengths(lengths),
            truncated=None if self.truncated is None else self.truncated[indices],
            character_spans=None if self.character_spans is None else self.character_spans[rows],
        )

    @classmethod
    def from_list(cls, matrices: Sequence[AnyArray]) -> "TokenEmbeddings":
        """Pack a list of [num_tokens, dim] arrays, one a text (what PyLate and sentence-transformers return).

        Raises:
            ShapeError: an array has not two axes, or its dim differs from the first one's.
        """
        for index, matrix in enumerate(matrices):
            if matrix.ndim != 2:  # noqa: PLR2004
                raise ShapeError(
                    f"text {index}: vectors need the axes [num_tokens, dim], these have {matrix.ndim} axes"
                )
            if matrix.shape[1] != matrices[0].shape[1]:
                raise ShapeError(f"text {index} has dim {matrix.shape[1]}, text 0 has dim {matrices[0].shape[1]}")
        lengths = [len(matrix) for matrix in matrices]
        vectors = np.concatenate(matrices) if matrices else np.empty((0, 0), np.float32)
        return cls(np.ascontiguousarray(vectors), offsets_of_lengths(lengths))


def offsets_of_lengths(lengths: Sequence[int] | Int64Vector) -> Int64Vector:
    """Where each text begins, and where the last one ends: [num_texts + 1]."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def _rows_of_texts(starts: Int64Vector, lengths: Int64Vector) -> Int64Vector:
    """The rows of several texts, one text after the other: [sum of lengths]."""
    offsets = offsets_of_lengths(lengths)
    # a row is its number in the result, moved by how far its text moves
    return np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)


def check_offsets(offsets: Int64Vector, num_tokens: int) -> None:
    """Refuse offsets that do not ascend from 0 to num_tokens.

    Raises:
        ShapeError: they do not.
    """
    if offsets.ndim != 1 or len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != num_tokens:
        raise ShapeError(f"offsets must be one axis that runs from 0 to the number of vectors, {num_tokens}")
    if np.any(np.diff(offsets) < 0):
        raise ShapeError("offsets must ascend")
