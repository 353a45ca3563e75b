"""Which runtime computes a checkpoint: decided here, by what the checkpoint is made of and what is asked for."""

from rank_rerank.checkpoints.checkpoint import Checkpoint, CrossEncoderCheckpoint
from rank_rerank.devices import import_optional
from rank_rerank.errors import DeviceError
from rank_rerank.inference.transformer import PairTransformer, Transformer


def choose_runtime(
    checkpoint: Checkpoint, *, device: str = "auto", precision: str = "auto", num_threads: int | None = None
) -> Transformer:
    """Open a checkpoint in its runtime: ONNX Runtime for an ONNX file, PyTorch for weights.

    Args:
        checkpoint: of a late-interaction model.
        device: "auto", "cpu", or a GPU's name, which needs weights and PyTorch.
        precision: for PyTorch, see TorchTransformer; an ONNX file has the one it was made in.
        num_threads: calls at once in ONNX Runtime; PyTorch has a setting of its own.

    Raises:
        DeviceError: the device is not here, or the file cannot run on it.
        MissingDependencyError: the checkpoint needs PyTorch, which is not installed.
        CheckpointFormatError: the files are damaged.
    """
    if checkpoint.is_onnx:
        from rank_rerank.inference.onnx_transformer import OnnxTransformer  # noqa: PLC0415 - the runtime is chosen here

        if device not in ("auto", "cpu"):
            raise DeviceError(
                f'{checkpoint.model_file.name} runs on "cpu"; for "{device[:40]}" load a model with weights'
            )
        return OnnxTransformer(checkpoint.model_file, checkpoint.dim, checkpoint.precision, num_threads)
    _check_torch(checkpoint)
    from rank_rerank.inference.torch_transformer import TorchTransformer  # noqa: PLC0415

    return TorchTransformer(checkpoint, device, precision)


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
