"""MaxSim where tensors live: PyTorch, Triton and CuPy."""
