"""TokenEmbeddings: the token vectors of many texts, packed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import index as as_index
from typing import Any

import numpy as np

from rank_rerank.arrays import (
    AnyArray,
    BoolVector,
    Float32Matrix,
    Float32Vector,
    Int32Matrix,
    Int64Vector,
    as_array,
    is_iterable,
    is_masked,
)
from rank_rerank.encoding.offsets import check_indices, check_offsets
from rank_rerank.encoding.plain_vectors import plain_vectors
from rank_rerank.errors import InvalidItemError, NonFiniteError, ShapeError


@dataclass(frozen=True, eq=False, repr=False)
class TokenEmbeddings:
    """The token vectors of many texts, one after the other, without padding.

    Text ``i`` owns the rows ``offsets[i]`` to ``offsets[i + 1]`` (the end excluded) of ``vectors``. A text without
    scored tokens owns none. There is no padding, so a padded position can never win against a negative similarity.

    Attributes:
        vectors: [num_tokens, dim] float32, C-contiguous; rows of the encoders here have unit length.
        offsets: [num_texts + 1] int64, ascending from 0 to num_tokens; whole numbers of any dtype are taken, and kept
            as a copy that cannot be changed.
        truncated: [num_texts] bool: the text was longer than the model reads; None when that is not known.
        character_spans: [num_tokens, 2] int32: the half-open span of code points of each token in its text,
            empty for tokens that stand for no text (markers, [CLS]); None when that is not known.
        unknown_words: [num_texts] float32: the share of each text's words that the model's vocabulary lacks, from 0 to
            1; None when that is not known.

    Raises:
        ShapeError: axes or offsets do not fit the vectors.
        InvalidItemError: something is no array of numbers of its kind.
    """

    vectors: AnyArray
    offsets: Int64Vector
    truncated: BoolVector | None = None
    character_spans: Int32Matrix | None = None
    unknown_words: Float32Vector | None = None

    def __post_init__(self) -> None:
        checked = {"vectors": _check_vectors(self.vectors)}
        checked["offsets"] = check_offsets(self.offsets, int(checked["vectors"].shape[0]))
        if self.truncated is not None:
            checked["truncated"] = _check_truncated(self.truncated, len(checked["offsets"]) - 1)
        if self.character_spans is not None:
            checked["character_spans"] = _check_spans(self.character_spans, int(checked["vectors"].shape[0]))
        if self.unknown_words is not None:
            checked["unknown_words"] = _check_shares(self.unknown_words, len(checked["offsets"]) - 1)
        for name, value in checked.items():
            object.__setattr__(self, name, value)  # what was passed, in the one form that all else relies on

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy is checked as any other is, and its offsets cannot be changed either."""
        return TokenEmbeddings, (self.vectors, self.offsets, self.truncated, self.character_spans, self.unknown_words)

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
        """Numbers per vector."""
        return int(self.vectors.shape[1])

    def __repr__(self) -> str:
        dtype = self.vectors.dtype
        return (
            f"TokenEmbeddings(num_texts={self.num_texts}, num_tokens={self.num_tokens}, dim={self.dim}, dtype={dtype})"
        )

    def __len__(self) -> int:
        return self.num_texts

    def __getitem__(self, index: int) -> AnyArray:
        """The vectors of one text, a view of [num_tokens of the text, dim].

        Raises:
            IndexError: there is no such text.
            InvalidItemError: the index is no whole number.
        """
        try:
            index = as_index(index)
        except TypeError:
            raise InvalidItemError(
                f"the index of a text must be a whole number, not {type(index).__name__}; for several use select()"
            ) from None
        position = index + self.num_texts if index < 0 else index
        if not 0 <= position < self.num_texts:
            raise IndexError(f"text {index} of {self.num_texts}")
        return self.vectors[self.offsets[position] : self.offsets[position + 1]]

    def __iter__(self) -> Iterator[AnyArray]:
        return (self.vectors[start:end] for start, end in pairwise(self.offsets.tolist()))

    def mean_vectors(self) -> Float32Matrix:
        """The mean token vector of each text, brought to unit length; zeros without tokens: [num_texts, dim].

        Sign bits count as ±1, eight numbers to the byte.

        One vector per text, for ``mmr``, ``dpp``, ``drop_near_duplicates``, a DenseReranker or a search by vectors.

        Raises:
            NonFiniteError: a number is NaN, infinite or beyond float32.
            InvalidItemError: the vectors are no array that can be read.
        """
        vectors = plain_vectors(self.vectors)
        means = np.zeros((self.num_texts, vectors.shape[1]), np.float32)
        # text by text: np.add.reduceat takes ten times as long
        for index, (start, end) in enumerate(pairwise(self.offsets.tolist())):
            if end > start:
                means[index] = sum_rows(vectors[start:end])
        return unit_length(means)

    def select(self, indices: Int64Vector) -> "TokenEmbeddings":
        """Copy some texts, in the order given.

        Args:
            indices: [num_selected] texts, each from 0 to num_texts - 1.

        Raises:
            InvalidItemError, ShapeError: they are no whole numbers, or have other axes.
            InvalidArgumentError: one is out of its range.
        """
        indices = check_indices(indices, self.num_texts, "indices")
        lengths = np.diff(self.offsets)[indices]
        rows = _rows_of_texts(self.offsets[:-1][indices], lengths)
        return TokenEmbeddings(
            vectors=self.vectors[rows],
            offsets=offsets_of_lengths(lengths),
            truncated=None if self.truncated is None else self.truncated[indices],
            character_spans=None if self.character_spans is None else self.character_spans[rows],
            unknown_words=None if self.unknown_words is None else self.unknown_words[indices],
        )

    @classmethod
    def from_list(cls, matrices: Sequence[AnyArray]) -> "TokenEmbeddings":
        """Pack a list of [num_tokens, dim] arrays, one per text (what PyLate and sentence-transformers return).

        Raises:
            ShapeError: an array has not two axes, or its dim differs from the first one's.
            InvalidItemError: an item is no array of numbers, or this is no list.
        """
        if isinstance(matrices, str | bytes | dict) or not is_iterable(matrices):
            raise InvalidItemError("matrices must be a list of arrays [num_tokens, dim]; for one text pass [array]")
        listed = [_read_matrix(matrix, index) for index, matrix in enumerate(matrices)]
        for index, matrix in enumerate(listed):
            if matrix.shape[1] != listed[0].shape[1]:
                raise ShapeError(f"text {index} has dim {matrix.shape[1]}, text 0 has dim {listed[0].shape[1]}")
        lengths = [len(matrix) for matrix in listed]
        vectors = np.concatenate(listed) if listed else np.empty((0, 0), np.float32)
        return cls(np.ascontiguousarray(vectors), offsets_of_lengths(lengths))


