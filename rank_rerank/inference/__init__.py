"""TokenBatch → model outputs: one file a runtime, one protocol."""
