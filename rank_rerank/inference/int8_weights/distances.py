"""What attention by distance needs of float weights: MPNet's numbers; DeBERTa's table as each layer projects it.

The table of distances does not depend on a text, and neither do its projections: they are computed here, in float64, so
that a product's order, which is a library's, does not show in what is rounded of it.
"""

from dataclasses import replace

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Matrix
from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.inference.int8_weights.checked_tensors import CheckedTensors
from rank_rerank.inference.int8_weights.encoder_weights import EncoderLayer, query_factor


class Distances:
    """The tables of an encoder; nothing where its attention does not depend on distances.

    Args:
        checked: its weights.
        config: its shape.

    Raises:
        CheckpointFormatError: a weight is missing, of another shape, or not finite.
    """

    def __init__(self, checked: CheckedTensors, config: TransformerConfig) -> None:
        self._checked, self._config = checked, config
        relative = config.relative
        self.biases: Float32Matrix | None = None
        self._table: AnyArray | None = None
        if relative is not None and relative.kind == "bias":
            stored = checked.floats("distances.bias", relative.num_rows, config.num_heads)
            self.biases = (stored * np.log2(np.e)).astype(np.float32)
        elif relative is not None:
            self._table = self._read_table(relative.num_rows, has_norm=relative.has_norm)

    def added_to(self, layer: EncoderLayer, number: int) -> EncoderLayer:
        """The layer with its tables.

        Raises:
            CheckpointFormatError: as of the class.
        """
        keys, queries = self.of_layer(number)
        if queries is not None:
            queries = queries * np.float32(query_factor(self._config))
        return replace(layer, distance_keys=keys, distance_queries=queries)

    def of_layer(self, number: int) -> tuple[Float32Matrix | None, Float32Matrix | None]:
        """What queries and keys are multiplied with by distance, [rows, hidden] each, without a query's factors.

        Raises:
            CheckpointFormatError: as of the class.
        """
        relative, table = self._config.relative, self._table
        if relative is None or table is None:
            return None, None
        own = f"layers.{number}.{'distance_' if relative.has_own_layers else ''}"
        keys = self._projected(table, f"{own}key") if relative.has_key_term else None
        return keys, self._projected(table, f"{own}query") if relative.has_query_term else None

    def _read_table(self, num_rows: int, *, has_norm: bool) -> AnyArray:
        hidden = self._config.hidden_size
        table: AnyArray = self._checked.floats("distances.table", num_rows, hidden).astype(np.float64)
        if not has_norm:
            return table
        norm = self._checked.norm("distances.norm", hidden)
        centered = table - table.mean(axis=1, keepdims=True)
        deviation = np.sqrt((centered**2).mean(axis=1, keepdims=True) + self._config.layer_norm_eps)
        return centered / deviation * norm.gamma + norm.beta

    def _projected(self, table: AnyArray, name: str) -> Float32Matrix:
        hidden = self._config.hidden_size
        weight = self._checked.floats(f"{name}.weight", hidden, hidden).astype(np.float64)
        return (table @ weight.T + self._checked.floats(f"{name}.bias", hidden)).astype(np.float32)
