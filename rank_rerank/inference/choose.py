"""Which runtime computes a checkpoint: decided here, by what the checkpoint is made of and what is asked for."""

import logging
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TypeAlias

from rank_rerank.checkpoints.checkpoint import Checkpoint, CrossEncoderCheckpoint
from rank_rerank.devices import import_optional
from rank_rerank.errors import CheckpointFormatError, DeviceError
from rank_rerank.inference.device_group import PairTransformerGroup, TransformerGroup, check_devices
from rank_rerank.inference.execution_provider import ExecutionProvider, is_provider
from rank_rerank.inference.transformer import PairTransformer, Transformer

# several devices compute one model together
Device: TypeAlias = str | Sequence[str] | ExecutionProvider

GPUS = ("cuda", "mps")

logger = logging.getLogger("rank_rerank")


def choose_runtime(
    checkpoint: Checkpoint,
    *,
    device: Device = "auto",
    precision: str = "auto",
    num_threads: int | None = None,
    runtime: str = "auto",
) -> Transformer:
    """Open a checkpoint in its runtime.

    "auto" takes for an INT8 ONNX file on the CPU compiled kernels where they compute the model on this processor, else
    ONNX Runtime, which is said at INFO; on a GPU that PyTorch sees, PyTorch with the file's weights, as ONNX Runtime
    has kernels for bytes on the CPU only; for weights PyTorch, and compiled kernels where INT8 is asked for, or PyTorch
    is not installed, which is said at INFO.

    Args:
        checkpoint: of a late-interaction model.
        device: "auto", "cpu", a GPU's name; for an ONNX file also the name of an execution provider, or one with
            options; for PyTorch also a list of devices of one kind, which share the texts.
        precision: for PyTorch, see TorchTransformer; elsewhere an ONNX file has the one it was made in.
        num_threads: texts at once; None for the default. PyTorch has a setting of its own.
        runtime: as for TokenEncoder.from_pretrained.

    Raises:
        DeviceError: the device is not here, or the file or the processor cannot run what was asked for.
        MissingDependencyError: the checkpoint needs PyTorch, which is not installed.
        CheckpointFormatError: the files are damaged, or the runtime that was asked for does not compute the model.
    """
    if runtime == "numba" and not _is_on_cpu(device):
        raise DeviceError('compiled kernels run on "cpu" only')
    if checkpoint.is_onnx and runtime != "torch":
        return _open_onnx(checkpoint, device, precision, num_threads, runtime)
    if _is_compiled(checkpoint, device, precision, runtime):
        from rank_rerank.inference.compiled.opening import open_compiled_weights  # noqa: PLC0415 - the runtime is chosen here

        return open_compiled_weights(checkpoint, num_threads)
    return _open_torch(checkpoint, device, precision, num_threads)


def _open_torch(checkpoint: Checkpoint, device: Device, precision: str, num_threads: int | None) -> Transformer:
    devices = _check_torch(checkpoint, device, num_threads)
    from rank_rerank.inference.pytorch.torch_transformer import TorchTransformer  # noqa: PLC0415

    if isinstance(devices, str):
        return TorchTransformer(checkpoint, devices, precision)
    return TransformerGroup([TorchTransformer(checkpoint, each, precision) for each in devices])


def _open_onnx(
    checkpoint: Checkpoint, device: Device, precision: str, num_threads: int | None, runtime: str
) -> Transformer:
    if runtime == "auto" and checkpoint.precision == "int8" and _torch_sees(device):
        try:
            return _open_torch(checkpoint, device, "auto" if precision == "int8" else precision, num_threads)
        except CheckpointFormatError as error:
            logger.info("model %s: ONNX Runtime instead of PyTorch: %s", checkpoint.name, error)
    if runtime != "onnx" and isinstance(device, str) and device in ("auto", "cpu"):
        from rank_rerank.inference.compiled.opening import open_compiled_onnx  # noqa: PLC0415 - the runtime is chosen here

        try:
            return open_compiled_onnx(checkpoint, num_threads)
        except (CheckpointFormatError, DeviceError) as error:
            if runtime == "numba":
                raise
            logger.info("model %s: ONNX Runtime instead of compiled kernels: %s", checkpoint.name, error)
    provider = _choose_provider(checkpoint, device)
    from rank_rerank.inference.onnx_runtime.onnx_transformer import OnnxTransformer  # noqa: PLC0415

    return OnnxTransformer(checkpoint.model_file, checkpoint.dim, checkpoint.precision, num_threads, provider)


def _torch_sees(device: Device) -> bool:
    """Whether all of what is named are GPUs that PyTorch is installed for and finds."""
    names = [device] if isinstance(device, str) else list(device) if isinstance(device, Sequence) else []
    if not names or any(name.partition(":")[0] not in GPUS for name in names) or find_spec("torch") is None:
        return False
    from rank_rerank.inference.pytorch.torch_batches import resolve_device  # noqa: PLC0415 - loads PyTorch

    try:
        return all(resolve_device(name) for name in names)
    except DeviceError:
        return False


