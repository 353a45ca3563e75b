"""Which runtime computes a checkpoint: decided here, by what the checkpoint is made of and what is asked for."""

from rank_rerank.checkpoints.checkpoint import Checkpoint
from rank_rerank.devices import import_optional
from rank_rerank.errors import DeviceError
from rank_rerank.inference.transformer import Transformer


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
    import_optional("torch", "torch", f"The model {checkpoint.name} (weights in safetensors)")
    from rank_rerank.inference.torch_transformer import TorchTransformer  # noqa: PLC0415

    return TorchTransformer(checkpoint, device, precision)
