"""What compiled kernels share: the thread pool, the compilation cache, processor features."""
