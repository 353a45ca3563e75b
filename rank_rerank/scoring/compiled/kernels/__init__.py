"""The compiled MaxSim loop in numba's Python. Imported only to compile."""
