"""TorchTransformer: encoder, projection and normalization in PyTorch, on CPU, CUDA or Apple's MPS."""

from typing import Any, TypeAlias

import numpy as np
import torch
from torch.nn import functional

from rank_rerank.arrays import AnyArray, Float32Matrix, Int64Vector
from rank_rerank.checkpoints.checkpoint import Checkpoint, DenseLayer
from rank_rerank.checkpoints.dense_layers import read_dense_tensors
from rank_rerank.checkpoints.encoder_tensors import read_encoder_tensors
from rank_rerank.checkpoints.safetensors_file import TensorFiles
from rank_rerank.checkpoints.transformer_config import TransformerConfig, read_transformer_config
from rank_rerank.errors import CheckpointFormatError, InvalidItemError
from rank_rerank.inference.int8_weights.from_onnx import check_dim, weights_from_onnx
from rank_rerank.inference.int8_weights.to_floats import dequantize
from rank_rerank.inference.pytorch.downloads import Downloads, plan_segments
from rank_rerank.inference.pytorch.torch_batches import BatchRunner, places_of_tokens, to_device, upload
from rank_rerank.inference.pytorch.torch_encoder import activate, hidden_states
from rank_rerank.inference.pytorch.torch_model import TorchModel
from rank_rerank.tokenization.token_batch import TokenBatch

MIN_NORM = 1e-12


class TorchTransformer(TorchModel):
    """A token encoder from safetensors, or with the weights of an INT8 ONNX file that this library wrote.

    The encoder computes in the precision asked for; projection and normalization always in float32. Numbers may differ
    in the last bits with what a text is batched with. Threads on a CPU are PyTorch's own, one number a
    process that is not this library's to change: torch.set_num_threads().

    Args:
        checkpoint: of a family with weights, or with such a file: its integers times their scales are the weights.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        precision: "auto" (fp32 on a CPU, fp16 on a GPU), "fp32", "fp16" or "bf16".

    Raises:
        CheckpointFormatError: a tensor is missing, of another shape, or not finite.
        DeviceError: the device is not available.
    """

    def __init__(self, checkpoint: Checkpoint, device: str = "auto", precision: str = "auto") -> None:
        super().__init__(checkpoint, device, precision)
        self._dim = checkpoint.dim
        self._config, tensors, dense = _read_int8(checkpoint) if checkpoint.is_onnx else _read_weights(checkpoint)
        self._weights = to_device(tensors, self._device, self._precision)
        self._dense = [(layer, to_device(tensors, self._device, "fp32")) for layer, tensors in dense]
        self._runner = BatchRunner(self._device, self._config.max_positions)

    @property
    def dim(self) -> int:
        """Numbers per token vector."""
        return self._dim

    def encode(self, batch: TokenBatch) -> Float32Matrix:
        """Compute the vector of every token: see Transformer.encode.

        Raises:
            ResourceLimitError: a single text does not fit into the device's memory.
            InvalidItemError: a token has no row in the model's embedding table.
        """
        check_token_ids(batch, self._config.vocab_size)
        vectors = np.empty((batch.num_tokens, self.dim), np.float32)
        if self._device == "cpu":
            self._fill(batch, torch.from_numpy(vectors))
            return vectors
        downloads = Downloads()
        bytes_a_token = self.dim * self._kept_dtype.itemsize
        for texts in plan_segments(batch.lengths, bytes_a_token):
            start, end = int(batch.offsets[texts[0]]), int(batch.offsets[texts[-1] + 1])
            downloads.add(self.encode_on_device(batch.select(texts)), vectors[start:end])
        downloads.finish()
        return vectors

    @property
    def device(self) -> str:
        """Where it computes: "cpu", "mps", "cuda" or "cuda:1"."""
        return self._device

    def encode_on_device(self, batch: TokenBatch) -> Any:
        """Compute the vector of every token, and leave them where they are: see DeviceTransformer.encode_on_device.

        Raises:
            ResourceLimitError: a single text does not fit into the device's memory.
            InvalidItemError: a token has no row in the model's embedding table.
        """
        check_token_ids(batch, self._config.vocab_size)
        vectors = torch.empty((batch.num_tokens, self.dim), dtype=self._kept_dtype, device=self._device)
        self._fill(batch, vectors)
        return vectors

    @property
    def _kept_dtype(self) -> torch.dtype:
        """What vectors are kept in: float16 for both half precisions, as numbers of unit vectors have its range."""
        return torch.float32 if self._precision == "fp32" else torch.float16

    def _fill(self, batch: TokenBatch, vectors: Any) -> None:
        """Write the vector of every token to its row; nothing of the padding is kept."""

        def collect(texts: Int64Vector, padded: torch.Tensor) -> None:
            places = places_of_tokens(batch.lengths[texts], padded.shape[1])
            both = upload(np.stack([places, batch.rows(texts)]), self._device)  # [2, num_tokens]
            vectors.index_copy_(0, both[1], padded.flatten(0, 1)[both[0]].to(vectors.dtype))

        self._runner.run(batch, self._compute, collect)

    def _compute(self, token_ids: Any, attention_mask: Any, token_types: Any) -> Any:
        hidden = hidden_states(self._weights, self._config, token_ids, attention_mask, token_types)
        return project(hidden, self._dense)


