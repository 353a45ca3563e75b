"""Compare a model folder's settings files with the tables of known keys, once its family is known."""

from collections.abc import Iterator
from pathlib import Path

from rank_rerank.checkpoints.checkpoint import Checkpoint, CrossEncoderCheckpoint
from rank_rerank.checkpoints.config_keys import (
    BY_MODEL_TYPE,
    CROSS_ENCODER_ACTIVATION,
    CROSS_ENCODER_LABELS,
    CROSS_ENCODER_WITHOUT_EFFECT,
    HEADS,
)
from rank_rerank.checkpoints.encoder_folder import read_modules
from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.checkpoints.key_table import KeyTable, check_keys, report_keys
from rank_rerank.checkpoints.model_files import find_file
from rank_rerank.checkpoints.settings_keys import BY_FAMILY, CROSS_ENCODER, MODULES_BY_FAMILY
from rank_rerank.checkpoints.stanford_folder import METADATA_FILE, read_metadata
from rank_rerank.checkpoints.tokenizer_agreement import check_tokenizer_agrees
from rank_rerank.checkpoints.transformer_config import CONFIG_FILE


def check_settings(checkpoint: Checkpoint | CrossEncoderCheckpoint) -> None:
    """Refuse or report what a checkpoint's settings ask for and is not followed.

    Raises:
        CheckpointFormatError: a key would change results, and is refused.
    """
    for file_name, table in key_tables(checkpoint):
        settings = _read(checkpoint.folder, file_name)
        report_keys(checkpoint.name, file_name, check_keys(settings, table))
    check_tokenizer_agrees(checkpoint.folder)


def key_tables(checkpoint: Checkpoint | CrossEncoderCheckpoint) -> Iterator[tuple[str, KeyTable]]:
    """The files of a checkpoint's folder that its family reads, each with its table."""
    folder, family = checkpoint.folder, checkpoint.family
    if not checkpoint.is_onnx:  # a graph has its architecture inside
        yield CONFIG_FILE, _config_table(checkpoint, JsonSettings.read(folder, CONFIG_FILE).get("model_type", ""))
    yield from BY_FAMILY[family].items()
    tables = MODULES_BY_FAMILY.get(family, {})
    for module in read_modules(folder) if tables else ():
        file_name = f"{module.where}/config.json"
        if module.kind in tables and find_file(folder, file_name) is not None:
            yield file_name, tables[module.kind]


def _config_table(checkpoint: Checkpoint | CrossEncoderCheckpoint, model_type: str) -> KeyTable:
    table = BY_MODEL_TYPE[model_type]
    if not isinstance(checkpoint, CrossEncoderCheckpoint):
        return table
    table = table.with_keys(CROSS_ENCODER_ACTIVATION, CROSS_ENCODER_WITHOUT_EFFECT)
    # the modules of a modular one, and the answers of a causal one, give one number whatever the labels say
    is_converted = checkpoint.prompt is not None and bool(checkpoint.prompt.score_tensor)
    if checkpoint.family != CROSS_ENCODER and not is_converted:
        return table
    return table.with_keys(f"{CROSS_ENCODER_LABELS} {HEADS.get(model_type, '')}")


def _read(folder: Path, file_name: str) -> JsonSettings:
    return read_metadata(folder) if file_name == METADATA_FILE else JsonSettings.read_if_there(folder, file_name)
