"""TorchCrossEncoder: the logits of pairs in PyTorch, on CPU, CUDA or Apple's MPS."""

from typing import Any

from rank_rerank.checkpoints.checkpoint import CrossEncoderCheckpoint
from rank_rerank.checkpoints.classifier_head import read_head_tensors
from rank_rerank.checkpoints.encoder_tensors import read_encoder_tensors
from rank_rerank.checkpoints.safetensors_file import TensorFiles
from rank_rerank.errors import CheckpointFormatError
from rank_rerank.inference.pytorch.torch_batches import to_device
from rank_rerank.inference.pytorch.torch_encoder import hidden_states, logits
from rank_rerank.inference.pytorch.torch_pairs import TorchPairs


class TorchCrossEncoder(TorchPairs):
    """A cross-encoder from safetensors.

    Args:
        checkpoint: with weights.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        precision: "auto" (fp32 on a CPU, fp16 on a GPU), "fp32", "fp16" or "bf16". Logits are float32.

    Raises:
        CheckpointFormatError: a tensor is missing, of another shape, or not finite.
        DeviceError: the device is not available.
    """

    def __init__(self, checkpoint: CrossEncoderCheckpoint, device: str = "auto", precision: str = "auto") -> None:
        if checkpoint.transformer is None or checkpoint.head is None:
            raise CheckpointFormatError(f"{checkpoint.name} has no weights that PyTorch could compute with")
        super().__init__(checkpoint, checkpoint.transformer, device, precision)
        self._config, self._head = checkpoint.transformer, checkpoint.head
        weights = {
            **read_encoder_tensors(TensorFiles(checkpoint.model_file), self._config),
            **read_head_tensors(checkpoint.model_file, self._head),
        }
        self._weights = to_device(weights, self._device, self._precision)

    def _compute(self, token_ids: Any, attention_mask: Any, token_types: Any) -> Any:
        hidden = hidden_states(self._weights, self._config, token_ids, attention_mask, token_types)
        return logits(self._weights, self._head, hidden, attention_mask)
