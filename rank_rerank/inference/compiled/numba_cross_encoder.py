"""NumbaCrossEncoder: the logits of pairs, with the encoder compiled in INT8 and the head in float32."""

from collections.abc import Mapping

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Matrix, Float32Vector
from rank_rerank.checkpoints.checkpoint import ClassifierHead
from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.inference.compiled.activations import activate
from rank_rerank.inference.compiled.numba_transformer import NumbaTransformer
from rank_rerank.inference.int8_weights.checked_tensors import CheckedTensors, Tensors
from rank_rerank.tokenization.token_batch import TokenBatch


class NumbaCrossEncoder:
    """A cross-encoder of one label; a pair's logit is the same bits whatever it is computed with.

    Args:
        transformer: the encoder.
        config: its shape.
        head: how the logit is made of its rows.
        tensors: of the head, by the names of encoder_tensors.read_head_tensors.

    Raises:
        CheckpointFormatError: a tensor of the head is missing, of another shape, or not finite.
    """

    def __init__(
        self, transformer: NumbaTransformer, config: TransformerConfig, head: ClassifierHead, tensors: Tensors
    ) -> None:
        self._transformer = transformer
        self._head = head
        self._epsilon = np.float32(config.layer_norm_eps)
        self._weights = _read_head(CheckedTensors(tensors, "the head"), config, head)

    @property
    def description(self) -> str:
        """Runtime, device and precision, for people."""
        return self._transformer.description

    def logits(self, batch: TokenBatch) -> Float32Vector:
        """The logit of every pair: see PairTransformer.logits.

        Raises:
            CheckpointFormatError: the tokenizer gives tokens that the model does not have, or texts that are too long.
        """
        result = np.full(batch.num_texts, -np.inf, np.float32)

        def read(text: int, rows: Float32Matrix) -> None:
            pooled = rows[0]
            if self._head.pooling == "mean":
                attention = batch.attention_mask[batch.offsets[text] : batch.offsets[text + 1]]
                pooled = rows[attention].mean(axis=0, dtype=np.float64).astype(np.float32)
            result[text] = self._logit(pooled)

        self._transformer.visit(batch, read, only_first=self._head.pooling == "cls")
        return result

    def _logit(self, pooled: Float32Vector) -> np.float32:
        weights = self._weights
        # not a library's product, whose order may depend on its threads
        hidden = np.einsum("oi,i->o", weights["dense"], pooled) + weights["dense_bias"]
        hidden = activate(self._head.activation, hidden).astype(np.float32)
        if "norm" in weights:
            centred = hidden - hidden.mean()
            scaled = centred / np.sqrt((centred * centred).mean() + self._epsilon)
            hidden = scaled * weights["norm"] + weights["norm_bias"]
        return np.float32(np.einsum("i,i->", weights["classifier"], hidden) + weights["classifier_bias"])


def _read_head(checked: CheckedTensors, config: TransformerConfig, head: ClassifierHead) -> Mapping[str, AnyArray]:
    hidden = config.hidden_size
    weights: dict[str, AnyArray] = {
        "dense": checked.floats("head.dense.weight", hidden, hidden),
        "dense_bias": checked.floats("head.dense.bias", hidden) if head.has_bias else np.zeros(hidden, np.float32),
        "classifier": checked.floats("classifier.weight", 1, hidden)[0],
        "classifier_bias": checked.floats("classifier.bias", 1)[0],
    }
    if config.rotary is not None:
        norm = checked.norm("head.norm", hidden, has_bias=config.rotary.norm_bias)
        weights |= {"norm": norm.gamma, "norm_bias": norm.beta}
    return weights
