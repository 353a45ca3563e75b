"""A checkpoint's encoder as a module to be exported, with weights loaded strictly from safetensors.

The INT8 rewriting knows the graphs of transformers' BERT-like modules, so these are exported. The class comes from the
architecture's name, never from the model's folder; what it computes is compared with this library's own encoder by the
gate. ModernBERT, whose rotary angles PyTorch's exporter turns into an operator of the wrong shape, and cross-encoders
are exported from this library's own encoder.
"""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from rank_rerank.arrays import AnyArray
from rank_rerank.checkpoints.checkpoint import Checkpoint, CrossEncoderCheckpoint, DenseLayer
from rank_rerank.checkpoints.classifier_head import read_head_tensors
from rank_rerank.checkpoints.dense_layers import dense_shapes
from rank_rerank.checkpoints.encoder_tensors import PREFIXES, read_encoder_tensors, read_tensor
from rank_rerank.checkpoints.json_files import parse_json
from rank_rerank.checkpoints.model_files import MAX_SETTINGS_BYTES, file_inside, read_bounded
from rank_rerank.checkpoints.safetensors_file import TensorFiles
from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.devices import import_optional
from rank_rerank.errors import CheckpointFormatError
from rank_rerank.export.onnx_export import MIN_NORM, PURPOSE

# tensors of a module that its output does not depend on
UNUSED = ("pooler.",)


def build_encoder(checkpoint: Checkpoint | CrossEncoderCheckpoint) -> Any:
    """Build the encoder, giving ``last_hidden_state``.

    Raises:
        CheckpointFormatError: a tensor is missing or of another shape.
        MissingDependencyError: the export extra is not installed.
    """
    transformer = checkpoint.transformer
    if transformer is None:
        raise CheckpointFormatError(f"{checkpoint.name} has no weights to export; it is an ONNX file already")
    if transformer.is_rotated or transformer.relative is not None:
        return _own_encoder(checkpoint.model_file, transformer)
    model = _build(checkpoint)
    _load(model, TensorFiles(checkpoint.model_file), UNUSED)
    return model


def build_classifier(checkpoint: CrossEncoderCheckpoint) -> Any:
    """Build a module (input_ids, attention_mask, token_type_ids) → logits [batch, 1].

    Raises:
        CheckpointFormatError: as build_encoder.
    """
    torch = import_optional("torch", "export", PURPOSE)
    from rank_rerank.inference.pytorch.torch_encoder import hidden_states, logits  # noqa: PLC0415 - loads torch

    transformer, head = checkpoint.transformer, checkpoint.head
    if transformer is None or head is None:
        raise CheckpointFormatError(f"{checkpoint.name} has no weights to export; it is an ONNX file already")
    weights = {
        **read_encoder_tensors(TensorFiles(checkpoint.model_file), transformer),
        **read_head_tensors(checkpoint.model_file, head),
    }

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = _parameters(weights)

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None) -> Any:
            named, mask = _named(self.weights, weights), attention_mask.to(torch.bool)
            hidden = hidden_states(named, transformer, input_ids, mask, token_type_ids)
            return logits(named, head, hidden, mask)[:, None]

    return Logits().eval()


def _own_encoder(model_file: Path, transformer: TransformerConfig) -> Any:
    torch = import_optional("torch", "export", PURPOSE)
    from rank_rerank.inference.pytorch.torch_encoder import hidden_states  # noqa: PLC0415 - loads torch

    weights = read_encoder_tensors(TensorFiles(model_file), transformer)

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = _parameters(weights)

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None) -> Any:
            named = _named(self.weights, weights)
            # the mask has four axes and is the same for every query
            hidden = hidden_states(named, transformer, input_ids, attention_mask[:, 0, 0, :], token_type_ids)
            return SimpleNamespace(last_hidden_state=hidden)

    return Encoder().eval()


def _parameters(weights: Mapping[str, AnyArray]) -> Any:
    """Weights as parameters, whose names may have no dots."""
    torch = import_optional("torch", "export", PURPOSE)
    return torch.nn.ParameterDict(
        {
            name.replace(".", "_"): torch.nn.Parameter(torch.from_numpy(np.array(array)), requires_grad=False)
            for name, array in weights.items()
        }
    )


def _named(parameters: Any, weights: Mapping[str, AnyArray]) -> dict[str, Any]:
    return {name: parameters[name.replace(".", "_")] for name in weights}


def build_projection(dense: tuple[DenseLayer, ...]) -> Any:
    """The projection and the normalization: [batch, length, hidden_size] → unit rows [batch, length, dim]."""
    torch = import_optional("torch", "export", PURPOSE)
    from rank_rerank.inference.pytorch.torch_encoder import activate  # noqa: PLC0415 - loads torch

    class Dense(torch.nn.Module):
        def __init__(self, layer: DenseLayer) -> None:
            super().__init__()
            self.layer = layer
            self.linear = torch.nn.Linear(layer.in_features, layer.out_features, layer.has_bias)
            if "residual.weight" in dense_shapes(layer):
                self.residual = torch.nn.Linear(layer.in_features, layer.out_features, bias=False)
            _load(self, TensorFiles(layer.weights), ())

        def forward(self, rows: Any) -> Any:
            projected = activate(self.layer.activation, self.linear(rows))
            if not self.layer.is_residual:
                return projected
            return projected + (self.residual(rows) if hasattr(self, "residual") else rows)

    class Projection(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = torch.nn.ModuleList([Dense(layer) for layer in dense])

        def forward(self, rows: Any) -> Any:
            for step in self.dense:
                rows = step(rows)
            return rows / rows.norm(dim=-1, keepdim=True).clamp_min(MIN_NORM)

    return Projection()


def _build(checkpoint: Checkpoint | CrossEncoderCheckpoint) -> Any:
    transformers = import_optional("transformers", "export", PURPOSE)
    content = read_bounded(file_inside(checkpoint.folder, "config.json"), MAX_SETTINGS_BYTES)
    values: dict[str, Any] = parse_json(content, "config.json")
    # read and checked by transformer_config already
    model_type = values.pop("model_type")
    values.pop("torch_dtype", None)
    config = transformers.AutoConfig.for_model(model_type, **{**values, "dtype": "float32"})
    return transformers.AutoModel.from_config(config, attn_implementation="sdpa").eval()


def _load(model: Any, tensors: TensorFiles, unused: tuple[str, ...]) -> None:
    """Copy every tensor of the module from the files; none may be missing."""
    torch = import_optional("torch", "export", PURPOSE)
    names = [name for name in model.state_dict() if not name.startswith(unused)] if unused else list(model.state_dict())
    prefix = next((prefix for prefix in PREFIXES if prefix + names[0] in tensors), "")
    state = {
        name: torch.from_numpy(read_tensor(tensors, prefix + name, tuple(model.state_dict()[name].shape)).copy())
        for name in names
    }
    model.load_state_dict(state, strict=not unused)
