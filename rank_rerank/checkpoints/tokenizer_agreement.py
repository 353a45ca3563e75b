"""tokenizer_config.json says some rules of tokenizer.json a second time: the two must agree.

transformers builds BERT's and RoBERTa's tokenizers by the former, and everything else reads the latter, so a folder in
which they differ is read in two ways. It is refused rather than read in one of them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.checkpoints.special_tokens import TOKENIZER_CONFIG_FILE, TOKENIZER_FILE, read_tokenizer
from rank_rerank.errors import CheckpointFormatError

# key of tokenizer_config.json → type and key of the part of tokenizer.json that has it
STATED_TWICE = {
    "do_lower_case": ("BertNormalizer", "lowercase"),
    "strip_accents": ("BertNormalizer", "strip_accents"),
    "tokenize_chinese_chars": ("BertNormalizer", "handle_chinese_chars"),
    "add_prefix_space": ("ByteLevel", "add_prefix_space"),
}
# classes that take tokenizer.json as it is
GENERAL_CLASSES = ("PreTrainedTokenizerFast", "TokenizersBackend")
PARTS = ("normalizer", "pre_tokenizer")
MAX_DEPTH = 8


def check_tokenizer_agrees(folder: Path) -> None:
    """Compare the two files.

    Raises:
        CheckpointFormatError: they differ in a rule that changes tokens.
    """
    stated = JsonSettings.read_if_there(folder, TOKENIZER_CONFIG_FILE)
    keys = [key for key in STATED_TWICE if key in stated]
    if not keys or stated.get_optional_str("tokenizer_class") in GENERAL_CLASSES:
        return
    tokenizer = read_tokenizer(folder)
    parts = [part for name in PARTS for part in _parts(tokenizer.get(name))]
    for key in keys:
        kind, inner_key = STATED_TWICE[key]
        for part in parts:
            found = part.get(inner_key)
            if key == "strip_accents" and found is None:  # which is as lower-casing says
                found = part.get("lowercase")
            if part.get("type") == kind and found != stated.get_value(key):
                raise CheckpointFormatError(
                    f'{TOKENIZER_CONFIG_FILE} says "{key}": {stated.get_value(key)!a}, {TOKENIZER_FILE} says '
                    f'"{inner_key}": {found!a}; libraries differ in which they follow. Make the two agree with what '
                    "the model was trained with"
                )


def _parts(component: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """A component of tokenizer.json and, where it is a sequence, those inside it."""
    if not isinstance(component, dict) or depth > MAX_DEPTH:
        return
    described = cast("dict[str, Any]", component)
    yield described
    for name in ("normalizers", "pretokenizers"):
        inner = described.get(name)
        for part in cast("list[Any]", inner) if isinstance(inner, list) else ():
            yield from _parts(part, depth + 1)
