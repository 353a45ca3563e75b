"""What folders with an encoder's weights at their root have in common: modules.json, settings files, sizes."""

from dataclasses import dataclass
from pathlib import Path

from rank_rerank.checkpoints.checkpoint import Checkpoint, DenseLayer, EncodingSettings
from rank_rerank.checkpoints.dense_layers import check_chain
from rank_rerank.checkpoints.json_files import JsonSettings, read_objects
from rank_rerank.checkpoints.model_files import check_inside, find_weights
from rank_rerank.checkpoints.special_tokens import find_tokenizer, model_max_length
from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.errors import CheckpointFormatError

MODULES_FILE = "modules.json"
CONFIG_FILE = "config_sentence_transformers.json"
TRANSFORMER_CONFIG_FILE = "sentence_bert_config.json"


@dataclass(frozen=True)
class Module:
    """One entry of modules.json: the last part of its class's name, and its folder ("" for the root)."""

    kind: str
    where: str


def read_modules(folder: Path) -> tuple[Module, ...]:
    """The modules in their order; none where there is no modules.json.

    Raises:
        CheckpointFormatError: the file is damaged, or the first module is not a Transformer at the root.
    """
    path = folder / MODULES_FILE
    if not path.is_file():
        return ()
    modules = tuple(
        Module(entry.get("type", "").rpartition(".")[2], entry.get("path", ""))
        for entry in read_objects(check_inside(folder, path))
    )
    if not modules or modules[0].kind != "Transformer" or modules[0].where:
        raise CheckpointFormatError(f"{MODULES_FILE}: the first module must be a Transformer at the folder's root")
    return modules


def read_settings_file(folder: Path, name: str) -> JsonSettings:
    """A file of settings that may be missing, which is as if it were empty."""
    path = folder / name
    return JsonSettings(check_inside(folder, path)) if path.is_file() else JsonSettings(path, {})


def longest_text(folder: Path, transformer: TransformerConfig) -> int:
    """The longest text in tokens where nothing else limits it: of the saved length, the tokenizer's and the positions.

    sentence-transformers takes a RoBERTa's position table as its length, two rows of which no token can use; here they
    do not count.
    """
    stated = read_settings_file(folder, TRANSFORMER_CONFIG_FILE).get_optional_int("max_seq_length")
    limits = (model_max_length(folder) if stated is None else stated, transformer.max_positions)
    return min(limit for limit in limits if limit is not None)


def make_checkpoint(
    folder: Path,
    name: str,
    transformer: TransformerConfig,
    dense: tuple[DenseLayer, ...],
    settings: EncodingSettings,
    family: str,
) -> Checkpoint:
    """Join what was read of a folder with an encoder at its root.

    Raises:
        CheckpointFormatError: weights or tokenizer are missing, sizes do not fit, or a length is above the positions.
    """
    longest = max(settings.query_length, settings.document_length)
    if longest > transformer.max_positions:
        raise CheckpointFormatError(
            f"{name}: texts of {longest} tokens are asked for, but the model has {transformer.max_positions} positions"
        )
    return Checkpoint(
        name=name,
        folder=folder,
        model_file=find_weights(folder),
        tokenizer_file=find_tokenizer(folder),
        dim=check_chain(transformer.hidden_size, dense),
        settings=settings,
        precision="fp32",
        family=family,
        transformer=transformer,
        dense=dense,
    )
