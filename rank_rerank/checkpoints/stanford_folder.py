"""Read a Stanford ColBERT folder: one file of weights with ``linear.weight`` beside the encoder, artifact.metadata.

The same settings describe the ONNX exports of these models (Vespa's and fastembed's), whose graph ends with unit
vectors under the name ``contextual``. Defaults for missing keys are those of colbert-ai's configuration class.
"""

import string
from pathlib import Path

from rank_rerank.checkpoints.checkpoint import Checkpoint, DenseLayer, EncodingSettings, OnnxOutput
from rank_rerank.checkpoints.dense_layers import check_dense_layer
from rank_rerank.checkpoints.encoder_folder import make_checkpoint
from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.checkpoints.model_files import find_file, find_weights
from rank_rerank.checkpoints.safetensors_file import TensorFiles
from rank_rerank.checkpoints.special_tokens import filler_token, find_tokenizer
from rank_rerank.checkpoints.transformer_config import read_transformer_config
from rank_rerank.errors import CheckpointFormatError

METADATA_FILE = "artifact.metadata"
ARCHITECTURE = "HF_ColBERT"
ONNX_FILES = ("model.onnx", "vespa_colbert.onnx", "onnx/model.onnx")
# of colbert-ai's class; colbertv2.0 itself states 180
DOCUMENT_LENGTH = 220
DIM = 128


def read_stanford_folder(folder: Path, name: str) -> Checkpoint:
    """Read the weights' shapes and the settings.

    Raises:
        CheckpointFormatError: a file, the projection or a marker is missing or damaged, or the model scores
            otherwise than by cosine.
    """
    transformer = read_transformer_config(folder)
    settings, dim = _read_settings(folder)
    weights = find_weights(folder)
    tensors = TensorFiles(weights)
    if "linear.weight" not in tensors or len(tensors.shape("linear.weight")) != 2:  # noqa: PLR2004
        raise CheckpointFormatError(f'{name}: the projection "linear.weight" is missing; a new one would be random')
    out_features, in_features = tensors.shape("linear.weight")
    if dim not in (None, out_features):
        raise CheckpointFormatError(f'{METADATA_FILE}: "dim" is {dim}, the projection gives {out_features}')
    layer = DenseLayer(weights, in_features, out_features)
    check_dense_layer(layer, weights.name)
    return make_checkpoint(folder, name, transformer, (layer,), settings, "Stanford ColBERT")


def find_colbert_onnx(folder: Path) -> Path | None:
    """The ONNX export in a folder of this family, None where there is none."""
    found = (find_file(folder, name) for name in ONNX_FILES)
    return next((path for path in found if path is not None), None)


def read_colbert_onnx(folder: Path, name: str, model_file: Path) -> Checkpoint:
    """Read an ONNX export whose settings are in artifact.metadata.

    Raises:
        CheckpointFormatError: artifact.metadata or the tokenizer is missing or damaged.
    """
    if find_file(folder, METADATA_FILE) is None:
        raise CheckpointFormatError(
            f"{name}: {model_file.name} has no settings beside it: markers and lengths are needed, in {METADATA_FILE} "
            "or onnx_config.json"
        )
    settings, dim = _read_settings(folder)
    return Checkpoint(
        name=name,
        folder=folder,
        model_file=model_file,
        tokenizer_file=find_tokenizer(folder),
        dim=DIM if dim is None else dim,
        settings=settings,
        precision="fp32",
        family="ColBERT ONNX",
        # cosine is what the settings say, whatever the graph ends with
        output=OnnxOutput(normalize=True),
    )


def read_metadata(folder: Path) -> JsonSettings:
    """artifact.metadata, or what it nests under "config"; empty where there is none."""
    config = JsonSettings.read_if_there(folder, METADATA_FILE)
    nested = config.get_object("config")
    return nested if nested is not None and "query_maxlen" not in config else config


def _read_settings(folder: Path) -> tuple[EncodingSettings, int | None]:
    """The encoding settings, and the dim that the file states, if any."""
    config = read_metadata(folder)
    for key, only in (("similarity", "cosine"), ("interaction", "colbert")):
        if config.get(key, only) != only:
            raise CheckpointFormatError(f'{METADATA_FILE}: only "{key}": "{only}" is supported')
    settings = EncodingSettings(
        query_prefix=config.get("query_token_id", "[unused0]"),
        document_prefix=config.get("doc_token_id", "[unused1]"),
        query_length=config.get("query_maxlen", 32),
        document_length=config.get("doc_maxlen", DOCUMENT_LENGTH),
        do_query_expansion=True,
        attend_to_expansion_tokens=config.get("attend_to_mask_tokens", default=False),
        skiplist_words=tuple(string.punctuation) if config.get("mask_punctuation", default=True) else (),
        expansion_token=filler_token(folder),
        skiplist_of_encoded_words=True,
    )
    return settings, config.get_optional_int("dim")
