"""Where a causal reranker's int8 weights come from: rounded as they are read, or a file that was rounded before.

The file is safetensors, in the layout of the compiled pass, so that it is used where it is mapped: nothing is copied,
and processes share it. Its tensors: ``layout`` (version, group and width of the panels, int64); for layer i
``layers.i.NAME`` as in `decoder_weights`; ``final_norm``, ``answer``; and ``words``, the table of words in as the
source has it. Whoever writes it puts a new file in the old one's place and never changes one: a mapped file that is cut
ends the process that reads it.
"""

import logging
from functools import partial

import numpy as np

from rank_rerank.arrays import AnyArray
from rank_rerank.checkpoints.checkpoint import YesNoPrompt
from rank_rerank.checkpoints.decoder_config import DecoderConfig
from rank_rerank.checkpoints.decoder_tensors import find_word_table, read_answer, read_decoder_layers
from rank_rerank.checkpoints.encoder_tensors import check_tensor, read_tensor
from rank_rerank.checkpoints.safetensors_file import TensorFiles
from rank_rerank.errors import CheckpointFormatError
from rank_rerank.inference.int8_weights.decoder_weights import (
    GROUP,
    SIZE_MULTIPLE,
    DecoderWeights,
    Tensors,
    change_width,
    layer_shapes,
    panel_width,
    round_layers,
)
from rank_rerank.inference.int8_weights.quantized_linear import GROUP_PLANES
from rank_rerank.kernels.processor import VectorPath

VERSION = 1
WIDTHS = (16, 32)
LARGEST_GROUP = 4096  # a worker takes memory for a group of each row

logger = logging.getLogger("rank_rerank")


def weights_from_source(
    tensors: TensorFiles, config: DecoderConfig, prompt: YesNoPrompt, path: VectorPath, group: int = GROUP
) -> DecoderWeights:
    """Round a model's weights as they are read, layer by layer; the table of words in stays in its file.

    Raises:
        CheckpointFormatError: a tensor is missing, of another shape, or not finite.
    """
    words = partial(tensors.rows, find_word_table(tensors, config))
    answer = read_answer(tensors, config, prompt)
    *layers, last = round_layers(read_decoder_layers(tensors, config), config, path, group)
    return DecoderWeights(tuple(layers), last["final_norm"], answer, words, group)


def weights_from_file(tensors: TensorFiles, config: DecoderConfig, path: VectorPath) -> DecoderWeights:
    """Use a file that was rounded before.

    Raises:
        CheckpointFormatError: it is of another version, a tensor is missing, of another shape or dtype, or not finite.
    """
    group, width = _read_layout(tensors)
    shapes = layer_shapes(config, group, width)
    words = partial(tensors.rows, check_tensor(tensors, "words", (config.vocab_size, config.hidden_size)))
    layers = [
        {name: _read(tensors, f"layers.{number}.{name}", shape) for name, shape in shapes.items()}
        for number in range(config.num_layers)
    ]
    if len(tensors) != config.num_layers * len(shapes) + 4:
        raise CheckpointFormatError(f"{tensors.paths[0].name} has tensors that config.json says nothing of")
    if width != panel_width(path):
        logger.info(
            "%s was written for panels of %d columns, and the vector path %s has %d: it is copied into memory",
            tensors.paths[0].name,
            width,
            path.name,
            panel_width(path),
        )
        layers = [_with_width(layer, panel_width(path)) for layer in layers]
    final_norm, answer = (read_tensor(tensors, name, (config.hidden_size,)) for name in ("final_norm", "answer"))
    return DecoderWeights(tuple(layers), final_norm, answer, words, group)


def _read_layout(tensors: TensorFiles) -> tuple[int, int]:
    name = tensors.paths[0].name
    if tensors.dtype(check_tensor(tensors, "layout", (3,))) != "I64":
        raise CheckpointFormatError(f'{name}: "layout" must be int64')
    version, group, width = tensors.stored("layout").tolist()
    if version != VERSION:
        raise CheckpointFormatError(
            f"{name} has the layout {version}, and this version reads {VERSION}; export the model again"
        )
    if width not in WIDTHS or not SIZE_MULTIPLE <= group <= LARGEST_GROUP or group % SIZE_MULTIPLE:
        raise CheckpointFormatError(
            f"{name}: panels must be of 16 or 32 columns, groups a multiple of {SIZE_MULTIPLE} up to {LARGEST_GROUP}"
        )
    return group, width


def _read(tensors: TensorFiles, name: str, shape: tuple[int, ...]) -> AnyArray:
    """A view of a tensor in the file, once it is what the pass may read."""
    wanted = "I8" if name.endswith(".panels") else "F32"
    if tensors.dtype(check_tensor(tensors, name, shape)) != wanted:
        raise CheckpointFormatError(f'{tensors.paths[0].name}: the tensor "{name}" must be of the dtype {wanted}')
    array = tensors.stored(name)
    if wanted == "F32":
        # of a linear layer, every third plane is int32
        planes = [array[0], array[1::GROUP_PLANES], array[2::GROUP_PLANES]] if array.ndim > 1 else [array]
        if not all(np.isfinite(plane).all() for plane in planes):
            raise CheckpointFormatError(f'{tensors.paths[0].name}: the tensor "{name}" holds NaN or infinity')
    return array


def _with_width(layer: Tensors, width: int) -> Tensors:
    return {name: change_width(array, width) if name.endswith(".panels") else array for name, array in layer.items()}
