"""Read a multi-vector model that sentence-transformers 6 has saved as such.

Markers are prompts there, text before a text; where the tokenizer has the beginning of a prompt as a token of its
own, that token is inserted by id, which gives the same tokens. The modules are listed in full: what is not there is
not meant to be.
"""

from dataclasses import replace
from pathlib import Path

from rank_rerank.checkpoints.checkpoint import Checkpoint, DocumentPooling, EncodingSettings
from rank_rerank.checkpoints.dense_layers import read_dense_layer
from rank_rerank.checkpoints.encoder_folder import (
    CONFIG_FILE,
    DOCUMENT_PROMPTS,
    QUERY_PROMPTS,
    TRANSFORMER_CONFIG_FILE,
    Module,
    longest_text,
    make_checkpoint,
    read_modules,
    read_prompt,
)
from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.checkpoints.special_tokens import filler_token, marker_in
from rank_rerank.checkpoints.transformer_config import TransformerConfig, read_transformer_config
from rank_rerank.errors import CheckpointFormatError

MODEL_TYPE = "MultiVectorEncoder"
TOKENS = "token_embeddings"
SIMILARITIES = ("maxsim", "meanmaxsim")


def read_multi_vector_folder(folder: Path, name: str) -> Checkpoint:
    """Read the modules and settings.

    Raises:
        CheckpointFormatError: a file, module or tensor is missing or damaged, or an option is not supported.
    """
    transformer = read_transformer_config(folder)
    modules = _ordered_modules(folder, name)
    dense = tuple(read_dense_layer(folder, module.where) for module in modules if module.kind == "Dense")
    config = JsonSettings.read_if_there(folder, CONFIG_FILE)
    similarity = config.get_optional_str("similarity_fn_name") or SIMILARITIES[0]
    if similarity not in SIMILARITIES:
        raise CheckpointFormatError(f'{CONFIG_FILE}: "similarity_fn_name" must be one of {", ".join(SIMILARITIES)}')
    checkpoint = make_checkpoint(
        folder, name, transformer, dense, _read_settings(folder, transformer, config, modules), "multi-vector"
    )
    return replace(checkpoint, similarity=similarity, pooling=_read_pooling(folder, modules))


def _ordered_modules(folder: Path, name: str) -> tuple[Module, ...]:
    """The modules, in an order that this library computes: Transformer, Dense…, mask, normalisation, pooling."""
    modules = read_modules(folder)
    order = {
        "Transformer": 0,
        "Dense": 1,
        "MultiVectorMask": 2,
        "Normalize": 2,
        "HierarchicalTokenPooling": 3,
    }
    places = [order.get(module.kind, -1) for module in modules]
    if -1 in places or places != sorted(places):
        kinds = ", ".join(module.kind for module in modules)
        raise CheckpointFormatError(f"{name}: the modules {kinds[:200]} are not supported in this order")
    for kind in ("MultiVectorMask", "Normalize"):
        if sum(module.kind == kind for module in modules) != 1:
            raise CheckpointFormatError(f"{name}: a multi-vector model needs one module {kind}")
    for module in modules:
        if module.kind in ("Dense", "Normalize"):
            inputs = JsonSettings.read(folder, f"{module.where}/config.json")
            if inputs.get("module_input_name", "sentence_embedding") != TOKENS:
                raise CheckpointFormatError(f"{module.where} works on the vector of a whole text, not on tokens")
    return modules


def _read_settings(
    folder: Path, transformer: TransformerConfig, config: JsonSettings, modules: tuple[Module, ...]
) -> EncodingSettings:
    stated = JsonSettings.read_if_there(folder, TRANSFORMER_CONFIG_FILE)
    if stated.get("transformer_task", "feature-extraction") != "feature-extraction":
        raise CheckpointFormatError(f'{TRANSFORMER_CONFIG_FILE}: "transformer_task" must be "feature-extraction"')
    longest = longest_text(folder, transformer)
    query_marker, query_prompt = marker_in(folder, read_prompt(config, QUERY_PROMPTS))
    document_marker, document_prompt = marker_in(folder, read_prompt(config, DOCUMENT_PROMPTS))
    words, for_queries = _read_skiplist(folder, modules)
    settings = EncodingSettings(
        query_prefix=query_marker,
        document_prefix=document_marker,
        query_length=stated.get_optional_int("query_length") or longest,
        document_length=stated.get_optional_int("document_length") or longest,
        skiplist_words=words,
        skiplist_queries=for_queries,
        query_prompt=query_prompt,
        document_prompt=document_prompt,
        strip_text=False,
        do_lower_case=stated.get("do_lower_case", default=False),
    )
    expansion = stated.get_object("query_expansion")
    return settings if expansion is None else _expand(settings, expansion, folder)


def _expand(settings: EncodingSettings, expansion: JsonSettings, folder: Path) -> EncodingSettings:
    """Add query expansion: "fixed" cuts and fills to a length, "min" fills to it and leaves longer queries whole."""
    strategy, length = expansion.get("strategy", ""), expansion.get("length", 0)
    if strategy not in ("fixed", "min"):
        raise CheckpointFormatError(
            f'{TRANSFORMER_CONFIG_FILE}: the strategy of query expansion must be "fixed" or "min"'
        )
    return replace(
        settings,
        query_length=length if strategy == "fixed" else max(settings.query_length, length),
        do_query_expansion=True,
        attend_to_expansion_tokens=expansion.get("attend", default=False),
        expansion_length=length,
        expansion_token=expansion.get_optional_str("token") or filler_token(folder),
    )


def _read_skiplist(folder: Path, modules: tuple[Module, ...]) -> tuple[tuple[str, ...], bool]:
    """The words, and whether they are left out of queries too."""
    mask = next(module for module in modules if module.kind == "MultiVectorMask")
    config = JsonSettings.read(folder, f"{mask.where}/config.json")
    if config.get_value("keep_only_token_ids"):
        raise CheckpointFormatError(f'{mask.where}: "keep_only_token_ids" is for images, which are not supported')
    words = config.get_words("skiplist_words")
    tasks = config.get_words("skiplist_tasks", ("document",))
    if words and "document" not in tasks:
        raise CheckpointFormatError(f"{mask.where}: a skiplist for queries alone is not supported")
    return words, "query" in tasks


def _read_pooling(folder: Path, modules: tuple[Module, ...]) -> DocumentPooling | None:
    for module in modules:
        if module.kind == "HierarchicalTokenPooling":
            config = JsonSettings.read(folder, f"{module.where}/config.json")
            factor = config.get("pool_factor", 1.0)
            if factor != int(factor) or config.get_words("tasks", ("document",)) != ("document",):
                raise CheckpointFormatError(f"{module.where}: only whole pool factors, and documents, are supported")
            return DocumentPooling(
                factor=int(factor),
                protected_tokens=config.get("num_protected_tokens", 1),
                normalize=config.get("normalize_embeddings", default=False),
            )
    return None
