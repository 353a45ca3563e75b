"""The weights of an INT8 ONNX file of ours: rounded when the file was made, with factors measured on texts."""

from pathlib import Path

from rank_rerank.arrays import AnyArray
from rank_rerank.checkpoints.checkpoint import Checkpoint
from rank_rerank.checkpoints.classifier_head import ClassifierHead
from rank_rerank.checkpoints.onnx_tensors import read_onnx_tensors
from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.errors import CheckpointFormatError
from rank_rerank.inference.int8_weights.checked_tensors import CheckedTensors
from rank_rerank.inference.int8_weights.dense_weights import DenseWeights
from rank_rerank.inference.int8_weights.encoder_weights import (
    CALIBRATED_GROUP,
    SIZE_MULTIPLE,
    EncoderLayer,
    EncoderWeights,
    check_supported,
    query_factor,
)
from rank_rerank.inference.int8_weights.onnx_encoder import is_read, read_encoder
from rank_rerank.inference.int8_weights.onnx_modernbert import read_linear, read_modernbert
from rank_rerank.inference.int8_weights.onnx_projections import read_projections
from rank_rerank.inference.int8_weights.onnx_words import read_words
from rank_rerank.inference.int8_weights.quantized_linear import LinearWeights
from rank_rerank.inference.int8_weights.word_table import WordTable


def weights_from_onnx(
    path: Path, config: TransformerConfig, head: ClassifierHead | None = None
) -> tuple[EncoderWeights, tuple[DenseWeights, ...]]:
    """Read an INT8 ONNX file that `rank_rerank.export` wrote: the encoder, and the projections after it.

    Args:
        path: the file.
        config: the encoder's shape.
        head: of a cross-encoder, whose tensors are in the file too, and are read by head_from_onnx.

    Raises:
        CheckpointFormatError: it is damaged, or not such a file.
    """
    check_supported(config)
    tensors = CheckedTensors(read_onnx_tensors(path), path.name)
    sizes = config.hidden_size, config.intermediate_size, config.embedding_size
    if any(size % SIZE_MULTIPLE for size in sizes):
        raise CheckpointFormatError(
            f"{path.name}: the compiled runtime needs sizes that are multiples of {SIZE_MULTIPLE}"
        )
    words = read_words(path, tensors, config)
    if is_read(config):
        weights = read_encoder(tensors, config, words)
    elif config.rotary is not None:
        weights = read_modernbert(tensors, config, config.rotary, words)
    else:
        weights = _read_bert(tensors, config, words)
    projections = read_projections(path, tensors, config.hidden_size)
    if head is not None:
        _read_head(tensors, head)
    tensors.refuse_unknown_matrices()
    return weights, projections


def head_from_onnx(path: Path, head: ClassifierHead) -> dict[str, AnyArray]:
    """Read the tensors of a cross-encoder's head from an INT8 ONNX file of this library, by the names of its steps.

    Raises:
        CheckpointFormatError: one is missing, of another shape, or not finite.
    """
    return _read_head(CheckedTensors(read_onnx_tensors(path), path.name), head)


def _read_head(tensors: CheckedTensors, head: ClassifierHead) -> dict[str, AnyArray]:
    return {name: tensors.floats(name, *shape) for step in head.steps for name, _, shape in step.tensors()}


def _read_bert(tensors: CheckedTensors, config: TransformerConfig, words: WordTable) -> EncoderWeights:
    hidden = config.hidden_size
    positions = tensors.floats("embeddings.position_embeddings.weight", config.max_positions, hidden)
    types = "embeddings.token_type_embeddings.weight"
    if tensors.shape_of(types) is not None:  # of a cross-encoder: elsewhere type 0 is part of the positions
        positions = tensors.floats(types, config.type_vocab_size, hidden)[:, None] + positions
    return EncoderWeights(
        words=words,
        positions=positions.reshape(-1, hidden),
        embedding_norm=tensors.norm("embeddings.LayerNorm", hidden),
        layers=tuple(_layer(tensors, config, number) for number in range(config.num_layers)),
        group=CALIBRATED_GROUP,
    )


def check_dim(dim: int, checkpoint: Checkpoint) -> None:
    """Hold what the weights give against what the settings say.

    Raises:
        CheckpointFormatError: the two differ.
    """
    if dim != checkpoint.dim:
        raise CheckpointFormatError(f"the model gives {dim} numbers per token, but its settings say {checkpoint.dim}")


def _layer(tensors: CheckedTensors, config: TransformerConfig, number: int) -> EncoderLayer:
    """One layer; what was smoothed at rounding is given its factors back."""
    hidden, inner = config.hidden_size, config.intermediate_size

    def linear(name: str, num_inputs: int, num_outputs: int, *, bias: bool = True) -> LinearWeights:
        return read_linear(tensors, name, num_inputs, num_outputs, has_bias=bias)

    name = f"encoder.layer.{number}"
    if tensors.shape_of(f"{name}.output.dense.smoothing") is not None:
        raise CheckpointFormatError(
            "this INT8 file smooths what an activation gives, as earlier exports did for other activations than GELU, "
            "and compiled kernels do not: export the model again"
        )
    attention = f"{name}.attention"
    smoothing = tensors.floats(f"{attention}.output.dense.smoothing", hidden)
    return EncoderLayer(
        query=linear(f"{attention}.self.query", hidden, hidden).scale_columns(query_factor(config)),
        key=linear(f"{attention}.self.key", hidden, hidden, bias=False),
        value=linear(f"{attention}.self.value", hidden, hidden, bias=False).scale_columns(smoothing),
        output=linear(f"{attention}.output.dense", hidden, hidden),
        up=linear(f"{name}.intermediate.dense", hidden, inner),
        down=linear(f"{name}.output.dense", inner, hidden),
        attention_norm=tensors.norm(f"{attention}.output.LayerNorm", hidden),
        feed_norm=tensors.norm(f"{name}.output.LayerNorm", hidden),
        attention_factors=tensors.floats(f"{attention}.self.smoothing", hidden),
        feed_factors=tensors.floats(f"{name}.intermediate.dense.smoothing", hidden),
    )
