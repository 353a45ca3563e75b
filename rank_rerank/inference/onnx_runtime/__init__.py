"""Models in ONNX Runtime, and its execution providers."""
