"""The forward pass, stage by stage, in the order of the paper; the compiled code follows it.

For each layer (Vaswani et al. 2017, section 3; Devlin et al. 2019), with x the stream of a text's tokens and every
linear layer int8 on rounded rows::

    for each head:  q, k, v = x Wq, x Wk, x Wv;  context = softmax(q kᵀ) v     1/√d and log2(e) are inside Wq
    x = LayerNorm(x + context Wo)
    x = LayerNorm(x + activation(x Wup) Wdown)

ModernBERT (Warner et al. 2024) normalizes what goes into a block and keeps the sum as it is; one norm ends the pass::

    n = LayerNorm(x), in the first layer x;  for each head as above, from n, with q and k rotated by their positions
    n = LayerNorm(x = x + context Wo)
    x = x + (activation(n Wup) * n Wgate) Wdown

Attention needs all rows of the text; everything else runs over blocks of rows, so that a block's activations stay in
the second-level cache from stage to stage.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np

from rank_rerank.arrays import Int64Matrix
from rank_rerank.inference.compiled.tables import (
    ACTIVATE,
    ADD_CONTEXT,
    ADD_FEED,
    ATTEND,
    EMBED,
    EMBED_NARROW,
    FINISH_VECTORS,
    FIRST_LAYER,
    KEEP_CONTEXT,
    KEEP_FEED,
    LAYER_FIELDS,
    PROJECT_CONTEXT,
    PROJECT_DOWN,
    PROJECT_UP,
    PROJECT_VECTORS,
    ROUND_CONTEXT,
    ROUND_STREAM,
    WRITE_HIDDEN,
    WRITE_PROJECTED,
    WRITE_UNIT,
)

Output: TypeAlias = Literal["projected", "unit", "hidden", "first"]

AFTER_ATTENTION = (
    ROUND_CONTEXT, PROJECT_CONTEXT, ADD_CONTEXT,
    PROJECT_UP, ACTIVATE, PROJECT_DOWN, ADD_FEED,
)  # fmt: skip
# where the sum goes on as it is, and only what the next layer reads is normalized
KEPT = {ADD_CONTEXT: KEEP_CONTEXT, ADD_FEED: KEEP_FEED}

OUTPUTS: dict[Output, int] = {
    "projected": WRITE_PROJECTED,
    "unit": WRITE_UNIT,
    "hidden": WRITE_HIDDEN,
    "first": WRITE_HIDDEN,
}


@dataclass(frozen=True)
class ModelStages:
    """What a schedule depends on of a model.

    Attributes:
        num_layers: layers.
        is_pre_norm: the model is ModernBERT.
        embedding: where the table of the layer begins that widens embeddings (ELECTRA); 0 for none.
        dense: where each Dense layer's table begins, and whether it has an activation or a residual.
    """

    num_layers: int
    is_pre_norm: bool = False
    embedding: int = 0
    dense: tuple[tuple[int, bool], ...] = ()


@lru_cache(maxsize=256)
def make_schedule(model: ModelStages, num_blocks: int, block_rows: int, output: Output) -> Int64Matrix:
    """The stages of a text: [num_stages, 3] int64, what is done, where the layer's table begins, the first row.

    Args:
        model: its stages.
        num_blocks: of the text.
        block_rows: rows of a block; the last one may have less.
        output: "projected": what the Dense layers make of x, in float32, of unit length; "unit": x of unit length;
            "hidden": x; "first": x of the first block, for which the last layer leaves the others out after its
            attention.
    """
    num_layers = model.num_layers
    first_rows = [block * block_rows for block in range(num_blocks)]
    stages = [stage for row in first_rows for stage in _embedding(model.embedding, row)]
    for number in range(num_layers):
        layer = FIRST_LAYER + number * LAYER_FIELDS
        stages.append((ATTEND, layer, 0))
        is_last = number == num_layers - 1
        if is_last and output == "first":
            first_rows = first_rows[:1]
        kinds = AFTER_ATTENTION
        if model.is_pre_norm:
            kinds = tuple(KEPT.get(kind, kind) for kind in AFTER_ATTENTION)
            if is_last:
                kinds = (*kinds[:-1], ADD_FEED)  # the last sum is not needed as it is
        stages += [(kind, layer, row) for row in first_rows for kind in kinds]
    dense = model.dense if output == "projected" else ()
    for row in first_rows:
        for slot, has_end in dense:
            stages += [(PROJECT_VECTORS, slot, row), *([(FINISH_VECTORS, slot, row)] if has_end else [])]
        stages.append((OUTPUTS[output], 0, row))
    return np.array(stages, np.int64)


def _embedding(slot: int, row: int) -> list[tuple[int, int, int]]:
    """Words and positions become the stream; through a layer of its own where they are narrower."""
    if slot == 0:
        return [(EMBED, 0, row)]
    return [(EMBED_NARROW, 0, row), (PROJECT_VECTORS, slot, row), (ROUND_STREAM, 0, row)]
