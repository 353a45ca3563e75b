"""What tokenizer_config.json and tokenizer.json say of special tokens, as far as encoding needs it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from rank_rerank.checkpoints.json_files import JsonSettings, parse_json
from rank_rerank.checkpoints.model_files import file_inside, find_file, read_bounded
from rank_rerank.errors import CheckpointFormatError

TOKENIZER_FILE = "tokenizer.json"
# WordPiece's words, one per line; older models have nothing else
VOCABULARY_FILE = "vocab.txt"
# as XLM-RoBERTa, ALBERT, DeBERTa and Llama call the same format
SENTENCEPIECE_FILES = ("sentencepiece.bpe.model", "spiece.model", "spm.model", "tokenizer.model")
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"
# the largest seen has 250,000 words and 17 MB; a million words fit
MAX_TOKENIZER_BYTES = 256 << 20
# what transformers writes where nobody set a length
NO_LENGTH = 1 << 20


def find_tokenizer(folder: Path) -> Path:
    """tokenizer.json of a model folder.

    Raises:
        CheckpointFormatError: it is missing, or a link out of the folder.
    """
    if (vocabulary := find_bare_vocabulary(folder)) is not None:
        raise CheckpointFormatError(
            f"{TOKENIZER_FILE} is missing, and {vocabulary} is there: make the one from the other with: "
            "rank-rerank convert MODEL OUTPUT"
        )
    return file_inside(folder, TOKENIZER_FILE)


def find_bare_vocabulary(folder: Path) -> str | None:
    """The name of the vocabulary that tokenizer.json is to be made from; None where that is there, or nothing is.

    Raises:
        CheckpointFormatError: a file is a link out of the folder, or no plain file.
    """
    if find_file(folder, TOKENIZER_FILE) is not None:
        return None
    names = (VOCABULARY_FILE, *SENTENCEPIECE_FILES)
    return next((name for name in names if find_file(folder, name) is not None), None)


def filler_token(folder: Path) -> str:
    """The token that fills queries, by the rule of PyLate and sentence-transformers: mask, else end, else padding.

    Returns:
        The token as it stands in the vocabulary; "" where the folder does not say, for the tokenizer's mask token.
    """
    for key in ("mask_token", "eos_token", "pad_token"):
        for name in (TOKENIZER_CONFIG_FILE, SPECIAL_TOKENS_FILE):
            if (found := _token(folder, name, key)) is not None:
                return found
    return ""


def model_max_length(folder: Path) -> int | None:
    """The longest text in tokens that tokenizer_config.json states; None where it states none."""
    stated = JsonSettings.read_if_there(folder, TOKENIZER_CONFIG_FILE)
    # "max_len" is the name that it once had; where nobody set it, transformers writes 1000000000000000019884624838656
    length = stated.get_optional_float("model_max_length" if "model_max_length" in stated else "max_len")
    return None if length is None or length > NO_LENGTH else int(length)


def gives_token_types(folder: Path) -> bool:
    """Whether the tokenizer hands the model the types of a pair's tokens; true where it does not say."""
    stated = JsonSettings.read_if_there(folder, TOKENIZER_CONFIG_FILE)
    return "token_type_ids" in stated.get_words("model_input_names", ("token_type_ids",))


def marker_in(folder: Path, prompt: str) -> tuple[str, str]:
    """Split a prompt into the marker at its beginning and the text after it.

    A marker is an added token of the tokenizer, which stands for one id; a prompt without one is plain text.

    Returns:
        The marker ("" for none) and the rest of the prompt.
    """
    if not prompt:
        return "", ""
    best: dict[str, Any] = {"content": ""}
    for token in _added_tokens(read_tokenizer(folder)):
        word = token.get("content")
        if isinstance(word, str) and prompt.startswith(word) and len(word) > len(best["content"]):
            best = token
    rest = prompt[len(best["content"]) :]
    return best["content"], rest.lstrip() if best.get("rstrip") else rest


def find_token_ids(folder: Path, words: Sequence[str]) -> tuple[int, ...]:
    """The ids of tokens that a tokenizer must have.

    Raises:
        CheckpointFormatError: it lacks one.
    """
    content = read_tokenizer(folder)
    model = content.get("model")
    vocabulary = cast("dict[str, Any]", model).get("vocab") if isinstance(model, dict) else None
    known = dict(cast("dict[str, Any]", vocabulary)) if isinstance(vocabulary, dict) else {}
    known |= {str(token.get("content")): token.get("id") for token in _added_tokens(content)}
    ids = [known.get(word) for word in words]
    for word, found in zip(words, ids, strict=True):
        if type(found) is not int:
            raise CheckpointFormatError(f'the tokenizer has no token "{word}", which the model is asked with')
    return tuple(cast("list[int]", ids))


def read_tokenizer(folder: Path) -> dict[str, Any]:
    """The content of tokenizer.json; empty where it holds no object.

    Raises:
        CheckpointFormatError: it is missing, too large, or no valid JSON.
    """
    content = parse_json(read_bounded(find_tokenizer(folder), MAX_TOKENIZER_BYTES), TOKENIZER_FILE)
    return cast("dict[str, Any]", content) if isinstance(content, dict) else {}


def _added_tokens(tokenizer: dict[str, Any]) -> list[dict[str, Any]]:
    added = tokenizer.get("added_tokens")
    return [token for token in cast("list[Any]", added) if isinstance(token, dict)] if isinstance(added, list) else []


def _token(folder: Path, file_name: str, key: str) -> str | None:
    settings = JsonSettings.read_if_there(folder, file_name)
    try:
        return settings.get_optional_str(key)
    except CheckpointFormatError:
        # older files have an object with "content" and what surrounds the token
        described = settings.get_object(key)
        return None if described is None else described.get_optional_str("content")
