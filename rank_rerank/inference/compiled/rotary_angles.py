"""What ModernBERT's attention is told of positions: rotary angles, and which keys lie in a window."""

import numpy as np

from rank_rerank.arrays import Float32Matrix, Float32Vector
from rank_rerank.inference.compiled.tables import window_block
from rank_rerank.kernels.processor import VectorPath

OUTSIDE = -1e30
# positions whose angles are computed together
CHUNK = 512


def make_band(window: int, path: VectorPath) -> Float32Vector:
    """What is added to the scores of keys from far before a token, whose own is in the middle, to far after it."""
    # further than any row of a block is from the first and the last key that it meets
    center = window + sum(window_block(path))
    distances = np.abs(np.arange(2 * center + 1) - center)
    return np.where(distances <= window, 0, OUTSIDE).astype(np.float32)


class RotaryAngles:
    """Cosines and sines of all positions up to the longest text that came; safe from many threads.

    Args:
        frequencies: [head_size / 2] float32: the angles of position 1. In float32 as the authors' own code has them,
            whose error grows with the position and is part of the model.
        padded_size: numbers of a head as the kernels have it.
    """

    def __init__(self, frequencies: Float32Vector, padded_size: int) -> None:
        self._frequencies = frequencies
        self._padding = padded_size // 2 - len(frequencies)
        self._rows = np.empty((0, padded_size), np.float32)

    def rows(self, num_positions: int) -> Float32Matrix:
        """[num_positions or more, padded_size] float32: cosines, zeros; sines, zeros."""
        rows = self._rows
        if len(rows) < num_positions:
            # chunk by chunk, so that a position's numbers never depend on how many are computed at once
            chunks = range(len(rows), num_positions, CHUNK)
            rows = np.concatenate([rows, *(self._chunk(first) for first in chunks)])
            self._rows = rows
        return rows

    def _chunk(self, first: int) -> Float32Matrix:
        positions = np.arange(first, first + CHUNK, dtype=np.float32)
        angles = (positions[:, None] * self._frequencies).astype(np.float64)  # [positions, head_size / 2]
        padding = ((0, 0), (0, self._padding))
        return np.concatenate([np.pad(np.cos(angles), padding), np.pad(np.sin(angles), padding)], axis=1).astype(
            np.float32
        )
