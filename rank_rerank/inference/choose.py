"""Which runtime computes a checkpoint: decided here, by what the checkpoint is made of and what is asked for."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec

from rank_rerank.checkpoints.checkpoint import Checkpoint, CrossEncoderCheckpoint
from rank_rerank.checkpoints.classifier_head import read_head_tensors
from rank_rerank.checkpoints.cross_encoder_folder import find_onnx
from rank_rerank.checkpoints.model_files import find_weights, has_weights
from rank_rerank.devices import Precision, import_optional, suggest_device
from rank_rerank.errors import CheckpointFormatError, DeviceError
from rank_rerank.inference.device_group import PairTransformerGroup, TransformerGroup, check_devices
from rank_rerank.inference.execution_provider import ExecutionProvider, is_provider
from rank_rerank.inference.faster_runtime import faster_runtime
from rank_rerank.inference.float_head import FloatHead
from rank_rerank.inference.load_options import Device, RuntimeOptions
from rank_rerank.inference.transformer import PairTransformer, Transformer
from rank_rerank.kernels.processor import vector_path

GPUS = ("cuda", "mps")
DEFAULT = RuntimeOptions()

logger = logging.getLogger("rank_rerank")


def choose_runtime(checkpoint: Checkpoint, options: RuntimeOptions = DEFAULT) -> Transformer:
    """Open a checkpoint in its runtime.

    For an INT8 ONNX file "auto" takes compiled kernels on the CPU where they compute the model and are the faster ones
    on this processor (`faster_runtime`), else ONNX Runtime, which is logged at INFO. On a GPU that PyTorch sees it
    takes PyTorch with the file's weights, as ONNX Runtime has kernels for bytes on the CPU only. For weights it takes
    PyTorch; it takes compiled kernels where INT8 is asked for, or where PyTorch is not installed, which is logged.

    Args:
        checkpoint: of a late-interaction model.
        options: what was asked for.

    Raises:
        DeviceError: the device is not available, or the file or the processor cannot run what was asked for.
        MissingDependencyError: the checkpoint needs PyTorch, which is not installed.
        CheckpointFormatError: the files are damaged, or the runtime that was asked for does not compute the model.
    """
    _check_device(options)
    if checkpoint.is_onnx and options.runtime != "torch":
        return _open_onnx(checkpoint, options)
    if _is_compiled(checkpoint, options):
        from rank_rerank.inference.compiled.opening import open_compiled_weights  # noqa: PLC0415 - chosen here

        return open_compiled_weights(checkpoint, options.num_threads)
    return _open_torch(checkpoint, options, options.precision)


def choose_pair_runtime(checkpoint: CrossEncoderCheckpoint, options: RuntimeOptions = DEFAULT) -> PairTransformer:
    """Open a cross-encoder in its runtime; choice and errors as choose_runtime.

    Of ONNX files compiled kernels run INT8 ones that this library's export wrote.
    """
    _check_device(options)
    if checkpoint.is_onnx:
        return _open_onnx_pairs(checkpoint, options)
    if _is_compiled(checkpoint, options):
        return _open_compiled_pairs(checkpoint, options)
    if checkpoint.decoder is not None and checkpoint.precision == "int8":
        raise DeviceError(f'{checkpoint.model_file.name} is INT8 for compiled kernels, which run on "cpu" only')
    devices = _check_torch(checkpoint, options)
    if isinstance(devices, str):
        return _open_torch_pairs(checkpoint, devices, options.precision)
    return PairTransformerGroup([_open_torch_pairs(checkpoint, each, options.precision) for each in devices])


def _check_device(options: RuntimeOptions) -> None:
    if options.runtime == "numba" and not options.is_on_cpu:
        raise DeviceError('compiled kernels run on "cpu" only')


def _open_torch(checkpoint: Checkpoint, options: RuntimeOptions, precision: Precision) -> Transformer:
    devices = _check_torch(checkpoint, options)
    from rank_rerank.inference.pytorch.torch_transformer import TorchTransformer  # noqa: PLC0415 - chosen here

    if isinstance(devices, str):
        return TorchTransformer(checkpoint, devices, precision)
    return TransformerGroup([TorchTransformer(checkpoint, each, precision) for each in devices])


def _open_onnx(checkpoint: Checkpoint, options: RuntimeOptions) -> Transformer:
    if options.runtime == "auto" and checkpoint.precision == "int8" and _torch_sees(options.device):
        try:
            return _open_torch(checkpoint, options, "auto" if options.precision == "int8" else options.precision)
        except CheckpointFormatError as error:
            logger.info("model %s: ONNX Runtime instead of PyTorch: %s", checkpoint.name, error)
    if options.is_on_cpu and _is_compiled_file(checkpoint, options):
        from rank_rerank.inference.compiled.opening import open_compiled_onnx  # noqa: PLC0415 - chosen here

        try:
            return open_compiled_onnx(checkpoint, options.num_threads)
        except (CheckpointFormatError, DeviceError) as error:
            if options.runtime == "numba":
                raise
            logger.info("model %s: ONNX Runtime instead of compiled kernels: %s", checkpoint.name, error)
    provider = _choose_provider(checkpoint, options.device)
    from rank_rerank.inference.onnx_runtime.onnx_transformer import OnnxTransformer  # noqa: PLC0415 - chosen here

    return OnnxTransformer(
        checkpoint.model_file, checkpoint.dim, checkpoint.precision, options.num_threads, provider, checkpoint.output
    )


def _is_compiled_file(checkpoint: Checkpoint | CrossEncoderCheckpoint, options: RuntimeOptions) -> bool:
    """Whether an ONNX file is to run in compiled kernels: asked for, or faster on this processor."""
    if options.runtime != "auto":
        return options.runtime == "numba"
    name = vector_path().name
    if faster_runtime(name) == "numba":
        return True
    logger.info("model %s: ONNX Runtime, which is faster on the vector path %s", checkpoint.name, name)
    return False


def _open_onnx_pairs(checkpoint: CrossEncoderCheckpoint, options: RuntimeOptions) -> PairTransformer:
    if options.is_on_cpu and checkpoint.precision == "int8" and _is_compiled_file(checkpoint, options):
        from rank_rerank.inference.compiled.opening import open_compiled_onnx_pairs  # noqa: PLC0415 - chosen here

        try:
            return open_compiled_onnx_pairs(checkpoint, options.num_threads)
        except (CheckpointFormatError, DeviceError) as error:
            if options.runtime == "numba":
                raise
            logger.info("model %s: ONNX Runtime instead of compiled kernels: %s", checkpoint.name, error)
    elif options.runtime == "numba":
        raise CheckpointFormatError(f"{checkpoint.name}: of ONNX files only INT8 ones of this library are compiled")
    provider = _choose_provider(checkpoint, options.device)
    from rank_rerank.inference.onnx_runtime.onnx_cross_encoder import OnnxCrossEncoder  # noqa: PLC0415 - chosen here

    head = checkpoint.head
    float_head = None if head is None else FloatHead(head, read_head_tensors(checkpoint.model_file, head))
    return OnnxCrossEncoder(
        checkpoint.model_file, checkpoint.precision, options.num_threads, provider, float_head, checkpoint.label
    )


def _open_torch_pairs(checkpoint: CrossEncoderCheckpoint, device: str, precision: Precision) -> PairTransformer:
    if checkpoint.decoder is not None:
        from rank_rerank.inference.pytorch.torch_causal_reranker import TorchCausalReranker  # noqa: PLC0415

        return TorchCausalReranker(checkpoint, device, precision)
    from rank_rerank.inference.pytorch.torch_cross_encoder import TorchCrossEncoder  # noqa: PLC0415

    return TorchCrossEncoder(checkpoint, device, precision)


def _open_compiled_pairs(checkpoint: CrossEncoderCheckpoint, options: RuntimeOptions) -> PairTransformer:
    if checkpoint.decoder is not None:
        from rank_rerank.inference.compiled_decoder.numba_causal_reranker import (  # noqa: PLC0415 - chosen here
            NumbaCausalReranker,
        )

        return NumbaCausalReranker(checkpoint, options.num_threads)
    from rank_rerank.inference.compiled.opening import open_compiled_pairs  # noqa: PLC0415 - chosen here

    return open_compiled_pairs(checkpoint, options.num_threads)


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


def _is_compiled(checkpoint: Checkpoint | CrossEncoderCheckpoint, options: RuntimeOptions) -> bool:
    """Whether weights run in INT8 in compiled kernels: where that is asked for, or PyTorch is not there.

    What a causal reranker was exported to runs in nothing else.
    """
    if options.runtime == "torch" or not options.is_on_cpu:
        return False
    if options.runtime == "numba" or options.precision == "int8" or checkpoint.precision == "int8":
        return True
    if options.precision != "auto" or find_spec("torch") is not None:
        return False
    from rank_rerank.inference.compiled.opening import why_not_compiled  # noqa: PLC0415 - the runtime is chosen here

    if (reason := why_not_compiled(checkpoint)) is None:
        logger.info("model %s: rounded to INT8 for compiled kernels: PyTorch is not installed", checkpoint.name)
        return True
    logger.info("model %s: compiled kernels cannot stand in for PyTorch: %s", checkpoint.name, reason)
    return False


def for_device(checkpoint: CrossEncoderCheckpoint, options: RuntimeOptions) -> CrossEncoderCheckpoint:
    """The checkpoint with the ONNX file that suits a device.

    ONNX Runtime has kernels for bytes on the CPU only, and so has this library: elsewhere a file in INT8 that was not
    asked for gives way to the one in fp32 beside it.
    """
    if checkpoint.precision != "int8" or options.precision != "auto" or options.is_on_cpu:
        return checkpoint
    if checkpoint.decoder is not None:
        if not has_weights(checkpoint.folder):
            return checkpoint
        return replace(checkpoint, precision="fp32", model_file=find_weights(checkpoint.folder))
    found = find_onnx(checkpoint.folder, "fp32")
    return checkpoint if found is None else replace(checkpoint, precision=found[0], model_file=found[1])


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
            f'"openvino"; "{device[:40]}" is neither.{suggest_device(device)}'
        )
    return ExecutionProvider(device)


def _check_torch(checkpoint: Checkpoint | CrossEncoderCheckpoint, options: RuntimeOptions) -> str | list[str]:
    """The device or devices, once PyTorch is there."""
    torch = import_optional("torch", "torch", f"The model {checkpoint.name} in PyTorch")
    num_threads = options.num_threads
    if num_threads is not None and options.is_on_cpu and torch.get_num_threads() != num_threads:
        # a process has one such number, and other users of PyTorch in it: it is not this library's to set
        logger.warning(
            "num_threads=%d does not reach PyTorch, which computes on %d threads: call torch.set_num_threads(%d), or "
            "set OMP_NUM_THREADS",
            num_threads,
            torch.get_num_threads(),
            num_threads,
        )
    if isinstance(options.device, str):
        return options.device
    if isinstance(options.device, Sequence):
        return check_devices(options.device)
    raise DeviceError(f"{checkpoint.name} has weights, and execution providers run ONNX files. Export it first")
