"""Open an ONNX file in ONNX Runtime, and pad packed tokens for it."""

import os
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import onnxruntime

from rank_rerank.arrays import Int64Matrix, Int64Vector
from rank_rerank.checkpoints.onnx_external_data import check_external_data
from rank_rerank.errors import CheckpointFormatError, DeviceError
from rank_rerank.inference.execution_provider import ExecutionProvider
from rank_rerank.inference.onnx_runtime.providers import STRICT_ENTRY, check_available, check_nodes
from rank_rerank.kernels.forking import renew_after_fork
from rank_rerank.tokenization.token_batch import TokenBatch

INPUTS = {"input_ids", "attention_mask", "token_type_ids"}
FATAL = 4


class OnnxSession:
    """A session that a forked child opens again: a session's threads and locks do not survive a fork.

    Args:
        model_file: the ONNX file.
        provider: what to compute on; None for the CPU.

    Raises:
        CheckpointFormatError: the file, or one it refers to, is damaged or hostile, or it takes other inputs than
            tokens.
        DeviceError: the provider is not available, or does not run the model as it was asked to.
    """

    def __init__(self, model_file: Path, provider: ExecutionProvider | None = None) -> None:
        self._model_file = model_file
        self._provider = provider
        self._lock = Lock()
        renew_after_fork(self, lambda session: setattr(session, "_lock", Lock()))
        check_external_data(model_file)
        #: nodes by provider; None on the CPU, where all are
        self.nodes = None if provider is None else check_nodes(model_file, provider)
        self._session = open_session(model_file, provider)
        self._process = os.getpid()
        self.input_names: list[str] = [tensor.name for tensor in self._session.get_inputs()]
        self.outputs: list[Any] = list(self._session.get_outputs())
        names = set(self.input_names)
        if not {"input_ids", "attention_mask"} <= names or not names <= INPUTS:
            raise CheckpointFormatError(
                f"{model_file.name} must take input_ids, attention_mask and optionally token_type_ids"
            )

    def get(self) -> Any:
        """The onnxruntime.InferenceSession of this process; take it once before threads share it."""
        if self._process != os.getpid():
            with self._lock:
                if self._process != os.getpid():
                    self._session = open_session(self._model_file, self._provider)
                    self._process = os.getpid()
        return self._session

    def pad(self, batch: TokenBatch, texts: Int64Vector) -> dict[str, Int64Matrix]:
        """The session's inputs for some texts: [num_texts, longest] each."""
        lengths = batch.lengths[texts]
        token_ids = np.zeros((len(texts), int(lengths.max())), np.int64)
        attention_mask = np.zeros_like(token_ids)
        token_types = np.zeros_like(token_ids)
        for row, text in enumerate(texts):
            start, end = batch.offsets[text], batch.offsets[text + 1]
            token_ids[row, : end - start] = batch.token_ids[start:end]
            attention_mask[row, : end - start] = batch.attention_mask[start:end]
            if batch.token_types is not None:
                token_types[row, : end - start] = batch.token_types[start:end]
        inputs = {"input_ids": token_ids, "attention_mask": attention_mask, "token_type_ids": token_types}
        return {name: inputs[name] for name in self.input_names}


def open_session(model_file: Path, provider: ExecutionProvider | None = None) -> Any:
    """Open a session with one thread per call.

    Args:
        model_file: the ONNX file.
        provider: what to compute on; None for the CPU.

    Raises:
        CheckpointFormatError: ONNX Runtime refuses the file, or it refers to a file that it must not read.
        DeviceError: the provider is not available, or it is strict and cannot run all of the model.
    """
    check_external_data(model_file)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    # lengths vary from call to call: a memory pattern a length would pile up
    options.enable_mem_pattern = False
    options.log_severity_level = FATAL
    if provider is not None:
        check_available(provider)
        if provider.strict:
            options.add_session_config_entry(*STRICT_ENTRY)
    providers = ["CPUExecutionProvider"] if provider is None else provider.session_arguments()
    try:
        return onnxruntime.InferenceSession(str(model_file), options, providers=providers)
    except Exception as error:  # the binding has an exception type a status code, under no common parent
        if provider is not None:
            raise DeviceError(f"{model_file.name} cannot be opened on {provider.full_name}: {error}") from error
        raise CheckpointFormatError(f"{model_file.name} cannot be opened by ONNX Runtime: {error}") from error


def describe(precision: str, session: OnnxSession) -> str:
    """Runtime, what it computes on, and precision, for people."""
    if session.nodes is None:
        where = "cpu"
    else:
        total = sum(session.nodes.values())
        where = " + ".join(f"{name} ({count} of {total} nodes)" for name, count in sorted(session.nodes.items()))
    return f"ONNX Runtime {onnxruntime.__version__}, {where}, {precision}"
