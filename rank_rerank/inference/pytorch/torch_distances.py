"""What attention adds to scores by the distance of two tokens, in PyTorch: MPNet's numbers, DeBERTa's products."""

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn import functional

from rank_rerank.checkpoints.relative_positions import rows_of_distances
from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.errors import CheckpointFormatError

Weights = Mapping[str, Any]


class Distances:
    """What all layers of a pass share: rows of a table for each pair of positions, and the table.

    Args:
        weights: of the encoder.
        config: its shape, with ``relative``.
        length: tokens of a padded text.

    Raises:
        CheckpointFormatError: the encoder's attention does not depend on distances.
    """

    def __init__(self, weights: Weights, config: TransformerConfig, length: int) -> None:
        if config.relative is None:
            raise CheckpointFormatError("attention without distances has no table of them")
        self._weights, self._config, self._relative = weights, config, config.relative
        some = weights["embeddings.word"]
        # of the longest text, so that an exported graph reads the rows of any length
        rows = torch.from_numpy(rows_of_distances(config.relative, config.max_positions)).to(some.device)
        positions = torch.arange(length, device=some.device)
        offsets = positions[None, :] - positions[:, None] + config.max_positions - 1
        self._rows = rows[offsets]  # [length of queries, length of keys]
        self._bias: Any = None
        self._table: Any = None
        if self._relative.kind == "bias":
            self._bias = weights["distances.bias"][self._rows].permute(2, 0, 1)  # [num_heads, length, length]
        else:
            self._table = _table(weights, config)

    @property
    def scale(self) -> float:
        """What the products of queries and keys are multiplied by."""
        return (self._config.head_size * self._relative.num_products) ** -0.5

    def add_to(self, mask: Any, here: str, query: Any, key: Any) -> Any:
        """The mask of an attention with what distances add; minus the largest number where nothing may be seen.

        Args:
            mask: [batch, 1, length, length] bool.
            here: the layer's name.
            query: [batch, num_heads, length, head_size].
            key: likewise.
        """
        added = self._bias if self._bias is not None else self._products(here, query, key) * self.scale
        return torch.where(mask, added, torch.finfo(query.dtype).min)

    def _products(self, here: str, query: Any, key: Any) -> Any:
        """[batch, num_heads, length, length]: each term is a product with all rows, of which a pair reads one."""
        batch, num_heads = query.shape[:2]
        rows = self._rows.expand(batch, num_heads, -1, -1)
        own = f"{here}.distance_" if self._relative.has_own_layers else f"{here}."
        total: Any = 0
        if self._relative.has_key_term:
            keys = self._projected(f"{own}key")  # [num_heads, rows, head_size]
            total = total + (query @ keys.transpose(-1, -2)).gather(-1, rows)
        if self._relative.has_query_term:
            queries = self._projected(f"{own}query")
            of_keys = (key @ queries.transpose(-1, -2)).gather(-1, rows.transpose(-1, -2))
            total = total + of_keys.transpose(-1, -2)
        return total

    def _projected(self, name: str) -> Any:
        rows = functional.linear(self._table, self._weights[f"{name}.weight"], self._weights.get(f"{name}.bias"))
        return rows.unflatten(-1, (self._config.num_heads, self._config.head_size)).transpose(0, 1)


def _table(weights: Weights, config: TransformerConfig) -> Any:
    table, gamma = weights["distances.table"], weights.get("distances.norm.weight")
    if gamma is None:
        return table
    return functional.layer_norm(table, gamma.shape, gamma, weights["distances.norm.bias"], config.layer_norm_eps)
