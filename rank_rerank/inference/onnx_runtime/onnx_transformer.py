"""OnnxTransformer: ONNX Runtime, on the CPU unless another execution provider is asked for.

Every call of the model runs on one thread, and several calls run side by side: that beats one call on many threads,
and it makes results independent of the thread count by construction. Texts are padded only inside a call, to the
longest text that shares it.
"""

from pathlib import Path
from typing import Any

import numpy as np

from rank_rerank.arrays import Float32Matrix, Int64Vector
from rank_rerank.errors import CheckpointFormatError
from rank_rerank.inference.execution_provider import ExecutionProvider
from rank_rerank.inference.onnx_runtime.onnx_session import OnnxSession, describe
from rank_rerank.kernels.thread_pool import run_tasks
from rank_rerank.tokenization.batches import plan_batches
from rank_rerank.tokenization.token_batch import TokenBatch

# padded tokens per call: short texts share one, for a call has a cost of its own; longer texts are faster alone
TOKEN_BUDGET = 256


class OnnxTransformer:
    """A token encoder in an ONNX file whose graph ends with unit vectors.

    The file's inputs are ``input_ids`` and ``attention_mask`` and, if it lists it, ``token_type_ids``; its one output
    is [batch, length, dim] float32.

    Args:
        model_file: the ONNX file.
        dim: what the checkpoint's settings say the file gives.
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
        dim: int,
        precision: str,
        num_threads: int | None = None,
        provider: ExecutionProvider | None = None,
    ) -> None:
        self._model_file = model_file
        self._dim = dim
        self._precision = precision
        self._num_threads = num_threads
        self._provider = provider
        self._session = OnnxSession(model_file, provider)
        self._output = _check_output(self._session, model_file, dim)

    def __reduce__(self) -> tuple[type["OnnxTransformer"], tuple[object, ...]]:
        return (type(self), (self._model_file, self._dim, self._precision, self._num_threads, self._provider))

    @property
    def dim(self) -> int:
        """Numbers per token vector."""
        return self._dim

    @property
    def description(self) -> str:
        """Runtime, device and precision, for people."""
        return describe(self._precision, self._session)

    def encode(self, batch: TokenBatch) -> Float32Matrix:
        """Compute the vector of every token: see Transformer.encode."""
        session = self._session.get()
        vectors = np.empty((batch.num_tokens, self._dim), np.float32)
        plan = plan_batches(batch.lengths, TOKEN_BUDGET)

        def run(number: int) -> None:
            self._run(session, batch, plan[number], vectors)

        run_tasks(run, len(plan), self._num_threads)
        return vectors

    def _run(self, session: Any, batch: TokenBatch, texts: Int64Vector, vectors: Float32Matrix) -> None:
        """Encode some texts in one call and write their rows to where they belong in ``vectors``."""
        padded = session.run([self._output], self._session.pad(batch, texts))[0]  # [num_texts, longest, dim]
        if padded.shape[2] != self._dim:
            raise CheckpointFormatError(
                f"{self._model_file.name} gives {padded.shape[2]} numbers per token, not {self._dim}"
            )
        for row, text in enumerate(texts):
            start, end = batch.offsets[text], batch.offsets[text + 1]
            vectors[start:end] = padded[row, : end - start]


def _check_output(session: OnnxSession, model_file: Path, dim: int) -> str:
    """Refuse a graph that is not a token encoder; give the name of its output."""
    if len(session.outputs) != 1:
        raise CheckpointFormatError(f"{model_file.name} must give one output, the vectors of tokens")
    shape = session.outputs[0].shape
    # an axis that the file leaves open is a name, and compared with the numbers when they come
    if len(shape) != 3 or (isinstance(shape[2], int) and shape[2] != dim):  # noqa: PLR2004
        raise CheckpointFormatError(f"{model_file.name} gives {shape}, the settings say [batch, length, {dim}]")
    return session.outputs[0].name
