"""TorchCausalReranker: the log-odds of a causal language model's answer, on CPU, CUDA or Apple's MPS."""

from typing import Any

import torch

from rank_rerank.arrays import Float32Vector
from rank_rerank.checkpoints.checkpoint import CrossEncoderCheckpoint
from rank_rerank.checkpoints.decoder_tensors import read_decoder_tensors
from rank_rerank.checkpoints.safetensors_file import TensorFiles
from rank_rerank.errors import CheckpointFormatError
from rank_rerank.inference.torch_batches import BatchRunner, resolve_device, resolve_precision, to_device
from rank_rerank.inference.torch_decoder import last_states
from rank_rerank.inference.torch_transformer import check_token_ids
from rank_rerank.tokenization.token_batch import TokenBatch


class TorchCausalReranker:
    """A causal reranker from safetensors; of the words it could say next, only the two answers are scored.

    Args:
        checkpoint: with a decoder and a prompt.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        precision: "auto" (fp32 on a CPU, fp16 on a GPU), "fp32", "fp16" or "bf16". Log-odds are float32.

    Raises:
        CheckpointFormatError: a tensor is missing, of another shape, or not finite.
        DeviceError: the device is not here.
    """

    def __init__(self, checkpoint: CrossEncoderCheckpoint, device: str = "auto", precision: str = "auto") -> None:
        if checkpoint.decoder is None or checkpoint.prompt is None:
            raise CheckpointFormatError(f"{checkpoint.name} is no causal reranker")
        self._checkpoint = checkpoint
        self._config = checkpoint.decoder
        self._device = resolve_device(device)
        self._precision = resolve_precision(precision, self._device)
        self._weights: dict[str, torch.Tensor] = {}
        for name, array in read_decoder_tensors(TensorFiles(checkpoint.model_file), self._config, checkpoint.prompt):
            self._weights |= to_device({name: array}, self._device, "fp32" if name == "answer" else self._precision)
        self._runner = BatchRunner(self._device, self._config.max_positions)

    def __reduce__(self) -> tuple[type["TorchCausalReranker"], tuple[CrossEncoderCheckpoint, str, str]]:
        return (type(self), (self._checkpoint, self._device, self._precision))

    @property
    def description(self) -> str:
        """Runtime, device and precision, for people."""
        return f"PyTorch {torch.__version__}, {self._device}, {self._precision}"

    def logits(self, batch: TokenBatch) -> Float32Vector:
        """The log-odds of yes for every pair: see PairTransformer.logits.

        Raises:
            ResourceLimitError: a single pair does not fit into the device's memory.
        """
        check_token_ids(batch, self._config.vocab_size)
        return self._runner.one_number_each(batch, self._compute)

    def _compute(self, token_ids: Any, attention_mask: Any, _: Any) -> Any:
        states = last_states(self._weights, self._config, token_ids, attention_mask)
        return states.float() @ self._weights["answer"]
