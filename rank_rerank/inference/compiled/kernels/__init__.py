"""The compiled forward pass in numba's Python. Imported only to compile."""
