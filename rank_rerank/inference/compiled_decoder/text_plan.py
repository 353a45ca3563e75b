"""What is done for one text in which order, and where its activations lie meanwhile."""

from dataclasses import dataclass

import numpy as np

from rank_rerank.arrays import AnyArray, Int64Vector
from rank_rerank.inference.compiled.tables import RECORD_BYTES
from rank_rerank.inference.compiled_decoder import tables as plan
from rank_rerank.inference.compiled_decoder.packed_decoder import PackedDecoder
from rank_rerank.inference.int8_weights.encoder_weights import round_up
from rank_rerank.inference.int8_weights.quantized_linear import ALIGNMENT
from rank_rerank.kernels.processor import VectorPath

FLOAT_BYTES = 4
# rows that run through a layer together: weights are read from memory once per block
MAX_BLOCK_ROWS = 240

_WHOLE_BLOCK = (
    plan.NORM, plan.PROJECT_HEADS, plan.KEEP_KEYS, plan.ATTEND, plan.ROUND_CONTEXT, plan.PROJECT_CONTEXT, plan.ADD_NORM,
    plan.FEED, plan.PROJECT_DOWN, plan.ADD,
)  # fmt: skip
_KEYS_ONLY = (plan.NORM, plan.PROJECT_KEYS, plan.KEEP_KEYS)


def block_rows(num_rows: int, path: VectorPath) -> int:
    """Rows of a block: blocks of about one size, of whole tiles."""
    num_blocks = -(-num_rows // MAX_BLOCK_ROWS)
    return round_up(-(-num_rows // num_blocks), path.rows)


def make_schedule(num_layers: int, num_rows: int, rows: int, *, only_keys: bool) -> Int64Vector:
    """The stages of a text: layer by layer, block by block; of the last layer nothing but what the result needs.

    Args:
        num_layers: of the model.
        num_rows: of the text, the prefix not counted.
        rows: of a block.
        only_keys: the text is a prefix, whose keys and values are all that is wanted; else its last row is.
    """
    blocks = [(first, min(rows, num_rows - first)) for first in range(0, num_rows, rows)]
    stages = [(kind, layer, *block) for layer in range(num_layers - 1) for block in blocks for kind in _WHOLE_BLOCK]
    last = num_layers - 1
    stages += [(kind, last, *block) for block in blocks for kind in _KEYS_ONLY]
    if not only_keys:
        stages += [(kind, last, num_rows - 1, 1) for kind in _WHOLE_BLOCK]
    return np.array(stages, np.int64).reshape(-1)


@dataclass(frozen=True)
class TextPlan:
    """How much of everything a text needs.

    Attributes:
        num_prefix: tokens whose keys and values come from elsewhere.
        num_rows: tokens of the text after them.
        capacity: keys that there is room for: all tokens, rounded up to whole panels of every path.
        rows: rows of a block.
        parts: bytes of each part, by its index in the text's table.
        workspace_bytes: what each worker needs for itself.
    """

    num_prefix: int
    num_rows: int
    capacity: int
    rows: int
    parts: dict[int, int]
    workspace_bytes: int

    @classmethod
    def of(
        cls, model: PackedDecoder, num_prefix: int, num_rows: int, path: VectorPath, *, only_keys: bool = False
    ) -> "TextPlan":
        """Plan a text of so many rows, after a prefix."""
        sizes, group = model.sizes, int(model.table[plan.GROUP])
        capacity = round_up(num_prefix + num_rows, plan.SIZE_MULTIPLE)
        rows = block_rows(num_rows, path)
        keys = capacity * sizes.keys * FLOAT_BYTES
        kept = keys * model.num_layers if only_keys else keys

        def records(size: int) -> int:
            return rows * -(-size // group) * RECORD_BYTES

        parts = {
            plan.STREAM: num_rows * sizes.hidden * FLOAT_BYTES,
            plan.KEYS: kept,
            plan.KEY_PANELS: keys,
            plan.VALUES: kept,
            plan.ROUNDED: rows * sizes.hidden,
            plan.RECORDS: records(sizes.hidden),
            plan.QUERIES: rows * sizes.queries * FLOAT_BYTES,
            plan.CONTEXT: rows * sizes.queries * FLOAT_BYTES,
            plan.CONTEXT_ROUNDED: rows * sizes.queries,
            plan.CONTEXT_RECORDS: records(sizes.queries),
            plan.SUMMANDS: rows * sizes.hidden * FLOAT_BYTES,
            plan.INNER_ROUNDED: rows * sizes.inner,
            plan.INNER_RECORDS: records(sizes.inner),
        }
        workspace = max(path.rows * (capacity + 1), 2 * group * rows, sizes.hidden) * FLOAT_BYTES
        return cls(num_prefix, num_rows, capacity, rows, parts, round_up(workspace, ALIGNMENT))

    def num_bytes(self, num_workers: int) -> int:
        """Memory that so many workers need."""
        return sum(round_up(size, ALIGNMENT) for size in self.parts.values()) + num_workers * self.workspace_bytes

    def table(self, memory: AnyArray) -> Int64Vector:
        """The text's table, with everything that lies in its memory."""
        table = np.zeros(plan.TEXT_FIELDS, np.int64)
        table[[plan.NUM_PREFIX, plan.CAPACITY, plan.BLOCK_ROWS, plan.WORKSPACE_BYTES]] = (
            self.num_prefix, self.capacity, self.rows, self.workspace_bytes
        )  # fmt: skip
        address = memory.ctypes.data
        for field, size in self.parts.items():
            table[field] = address
            address += round_up(size, ALIGNMENT)
        table[plan.WORKSPACES] = address
        return table
