"""NumbaCrossEncoder: the logits of pairs, with the encoder compiled in INT8 and the head in float32."""

from dataclasses import replace

import numpy as np

from rank_rerank.arrays import Float32Matrix, Float32Vector
from rank_rerank.inference.compiled.numba_transformer import NumbaTransformer
from rank_rerank.inference.float_head import FloatHead
from rank_rerank.tokenization.token_batch import TokenBatch


class NumbaCrossEncoder:
    """A cross-encoder of one label; a pair's logit is the same bits whatever it is computed with.

    Args:
        transformer: the encoder.
        head: how the logit is made of its rows.
        has_types: whether the encoder's weights tell the query's tokens from the document's.
    """

    def __init__(self, transformer: NumbaTransformer, head: FloatHead, *, has_types: bool = True) -> None:
        self._transformer = transformer
        self._head = head
        self._has_types = has_types

    @property
    def description(self) -> str:
        """Runtime, device and precision, for people."""
        return self._transformer.description

    def logits(self, batch: TokenBatch) -> Float32Vector:
        """The logit of every pair: see PairTransformer.logits.

        Raises:
            CheckpointFormatError: the tokenizer gives tokens that the model does not have, or texts that are too long.
        """
        if not self._has_types:
            batch = replace(batch, token_types=None)
        result = np.full(batch.num_texts, -np.inf, np.float32)

        def read(text: int, rows: Float32Matrix) -> None:
            result[text] = self._head.logit(rows, batch.attention_mask[batch.offsets[text] : batch.offsets[text + 1]])

        self._transformer.visit(batch, read, only_first=self._head.reads_first_only)
        return result
