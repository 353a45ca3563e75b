"""Positions and token types as one table, of float weights and of INT8 files, which keep both in float32."""

import numpy as np

from rank_rerank.arrays import Float32Matrix
from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.inference.int8_weights.checked_tensors import CheckedTensors


def read_positions(tensors: CheckedTensors, config: TransformerConfig) -> Float32Matrix:
    """Positions, plus each token type in turn; one row of zeros where positions are angles.

    Raises:
        CheckpointFormatError: a weight is missing, of another type or shape, or not finite.
    """
    width = config.embedding_size or config.hidden_size
    if config.rotary is not None:
        return np.zeros((1, width), np.float32)
    positions = np.zeros((1, width), np.float32)
    if config.has_positions:
        positions = tensors.floats("embeddings.position", config.max_positions + config.position_offset, width)
    if config.type_vocab_size == 0:
        return positions
    types = tensors.floats("embeddings.type", config.type_vocab_size, width)
    return (types[:, None] + positions).reshape(-1, width)
