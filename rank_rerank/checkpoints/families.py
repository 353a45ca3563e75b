"""Tell by a folder's own files which family it is of, and read it by that family's rules."""

from pathlib import Path

from rank_rerank.checkpoints.causal_folder import is_causal, read_causal_reranker
from rank_rerank.checkpoints.checkpoint import Checkpoint, CrossEncoderCheckpoint
from rank_rerank.checkpoints.cross_encoder_folder import is_cross_encoder, read_cross_encoder
from rank_rerank.checkpoints.encoder_folder import CONFIG_FILE, Module, read_modules, read_settings_file
from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.checkpoints.model_files import check_inside, find_weights
from rank_rerank.checkpoints.multi_vector_folder import MODEL_TYPE, read_multi_vector_folder
from rank_rerank.checkpoints.onnx_folder import is_onnx_folder, read_onnx_folder
from rank_rerank.checkpoints.pylate_folder import read_plain_encoder, read_pylate_folder, refuse_last_token
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
    folder: Path, name: str, precision: str, runtime: str, instruction: str | None = None
) -> Checkpoint | CrossEncoderCheckpoint:
    """Read a model folder of any family.

    Args:
        folder: the model's folder.
        name: what to call the model.
        precision: see find_model.
        runtime: see find_model.
        instruction: see find_model.

    Raises:
        CheckpointFormatError: the folder is of no supported family, is damaged, or has no file for this runtime.
    """
    if is_onnx_folder(folder) and runtime == "torch" and not _has_weights(folder):
        # PyTorch computes with an INT8 file's weights, in a precision of its own
        return read_onnx_folder(folder, name, "int8")
    if is_onnx_folder(folder) and runtime != "torch":
        if precision in ("fp16", "bf16"):
            raise CheckpointFormatError(f"{name} is an ONNX folder, which has no {precision}; use int8, fp32 or auto")
        return read_onnx_folder(folder, name, precision)
    if not (folder / HF_CONFIG_FILE).is_file():
        raise CheckpointFormatError(
            f"{name}: no onnx_config.json and no config.json in the model folder, so it is no model of a known family"
        )
    config = JsonSettings(check_inside(folder, folder / HF_CONFIG_FILE))
    if is_cross_encoder(config):
        return read_cross_encoder(folder, name, precision, runtime)
    modules = read_modules(folder)
    for module in modules:
        if module.kind == "Pooling":
            refuse_last_token(folder, module)
    if is_causal(config):
        _check_torch_only(name, precision, runtime)
        return read_causal_reranker(folder, name, modules, instruction)
    if precision == "int8" and runtime not in ("auto", "numba"):
        raise CheckpointFormatError(f"{name} has no INT8 file; make one with: rank-rerank export MODEL OUTPUT --int8")
    return _read_encoder_folder(folder, name, config, modules, runtime)


def _read_encoder_folder(
    folder: Path, name: str, config: JsonSettings, modules: tuple[Module, ...], runtime: str
) -> Checkpoint:
    is_stanford = ARCHITECTURE in config.get_words("architectures") or (folder / METADATA_FILE).is_file()
    onnx = None if modules and not is_stanford else find_colbert_onnx(folder)
    if onnx is not None and (runtime == "onnx" or (runtime == "auto" and not _has_weights(folder))):
        return read_colbert_onnx(folder, name, onnx)
    if runtime == "onnx":
        raise CheckpointFormatError(
            f"{name} has no ONNX file that ends with token vectors; make one with: rank-rerank export MODEL OUTPUT"
        )
    if is_stanford and not modules:
        return read_stanford_folder(folder, name)
    stated = read_settings_file(folder, CONFIG_FILE)
    model_type = stated.get_optional_str("model_type")
    if model_type == MODEL_TYPE:
        return read_multi_vector_folder(folder, name)
    if model_type == "ColBERT" or any(key in stated for key in PYLATE_KEYS):
        return read_pylate_folder(folder, name)
    if any(module.kind == "Dense" for module in modules) and not any(module.kind == "Pooling" for module in modules):
        return read_pylate_folder(folder, name)
    return read_plain_encoder(folder, name)


def _has_weights(folder: Path) -> bool:
    try:
        find_weights(folder)
    except CheckpointFormatError:
        return False
    return True


def _check_torch_only(name: str, precision: str, runtime: str) -> None:
    if runtime not in ("auto", "torch") or precision == "int8":
        raise CheckpointFormatError(
            f"{name} is a causal reranker, which runs in PyTorch in fp32, fp16 or bf16 only; leave runtime out"
        )
