"""A checkpoint's encoder as a transformers module, with weights loaded strictly from safetensors.

The exporter and the INT8 rewriting know the graphs of these modules. The class comes from the architecture's name,
never from the model's folder; what it computes is held against this library's own encoder by the gate.
"""

from typing import Any

from rank_rerank.checkpoints.checkpoint import Checkpoint, CrossEncoderCheckpoint, DenseLayer
from rank_rerank.checkpoints.dense_layers import dense_shapes
from rank_rerank.checkpoints.encoder_tensors import PREFIXES, read_tensor
from rank_rerank.checkpoints.json_files import MAX_SETTINGS_BYTES, parse_json, read_bounded
from rank_rerank.checkpoints.model_files import file_inside
from rank_rerank.checkpoints.safetensors_file import TensorFiles
from rank_rerank.devices import import_optional
from rank_rerank.errors import CheckpointFormatError
from rank_rerank.export.onnx_export import MIN_NORM, PURPOSE

# tensors of a module that its output does not depend on
UNUSED = ("pooler.",)


def build_encoder(checkpoint: Checkpoint) -> Any:
    """The encoder, giving ``last_hidden_state``.

    Raises:
        CheckpointFormatError: a tensor is missing or of another shape.
        MissingDependencyError: the export extra is not installed.
    """
    model = _build(checkpoint, "AutoModel")
    _load(model, TensorFiles(checkpoint.model_file), UNUSED)
    return model


def build_classifier(checkpoint: CrossEncoderCheckpoint) -> Any:
    """The encoder with its classification head, giving ``logits``; errors as build_encoder."""
    model = _build(checkpoint, "AutoModelForSequenceClassification")
    _load(model, TensorFiles(checkpoint.model_file), ())
    return model


def build_projection(dense: tuple[DenseLayer, ...]) -> Any:
    """The projection and the normalisation: [batch, length, hidden_size] → unit rows [batch, length, dim]."""
    torch = import_optional("torch", "export", PURPOSE)
    from rank_rerank.inference.torch_encoder import activate  # noqa: PLC0415 - loads torch

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


def _build(checkpoint: Checkpoint | CrossEncoderCheckpoint, auto_class: str) -> Any:
    transformers = import_optional("transformers", "export", PURPOSE)
    if checkpoint.transformer is None:
        raise CheckpointFormatError(f"{checkpoint.name} has no weights to export; it is an ONNX file already")
    content = read_bounded(file_inside(checkpoint.folder, "config.json"), MAX_SETTINGS_BYTES)
    values: dict[str, Any] = parse_json(content, "config.json")
    # read and checked by transformer_config already
    model_type = values.pop("model_type")
    values.pop("torch_dtype", None)
    config = transformers.AutoConfig.for_model(model_type, **{**values, "dtype": "float32"})
    return getattr(transformers, auto_class).from_config(config, attn_implementation="sdpa").eval()


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
