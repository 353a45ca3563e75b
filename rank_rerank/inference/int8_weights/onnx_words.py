"""The table of words of an INT8 ONNX file: copied into memory, or left in the file where it is large."""

from pathlib import Path

from rank_rerank.checkpoints.onnx_tensors import open_onnx_rows
from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.errors import CheckpointFormatError
from rank_rerank.inference.int8_weights import word_table
from rank_rerank.inference.int8_weights.checked_tensors import CheckedTensors
from rank_rerank.inference.int8_weights.word_table import RoundedWords, StoredIntegers, WordTable

# what graphs that are traced call the table, and what those call it that this library writes
TRACED, WRITTEN = "embeddings.word_embeddings.weight", "embeddings.word"


def read_words(path: Path, tensors: CheckedTensors, config: TransformerConfig) -> WordTable:
    """Read the table.

    Args:
        path: the file.
        tensors: of that file.
        config: the encoder's shape.

    Raises:
        CheckpointFormatError: it is missing, of another type or shape, or a scale is not finite.
    """
    name, width = TRACED if config.model_type == "bert" else WRITTEN, config.embedding_size or config.hidden_size
    if name == WRITTEN and tensors.shape_of(f"{TRACED}_int8") is not None:
        raise CheckpointFormatError(
            f"{path.name} was exported before compiled kernels read such files of {config.model_type}: export the "
            "model again"
        )
    integers = tensors.integers(f"{name}_int8", config.vocab_size, width)
    scales = tensors.floats(f"{name}_scale", config.vocab_size, 1)[:, 0]
    if integers.size > word_table.MAX_ROUNDED_NUMBERS:
        return StoredIntegers(open_onnx_rows(path, integers), scales)
    return RoundedWords(integers, scales)
