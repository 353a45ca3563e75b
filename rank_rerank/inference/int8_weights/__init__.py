"""An encoder's weights in INT8, as plain arrays: read from this library's ONNX files, or rounded from floats."""
