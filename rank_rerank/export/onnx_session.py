"""Run a graph that is being made: one thread, no tricks, texts as token ids."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime

from rank_rerank.arrays import AnyArray, Float32Matrix, Int64Vector
from rank_rerank.export.onnx_export import INPUT_NAMES, OUTPUT_NAME

ERROR = 3


class OnnxSession:
    """ONNX Runtime on a model in memory.

    Args:
        model: serialised ONNX model.
        num_threads: threads inside a call.
        optimise: whether ONNX Runtime may rewrite the graph.
    """

    def __init__(self, model: bytes, num_threads: int = 1, *, optimise: bool = True) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.enable_mem_pattern = False
        options.log_severity_level = ERROR
        if not optimise:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._session: Any = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(self, outputs: Sequence[str], texts: Sequence[Int64Vector], length: int = 0) -> list[AnyArray]:
        """Run texts as one batch.

        Args:
            outputs: names of graph outputs.
            texts: token ids of each text.
            length: pad to this many tokens, or to the longest text if that is longer.
        """
        width = max(length, *(len(text) for text in texts))
        token_ids = np.zeros((len(texts), width), np.int64)
        attention_mask = np.zeros_like(token_ids)
        for row, text in enumerate(texts):
            token_ids[row, : len(text)] = text
            attention_mask[row, : len(text)] = 1
        inputs = dict(zip(INPUT_NAMES, (token_ids, attention_mask), strict=True))
        return self._session.run(list(outputs), inputs)

    def encode(self, texts: Sequence[Int64Vector], length: int = 0) -> list[Float32Matrix]:
        """Token vectors of texts that share a batch, padding removed: [num_tokens, dim] each."""
        padded = self.run([OUTPUT_NAME], texts, length)[0]
        return [padded[row, : len(text)] for row, text in enumerate(texts)]
