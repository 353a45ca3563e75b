"""Read the Dense modules of a sentence-transformers or PyLate folder: 1_Dense/config.json and its weights."""

from pathlib import Path

from rank_rerank.arrays import AnyArray
from rank_rerank.checkpoints.checkpoint import DENSE_ACTIVATIONS, DenseLayer
from rank_rerank.checkpoints.encoder_tensors import read_tensor
from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.checkpoints.model_files import find_weights
from rank_rerank.checkpoints.safetensors_file import TensorFiles
from rank_rerank.errors import CheckpointFormatError

# classes are known by name and never imported
ACTIVATION_CLASSES = {
    "Identity": "identity",
    "Tanh": "tanh",
    "ReLU": "relu",
    "GELU": "gelu",
    "Sigmoid": "sigmoid",
    "SiLU": "silu",
}
MAX_FEATURES = 1 << 17


def read_dense_layer(folder: Path, where: str) -> DenseLayer:
    """Read one Dense module and compare its tensors with its settings.

    Args:
        folder: the model's folder.
        where: the module's folder inside it, as "1_Dense".

    Raises:
        CheckpointFormatError: a file or tensor is missing, of another shape, or the activation is unknown.
    """
    config = JsonSettings.read(folder, f"{where}/config.json")
    layer = DenseLayer(
        weights=find_weights(folder, where),
        in_features=config.get("in_features", 0),
        out_features=config.get("out_features", 0),
        has_bias=config.get("bias", default=True),
        activation=read_activation(config.get("activation_function", "torch.nn.modules.activation.Tanh"), where),
        is_residual=config.get("use_residual", default=False),
    )
    check_dense_layer(layer, where)
    return layer


def read_activation(class_name: str, where: str) -> str:
    """The activation that a dotted class name stands for.

    Raises:
        CheckpointFormatError: it is not one of torch's that this library knows.
    """
    module, _, name = class_name.rpartition(".")
    known = ACTIVATION_CLASSES.get(name)
    if known is None or not (module == "torch.nn" or module.startswith("torch.nn.modules.")):
        raise CheckpointFormatError(
            f"{where}: the activation {class_name[:80]!a} is not known; known are {', '.join(DENSE_ACTIVATIONS)}"
        )
    return known


def check_dense_layer(layer: DenseLayer, where: str) -> None:
    """Refuse a layer whose tensors are missing or of another shape.

    Raises:
        CheckpointFormatError: the message names the tensor.
    """
    sizes = (layer.in_features, layer.out_features)
    if not all(1 <= size <= MAX_FEATURES for size in sizes):
        raise CheckpointFormatError(f"{where}: in_features and out_features must be from 1 to {MAX_FEATURES}")
    tensors = TensorFiles(layer.weights)
    for name, shape in dense_shapes(layer).items():
        if name not in tensors or tensors.shape(name) != shape:
            found = f"has the shape {list(tensors.shape(name))}" if name in tensors else "is missing"
            raise CheckpointFormatError(f'{where}: the tensor "{name}" {found}; {list(shape)} is needed')


def dense_shapes(layer: DenseLayer) -> dict[str, tuple[int, ...]]:
    """The tensors a layer needs, and their shapes."""
    shapes: dict[str, tuple[int, ...]] = {"linear.weight": (layer.out_features, layer.in_features)}
    if layer.has_bias:
        shapes["linear.bias"] = (layer.out_features,)
    if layer.is_residual and layer.in_features != layer.out_features:
        shapes["residual.weight"] = (layer.out_features, layer.in_features)
    return shapes


def check_chain(hidden_size: int, dense: tuple[DenseLayer, ...]) -> int:
    """Compare the layers' sizes with each other; give the dim of the last.

    Raises:
        CheckpointFormatError: a layer takes another size than the one before it gives.
    """
    size = hidden_size
    for number, layer in enumerate(dense, 1):
        if layer.in_features != size:
            raise CheckpointFormatError(
                f"projection {number} takes {layer.in_features} numbers, but what comes before it gives {size}"
            )
        size = layer.out_features
    return size


def read_dense_tensors(layer: DenseLayer) -> dict[str, AnyArray]:
    """Read the tensors of a Dense module by their names in the file, as float32.

    Raises:
        CheckpointFormatError: one is missing, of another shape, or not finite.
    """
    tensors = TensorFiles(layer.weights)
    return {name: read_tensor(tensors, name, shape) for name, shape in dense_shapes(layer).items()}
