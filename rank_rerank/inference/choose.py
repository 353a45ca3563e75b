"""Which runtime computes a checkpoint: decided here, by what the checkpoint is made of and what is asked for."""

import logging

from rank_rerank.checkpoints.checkpoint import Checkpoint
from rank_rerank.checkpoints.transformer_config import read_transformer_config
from rank_rerank.errors import CheckpointFormatError, DeviceError, InvalidArgumentError
from rank_rerank.inference.transformer import Transformer
from rank_rerank.kernels.processor import VectorPath, vector_path

RUNTIMES = ("auto", "numba", "onnx")

logger = logging.getLogger(__name__)


def choose_runtime(
    checkpoint: Checkpoint, *, device: str = "auto", num_threads: int | None = None, runtime: str = "auto"
) -> Transformer:
    """Open a checkpoint in its runtime.

    "auto" takes numba where it computes the model on this processor, else ONNX Runtime, and says so at INFO.

    Args:
        checkpoint: of a late-interaction model.
        device: "auto" or "cpu".
        num_threads: texts at once; None for the default.
        runtime: one of RUNTIMES.

    Raises:
        DeviceError: the device is not here, or the processor cannot run the runtime that was asked for.
        CheckpointFormatError: the files are damaged, or the runtime that was asked for does not compute the model.
        InvalidArgumentError: an unknown runtime.
    """
    if device not in ("auto", "cpu"):
        raise DeviceError(f'device "{device}" is not available: this version encodes on "cpu"')
    if runtime not in RUNTIMES:
        raise InvalidArgumentError(f"runtime must be one of {', '.join(RUNTIMES)}")
    if runtime != "onnx":
        try:
            return _open_numba(checkpoint, vector_path(), num_threads)
        except (CheckpointFormatError, DeviceError) as error:
            if runtime == "numba":
                raise
            logger.info("model %s: ONNX Runtime instead of the compiled runtime: %s", checkpoint.name, error)
    from rank_rerank.inference.onnx_transformer import OnnxTransformer  # noqa: PLC0415 - the runtime is chosen here

    return OnnxTransformer(checkpoint.model_file, checkpoint.dim, checkpoint.precision, num_threads)


def _open_numba(checkpoint: Checkpoint, path: VectorPath, num_threads: int | None) -> Transformer:
    from rank_rerank.inference.numba_transformer import NumbaTransformer  # noqa: PLC0415 - the runtime is chosen here

    if checkpoint.precision != "int8":
        raise CheckpointFormatError(
            f"{checkpoint.model_file.name} is {checkpoint.precision}, and only int8 is compiled"
        )
    transformer = NumbaTransformer.from_onnx(
        checkpoint.model_file, read_transformer_config(checkpoint.folder), num_threads, path
    )
    if transformer.dim != checkpoint.dim:
        raise CheckpointFormatError(
            f"the model gives {transformer.dim} numbers a token, its settings say {checkpoint.dim}"
        )
    return transformer
