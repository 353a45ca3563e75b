"""What every model in PyTorch has in common: a checkpoint, a device and a precision, and how it is made again."""

from typing import Any

import torch

from rank_rerank.checkpoints.checkpoint import Checkpoint, CrossEncoderCheckpoint
from rank_rerank.inference.pytorch.torch_batches import resolve_device, resolve_precision


class TorchModel:
    """A model that another process makes again from its checkpoint, device and precision.

    Args:
        checkpoint: what is computed.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        precision: "auto" (fp32 on a CPU, fp16 on a GPU), "fp32", "fp16" or "bf16".

    Raises:
        DeviceError: the device is not available.
    """

    def __init__(self, checkpoint: Checkpoint | CrossEncoderCheckpoint, device: str, precision: str) -> None:
        self._checkpoint = checkpoint
        self._device = resolve_device(device)
        self._precision = resolve_precision(precision, self._device)

    def __reduce__(self) -> tuple[type["TorchModel"], tuple[Any, ...]]:
        return (type(self), (self._checkpoint, self._device, self._precision))

    @property
    def description(self) -> str:
        """Runtime, device and precision, for people."""
        return f"PyTorch {torch.__version__}, {self._device}, {self._precision}"
