"""Where a text's activations lie while it runs through a model, and the table that tells the compiled pass."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rank_rerank.arrays import AnyArray, Int64Vector
from rank_rerank.inference.compiled import tables as plan
from rank_rerank.inference.int8_weights.quantized_linear import ALIGNMENT, aligned
from rank_rerank.kernels.processor import VectorPath

# rows that run through the rest of a layer together: their activations stay in the second-level cache
MAX_BLOCK_ROWS = 96
FLOAT_BYTES = 4
MAX_LAYOUTS = 1024  # kept; some hundred bytes each


@dataclass(frozen=True)
class Buffers:
    """What Dense layers write their rows to.

    Attributes:
        count: how many; see `tables`.
        row_bytes: of the longest row.
    """

    count: int
    row_bytes: int


@dataclass(frozen=True)
class TextLayout:
    """How much of everything a text needs.

    Attributes:
        num_tokens: tokens of the text.
        num_keys: the same, rounded up to whole panels.
        block_rows: rows of a block.
        parts: bytes of each part, by its index in the table.
        workspace_bytes: what each worker needs for itself.
        buffer_bytes: of each buffer of the Dense layers.
    """

    num_tokens: int
    num_keys: int
    block_rows: int
    parts: dict[int, int]
    workspace_bytes: int
    buffer_bytes: int

    @classmethod
    def of(cls, model: Int64Vector, buffers: Buffers, num_tokens: int, path: VectorPath) -> "TextLayout":
        """Plan a text of so many tokens for a model's table and its Dense layers."""
        columns = path.panel_vectors * path.lanes
        num_keys = -(-num_tokens // columns) * columns
        rows = min(num_tokens, MAX_BLOCK_ROWS)
        hidden, stream, inner = (int(model[field]) for field in (plan.HIDDEN, plan.HIDDEN_COLUMNS, plan.INNER))
        head = int(model[plan.HEAD])
        context = int(model[plan.NUM_HEADS]) * head

        def record_bytes(size: int) -> int:
            return -(-size // int(model[plan.GROUP])) * plan.RECORD_BYTES

        parts = {
            plan.STREAM: num_tokens * stream * FLOAT_BYTES,
            plan.ROUNDED: num_tokens * hidden,
            plan.RECORDS: num_tokens * record_bytes(hidden),
            plan.CONTEXT: num_tokens * context * FLOAT_BYTES,
            plan.BLOCK: rows * max(context, inner),
            plan.BLOCK_RECORDS: rows * record_bytes(max(context, inner)),
            plan.SUMMANDS: rows * stream * FLOAT_BYTES,
            plan.WIDE: rows * int(model[plan.INNER_COLUMNS]) * FLOAT_BYTES,
            plan.DENSE: buffers.count * rows * buffers.row_bytes,
        }
        # queries, keys, values, keys as panels; a tile of scores and the sums of its rows; scales of queries, keys and
        # values, and factors of a panel
        numbers = (
            (3 * num_tokens + num_keys) * head + path.rows * (num_keys + 1) + num_tokens + num_keys + head + columns
        )
        if model[plan.CENTER]:
            numbers += _numbers_for_distances(num_tokens, num_keys, path)
        workspace = numbers * FLOAT_BYTES
        return cls(num_tokens, num_keys, rows, parts, _whole_lines(workspace), rows * buffers.row_bytes)

    def num_bytes(self, num_workers: int) -> int:
        """Everything together."""
        return int(self._relative_table[0][plan.WORKSPACES]) + num_workers * self.workspace_bytes

    @property
    def num_blocks(self) -> int:
        """Blocks of rows."""
        return -(-self.num_tokens // self.block_rows)

    def table(self, memory: AnyArray) -> Int64Vector:
        """The text's table, without what its caller puts in: stages, input, output, what workers share.

        Args:
            memory: [num_bytes] uint8 or more, beginning with a cache line.
        """
        sizes, in_memory = self._relative_table
        return sizes + in_memory * memory.ctypes.data

    @cached_property
    def _relative_table(self) -> tuple[Int64Vector, Int64Vector]:
        """The table for memory that begins at 0, and 1 for each of its fields that is an address in it."""
        table, in_memory = np.zeros((2, plan.TEXT_FIELDS), np.int64)
        table[plan.NUM_TOKENS], table[plan.NUM_KEYS], table[plan.BLOCK_ROWS] = (
            self.num_tokens, self.num_keys, self.block_rows
        )  # fmt: skip
        table[plan.WORKSPACE_BYTES], table[plan.BUFFER_BYTES] = self.workspace_bytes, self.buffer_bytes
        address = 0
        for field, size in self.parts.items():
            table[field] = address
            address += _whole_lines(size)
        table[plan.WORKSPACES] = address
        in_memory[[*self.parts, plan.WORKSPACES]] = 1
        return table, in_memory


class Layouts:
    """Layouts of a model's texts, each length planned once; safe from many threads.

    Args:
        model: the model's table.
        buffers: of its Dense layers.
        path: how the processor is used.
    """

    def __init__(self, model: Int64Vector, buffers: Buffers, path: VectorPath) -> None:
        self._model, self._buffers, self._path = model, buffers, path
        self._known: dict[int, TextLayout] = {}

    def of(self, num_tokens: int) -> TextLayout:
        """The layout of a text of so many tokens."""
        found = self._known.get(num_tokens)
        if found is None:
            found = TextLayout.of(self._model, self._buffers, num_tokens, self._path)
            if len(self._known) < MAX_LAYOUTS:
                self._known[num_tokens] = found
        return found


class MemoryPool:
    """Memory of texts that are through, for those that come: as many pieces as texts ever ran at once.

    A piece larger than ``max_kept_bytes`` is given back to the system after use. Safe from many threads: taking from a
    list and adding to it are atomic.
    """

    def __init__(self, max_kept_bytes: int) -> None:
        self._max_kept_bytes = max_kept_bytes
        self._free: list[AnyArray] = []

    def take(self, num_bytes: int) -> AnyArray:
        """A piece of at least so many bytes, beginning with a cache line; its content is not defined."""
        try:
            piece = self._free.pop()
        except IndexError:
            return aligned((num_bytes,), np.uint8)
        return piece if len(piece) >= num_bytes else aligned((num_bytes,), np.uint8)

    def give_back(self, piece: AnyArray) -> None:
        """Keep a piece for later."""
        if len(piece) <= self._max_kept_bytes:
            self._free.append(piece)


def _numbers_for_distances(num_tokens: int, num_keys: int, path: VectorPath) -> int:
    """Scales of keys; products of all keys, and of a tile of queries, with distances; and a tile of the first turned.

    See `kernels.distances`.
    """
    width = num_keys + 2 * plan.distance_margin(path)
    turned = -(-path.rows // path.lanes) * path.lanes
    return num_tokens + (num_tokens + path.rows) * width + turned * num_keys


def _whole_lines(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