def unit_length(vectors: Float32Matrix) -> Float32Matrix:
    """Rows brought to unit length; zeros stay zeros.

    Raises:
        NonFiniteError: a number is NaN or infinite.
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        norms: Float32Matrix = np.linalg.norm(vectors, axis=1, keepdims=True).astype(np.float32)
    if not bool(((norms > 0) & np.isfinite(norms)).all()):
        # float32 holds no square of the largest and smallest numbers that it holds
        largest: Float32Matrix = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
        if not bool(np.isfinite(largest).all()):
            raise NonFiniteError("vectors hold NaN or infinity. Leave such texts out, or encode them again")
        largest[((norms > 0) & np.isfinite(norms)) | (largest == 0)] = 1
        vectors = vectors / largest
        norms = np.linalg.norm(vectors, axis=1, keepdims=True).astype(np.float32)
        norms[norms == 0] = 1
    return vectors / norms


def sum_rows(vectors: AnyArray) -> Float32Vector:
    """The direction of the sum of some rows: [dim] float32; a sum beyond float32 is scaled down into it."""
    with np.errstate(over="ignore", invalid="ignore"):
        total: Float32Vector = vectors.sum(axis=0, dtype=np.float32)
    if not bool(np.isfinite(total).all()):
        with np.errstate(invalid="ignore"):  # of NaN and infinity, which unit_length refuses
            exact = vectors.sum(axis=0, dtype=np.float64)
            total = (exact / np.abs(exact).max()).astype(np.float32)
    return total


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


def _check_vectors(vectors: Any) -> Any:
    """Vectors of NumPy, or of a library whose arrays describe themselves as NumPy's do."""
    if is_masked(vectors):
        raise InvalidItemError("vectors: a masked array is not accepted; keep the tokens that count, as a plain array")
    if isinstance(vectors, np.ndarray):
        vectors = np.asarray(vectors)  # a matrix, which has two axes whatever is chosen of it, becomes a plain array
        if vectors.dtype.kind not in "fiubV":  # V: bfloat16
            raise InvalidItemError(f"vectors must hold real numbers, not {vectors.dtype}")
    elif not all(hasattr(vectors, name) for name in ("ndim", "shape", "dtype")):
        raise InvalidItemError(
            f"vectors must be an array [num_tokens, dim], not {type(vectors).__name__}. To pack a list of arrays: "
            "TokenEmbeddings.from_list"
        )
    if vectors.ndim != 2:  # noqa: PLR2004
        raise ShapeError(f"vectors need the axes [num_tokens, dim]; these have {vectors.ndim} axes")
    return vectors


def _check_truncated(truncated: Any, num_texts: int) -> BoolVector:
    array = as_array(truncated, "truncated")
    if array.shape != (num_texts,):
        raise ShapeError(f"truncated needs the shape ({num_texts},), one flag per text; this has {array.shape}")
    if array.size and array.dtype.kind != "b":
        raise InvalidItemError(f"truncated must hold bools, not {array.dtype}")
    return array.astype(np.bool_, copy=False)


def _check_shares(shares: Any, num_texts: int) -> Float32Vector:
    array = as_array(shares, "unknown_words")
    if array.shape != (num_texts,):
        raise ShapeError(f"unknown_words needs the shape ({num_texts},), a share per text; this has {array.shape}")
    return array.astype(np.float32, copy=False)


def _check_spans(spans: Any, num_tokens: int) -> Int32Matrix:
    array = as_array(spans, "character_spans")
    if array.shape != (num_tokens, 2):
        raise ShapeError(f"character_spans need the shape ({num_tokens}, 2); these have {array.shape}")
    if array.size and array.dtype.kind not in "iu":
        raise InvalidItemError(f"character_spans must hold whole numbers, not {array.dtype}")
    return array


def _read_matrix(matrix: Any, index: int) -> AnyArray:
    is_bfloat16 = isinstance(matrix, np.ndarray) and matrix.dtype.kind == "V"
    array: AnyArray = matrix if is_bfloat16 else as_array(matrix, f"text {index}")
    if array.ndim != 2:  # noqa: PLR2004
        raise ShapeError(f"text {index}: vectors need the axes [num_tokens, dim], these have {array.ndim} axes")
    return array
