"""Read a next-plaid-onnx folder: model.onnx and/or model_int8.onnx, tokenizer.json, onnx_config.json.

The bundled model is such a folder too. Defaults for missing keys are those of the format's first reader (next-plaid).
"""

from pathlib import Path

from rank_rerank.checkpoints.checkpoint import Checkpoint, DocumentPooling, EncodingSettings
from rank_rerank.checkpoints.encoder_folder import CONFIG_FILE as SOURCE_CONFIG_FILE
from rank_rerank.checkpoints.encoder_folder import read_settings_file
from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.errors import CheckpointFormatError

CONFIG_FILE = "onnx_config.json"
MODEL_FILES = {"int8": "model_int8.onnx", "fp32": "model.onnx"}
DEFAULT_MASK_ID = 103


def is_onnx_folder(folder: Path) -> bool:
    """Whether the folder declares itself of this family."""
    return (folder / CONFIG_FILE).is_file()


def read_onnx_folder(folder: Path, name: str, precision: str = "auto") -> Checkpoint:
    """Read the settings and choose the model file.

    Args:
        folder: the model's folder.
        name: what to call the model.
        precision: "int8", "fp32", or "auto" for the first of these that is there.

    Raises:
        CheckpointFormatError: a file is missing or damaged, or the model is not a late-interaction model.
    """
    config = JsonSettings(folder / CONFIG_FILE)
    kind = config.get("model_type", "ColBERT")
    if kind != "ColBERT":
        raise CheckpointFormatError(f'{CONFIG_FILE}: "model_type" must be "ColBERT" for a late-interaction model')
    similarity = config.get("similarity", "maxsim")
    if similarity not in ("maxsim", "meanmaxsim"):
        raise CheckpointFormatError(f'{CONFIG_FILE}: "similarity" must be "maxsim" or "meanmaxsim"')
    found, model_file = _choose_model_file(folder, precision)
    tokenizer_file = folder / "tokenizer.json"
    if not tokenizer_file.is_file():
        raise CheckpointFormatError(f"{name}: tokenizer.json is missing")
    return Checkpoint(
        name=name,
        folder=folder,
        model_file=model_file,
        tokenizer_file=tokenizer_file,
        dim=config.get("embedding_dim", 128),
        settings=_read_settings(config, _read_do_expansion(folder, config)),
        precision=found,
        similarity=similarity,
        pooling=_read_pooling(config),
    )


def _read_pooling(config: JsonSettings) -> DocumentPooling | None:
    pooling = config.get_object("document_pooling")
    if pooling is None:
        return None
    return DocumentPooling(
        pooling.get("factor", 1), pooling.get("protected_tokens", 1), pooling.get("normalize", default=True)
    )


def _read_do_expansion(folder: Path, config: JsonSettings) -> bool:
    """The source model's own word where its settings are in the folder: exporters up to 1.6.1 always wrote false."""
    source = read_settings_file(folder, SOURCE_CONFIG_FILE)
    stated = config.get("do_query_expansion", default=True)
    return stated if source.is_null("do_query_expansion") else source.get("do_query_expansion", default=True)


def _read_settings(config: JsonSettings, do_expansion: bool) -> EncodingSettings:  # noqa: FBT001 - private
    return EncodingSettings(
        query_prefix=config.get("query_prefix", "[Q] "),
        document_prefix=config.get("document_prefix", "[D] "),
        query_length=config.get("query_length", 48),
        document_length=config.get("document_length", 300),
        do_query_expansion=do_expansion,
        attend_to_expansion_tokens=config.get("attend_to_expansion_tokens", default=False),
        skiplist_words=config.get_words("skiplist_words"),
        query_prefix_id=config.get_optional_int("query_prefix_id"),
        document_prefix_id=config.get_optional_int("document_prefix_id"),
        expansion_token_id=_expansion_token_id(config),
        # what follows is this library's own, for models that the format cannot describe otherwise
        expansion_length=config.get_optional_int("expansion_length"),
        query_prompt=config.get("query_prompt", ""),
        document_prompt=config.get("document_prompt", ""),
        strip_text=config.get("strip_text", default=True),
        do_lower_case=config.get("do_lower_case", default=False),
        skiplist_of_encoded_words=config.get("skiplist_of_encoded_words", default=False),
        skiplist_queries=config.get("skiplist_queries", default=False),
    )


def _expansion_token_id(config: JsonSettings) -> int | None:
    """The mask token where the file states one; its default is what exporters write who do not know it."""
    stated = config.get("mask_token_id", DEFAULT_MASK_ID)
    return None if stated == DEFAULT_MASK_ID else stated


def _choose_model_file(folder: Path, precision: str) -> tuple[str, Path]:
    wanted = tuple(MODEL_FILES) if precision == "auto" else (precision,)
    for candidate in wanted:
        model_file = folder / MODEL_FILES[candidate]
        if model_file.is_file():
            return candidate, model_file
    files = " or ".join(MODEL_FILES[candidate] for candidate in wanted)
    raise CheckpointFormatError(f"the model folder has no {files}")
