"""What folders with an encoder's weights at their root have in common: modules.json, settings files, sizes."""

from dataclasses import dataclass
from pathlib import Path

from rank_rerank.checkpoints.checkpoint import Checkpoint, DenseLayer, EncodingSettings
from rank_rerank.checkpoints.dense_layers import check_chain
from rank_rerank.checkpoints.json_files import JsonSettings, read_objects
from rank_rerank.checkpoints.model_files import find_file, find_weights
from rank_rerank.checkpoints.special_tokens import find_tokenizer, model_max_length
from rank_rerank.checkpoints.transformer_config import ROBERTA_TYPES, TransformerConfig
from rank_rerank.errors import CheckpointFormatError

MODULES_FILE = "modules.json"
CONFIG_FILE = "config_sentence_transformers.json"
TRANSFORMER_CONFIG_FILE = "sentence_bert_config.json"
# rows of a RoBERTa's position table that no token can use: its padding's and those before it
UNUSED_POSITIONS = 2
MPNET = "mpnet"  # whose padding has the position 1 whatever its id is
DEFAULT_LENGTH = 512
# names of prompts by task, the first that is there
QUERY_PROMPTS = ("query",)
DOCUMENT_PROMPTS = ("document", "passage", "corpus")
# the longest chains published have six
MAX_MODULES = 32


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
    path = find_file(folder, MODULES_FILE)
    if path is None:
        return ()
    entries = read_objects(path)
    if len(entries) > MAX_MODULES:
        raise CheckpointFormatError(f"{MODULES_FILE} has more than {MAX_MODULES} modules")
    modules = tuple(Module(entry.get("type", "").rpartition(".")[2], entry.get("path", "")) for entry in entries)
    if not modules or modules[0].kind != "Transformer" or modules[0].where:
        raise CheckpointFormatError(f"{MODULES_FILE}: the first module must be a Transformer at the folder's root")
    return modules


def longest_text(folder: Path, transformer: TransformerConfig) -> int:
    """The longest text in tokens where nothing else limits it: of the saved length, the tokenizer's and the positions.

    sentence-transformers takes a RoBERTa's position table as its length, two rows of which no token can use; here they
    do not count.
    """
    stated = JsonSettings.read_if_there(folder, TRANSFORMER_CONFIG_FILE).get_optional_int("max_seq_length")
    limits = (model_max_length(folder) if stated is None else stated, transformer.max_positions)
    return min(limit for limit in limits if limit is not None)


def onnx_length(folder: Path, config: JsonSettings) -> int:
    """The longest text or pair, from settings that describe an architecture which need not be one of this library's."""
    positions, model_type = config.get_optional_int("max_position_embeddings"), config.get("model_type", "")
    if model_type in (*ROBERTA_TYPES, MPNET):
        # rows of the table that no token can use: padding's, and those before it
        padding = config.get_optional_int("pad_token_id") if model_type != MPNET else None
        positions = (positions or DEFAULT_LENGTH) - (UNUSED_POSITIONS if padding is None else padding + 1)
    stated = JsonSettings.read_if_there(folder, TRANSFORMER_CONFIG_FILE).get_optional_int("max_seq_length")
    limits = [limit for limit in (stated, model_max_length(folder), positions) if limit is not None]
    return min(limits, default=DEFAULT_LENGTH)


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
        CheckpointFormatError: weights or tokenizer are missing, sizes do not fit, a length is above the positions, or
            DeBERTa is to fill queries with tokens that it does not attend to.
    """
    longest = max(settings.query_length, settings.document_length)
    if longest > transformer.max_positions:
        raise CheckpointFormatError(
            f"{name}: texts of {longest} tokens are asked for, but the model has {transformer.max_positions} positions"
        )
    is_disentangled = transformer.relative is not None and transformer.relative.kind == "disentangled"
    if is_disentangled and settings.do_query_expansion and not settings.attend_to_expansion_tokens:
        # transformers sets such tokens to zero, and their vectors then depend on how the batch was padded
        raise CheckpointFormatError(
            f"{name}: DeBERTa gives the tokens that fill a query no vectors of their own unless it attends to them; "
            '"attend_to_expansion_tokens" must be true, or "do_query_expansion" false'
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


def read_prompt(config: JsonSettings, names: tuple[str, ...]) -> str:
    """The prompt of a task: the first of its names that is there, else the default prompt."""
    prompts = config.get_object("prompts")
    if prompts is None:
        return ""
    default = config.get_optional_str("default_prompt_name")
    found = next((name for name in names if name in prompts), default)
    return "" if found is None else prompts.get_optional_str(found) or ""
