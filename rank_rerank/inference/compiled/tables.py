"""What the compiled forward pass reads: tables of 64-bit integers.

The schedule says what is done in which order. The model's table says where its weights are, the text's table where its
tokens and activations are. The names below are indices into these tables.
"""

from typing import Literal, TypeAlias

from rank_rerank.kernels.processor import VectorPath

# the model: sizes, then addresses
(
    NUM_LAYERS, HIDDEN, HIDDEN_COLUMNS, NUM_HEADS, HEAD, INNER, INNER_COLUMNS, GROUP,
    POSITIONS, NUMBERS,
    EMBEDDING_GAMMA, EMBEDDING_BETA, FIRST_FACTORS, DIM, RESULT_BYTES, RESULT_BUFFER,
    IS_GELU, IS_GATED, BAND, EMBEDDING, EMBEDDING_NUMBERS,
    CENTER, BIASES, BIAS_BYTES, TABLE_COLUMNS, ZEROS,
    FIRST_LAYER,
) = range(27)  # fmt: skip

# each layer, from FIRST_LAYER on; a linear layer is its panels, its columns and its product (an index into
# `linear_products`), a norm its gamma and its beta;
# WINDOW is how far a token sees to each side, 0 for the whole text; ANGLES the index of the rotary angles in the text's
# table, 0 for none;
# BAND points to the middle of `rotary_angles.make_band`; KEY_TABLE and QUERY_TABLE are of distances, 0 for none: see
# `distance_tables`, as for CENTER, BIASES, BIAS_BYTES and TABLE_COLUMNS; ZEROS is a panel's row of zeros
(
    HEADS_PANELS, HEADS_COLUMNS, HEADS_PRODUCT, OUTPUT_PANELS, OUTPUT_COLUMNS, OUTPUT_PRODUCT,
    ATTENTION_GAMMA, ATTENTION_BETA, FEED_FACTORS,
    UP_PANELS, UP_COLUMNS, UP_PRODUCT, DOWN_PANELS, DOWN_COLUMNS, DOWN_PRODUCT,
    FEED_GAMMA, FEED_BETA, NEXT_FACTORS,
    WINDOW, ANGLES, KEY_TABLE, KEY_TABLE_SCALES, QUERY_TABLE, QUERY_TABLE_SCALES,
    LAYER_FIELDS,
) = range(25)  # fmt: skip

# each Dense layer, after the layers: what it reads and writes, each a buffer (0: the stream) and bytes from row to
# row; CURVE are the numbers of `make_curve`, 0 for none; RESIDUAL_PANELS what is multiplied with the input and added,
# IS_RESIDUAL whether the input itself is
(
    SOURCE, SOURCE_BYTES, DENSE_SIZE, TARGET, TARGET_BYTES, DENSE_PANELS, DENSE_BIAS, CURVE, RESIDUAL_PANELS,
    IS_RESIDUAL,
    DENSE_FIELDS,
) = range(11)  # fmt: skip
# buffers of rows of a block: Dense layers write the first two in turn, products with RESIDUAL_PANELS the third
STREAM_BUFFER, FIRST_BUFFER, SECOND_BUFFER, RESIDUAL_BUFFER = range(4)

# one text: sizes, then addresses of its input, its output, its activations, and of what workers share; TOKEN_IDS are
# rows of WORDS
(
    NUM_TOKENS, NUM_KEYS, BLOCK_ROWS, NUM_STAGES, WORKSPACE_BYTES,
    TOKEN_IDS, WORDS, WORD_SCALES, POSITION_ROWS, MASKS, VECTORS, GLOBAL_ANGLES, LOCAL_ANGLES, HAVE_KEYS,
    STREAM, ROUNDED, RECORDS, CONTEXT, BLOCK, BLOCK_RECORDS, SUMMANDS, WIDE, WORKSPACES, SHARED,
    DENSE, BUFFER_BYTES,
    TEXT_FIELDS,
) = range(27)  # fmt: skip

# what workers share, at the address SHARED: 64-bit integers
TICKET, DONE, SHARED_FIELDS = range(3)

# a stage of the schedule
KIND, LAYER, FIRST_ROW, STAGE_FIELDS = range(4)

# what a stage does
(
    EMBED, ATTEND, ROUND_CONTEXT, PROJECT_CONTEXT, ADD_CONTEXT, PROJECT_UP, ACTIVATE, PROJECT_DOWN, ADD_FEED,
    KEEP_CONTEXT, KEEP_FEED, EMBED_NARROW, ROUND_STREAM, PROJECT_VECTORS, FINISH_VECTORS,
    WRITE_PROJECTED, WRITE_UNIT, WRITE_HIDDEN,
) = range(18)  # fmt: skip

NUM_ARGUMENTS = 4
AttentionProduct: TypeAlias = Literal["float32", "int16"]
LinearProduct: TypeAlias = Literal["int8", "byte-pairs", "bytes-less-128"]
RECORD_BYTES = 8  # scale and offset of a group


def window_block(path: VectorPath) -> tuple[int, int]:
    """Rows that see the same keys in a layer with windows, and what the first key is a multiple of.

    The order of a row's sums depends on both: they are the same on all x86 paths, whole tiles and panels of each.
    """
    return (12, 32) if path.architecture == "x86" else (path.rows, path.panel_vectors * path.lanes)


def head_multiple(path: VectorPath) -> int:
    """What the kernels' size of a head is a multiple of: whole panels, the same on all x86 paths."""
    return window_block(path)[1]


def distance_margin(path: VectorPath) -> int:
    """How many numbers a tile of products with distances writes before its first and after its last column."""
    return path.rows + path.panel_vectors * path.lanes


def linear_products(path: VectorPath) -> tuple[LinearProduct, ...]:
    """How a path multiplies bytes; PRODUCT of a layer is an index: the first way for most weights, the last for all."""
    return ("byte-pairs", "bytes-less-128") if path.integer_product == "x86-pairs" else ("int8",)
