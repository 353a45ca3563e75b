"""What a MaxSim call costs one thread, and how many threads it is worth.

The rates were measured with benchmarks/bench_call_overhead.py --costs on an AMD EPYC of family 26, and guessed for Arm;
a processor that is twice as slow or fast shares calls that are half or twice as large.
"""

from rank_rerank.devices import default_num_threads
from rank_rerank.kernels.processor import VectorPath
from rank_rerank.scoring.compiled.query_panels import QueryPanels
from rank_rerank.scoring.document_view import DocumentView

# products of 32-bit lanes per microsecond: of floats and signs, of int8 documents
LANE_PRODUCTS_PER_US = {
    "avx512-vnni": (130_000, 118_000),
    "avx512": (130_000, 105_000),
    "avx2-vnni": (65_000, 64_000),
    "avx2": (65_000, 26_000),
    "neon-dotprod": (30_000, 30_000),
    "neon": (30_000, 10_000),
    "portable": (20_000, 6_000),
}
BYTES_PER_US = 16_000

# A call of 20 documents of 180 tokens, 128 dims, float32 took 115 µs on one thread and 71 on two at best: from here on
# a thread that lingers saves at least as much time as it costs.
SHARING_US = 100
# to wake a thread that sleeps takes 20 to 50 µs, of both
WAKING_US = 250
# of work for each thread
THREAD_US = 30


def estimate_us(panels: QueryPanels, documents: DocumentView, path: VectorPath) -> float:
    """About how many microseconds one thread needs."""
    return documents.num_tokens * token_us(panels, documents.row_stride, path)


def token_us(panels: QueryPanels, row_stride: int, path: VectorPath) -> float:
    """About how many microseconds a document token takes: what takes longer, to multiply or to read from memory."""
    lane_products = panels.num_columns * panels.num_steps
    rate = LANE_PRODUCTS_PER_US[path.name][panels.form == "int8"]
    return max(lane_products / rate, row_stride / BYTES_PER_US)


def count_threads(us: float, num_documents: int, num_threads: int | None) -> int:
    """One where threads would not pay, otherwise what the caller or the environment says, if there is work for all."""
    if us < SHARING_US:
        return 1
    wanted = default_num_threads() if num_threads is None else num_threads
    return min(wanted, num_documents, int(us / THREAD_US))
