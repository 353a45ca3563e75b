"""TorchCrossEncoder: the logits of pairs in PyTorch, on CPU, CUDA or Apple's MPS."""

from typing import Any

import torch

from rank_rerank.arrays import Float32Vector
from rank_rerank.checkpoints.checkpoint import CrossEncoderCheckpoint
from rank_rerank.checkpoints.encoder_tensors import read_encoder_tensors, read_head_tensors
from rank_rerank.checkpoints.safetensors_file import TensorFiles
from rank_rerank.errors import CheckpointFormatError
from rank_rerank.inference.torch_batches import BatchRunner, resolve_device, resolve_precision, to_device
from rank_rerank.inference.torch_encoder import hidden_states, logits
from rank_rerank.inference.torch_transformer import check_token_ids
from rank_rerank.tokenization.token_batch import TokenBatch


class TorchCrossEncoder:
    """A cross-encoder from safetensors.

    Args:
        checkpoint: with weights.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        precision: "auto" (fp32 on a CPU, fp16 on a GPU), "fp32", "fp16" or "bf16". Logits are float32.

    Raises:
        CheckpointFormatError: a tensor is missing, of another shape, or not finite.
        DeviceError: the device is not here.
    """

    def __init__(self, checkpoint: CrossEncoderCheckpoint, device: str = "auto", precision: str = "auto") -> None:
        if checkpoint.transformer is None or checkpoint.head is None:
            raise CheckpointFormatError(f"{checkpoint.name} has no weights that PyTorch could compute with")
        self._checkpoint = checkpoint
        self._config, self._head = checkpoint.transformer, checkpoint.head
        self._device = resolve_device(device)
        self._precision = resolve_precision(precision, self._device)
        tensors = TensorFiles(checkpoint.model_file)
        weights = {
            **read_encoder_tensors(tensors, self._config),
            **read_head_tensors(tensors, self._config, self._head),
        }
        self._weights = to_device(weights, self._device, self._precision)
        self._runner = BatchRunner(self._device, self._config.max_positions)

    def __reduce__(self) -> tuple[type["TorchCrossEncoder"], tuple[CrossEncoderCheckpoint, str, str]]:
        return (type(self), (self._checkpoint, self._device, self._precision))

    @property
    def description(self) -> str:
        """Runtime, device and precision, for people."""
        return f"PyTorch {torch.__version__}, {self._device}, {self._precision}"

    def logits(self, batch: TokenBatch) -> Float32Vector:
        """The logit of every pair: see PairTransformer.logits.

        Raises:
            ResourceLimitError: a single pair does not fit into the device's memory.
        """
        check_token_ids(batch, self._config.vocab_size)
        return self._runner.one_number_each(batch, self._compute)

    def _compute(self, token_ids: Any, attention_mask: Any, token_types: Any) -> Any:
        hidden = hidden_states(self._weights, self._config, token_ids, attention_mask, token_types)
        return logits(self._weights, self._config, self._head, hidden, attention_mask)