def _is_on_cpu(device: Device) -> bool:
    return isinstance(device, str) and device in ("auto", "cpu")


def _is_compiled(checkpoint: Checkpoint | CrossEncoderCheckpoint, device: Device, precision: str, runtime: str) -> bool:
    """Whether weights are rounded to INT8 for compiled kernels: where that is asked for, or PyTorch is not there."""
    if runtime == "torch" or not _is_on_cpu(device):
        return False
    if runtime == "numba" or precision == "int8":
        return True
    if precision != "auto" or find_spec("torch") is not None:
        return False
    from rank_rerank.inference.compiled.opening import why_not_compiled  # noqa: PLC0415 - the runtime is chosen here

    if (reason := why_not_compiled(checkpoint)) is None:
        logger.info("model %s: rounded to INT8 for compiled kernels: PyTorch is not installed", checkpoint.name)
        return True
    logger.info("model %s: compiled kernels cannot stand in for PyTorch: %s", checkpoint.name, reason)
    return False


def choose_pair_runtime(
    checkpoint: CrossEncoderCheckpoint,
    *,
    device: Device = "auto",
    precision: str = "auto",
    num_threads: int | None = None,
    runtime: str = "auto",
) -> PairTransformer:
    """Open a cross-encoder in its runtime; arguments, choice and errors as choose_runtime.

    An ONNX file runs in ONNX Runtime, whatever its precision.
    """
    if runtime == "numba" and not _is_on_cpu(device):
        raise DeviceError('compiled kernels run on "cpu" only')
    if checkpoint.is_onnx and runtime == "numba":
        raise CheckpointFormatError(f"{checkpoint.name}: compiled kernels compute cross-encoders from weights only")
    if checkpoint.is_onnx:
        from rank_rerank.inference.onnx_runtime.onnx_cross_encoder import OnnxCrossEncoder  # noqa: PLC0415

        provider = _choose_provider(checkpoint, device)
        return OnnxCrossEncoder(checkpoint.model_file, checkpoint.precision, num_threads, provider)
    if _is_compiled(checkpoint, device, precision, runtime):
        from rank_rerank.inference.compiled.opening import open_compiled_pairs  # noqa: PLC0415 - the runtime is chosen here

        return open_compiled_pairs(checkpoint, num_threads)
    devices = _check_torch(checkpoint, device, num_threads)
    if isinstance(devices, str):
        return _open_torch_pairs(checkpoint, devices, precision)
    return PairTransformerGroup([_open_torch_pairs(checkpoint, each, precision) for each in devices])


def _open_torch_pairs(checkpoint: CrossEncoderCheckpoint, device: str, precision: str) -> PairTransformer:
    if checkpoint.decoder is not None:
        from rank_rerank.inference.pytorch.torch_causal_reranker import TorchCausalReranker  # noqa: PLC0415

        return TorchCausalReranker(checkpoint, device, precision)
    from rank_rerank.inference.pytorch.torch_cross_encoder import TorchCrossEncoder  # noqa: PLC0415

    return TorchCrossEncoder(checkpoint, device, precision)


def _choose_provider(checkpoint: Checkpoint | CrossEncoderCheckpoint, device: Device) -> ExecutionProvider | None:
    """The execution provider for an ONNX file; None for the CPU."""
    if isinstance(device, ExecutionProvider):
        return device
    if not isinstance(device, str):
        raise DeviceError(f"{checkpoint.model_file.name} is an ONNX file; several devices are for weights in PyTorch")
    if device in ("auto", "cpu"):
        return None
    if not is_provider(device):
        raise DeviceError(
            f'{checkpoint.model_file.name} runs on "cpu" or an execution provider of ONNX Runtime as "cuda" or '
            f'"openvino"; "{device[:40]}" is neither'
        )
    return ExecutionProvider(device)


def _check_torch(
    checkpoint: Checkpoint | CrossEncoderCheckpoint, device: Device, num_threads: int | None
) -> str | list[str]:
    torch = import_optional("torch", "torch", f"The model {checkpoint.name} in PyTorch")
    if num_threads is not None and _is_on_cpu(device) and torch.get_num_threads() != num_threads:
        # a process has one such number, and other users of PyTorch in it: it is not this library's to set
        logger.warning(
            "num_threads=%d does not reach PyTorch, which computes on %d threads: call torch.set_num_threads(%d), or "
            "set OMP_NUM_THREADS",
            num_threads,
            torch.get_num_threads(),
            num_threads,
        )
    if isinstance(device, str):
        return device
    if isinstance(device, Sequence):
        return check_devices(device)
    raise DeviceError(f"{checkpoint.name} has weights, and execution providers are for ONNX files; export it first")
