"""Which runtime computes a checkpoint: decided here, by what the checkpoint is made of and what is asked for."""

import logging
from importlib.util import find_spec

import numpy as np

from rank_rerank.checkpoints.checkpoint import Checkpoint, CrossEncoderCheckpoint
from rank_rerank.checkpoints.dense_layers import read_dense_tensors
from rank_rerank.checkpoints.encoder_tensors import read_encoder_tensors
from rank_rerank.checkpoints.safetensors_file import TensorFiles
from rank_rerank.checkpoints.transformer_config import read_transformer_config
from rank_rerank.devices import import_optional
from rank_rerank.errors import CheckpointFormatError, DeviceError
from rank_rerank.inference.transformer import PairTransformer, Transformer
from rank_rerank.kernels.processor import vector_path

logger = logging.getLogger("rank_rerank")


def choose_runtime(
    checkpoint: Checkpoint,
    *,
    device: str = "auto",
    precision: str = "auto",
    num_threads: int | None = None,
    runtime: str = "auto",
) -> Transformer:
    """Open a checkpoint in its runtime.

    "auto" takes for an INT8 ONNX file compiled kernels where they compute the model on this processor, else ONNX
    Runtime, which is said at INFO; for weights PyTorch, and compiled kernels where INT8 is asked for, or PyTorch is not
    installed, which is said at INFO.

    Args:
        checkpoint: of a late-interaction model.
        device: "auto", "cpu", or a GPU's name, which needs weights and PyTorch.
        precision: for PyTorch, see TorchTransformer; an ONNX file has the one it was made in.
        num_threads: texts at once; None for the default. PyTorch has a setting of its own.
        runtime: as for TokenEncoder.from_pretrained.

    Raises:
        DeviceError: the device is not here, or the file or the processor cannot run what was asked for.
        MissingDependencyError: the checkpoint needs PyTorch, which is not installed.
        CheckpointFormatError: the files are damaged, or the runtime that was asked for does not compute the model.
    """
    if checkpoint.is_onnx:
        _check_onnx_device(checkpoint, device)
        if runtime != "onnx":
            try:
                return _open_compiled(checkpoint, num_threads)
            except (CheckpointFormatError, DeviceError) as error:
                if runtime == "numba":
                    raise
                logger.info("model %s: ONNX Runtime instead of compiled kernels: %s", checkpoint.name, error)
        from rank_rerank.inference.onnx_transformer import OnnxTransformer  # noqa: PLC0415

        return OnnxTransformer(checkpoint.model_file, checkpoint.dim, checkpoint.precision, num_threads)
    if runtime == "numba" or precision == "int8":
        return _open_compiled_weights(checkpoint, device, num_threads)
    if precision == "auto" and device in ("auto", "cpu") and find_spec("torch") is None:
        try:
            transformer = _open_compiled_weights(checkpoint, device, num_threads)
        except (CheckpointFormatError, DeviceError) as error:
            logger.info("model %s: compiled kernels cannot stand in for PyTorch: %s", checkpoint.name, error)
        else:
            logger.info("model %s: rounded to INT8 for compiled kernels: PyTorch is not installed", checkpoint.name)
            return transformer
    _check_torch(checkpoint)
    from rank_rerank.inference.torch_transformer import TorchTransformer  # noqa: PLC0415

    return TorchTransformer(checkpoint, device, precision)


def _open_compiled(checkpoint: Checkpoint, num_threads: int | None) -> Transformer:
    from rank_rerank.inference.numba_transformer import NumbaTransformer  # noqa: PLC0415 - the runtime is chosen here

    if checkpoint.precision != "int8":
        raise CheckpointFormatError(
            f"{checkpoint.model_file.name} is {checkpoint.precision}, and only INT8 is compiled"
        )
    config = read_transformer_config(checkpoint.folder)
    transformer = NumbaTransformer.from_onnx(checkpoint.model_file, config, num_threads, vector_path())
    if transformer.dim != checkpoint.dim:
        raise CheckpointFormatError(
            f"the model gives {transformer.dim} numbers a token, its settings say {checkpoint.dim}"
        )
    return transformer


def _open_compiled_weights(checkpoint: Checkpoint, device: str, num_threads: int | None) -> Transformer:
    """Round an encoder's weights to INT8 as they are loaded; the projection stays in float32."""
    from rank_rerank.inference.numba_transformer import NumbaTransformer  # noqa: PLC0415 - the runtime is chosen here
    from rank_rerank.inference.transformer_model import Projection  # noqa: PLC0415

    if device not in ("auto", "cpu"):
        raise DeviceError(f'compiled kernels run on "cpu", not on "{device[:40]}"')
    config = checkpoint.transformer
    if config is None or len(checkpoint.dense) > 1:
        raise CheckpointFormatError(
            f'{checkpoint.name}: compiled kernels compute one linear projection at most; use runtime="torch"'
        )
    projection = None
    for layer in checkpoint.dense:
        if layer.activation != "identity" or layer.is_residual:
            raise CheckpointFormatError(
                f"{checkpoint.name}: compiled kernels compute no projection with an activation or a residual; use "
                'runtime="torch"'
            )
        tensors = read_dense_tensors(layer)
        bias = tensors.get("linear.bias")
        projection = Projection(
            np.ascontiguousarray(tensors["linear.weight"], np.float32),
            np.zeros(layer.out_features, np.float32) if bias is None else np.ascontiguousarray(bias, np.float32),
        )
    weights = read_encoder_tensors(TensorFiles(checkpoint.model_file), config)
    return NumbaTransformer.from_tensors(weights, config, projection, num_threads, vector_path())


def choose_pair_runtime(
    checkpoint: CrossEncoderCheckpoint,
    *,
    device: str = "auto",
    precision: str = "auto",
    num_threads: int | None = None,
) -> PairTransformer:
    """Open a cross-encoder in its runtime; arguments and errors as choose_runtime."""
    if checkpoint.is_onnx:
        from rank_rerank.inference.onnx_cross_encoder import OnnxCrossEncoder  # noqa: PLC0415

        _check_onnx_device(checkpoint, device)
        return OnnxCrossEncoder(checkpoint.model_file, checkpoint.precision, num_threads)
    _check_torch(checkpoint)
    from rank_rerank.inference.torch_cross_encoder import TorchCrossEncoder  # noqa: PLC0415

    return TorchCrossEncoder(checkpoint, device, precision)


def _check_onnx_device(checkpoint: Checkpoint | CrossEncoderCheckpoint, device: str) -> None:
    if device not in ("auto", "cpu"):
        raise DeviceError(f'{checkpoint.model_file.name} runs on "cpu"; for "{device[:40]}" load a model with weights')


def _check_torch(checkpoint: Checkpoint | CrossEncoderCheckpoint) -> None:
    import_optional("torch", "torch", f"The model {checkpoint.name} (weights in safetensors)")
