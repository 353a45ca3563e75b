"""TorchCausalReranker: the log-odds of a causal language model's answer, on CPU, CUDA or Apple's MPS."""

from typing import Any

import torch

from rank_rerank.checkpoints.checkpoint import CrossEncoderCheckpoint
from rank_rerank.checkpoints.decoder_tensors import read_decoder_tensors
from rank_rerank.checkpoints.safetensors_file import TensorFiles
from rank_rerank.errors import CheckpointFormatError
from rank_rerank.inference.pytorch.torch_batches import to_device
from rank_rerank.inference.pytorch.torch_decoder import last_states
from rank_rerank.inference.pytorch.torch_pairs import TorchPairs


class TorchCausalReranker(TorchPairs):
    """A causal reranker from safetensors; of the words it could say next, only the two answers are scored.

    Its logits are the log-odds of yes.

    Args:
        checkpoint: with a decoder and a prompt.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        precision: "auto" (fp32 on a CPU, fp16 on a GPU), "fp32", "fp16" or "bf16". Log-odds are float32.

    Raises:
        CheckpointFormatError: a tensor is missing, of another shape, or not finite.
        DeviceError: the device is not available.
    """

    def __init__(self, checkpoint: CrossEncoderCheckpoint, device: str = "auto", precision: str = "auto") -> None:
        if checkpoint.decoder is None or checkpoint.prompt is None:
            raise CheckpointFormatError(f"{checkpoint.name} is no causal reranker")
        super().__init__(checkpoint, checkpoint.decoder, device, precision)
        self._config = checkpoint.decoder
        self._weights: dict[str, torch.Tensor] = {}
        for name, array in read_decoder_tensors(TensorFiles(checkpoint.model_file), self._config, checkpoint.prompt):
            self._weights |= to_device({name: array}, self._device, "fp32" if name == "answer" else self._precision)

    def _compute(self, token_ids: Any, attention_mask: Any, token_types: Any) -> Any:
        del token_types  # a decoder has none
        states = last_states(self._weights, self._config, token_ids, attention_mask)
        return states.float() @ self._weights["answer"]
