"""Rerank search candidates with late interaction (ColBERT): exact, fast on CPU, no torch needed."""
