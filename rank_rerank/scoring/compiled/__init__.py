"""MaxSim on the CPU in compiled kernels."""
