"""OnnxTransformer: ONNX Runtime on the CPU.

Every call of the model runs on one thread, and several calls run side by side: that beats one call on many threads,
and it makes results independent of the thread count by construction. Texts are padded only inside a call, to the
longest text that shares it.
"""

import os
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import onnxruntime

from rank_rerank.arrays import Float32Matrix, Int64Matrix, Int64Vector
from rank_rerank.errors import CheckpointFormatError
from rank_rerank.kernels.thread_pool import run_tasks
from rank_rerank.tokenization.batches import plan_batches
from rank_rerank.tokenization.token_batch import TokenBatch

# padded tokens a call: a call has a cost of its own, and larger ones leave the threads unevenly busy at the end
TOKEN_BUDGET = 2048
INPUTS = {"input_ids", "attention_mask", "token_type_ids"}
FATAL = 4


class OnnxTransformer:
    """A token encoder in an ONNX file whose graph ends with unit vectors.

    The file's inputs are ``input_ids`` and ``attention_mask`` and, if it lists it, ``token_type_ids``; its one output
    is [batch, length, dim] float32.

    Args:
        model_file: the ONNX file.
        dim: what the checkpoint's settings say the file gives.
        precision: "int8" or "fp32", for people.
        num_threads: calls that run at once; None for the default.

    Raises:
        CheckpointFormatError: the file is not such a model.
    """

    def __init__(self, model_file: Path, dim: int, precision: str, num_threads: int | None = None) -> None:
        self._model_file = model_file
        self._dim = dim
        self._precision = precision
        self._num_threads = num_threads
        self._lock = Lock()
        self._session = _open(model_file)
        self._process = os.getpid()
        self._output = _check_interface(self._session, model_file, dim)
        self._input_names = [tensor.name for tensor in self._session.get_inputs()]

    def __reduce__(self) -> tuple[type["OnnxTransformer"], tuple[Path, int, str, int | None]]:
        return (type(self), (self._model_file, self._dim, self._precision, self._num_threads))

    @property
    def dim(self) -> int:
        """Numbers a token vector."""
        return self._dim

    @property
    def description(self) -> str:
        """Runtime, device and precision, for people."""
        return f"ONNX Runtime {onnxruntime.__version__}, cpu, {self._precision}"

    def encode(self, batch: TokenBatch) -> Float32Matrix:
        """Compute the vector of every token: see Transformer.encode."""
        session = self._session_of_this_process()
        vectors = np.empty((batch.num_tokens, self._dim), np.float32)
        plan = plan_batches(batch.lengths, TOKEN_BUDGET)

        def run(number: int) -> None:
            self._run(session, batch, plan[number], vectors)

        run_tasks(run, len(plan), self._num_threads)
        return vectors

    def _run(self, session: Any, batch: TokenBatch, texts: Int64Vector, vectors: Float32Matrix) -> None:
        """Encode some texts in one call and write their rows to their places in ``vectors``."""
        inputs = self._pad(batch, texts)
        padded = session.run([self._output], inputs)[0]  # [num_texts, longest, dim]
        for row, text in enumerate(texts):
            start, end = batch.offsets[text], batch.offsets[text + 1]
            vectors[start:end] = padded[row, : end - start]

    def _pad(self, batch: TokenBatch, texts: Int64Vector) -> dict[str, Int64Matrix]:
        lengths = batch.lengths[texts]
        token_ids = np.zeros((len(texts), int(lengths.max())), np.int64)
        attention_mask = np.zeros_like(token_ids)
        for row, text in enumerate(texts):
            start, end = batch.offsets[text], batch.offsets[text + 1]
            token_ids[row, : end - start] = batch.token_ids[start:end]
            attention_mask[row, : end - start] = batch.attention_mask[start:end]
        inputs = {"input_ids": token_ids, "attention_mask": attention_mask}
        if "token_type_ids" in self._input_names:
            inputs["token_type_ids"] = np.zeros_like(token_ids)
        return inputs

    def _session_of_this_process(self) -> Any:
        """A session's threads and locks do not survive a fork: a child opens its own."""
        if self._process != os.getpid():
            with self._lock:
                if self._process != os.getpid():
                    self._session = _open(self._model_file)
                    self._process = os.getpid()
        return self._session


def _open(model_file: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    # lengths vary from call to call: a memory pattern a length would pile up
    options.enable_mem_pattern = False
    options.log_severity_level = FATAL
    try:
        return onnxruntime.InferenceSession(str(model_file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the binding has an exception type a status code, under no common parent
        raise CheckpointFormatError(f"{model_file.name} cannot be opened by ONNX Runtime: {error}") from error


def _check_interface(session: Any, model_file: Path, dim: int) -> str:
    """Refuse a graph that is not a token encoder; give the name of its output."""
    inputs = {tensor.name for tensor in session.get_inputs()}
    outputs = session.get_outputs()
    if not {"input_ids", "attention_mask"} <= inputs or not inputs <= INPUTS or len(outputs) != 1:
        raise CheckpointFormatError(
            f"{model_file.name} must take input_ids, attention_mask and optionally token_type_ids and give one output"
        )
    shape = outputs[0].shape
    if len(shape) != 3 or shape[2] != dim:  # noqa: PLR2004
        raise CheckpointFormatError(f"{model_file.name} gives {shape}, the settings say [batch, length, {dim}]")
    return outputs[0].name
