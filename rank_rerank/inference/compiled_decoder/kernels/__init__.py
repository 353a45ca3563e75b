"""The compiled pass of a causal language model, in numba's Python; imported only to compile it."""
