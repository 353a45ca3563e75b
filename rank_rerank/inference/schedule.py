"""The forward pass, stage by stage, in the order of the paper; the compiled code follows it.

For each layer (Vaswani et al. 2017, section 3; Devlin et al. 2019), with x the stream of a text's tokens and every
linear layer int8 on rounded rows::

    for each head:  q, k, v = x Wq, x Wk, x Wv;  context = softmax(q kᵀ) v     1/√d and log2(e) are inside Wq
    x = LayerNorm(x + context Wo)
    x = LayerNorm(x + activation(x Wup) Wdown)

ModernBERT (Warner et al. 2024) normalises what goes into a block and keeps the sum as it is; one norm ends the pass::

    n = LayerNorm(x), in the first layer x;  for each head as above, from n, with q and k rotated by their positions
    n = LayerNorm(x = x + context Wo)
    x = x + (activation(n Wup) * n Wgate) Wdown

Attention needs all rows of the text; everything else runs over blocks of rows, so that a block's activations stay in
the second-level cache from stage to stage.
"""

from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np

from rank_rerank.arrays import Int64Matrix
from rank_rerank.inference.transformer_plan import (
    ACTIVATE,
    ADD_CONTEXT,
    ADD_FEED,
    ATTEND,
    EMBED,
    FIRST_LAYER,
    KEEP_CONTEXT,
    KEEP_FEED,
    LAYER_FIELDS,
    PROJECT_CONTEXT,
    PROJECT_DOWN,
    PROJECT_UP,
    PROJECT_VECTORS,
    ROUND_CONTEXT,
    WRITE_HIDDEN,
    WRITE_PROJECTED,
    WRITE_UNIT,
)

Output: TypeAlias = Literal["projected", "unit", "hidden", "first"]

AFTER_ATTENTION = (
    ROUND_CONTEXT, PROJECT_CONTEXT, ADD_CONTEXT,
    PROJECT_UP, ACTIVATE, PROJECT_DOWN, ADD_FEED,
)  # fmt: skip
# where the sum goes on as it is, and only what the next layer reads is normalised
KEPT = {ADD_CONTEXT: KEEP_CONTEXT, ADD_FEED: KEEP_FEED}

OUTPUTS: dict[Output, tuple[int, ...]] = {
    "projected": (PROJECT_VECTORS, WRITE_PROJECTED),
    "unit": (WRITE_UNIT,),
    "hidden": (WRITE_HIDDEN,),
    "first": (WRITE_HIDDEN,),
}


@lru_cache(maxsize=256)
def make_schedule(
    num_layers: int, num_blocks: int, block_rows: int, output: Output, *, is_pre_norm: bool = False
) -> Int64Matrix:
    """The stages of a text: [num_stages, 3] int64, what is done, where the layer's table begins, the first row.

    Args:
        num_layers: of the model.
        num_blocks: of the text.
        block_rows: rows of a block; the last one may have less.
        output: "projected": x P + b of unit length, in float32; "unit": x of unit length; "hidden": x;
            "first": x of the first block, for which the last layer leaves the others out behind its attention.
        is_pre_norm: the model is ModernBERT.
    """
    first_rows = [block * block_rows for block in range(num_blocks)]
    stages = [(EMBED, 0, row) for row in first_rows]
    for number in range(num_layers):
        layer = FIRST_LAYER + number * LAYER_FIELDS
        stages.append((ATTEND, layer, 0))
        is_last = number == num_layers - 1
        if is_last and output == "first":
            first_rows = first_rows[:1]
        kinds = AFTER_ATTENTION
        if is_pre_norm:
            kinds = tuple(KEPT.get(kind, kind) for kind in AFTER_ATTENTION)
            if is_last:
                kinds = (*kinds[:-1], ADD_FEED)  # the last sum is not needed as it is
        stages += [(kind, layer, row) for row in first_rows for kind in kinds]
    stages += [(kind, 0, row) for row in first_rows for kind in OUTPUTS[output]]
    return np.array(stages, np.int64)
