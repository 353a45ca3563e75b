"""What the compiled attention reads of distances between tokens: rows of MPNet's numbers, panels of DeBERTa's rows.

A table has a column for each distance from a row to a column of the scores, negative ones first, however many of them
share a row of the model's: the products of a tile's rows with its distances are then neighbors in memory. CENTER is the
column of the distance 0.

Panels are laid out as those of keys in `kernels.attention`: [columns / panel, head_size, panel] float32, or pairs of
16-bit integers with one scale per column, rounded by the rule in `kernels.pairs`.
"""

import math

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Matrix, Float32Vector
from rank_rerank.checkpoints.relative_positions import rows_of_distances
from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.errors import CheckpointFormatError
from rank_rerank.inference.compiled.tables import AttentionProduct, distance_margin
from rank_rerank.kernels.processor import VectorPath

INT32_RANGE = 2_147_400_000.0
LARGEST_INT16 = 32_767.0
SMALLEST = 1e-30


class DistanceTables:
    """Tables for the longest text of a model.

    Args:
        config: of the model, with ``relative``.
        path: how the processor is used.
        head_size: numbers of a head as the kernels have it.
        product: what attention is computed in.

    Raises:
        CheckpointFormatError: the model's attention does not depend on distances.
    """

    def __init__(self, config: TransformerConfig, path: VectorPath, head_size: int, product: AttentionProduct) -> None:
        if config.relative is None:
            raise CheckpointFormatError("attention without distances has no table of them")
        self._config, self._head_size, self._product = config, head_size, product
        self.panel = path.panel_vectors * path.lanes
        margin = -(-distance_margin(path) // self.panel) * self.panel
        longest = -(-config.max_positions // self.panel) * self.panel
        self.center = longest + margin
        self.num_columns = 2 * self.center
        known = rows_of_distances(config.relative, config.max_positions)
        # what lies further away is never a pair of tokens; it is multiplied, and read by nobody
        distances = np.arange(self.num_columns) - self.center + config.max_positions - 1
        self._rows = known[np.clip(distances, 0, len(known) - 1)]

    def biases(self, table: Float32Matrix) -> Float32Matrix:
        """[num_heads, num_columns] of a table [rows, num_heads]."""
        return np.ascontiguousarray(table[self._rows].T)

    def panels(self, table: Float32Matrix, *, is_turned: bool) -> tuple[AnyArray, Float32Vector]:
        """A layer's table in panels, head after head.

        Args:
            table: [rows, num_heads * head_size] float32.
            is_turned: columns are distances from a key to a query, so that their order is the other one.

        Returns:
            The panels, and [num_heads, num_columns] scales, which are 1 where panels are float32.
        """
        num_heads = self._config.num_heads
        by_head = table.reshape(len(table), num_heads, -1).transpose(1, 2, 0)  # [num_heads, head_size, rows]
        padding = self._head_size - by_head.shape[1]
        by_head = np.pad(by_head, ((0, 0), (0, padding), (0, 0)))
        scales = np.ones((num_heads, by_head.shape[2]), np.float32)
        if self._product == "int16":
            by_head, scales = self._in_pairs(by_head)
        # the distance of column center + d is d from a query to a key, −d from a key to a query
        rows = self._rows
        if is_turned:
            rows = np.roll(rows[::-1], 1)
        columns = by_head[:, :, rows]  # [num_heads, steps, num_columns]
        panels = columns.reshape(num_heads, columns.shape[1], -1, self.panel).transpose(0, 2, 1, 3)
        return np.ascontiguousarray(panels), np.ascontiguousarray(scales[:, rows])

    def _in_pairs(self, by_head: AnyArray) -> tuple[AnyArray, AnyArray]:
        """[num_heads, head_size / 2, rows] int32, and the scales [num_heads, rows]."""
        limit = min(math.sqrt(INT32_RANGE / self._head_size), LARGEST_INT16) - 1
        largest = np.maximum(np.abs(by_head).max(axis=1), SMALLEST)  # [num_heads, rows]
        scales = (largest / np.float32(limit)).astype(np.float32)
        rounded = np.rint(by_head / scales[:, None]).astype(np.int32)
        # the first number of a pair in the lower half
        return (rounded[:, 0::2] & 0xFFFF) | (rounded[:, 1::2] << 16), scales
