"""What the compiled forward pass reads: two tables of 64-bit integers, sizes and addresses, and how it is loaded.

The first table describes the model and is made once; the second describes one text and where its activations lie.
The names below are places in these tables. Loading the pass from the cache imports neither numba nor its source.
"""

from functools import cache
from pathlib import Path
from threading import RLock

from rank_rerank.kernels.compilation import Kernel, KernelSource, load_kernel
from rank_rerank.kernels.processor import VectorPath

# the model: sizes, then addresses
(
    NUM_LAYERS, HIDDEN, HIDDEN_COLUMNS, NUM_HEADS, HEAD, INNER, INNER_COLUMNS,
    WORDS, WORD_SCALES, POSITIONS, NUMBERS,
    EMBEDDING_GAMMA, EMBEDDING_BETA, FIRST_FACTORS,
    FIRST_LAYER,
) = range(15)  # fmt: skip

# each layer, from FIRST_LAYER on; a linear layer is its panels and its columns (scale, shift, bias)
(
    HEADS_PANELS, HEADS_COLUMNS, OUTPUT_PANELS, OUTPUT_COLUMNS, ATTENTION_GAMMA, ATTENTION_BETA, FEED_FACTORS,
    UP_PANELS, UP_COLUMNS, DOWN_PANELS, DOWN_COLUMNS, FEED_GAMMA, FEED_BETA, NEXT_FACTORS,
    LAYER_FIELDS,
) = range(15)  # fmt: skip

# one text: sizes, addresses of input, output and activations, and the state that workers share
(
    NUM_TOKENS, NUM_KEYS, BLOCK_ROWS, NUM_WORKERS,
    TOKEN_IDS, MASKS, VECTORS,
    STREAM, ROUNDED, RECORDS, CONTEXT, BLOCK, BLOCK_RECORDS, SUMMANDS, WIDE,
    WORKSPACES, WORKSPACE_BYTES,
    SHARED,
    TEXT_FIELDS,
) = range(19)  # fmt: skip

# what workers share, at the address SHARED: 64-bit integers
TICKET, DONE, STAGE_KIND, STAGE_LAYER, STAGE_FIRST, STAGE_ROWS, SHARED_FIELDS = range(7)

NUM_ARGUMENTS = 3
NUM_NUMBERS = 4  # epsilon, and three coefficients of the activation

_FOLDER = Path(__file__).parent
SOURCES = [_FOLDER / f"transformer_{name}.py" for name in ("plan", "loop", "tiles", "rows", "sharing")]

_loading = RLock()


def is_supported(path: VectorPath) -> bool:
    """Whether the pass is worth running on this way to use a processor: bytes or pairs are multiplied by one instruction."""
    return path.integer_product != "words"


def load_forward(path: VectorPath) -> Kernel:
    """Load the compiled forward pass, once a process; its arguments are the two tables and the number of the worker."""
    with _loading:
        return _load(path)


@cache
def _load(path: VectorPath) -> Kernel:
    def make() -> KernelSource:
        from rank_rerank.inference.transformer_loop import make_forward  # noqa: PLC0415 - loads numba

        return make_forward(path)

    return load_kernel(f"transformer-{path.name}", NUM_ARGUMENTS, make, path, SOURCES)
