"""Open a checkpoint in compiled kernels: from an INT8 ONNX file that this library wrote, or from weights."""

import numpy as np

from rank_rerank.checkpoints.checkpoint import Checkpoint, CrossEncoderCheckpoint, DenseLayer
from rank_rerank.checkpoints.classifier_head import read_head_tensors
from rank_rerank.checkpoints.cross_encoder_folder import read_head
from rank_rerank.checkpoints.dense_layers import read_dense_tensors
from rank_rerank.checkpoints.encoder_tensors import EncoderTensors
from rank_rerank.checkpoints.safetensors_file import TensorFiles
from rank_rerank.checkpoints.transformer_config import TransformerConfig, read_transformer_config
from rank_rerank.errors import CheckpointFormatError
from rank_rerank.inference.compiled.loading import is_supported
from rank_rerank.inference.compiled.numba_cross_encoder import NumbaCrossEncoder
from rank_rerank.inference.compiled.numba_transformer import NumbaTransformer
from rank_rerank.inference.float_head import FloatHead
from rank_rerank.inference.int8_weights.dense_weights import DenseWeights
from rank_rerank.inference.int8_weights.encoder_weights import EncoderWeights, check_supported
from rank_rerank.inference.int8_weights.from_floats import weights_from_tensors
from rank_rerank.inference.int8_weights.from_onnx import check_dim, head_from_onnx, weights_from_onnx
from rank_rerank.inference.int8_weights.word_table import MAX_ROUNDED_NUMBERS
from rank_rerank.inference.transformer import PairTransformer, Transformer
from rank_rerank.kernels.processor import vector_path


def open_compiled_onnx(checkpoint: Checkpoint, num_threads: int | None) -> Transformer:
    """Run an INT8 ONNX file of this library in compiled kernels.

    Raises:
        CheckpointFormatError: the file is damaged, or of a kind that is not compiled.
        DeviceError: this processor multiplies no bytes.
    """
    if checkpoint.precision != "int8":
        raise CheckpointFormatError(
            f"{checkpoint.model_file.name} is {checkpoint.precision}, and only INT8 is compiled"
        )
    config = read_transformer_config(checkpoint.folder)
    transformer = NumbaTransformer.from_onnx(checkpoint.model_file, config, num_threads, vector_path())
    check_dim(transformer.dim, checkpoint)
    return transformer


def open_compiled_onnx_pairs(checkpoint: CrossEncoderCheckpoint, num_threads: int | None) -> PairTransformer:
    """Run a cross-encoder's INT8 ONNX file of this library in compiled kernels; its head stays in float32.

    Raises:
        CheckpointFormatError: the file is damaged, or of a kind that is not compiled.
        DeviceError: this processor multiplies no bytes.
    """
    config, path = read_transformer_config(checkpoint.folder), checkpoint.model_file
    head = read_head(checkpoint.folder, checkpoint.name, config)
    weights, projections = weights_from_onnx(path, config, head)
    if projections:
        raise CheckpointFormatError(f"{path.name} is a late-interaction model, not a cross-encoder")
    transformer = NumbaTransformer(weights, config, (), num_threads, vector_path())
    # a file of a tokenizer that gives no types may hold the first one only, as part of the positions
    rows_per_type = config.max_positions + config.position_offset if config.has_positions else 1
    has_types = config.type_vocab_size > 1 and len(weights.positions) > rows_per_type
    return NumbaCrossEncoder(transformer, FloatHead(head, head_from_onnx(path, head)), has_types=has_types)


def open_compiled_weights(checkpoint: Checkpoint, num_threads: int | None) -> Transformer:
    """Round an encoder's weights to INT8 as they are loaded; projections stay in float32.

    Raises:
        CheckpointFormatError: the weights are damaged, or of a kind that is not compiled.
        DeviceError: this processor multiplies no bytes.
    """
    if (reason := why_not_compiled(checkpoint)) is not None or (config := checkpoint.transformer) is None:
        raise CheckpointFormatError(f'{checkpoint.name}: {reason}; use runtime="torch"')
    projections = [_read_projection(layer) for layer in checkpoint.dense]
    return NumbaTransformer(_read_weights(checkpoint, config), config, projections, num_threads, vector_path())


def open_compiled_pairs(checkpoint: CrossEncoderCheckpoint, num_threads: int | None) -> PairTransformer:
    """Round a cross-encoder's encoder to INT8 as it is loaded; its head stays in float32.

    Raises:
        CheckpointFormatError: the weights are damaged, or of a kind that is not compiled.
        DeviceError: this processor multiplies no bytes.
    """
    reason, config, head = why_not_compiled(checkpoint), checkpoint.transformer, checkpoint.head
    if reason is not None or config is None or head is None:
        raise CheckpointFormatError(f"{checkpoint.name}: {reason}; use another runtime")
    transformer = NumbaTransformer(_read_weights(checkpoint, config), config, (), num_threads, vector_path())
    return NumbaCrossEncoder(transformer, FloatHead(head, read_head_tensors(checkpoint.model_file, head)))


def why_not_compiled(checkpoint: Checkpoint | CrossEncoderCheckpoint) -> str | None:
    """What of a model of weights the compiled kernels do not compute; None where they compute it."""
    if not is_supported(vector_path()):
        return "this processor has no instruction that compiled kernels multiply bytes with"
    if isinstance(checkpoint, CrossEncoderCheckpoint) and checkpoint.decoder is not None:
        return None
    if checkpoint.transformer is None:
        return "compiled kernels compute models from weights, no foreign ONNX files"
    try:
        check_supported(checkpoint.transformer)
    except CheckpointFormatError as error:
        return str(error)
    return None


def _read_weights(checkpoint: Checkpoint | CrossEncoderCheckpoint, config: TransformerConfig) -> EncoderWeights:
    """Round an encoder layer by layer; a table of words that is too large to be rounded stays in its file."""
    tensors = EncoderTensors(TensorFiles(checkpoint.model_file), config)
    is_large = config.vocab_size * (config.embedding_size or config.hidden_size) > MAX_ROUNDED_NUMBERS
    return weights_from_tensors(tensors, config, tensors.words() if is_large else None)


def _read_projection(layer: DenseLayer) -> DenseWeights:
    tensors = read_dense_tensors(layer)
    bias, residual = tensors.get("linear.bias"), tensors.get("residual.weight")
    return DenseWeights(
        weight=np.ascontiguousarray(tensors["linear.weight"], np.float32),
        bias=np.zeros(layer.out_features, np.float32) if bias is None else np.ascontiguousarray(bias, np.float32),
        activation=layer.activation,
        is_residual=layer.is_residual,
        residual=None if residual is None else np.ascontiguousarray(residual, np.float32),
    )
