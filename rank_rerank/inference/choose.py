"""Which runtime computes a checkpoint: decided here, by what the checkpoint is made of and what is asked for."""

from typing import TYPE_CHECKING, Any, TypeAlias, Union

from rank_rerank.checkpoints.checkpoint import Checkpoint, CrossEncoderCheckpoint
from rank_rerank.devices import import_optional
from rank_rerank.errors import DeviceError
from rank_rerank.inference.transformer import PairTransformer, Transformer

if TYPE_CHECKING:
    # loads ONNX Runtime, which a model of weights does without
    from rank_rerank.inference.providers import ExecutionProvider

Device: TypeAlias = Union[str, "ExecutionProvider"]


def choose_runtime(
    checkpoint: Checkpoint, *, device: Device = "auto", precision: str = "auto", num_threads: int | None = None
) -> Transformer:
    """Open a checkpoint in its runtime: ONNX Runtime for an ONNX file, PyTorch for weights.

    Args:
        checkpoint: of a late-interaction model.
        device: "auto", "cpu", a GPU's name; for an ONNX file also the name of an execution provider, or one with
            options.
        precision: for PyTorch, see TorchTransformer; an ONNX file has the one it was made in.
        num_threads: calls at once in ONNX Runtime; PyTorch has a setting of its own.

    Raises:
        DeviceError: the device is not here, or the file cannot run on it.
        MissingDependencyError: the checkpoint needs PyTorch, which is not installed.
        CheckpointFormatError: the files are damaged.
    """
    if checkpoint.is_onnx:
        from rank_rerank.inference.onnx_transformer import OnnxTransformer  # noqa: PLC0415 - the runtime is chosen here

        provider = _choose_provider(checkpoint, device)
        return OnnxTransformer(checkpoint.model_file, checkpoint.dim, checkpoint.precision, num_threads, provider)
    torch_device = _check_torch(checkpoint, device)
    from rank_rerank.inference.torch_transformer import TorchTransformer  # noqa: PLC0415

    return TorchTransformer(checkpoint, torch_device, precision)


def choose_pair_runtime(
    checkpoint: CrossEncoderCheckpoint,
    *,
    device: Device = "auto",
    precision: str = "auto",
    num_threads: int | None = None,
) -> PairTransformer:
    """Open a cross-encoder in its runtime; arguments and errors as choose_runtime."""
    if checkpoint.is_onnx:
        from rank_rerank.inference.onnx_cross_encoder import OnnxCrossEncoder  # noqa: PLC0415

        provider = _choose_provider(checkpoint, device)
        return OnnxCrossEncoder(checkpoint.model_file, checkpoint.precision, num_threads, provider)
    torch_device = _check_torch(checkpoint, device)
    from rank_rerank.inference.torch_cross_encoder import TorchCrossEncoder  # noqa: PLC0415

    return TorchCrossEncoder(checkpoint, torch_device, precision)


def _choose_provider(checkpoint: Checkpoint | CrossEncoderCheckpoint, device: Device) -> Any:
    """The execution provider for an ONNX file; None for the CPU."""
    from rank_rerank.inference.providers import ExecutionProvider, is_provider  # noqa: PLC0415 - loads ONNX Runtime

    if isinstance(device, ExecutionProvider):
        return device
    if device in ("auto", "cpu"):
        return None
    if not is_provider(device):
        raise DeviceError(
            f'{checkpoint.model_file.name} runs on "cpu" or an execution provider of ONNX Runtime as "cuda" or '
            f'"openvino"; "{device[:40]}" is neither'
        )
    return ExecutionProvider(device)


def _check_torch(checkpoint: Checkpoint | CrossEncoderCheckpoint, device: Device) -> str:
    import_optional("torch", "torch", f"The model {checkpoint.name} (weights in safetensors)")
    if not isinstance(device, str):
        raise DeviceError(f"{checkpoint.name} has weights, and execution providers are for ONNX files; export it first")
    return device
