"""Causal language models in compiled INT8 kernels: the tables that the pass reads, and how it is opened and run."""
