"""Transformer and PairTransformer: the seam between tokens and the runtime that computes on them."""

from typing import Any, Protocol, runtime_checkable

from rank_rerank.arrays import Float32Matrix, Float32Vector
from rank_rerank.tokenization.token_batch import TokenBatch


class Transformer(Protocol):
    """Turns tokens into token vectors. Safe to call from many threads at once."""

    @property
    def dim(self) -> int:
        """Numbers per token vector."""
        ...

    @property
    def description(self) -> str:
        """Runtime, device and precision, for people."""
        ...

    def encode(self, batch: TokenBatch) -> Float32Matrix:
        """Compute the projected, normalized vector of every token.

        Args:
            batch: packed tokens.

        Returns:
            [num_tokens, dim] float32, in the order of ``batch.token_ids``; rows have unit length.
        """
        ...


@runtime_checkable
class DeviceTransformer(Transformer, Protocol):
    """A transformer that can leave token vectors on the device where it computes them."""

    @property
    def device(self) -> str:
        """Where it computes: "cpu", "mps", "cuda" or "cuda:1"."""
        ...

    def encode_on_device(self, batch: TokenBatch) -> Any:
        """Compute as encode does, without a copy to main memory and without waiting for the device.

        Args:
            batch: packed tokens.

        Returns:
            [num_tokens, dim], a tensor on the device: float32, or float16 where the model computes in half precision.
        """
        ...


class PairTransformer(Protocol):
    """Turns pairs of texts into one number each. Safe to call from many threads at once."""

    @property
    def description(self) -> str:
        """Runtime, device and precision, for people."""
        ...

    def logits(self, batch: TokenBatch) -> Float32Vector:
        """Compute the logit of every pair.

        Args:
            batch: packed tokens, one text per pair.

        Returns:
            [num_texts] float32; minus infinity for a text without tokens.
        """
        ...
