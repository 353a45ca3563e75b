"""OnnxCrossEncoder: the logits of pairs in ONNX Runtime; batches and threads as in OnnxTransformer."""

from pathlib import Path
from typing import cast

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Vector, Int64Vector
from rank_rerank.errors import CheckpointFormatError
from rank_rerank.inference.execution_provider import ExecutionProvider
from rank_rerank.inference.float_head import FloatHead
from rank_rerank.inference.onnx_runtime.onnx_session import OnnxSession, describe
from rank_rerank.inference.onnx_runtime.onnx_transformer import TOKEN_BUDGET
from rank_rerank.kernels.thread_pool import run_tasks
from rank_rerank.tokenization.batches import plan_batches
from rank_rerank.tokenization.token_batch import TokenBatch

# what exporters call the last layer's output
TOKEN_OUTPUTS = ("token_embeddings", "last_hidden_state")


class OnnxCrossEncoder:
    """A cross-encoder in an ONNX file with the output ``logits`` [batch, 1], or an encoder's file and a head beside it.

    Args:
        model_file: the ONNX file.
        precision: "int8" or "fp32", for people.
        num_threads: calls that run at once; None for the default.
        provider: what ONNX Runtime computes on; None for the CPU.
        head: what makes logits of the last layer's output where the file ends there; None where the file has it.
        label: which of two numbers counts where the file gives two for a pair; the other one is taken off.

    Raises:
        CheckpointFormatError: the file is not such a model.
        DeviceError: the provider is not available, or does not run the model as it was asked to.
    """

    def __init__(
        self,
        model_file: Path,
        precision: str,
        num_threads: int | None = None,
        provider: ExecutionProvider | None = None,
        head: FloatHead | None = None,
        label: int | None = None,
    ) -> None:
        self._arguments = (model_file, precision, num_threads, provider, head, label)
        self._session = OnnxSession(model_file, provider)
        self._head = head
        shapes = {output.name: output.shape for output in self._session.outputs}
        self._output = "logits"
        if "logits" not in shapes and head is not None:
            self._output = next((name for name in TOKEN_OUTPUTS if name in shapes), "logits")
        shape = shapes.get("logits", [])
        self._width = 1 if label is None else 2
        if self._output == "logits" and (
            len(shape) != 2 or (isinstance(shape[1], int) and shape[1] != self._width)  # noqa: PLR2004
        ):
            raise CheckpointFormatError(f'{model_file.name} must give "logits" of {self._width} per pair')

    def __reduce__(self) -> tuple[type["OnnxCrossEncoder"], tuple[object, ...]]:
        return (type(self), self._arguments)

    @property
    def description(self) -> str:
        """Runtime, device and precision, for people."""
        return describe(self._arguments[1], self._session)

    def logits(self, batch: TokenBatch) -> Float32Vector:
        """The logit of every pair: see PairTransformer.logits."""
        session, label = self._session.get(), self._arguments[5]
        result = np.full(batch.num_texts, -np.inf, np.float32)
        plan = plan_batches(batch.lengths, TOKEN_BUDGET)

        def run(number: int) -> None:
            texts = plan[number]
            output = session.run([self._output], self._session.pad(batch, texts))[0]
            if self._output != "logits":
                result[texts] = self._read_hidden(batch, texts, output)
            elif output.shape != (len(texts), self._width):
                raise CheckpointFormatError(f'{self._arguments[0].name} must give "logits" of {self._width} per pair')
            else:
                result[texts] = output[:, 0] if label is None else output[:, label] - output[:, 1 - label]

        run_tasks(run, len(plan), self._arguments[2])
        return result

    def _read_hidden(self, batch: TokenBatch, texts: Int64Vector, hidden: AnyArray) -> list[np.float32]:
        """The logits of some pairs from [num_texts, longest, hidden_size]."""
        head = cast("FloatHead", self._head)
        if hidden.ndim != 3 or hidden.shape[2] != head.in_features:  # noqa: PLR2004
            raise CheckpointFormatError(
                f"{self._arguments[0].name} must give {head.in_features} numbers per token, as its head takes"
            )
        logits: list[np.float32] = []
        for text, rows in zip(texts, hidden, strict=True):
            start, end = batch.offsets[text], batch.offsets[text + 1]
            logits.append(head.logit(np.asarray(rows[: end - start], np.float32), batch.attention_mask[start:end]))
        return logits
