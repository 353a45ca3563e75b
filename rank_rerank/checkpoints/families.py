"""Tell by a folder's own files which family it is of, and read it by that family's rules."""

from collections.abc import Callable
from pathlib import Path

from rank_rerank.checkpoints.causal_folder import read_causal_reranker
from rank_rerank.checkpoints.checkpoint import Checkpoint, CrossEncoderCheckpoint
from rank_rerank.checkpoints.cross_encoder_folder import find_onnx, is_cross_encoder, read_cross_encoder
from rank_rerank.checkpoints.decoder_config import is_causal
from rank_rerank.checkpoints.decoder_files import find_decoder_file
from rank_rerank.checkpoints.encoder_folder import CONFIG_FILE, Module, read_modules
from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.checkpoints.key_check import check_settings
from rank_rerank.checkpoints.labels import Label
from rank_rerank.checkpoints.model_files import PICKLE_FILE, find_file, has_weights
from rank_rerank.checkpoints.multi_vector_folder import MODEL_TYPE, read_multi_vector_folder
from rank_rerank.checkpoints.onnx_folder import is_onnx_folder, read_onnx_folder
from rank_rerank.checkpoints.other_folders import explain_folder, explain_missing_weights
from rank_rerank.checkpoints.plain_encoder_folder import read_plain_encoder, read_plain_onnx, refuse_last_token
from rank_rerank.checkpoints.pylate_folder import read_pylate_folder
from rank_rerank.checkpoints.stanford_folder import (
    ARCHITECTURE,
    METADATA_FILE,
    find_colbert_onnx,
    read_colbert_onnx,
    read_stanford_folder,
)
from rank_rerank.errors import CheckpointFormatError

HF_CONFIG_FILE = "config.json"
# keys that only PyLate writes; its first versions wrote no "model_type"
PYLATE_KEYS = ("query_prefix", "document_prefix", "do_query_expansion", "skiplist_words")


def read_folder(
    folder: Path,
    name: str,
    precision: str,
    runtime: str,
    instruction: str | None = None,
    label: Label | None = None,
) -> Checkpoint | CrossEncoderCheckpoint:
    """Read a model folder of any family, and compare its settings with what the family follows.

    Args:
        folder: the model's folder.
        name: what to call the model.
        precision: see find_model.
        runtime: see find_model.
        instruction: see find_model.
        label: see find_model.

    Raises:
        CheckpointFormatError: the folder is of no supported family, is damaged, has no file for this runtime, or asks
            for something that changes results and is not computed.
    """
    checkpoint = _read(folder, name, precision, runtime, instruction, label)
    check_settings(checkpoint)
    return checkpoint


def _read(
    folder: Path, name: str, precision: str, runtime: str, instruction: str | None, label: Label | None
) -> Checkpoint | CrossEncoderCheckpoint:
    if is_onnx_folder(folder) and not (runtime == "torch" and has_weights(folder)):
        return _read_onnx(folder, name, precision, runtime)
    if find_file(folder, HF_CONFIG_FILE) is None:
        raise CheckpointFormatError(explain_folder(folder, name))
    config = JsonSettings.read(folder, HF_CONFIG_FILE)
    _refuse_other_weights(folder, name)
    if is_cross_encoder(folder, config):
        return read_cross_encoder(folder, name, precision, runtime, label)
    modules = read_modules(folder)
    for module in modules:
        if module.kind == "Pooling":
            refuse_last_token(folder, module)
    if is_causal(config):
        weights = find_decoder_file(folder, name, precision, runtime)
        return read_causal_reranker(folder, name, modules, weights, instruction)
    return _read_encoder_folder(folder, name, modules, precision, runtime)


def _refuse_other_weights(folder: Path, name: str) -> None:
    """Name what a folder has in place of weights that are read, where it has no others."""
    is_pickle = find_file(folder, PICKLE_FILE) is not None
    if has_weights(folder) or is_pickle or find_onnx(folder, "auto") or find_colbert_onnx(folder):
        return
    if (reason := explain_missing_weights(folder)) is not None:
        raise CheckpointFormatError(f"{name}: {reason}")


def _read_onnx(folder: Path, name: str, precision: str, runtime: str) -> Checkpoint:
    if runtime == "torch":
        # PyTorch computes with an INT8 file's weights, in a precision of its own
        return read_onnx_folder(folder, name, "int8")
    if precision in ("fp16", "bf16"):
        raise CheckpointFormatError(f"{name} is an ONNX folder, which has no {precision}; use int8, fp32 or auto")
    return read_onnx_folder(folder, name, precision)


def _read_encoder_folder(
    folder: Path, name: str, modules: tuple[Module, ...], precision: str, runtime: str
) -> Checkpoint:
    architectures = JsonSettings.read(folder, HF_CONFIG_FILE).get_words("architectures")
    is_stanford = ARCHITECTURE in architectures or find_file(folder, METADATA_FILE) is not None
    read = _choose_family(folder, modules, is_stanford=is_stanford and not modules)
    if runtime == "onnx" or (runtime == "auto" and not has_weights(folder)):
        if is_stanford and (model_file := find_colbert_onnx(folder)) is not None:
            return read_colbert_onnx(folder, name, model_file)
        if read is read_plain_encoder and (found := _find_plain_onnx(folder, precision)) is not None:
            return read_plain_onnx(folder, name, *found)
    if runtime == "onnx":
        raise CheckpointFormatError(
            f"{name} has no ONNX file that ends with token vectors; make one with: rank-rerank export MODEL OUTPUT"
        )
    if precision == "int8" and runtime == "torch":
        raise CheckpointFormatError(f"{name} has no INT8 file; make one with: rank-rerank export MODEL OUTPUT --int8")
    return read(folder, name)


def _choose_family(
    folder: Path, modules: tuple[Module, ...], *, is_stanford: bool
) -> Callable[[Path, str], Checkpoint]:
    """The reader of a folder with an encoder's weights at its root."""
    if is_stanford:
        return read_stanford_folder
    stated = JsonSettings.read_if_there(folder, CONFIG_FILE)
    model_type = stated.get_optional_str("model_type")
    if model_type == MODEL_TYPE:
        return read_multi_vector_folder
    kinds = {module.kind for module in modules}
    if model_type == "ColBERT" or any(key in stated for key in PYLATE_KEYS):
        return read_pylate_folder
    return read_pylate_folder if "Dense" in kinds and "Pooling" not in kinds else read_plain_encoder


def _find_plain_onnx(folder: Path, precision: str) -> tuple[str, Path] | None:
    """The precision and the ONNX file of a folder without late-interaction settings."""
    model_file = find_colbert_onnx(folder)
    return find_onnx(folder, precision) or (None if model_file is None else ("fp32", model_file))
