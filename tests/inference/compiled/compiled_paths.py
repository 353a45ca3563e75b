"""The ways to use this processor that the compiled runtime is tested in."""

from rank_rerank.inference.compiled import loading
from rank_rerank.kernels.processor import usable_vector_paths

PATHS = [path for path in usable_vector_paths() if loading.is_supported(path)]

# every path, and the fastest one with each kind of numbers that attention can be computed in
VARIANTS = [(path, loading.attention_product(path)) for path in PATHS]
if PATHS and loading.attention_product(PATHS[0]) == "int16":
    VARIANTS.append((PATHS[0], "float32"))
