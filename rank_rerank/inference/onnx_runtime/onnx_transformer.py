"""OnnxTransformer: ONNX Runtime, on the CPU unless another execution provider is asked for.

Every call of the model runs on one thread, and several calls run side by side: that beats one call on many threads,
and it makes results independent of the thread count by construction. Texts are padded only inside a call, to the
longest text that shares it.
"""

from pathlib import Path
from typing import Any

import numpy as np

from rank_rerank.arrays import Float32Matrix, Int64Vector
from rank_rerank.checkpoints.checkpoint import OnnxOutput
from rank_rerank.errors import CheckpointFormatError
from rank_rerank.inference.execution_provider import ExecutionProvider
from rank_rerank.inference.onnx_runtime.onnx_session import OnnxSession, describe
from rank_rerank.kernels.thread_pool import run_tasks
from rank_rerank.tokenization.batches import plan_batches
from rank_rerank.tokenization.token_batch import TokenBatch

# padded tokens per call: short texts share one, for a call has a cost of its own; longer texts are faster alone
TOKEN_BUDGET = 256
MIN_NORM = np.float32(1e-12)
ONLY_OUTPUT = OnnxOutput()


class OnnxTransformer:
    """A token encoder in an ONNX file whose graph ends with token vectors.

    The file's inputs are ``input_ids`` and ``attention_mask`` and, if it lists it, ``token_type_ids``; the output
    that is read is [batch, length, dim] float32.

    Args:
        model_file: the ONNX file.
        dim: what the checkpoint's settings say the file gives.
        precision: "int8" or "fp32", for people.
        num_threads: calls that run at once; None for the default.
        provider: what ONNX Runtime computes on; None for the CPU.
        output: which output is read, and whether its vectors are normalised here.

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
        output: OnnxOutput = ONLY_OUTPUT,
    ) -> None:
        self._arguments = (model_file, dim, precision, num_threads, provider, output)
        self._model_file = model_file
        self._dim = dim
        self._num_threads = num_threads
        self._normalize = output.normalize
        self._session = OnnxSession(model_file, provider)
        self._output = _check_output(self._session, model_file, dim, output.name)

    def __reduce__(self) -> tuple[type["OnnxTransformer"], tuple[object, ...]]:
        return (type(self), self._arguments)

    @property
    def dim(self) -> int:
        """Numbers per token vector."""
        return self._dim

    @property
    def description(self) -> str:
        """Runtime, device and precision, for people."""
        return describe(self._arguments[2], self._session)

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
            if self._normalize:
                lengths = np.linalg.norm(vectors[start:end], axis=1, keepdims=True)
                vectors[start:end] /= np.maximum(lengths, MIN_NORM)


def _check_output(session: OnnxSession, model_file: Path, dim: int, name: str) -> str:
    """Refuse a graph that is not a token encoder; give the name of its output."""
    shapes = {output.name: output.shape for output in session.outputs}
    if name not in shapes and (name or len(shapes) != 1):
        raise CheckpointFormatError(f"{model_file.name} must give one output, the vectors of tokens")
    name = name or next(iter(shapes))
    # an axis that the file leaves open is a name, and compared with the numbers when they come
    if len(shapes[name]) != 3 or (isinstance(shapes[name][2], int) and shapes[name][2] != dim):  # noqa: PLR2004
        raise CheckpointFormatError(f"{model_file.name} gives {shapes[name]}, the settings say [batch, length, {dim}]")
    return name