Weights: TypeAlias = tuple[TransformerConfig, dict[str, AnyArray], list[tuple[DenseLayer, dict[str, AnyArray]]]]


def _read_weights(checkpoint: Checkpoint) -> Weights:
    if checkpoint.transformer is None:
        raise CheckpointFormatError(f"{checkpoint.name} has no weights that PyTorch could compute with")
    tensors = read_encoder_tensors(TensorFiles(checkpoint.model_file), checkpoint.transformer)
    return checkpoint.transformer, tensors, [(layer, read_dense_tensors(layer)) for layer in checkpoint.dense]


def _read_int8(checkpoint: Checkpoint) -> Weights:
    if checkpoint.precision != "int8":
        raise CheckpointFormatError(
            f"{checkpoint.model_file.name}: of ONNX files PyTorch reads INT8 ones of this library only"
        )
    config = read_transformer_config(checkpoint.folder)
    weights, projections = weights_from_onnx(checkpoint.model_file, config)
    dense: list[tuple[DenseLayer, dict[str, AnyArray]]] = []
    for projection in projections:
        out_features, in_features = projection.weight.shape
        layer = DenseLayer(checkpoint.model_file, in_features, out_features, has_bias=True)
        dense.append((layer, {"linear.weight": projection.weight, "linear.bias": projection.bias}))
    dim = dense[-1][0].out_features if dense else config.hidden_size
    check_dim(dim, checkpoint)
    return config, dequantize(weights, config), dense


def project(hidden: Any, dense: list[tuple[DenseLayer, dict[str, Any]]]) -> Any:
    """Apply the projection and bring rows to unit length: x / max(‖x‖₂, 1e-12).

    Args:
        hidden: [batch, length, hidden_size] of any floating dtype.
        dense: layers with their tensors in float32.

    Returns:
        [batch, length, dim] float32.
    """
    vectors = hidden.float()
    for layer, tensors in dense:
        projected = functional.linear(vectors, tensors["linear.weight"], tensors.get("linear.bias"))
        projected = activate(layer.activation, projected)
        if layer.is_residual:
            residual = tensors.get("residual.weight")
            projected = projected + (vectors if residual is None else functional.linear(vectors, residual))
        vectors = projected
    return vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(MIN_NORM)


def check_token_ids(batch: TokenBatch, vocab_size: int) -> None:
    """Refuse tokens that a tokenizer has and a model has not.

    Raises:
        InvalidItemError: an id is vocab_size or above.
    """
    if batch.num_tokens and int(batch.token_ids.max()) >= vocab_size:
        raise InvalidItemError(
            f"the tokenizer gives the token {int(batch.token_ids.max())}, but the model has {vocab_size} word "
            "embeddings: they belong to different models"
        )
