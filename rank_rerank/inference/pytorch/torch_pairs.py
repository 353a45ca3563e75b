"""What every model that scores pairs in PyTorch has in common: batches, and one number for each pair."""

from abc import ABC, abstractmethod
from typing import Any

from rank_rerank.arrays import Float32Vector
from rank_rerank.checkpoints.checkpoint import CrossEncoderCheckpoint
from rank_rerank.checkpoints.decoder_config import DecoderConfig
from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.inference.pytorch.torch_batches import BatchRunner
from rank_rerank.inference.pytorch.torch_model import TorchModel
from rank_rerank.inference.pytorch.torch_transformer import check_token_ids
from rank_rerank.tokenization.token_batch import TokenBatch


class TorchPairs(TorchModel, ABC):
    """A PairTransformer whose numbers are computed batch by batch.

    Args:
        checkpoint: what is computed.
        config: the shape of its encoder or decoder.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        precision: "auto" (fp32 on a CPU, fp16 on a GPU), "fp32", "fp16" or "bf16".

    Raises:
        DeviceError: the device is not available.
    """

    def __init__(
        self,
        checkpoint: CrossEncoderCheckpoint,
        config: TransformerConfig | DecoderConfig,
        device: str,
        precision: str,
    ) -> None:
        super().__init__(checkpoint, device, precision)
        self._vocab_size = config.vocab_size
        self._runner = BatchRunner(self._device, config.max_positions)

    def logits(self, batch: TokenBatch) -> Float32Vector:
        """The logit of every pair: see PairTransformer.logits.

        Raises:
            ResourceLimitError: a single pair does not fit into the device's memory.
            InvalidItemError: a token has no row in the model's embedding table.
        """
        check_token_ids(batch, self._vocab_size)
        return self._runner.one_number_each(batch, self._compute)

    @abstractmethod
    def _compute(self, token_ids: Any, attention_mask: Any, token_types: Any) -> Any:
        """[batch] logits of a padded batch: [batch, length] each, int64, bool, and int64 or None."""
