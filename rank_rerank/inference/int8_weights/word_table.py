"""The rows of a vocabulary as the compiled pass reads them: int8, with one scale per word.

Most tables are rounded when a model is loaded. A large one, as XLM-RoBERTa's of 250,002 words, stays in its file, of
which a text's words are read, and rounded where they are floats, when the text comes: a gigabyte is neither read nor
copied. Both give the same integers.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Matrix, Float32Vector, Int64Vector, in_memory
from rank_rerank.checkpoints.tensor_rows import TensorRows
from rank_rerank.inference.int8_weights.quantized_linear import LARGEST_WEIGHT, Int8Matrix

# what rounding a table at once may take: beyond any English vocabulary, below those of a hundred languages
MAX_ROUNDED_NUMBERS = 64 << 20


class WordTable(Protocol):
    """Rows of int8 and their scales."""

    @property
    def width(self) -> int:
        """Numbers per row."""
        ...

    @property
    def num_bytes(self) -> int:
        """What the table takes of memory."""
        ...

    def floats(self) -> Float32Matrix:
        """[vocabulary, width]: the integers times their scales."""
        ...

    def rows(self, token_ids: Int64Vector) -> tuple[Int64Vector, Int8Matrix, Float32Vector]:
        """The words of a text.

        Args:
            token_ids: [num_tokens], each below the size of the vocabulary.

        Returns:
            [num_tokens] rows; the table that they are of, [any, width] int8; and its scales, [any] float32.
        """
        ...


@dataclass(frozen=True)
class RoundedWords:
    """A table in memory: copied if it is of a mapped file, which may be cut while kernels read it.

    Attributes:
        integers: [vocabulary, width] int8.
        scales: [vocabulary] float32.
    """

    integers: Int8Matrix
    scales: Float32Vector

    def __post_init__(self) -> None:
        for name in ("integers", "scales"):
            object.__setattr__(self, name, in_memory(np.ascontiguousarray(getattr(self, name))))

    @property
    def width(self) -> int:
        """Numbers per row."""
        return self.integers.shape[1]

    @property
    def num_bytes(self) -> int:
        """What the table takes of memory."""
        return self.integers.nbytes + self.scales.nbytes

    def rows(self, token_ids: Int64Vector) -> tuple[Int64Vector, Int8Matrix, Float32Vector]:
        """See WordTable."""
        return token_ids, self.integers, self.scales

    def floats(self) -> Float32Matrix:
        """[vocabulary, width]: the integers times their scales."""
        return self.integers * self.scales[:, None]


@dataclass(frozen=True)
class StoredWords:
    """A table that stays in its file.

    Attributes:
        source: its rows.
        width: numbers per row, with zeros at the end.
    """

    source: TensorRows
    width: int

    @property
    def num_bytes(self) -> int:
        """What the table takes of memory."""
        return 0

    def rows(self, token_ids: Int64Vector) -> tuple[Int64Vector, Int8Matrix, Float32Vector]:
        """See WordTable.

        Raises:
            CheckpointFormatError: a row holds NaN or infinity, or the file was cut.
        """
        rounded = round_words(self.source.take(token_ids), self.width)
        return np.arange(len(token_ids)), rounded.integers, rounded.scales

    def floats(self) -> Float32Matrix:
        """See WordTable."""
        return round_words(self.source.take(np.arange(self.source.shape[0])), self.width).floats()


@dataclass(frozen=True)
class StoredIntegers:
    """A table that was rounded when its file was made, and stays there.

    Attributes:
        source: its rows, int8.
        scales: [vocabulary] float32, in memory.
    """

    source: TensorRows
    scales: Float32Vector

    def __post_init__(self) -> None:
        object.__setattr__(self, "scales", in_memory(np.ascontiguousarray(self.scales)))

    @property
    def width(self) -> int:
        """Numbers per row."""
        return self.source.shape[1]

    @property
    def num_bytes(self) -> int:
        """What the table takes of memory."""
        return self.scales.nbytes

    def rows(self, token_ids: Int64Vector) -> tuple[Int64Vector, Int8Matrix, Float32Vector]:
        """See WordTable.

        Raises:
            CheckpointFormatError: the file was cut.
        """
        return np.arange(len(token_ids)), self.source.take_stored(token_ids), self.scales[token_ids]

    def floats(self) -> Float32Matrix:
        """See WordTable."""
        return self.source.take_stored(np.arange(self.source.shape[0])) * self.scales[:, None]


def round_words(words: Float32Matrix, width: int) -> RoundedWords:
    """Round each row with a scale of its own, and put zeros at its end up to a width."""
    largest = np.maximum(words.max(axis=1, initial=0), -words.min(axis=1, initial=0))
    scales = (largest / np.float32(LARGEST_WEIGHT)).astype(np.float32)
    scales[scales == 0] = 1
    integers = np.zeros((len(words), width), np.int8)
    scaled: AnyArray = words / scales[:, None]
    integers[:, : words.shape[1]] = np.rint(scaled, out=scaled)
    return RoundedWords(integers, scales)
