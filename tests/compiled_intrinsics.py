"""Intrinsics of the compiled encoder, compiled for the paths of this processor and called on arrays."""

import numpy as np
from numba import types

from rank_rerank.inference.compiled import loading
from rank_rerank.kernels.compilation import KernelSource
from rank_rerank.kernels.loading import KernelSpec, _open, make_code
from rank_rerank.kernels.processor import target_of, usable_vector_paths

PATHS = [path for path in usable_vector_paths() if loading.is_supported(path)]


def compiled(path, intrinsic, num_arguments):
    """The intrinsic as a function of integers and arrays."""
    functions = {
        # numba compiles functions of Python, which an intrinsic is not
        3: lambda a, b, c: intrinsic(a, b, c),  # noqa: PLW0108
        4: lambda a, b, c, d: intrinsic(a, b, c, d),  # noqa: PLW0108
        5: lambda a, b, c, d, e: intrinsic(a, b, c, d, e),  # noqa: PLW0108
        6: lambda a, b, c, d, e, f: intrinsic(a, b, c, d, e, f),  # noqa: PLW0108
        7: lambda a, b, c, d, e, f, g: intrinsic(a, b, c, d, e, f, g),  # noqa: PLW0108
    }
    source = KernelSource(functions[num_arguments], (types.int64,) * num_arguments)
    spec = KernelSpec("test", num_arguments, lambda: source, path, ())
    kernel = _open(make_code(spec, target_of(path)), spec, "compiled now")

    def call(*arguments):
        kernel.call(*(each.ctypes.data if isinstance(each, np.ndarray) else each for each in arguments))

    return call
