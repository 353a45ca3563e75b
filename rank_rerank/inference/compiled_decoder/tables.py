"""What the compiled pass of a decoder reads: tables of 64-bit integers.

The schedule says what is done in which order. The model's table says where its weights are, the text's table where its
activations are. The names below are indices into these tables. A linear layer is its panels and its columns, laid out
as `quantized_linear` says.
"""

from rank_rerank.inference.compiled.tables import linear_products
from rank_rerank.kernels.processor import VectorPath

# the model: sizes, then addresses; NUMBERS and HEAD_NUMBERS are epsilon and how many numbers of a row count
(
    HIDDEN, NUM_HEADS, NUM_KEY_HEADS, HEAD, INNER, GROUP, HAS_HEAD_NORMS, PRODUCT,
    NUMBERS, HEAD_NUMBERS, SILU, ZEROS,
    FIRST_LAYER,
) = range(13)  # fmt: skip

# each layer, from FIRST_LAYER on; FACTORS are an RMS norm's gamma times what divides large channels out
(
    HEADS_PANELS, HEADS_COLUMNS, OUTPUT_PANELS, OUTPUT_COLUMNS, GATE_PANELS, GATE_COLUMNS, UP_PANELS, UP_COLUMNS,
    DOWN_PANELS, DOWN_COLUMNS,
    ATTENTION_FACTORS, FEED_FACTORS, QUERY_GAMMA, KEY_GAMMA,
    LAYER_FIELDS,
) = range(15)  # fmt: skip

# one text: sizes, then addresses. Its rows come after a prefix whose keys and values were computed before.
# KEYS [key heads, capacity, head], KEY_PANELS [key heads, capacity / columns, head, columns],
# VALUES [key heads, head / columns, capacity, columns]; LAYER_BYTES is from layer to layer of KEYS and VALUES, 0 where
# each layer overwrites the one before it
(
    NUM_STAGES, NUM_PREFIX, CAPACITY, BLOCK_ROWS, WORKSPACE_BYTES, LAYER_BYTES, PREFIX_CAPACITY, PREFIX_LAYER_BYTES,
    PREFIX_KEYS, PREFIX_VALUES, ANGLES, SHARED,
    STREAM, KEYS, KEY_PANELS, VALUES,
    ROUNDED, RECORDS, QUERIES, CONTEXT, CONTEXT_ROUNDED, CONTEXT_RECORDS, SUMMANDS, INNER_ROUNDED, INNER_RECORDS,
    WORKSPACES,
    TEXT_FIELDS,
) = range(27)  # fmt: skip

# a stage of the schedule: what is done, the layer's number, and the rows of the block
KIND, LAYER, FIRST_ROW, NUM_ROWS, STAGE_FIELDS = range(5)

# what a stage does
(
    NORM, PROJECT_HEADS, PROJECT_KEYS, KEEP_KEYS, ATTEND, ROUND_CONTEXT, PROJECT_CONTEXT, ADD_NORM, FEED,
    PROJECT_DOWN, ADD,
) = range(11)  # fmt: skip

NUM_ARGUMENTS = 4
# sizes of rows and heads, and how many keys softmax sees, are multiples of it: whole panels of every x86 path
SIZE_MULTIPLE = 32


def product_of(path: VectorPath) -> int:
    """The index into `linear_products` of the way that multiplies any weights."""
    return len(linear_products(path)) - 1
