"""OnnxCrossEncoder: the logits of pairs in ONNX Runtime; batches and threads as in OnnxTransformer."""

from pathlib import Path

import numpy as np

from rank_rerank.arrays import Float32Vector
from rank_rerank.errors import CheckpointFormatError
from rank_rerank.inference.execution_provider import ExecutionProvider
from rank_rerank.inference.onnx_runtime.onnx_session import OnnxSession, describe
from rank_rerank.inference.onnx_runtime.onnx_transformer import TOKEN_BUDGET
from rank_rerank.kernels.thread_pool import run_tasks
from rank_rerank.tokenization.batches import plan_batches
from rank_rerank.tokenization.token_batch import TokenBatch


class OnnxCrossEncoder:
    """A cross-encoder in an ONNX file with the output ``logits`` [batch, 1].

    Args:
        model_file: the ONNX file.
        precision: "int8" or "fp32", for people.
        num_threads: calls that run at once; None for the default.
        provider: what ONNX Runtime computes on; None for the CPU.

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
    ) -> None:
        self._arguments = (model_file, precision, num_threads, provider)
        self._session = OnnxSession(model_file, provider)
        shapes = {output.name: output.shape for output in self._session.outputs}
        shape = shapes.get("logits", [])
        if len(shape) != 2 or (isinstance(shape[1], int) and shape[1] != 1):  # noqa: PLR2004
            raise CheckpointFormatError(f'{model_file.name} must give "logits" with one number per pair')

    def __reduce__(self) -> tuple[type["OnnxCrossEncoder"], tuple[object, ...]]:
        return (type(self), self._arguments)

    @property
    def description(self) -> str:
        """Runtime, device and precision, for people."""
        return describe(self._arguments[1], self._session)

    def logits(self, batch: TokenBatch) -> Float32Vector:
        """The logit of every pair: see PairTransformer.logits."""
        session = self._session.get()
        result = np.full(batch.num_texts, -np.inf, np.float32)
        plan = plan_batches(batch.lengths, TOKEN_BUDGET)

        def run(number: int) -> None:
            logits = session.run(["logits"], self._session.pad(batch, plan[number]))[0]
            if logits.shape != (len(plan[number]), 1):
                raise CheckpointFormatError(f"{self._arguments[0].name} must give one number per pair")
            result[plan[number]] = logits[:, 0]

        run_tasks(run, len(plan), self._arguments[2])
        return result
