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
        model: serialized ONNX model, or the path of one whose weights lie beside it.
        num_threads: threads inside a call.
        optimize: whether ONNX Runtime may rewrite the graph.
        output: the output that encode() gives.
    """

    def __init__(
        self, model: bytes | str, num_threads: int = 1, *, optimize: bool = True, output: str = OUTPUT_NAME
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.enable_mem_pattern = False
        options.log_severity_level = ERROR
        if not optimize:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._output = output
        self._session: Any = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(self, outputs: Sequence[str], texts: Sequence[Int64Vector], length: int = 0) -> list[AnyArray]:
        """Run texts as one batch.

        Args:
            outputs: names of graph outputs.
            texts: token ids of each text, [num_tokens]; for a graph of pairs [2, num_tokens], with token types below.
            length: pad to this many tokens, or to the longest text if that is longer.
        """
        width = max(length, *(text.shape[-1] for text in texts))
        token_ids = np.zeros((len(texts), width), np.int64)
        attention_mask, token_types = np.zeros_like(token_ids), np.zeros_like(token_ids)
        for row, text in enumerate(texts):
            rows = np.atleast_2d(text)
            token_ids[row, : rows.shape[1]] = rows[0]
            attention_mask[row, : rows.shape[1]] = 1
            token_types[row, : rows.shape[1]] = rows[-1]
        named = zip((*INPUT_NAMES, "token_type_ids"), (token_ids, attention_mask, token_types), strict=True)
        wanted = {value.name for value in self._session.get_inputs()}
        return self._session.run(list(outputs), {name: values for name, values in named if name in wanted})

    def encode(self, texts: Sequence[Int64Vector], length: int = 0) -> list[Float32Matrix]:
        """Token vectors of texts that share a batch, padding removed: [num_tokens, dim] each; of pairs [1]."""
        padded = self.run([self._output], texts, length)[0]
        return [padded[row, : text.shape[-1]] for row, text in enumerate(texts)]
