"""tokenizer.json from vocab.txt: WordPiece, as BERT's relatives have it, by the rules of tokenizer_config.json."""

from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece

from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.checkpoints.model_files import file_inside, read_text
from rank_rerank.checkpoints.special_tokens import MAX_TOKENIZER_BYTES, TOKENIZER_CONFIG_FILE
from rank_rerank.errors import ExportError

# of transformers' BertTokenizer
DEFAULTS = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
MODEL_TYPES = ("bert", "distilbert", "electra")


def read_tokenizer(folder: Path, vocabulary_file: str) -> tokenizers.Tokenizer:
    """Make the tokenizer of a folder's vocab.txt.

    Args:
        folder: the model's folder.
        vocabulary_file: the name of the file in it.

    Raises:
        CheckpointFormatError: a file is damaged, or no plain file inside the folder.
        ExportError: the vocabulary lacks a special token or has a word twice, or a setting is not supported.
    """
    stated = JsonSettings.read_if_there(folder, TOKENIZER_CONFIG_FILE)
    if not stated.get("do_basic_tokenize", default=True):
        raise ExportError(f'{TOKENIZER_CONFIG_FILE}: "do_basic_tokenize": false is not supported')
    special = {key: _special_token(stated, key) for key in DEFAULTS}
    vocabulary = _read_vocabulary(file_inside(folder, vocabulary_file))
    missing = [token for token in special.values() if token not in vocabulary]
    if missing:
        raise ExportError(
            f"{vocabulary_file} lacks the special token {missing[0][:40]!a}; {TOKENIZER_CONFIG_FILE} names them"
        )
    return _build(vocabulary, special, stated)


def _read_vocabulary(path: Path) -> dict[str, int]:
    """Words by their line, as BERT's own reader counts them."""
    text = read_text(path, MAX_TOKENIZER_BYTES)
    # other marks that Python takes for the end of a line may be words
    lines = text.removesuffix("\n").split("\n")
    words = [line.removesuffix("\r") for line in lines]
    vocabulary = {word: number for number, word in enumerate(words)}
    if len(vocabulary) != len(words):
        raise ExportError(f"{path.name} has a word twice, so that ids are not certain")
    return vocabulary


def _special_token(stated: JsonSettings, key: str) -> str:
    value: Any = stated.get_value(key)
    described = stated.get_object(key) if isinstance(value, dict) else None
    if described is not None:  # older files have an object with "content"
        return described.get("content", DEFAULTS[key])
    return stated.get(key, DEFAULTS[key])


def _build(vocabulary: dict[str, int], special: dict[str, str], stated: JsonSettings) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(
        WordPiece(vocabulary, unk_token=special["unk_token"], max_input_chars_per_word=100)
    )
    strip_accents = stated.get_value("strip_accents")
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=stated.get("tokenize_chinese_chars", default=True),
        strip_accents=strip_accents if isinstance(strip_accents, bool) else None,
        lowercase=stated.get("do_lower_case", default=True),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    cls, sep = special["cls_token"], special["sep_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=[f"{cls}:0", "$A:0", f"{sep}:0"],
        pair=[f"{cls}:0", "$A:0", f"{sep}:0", "$B:1", f"{sep}:1"],
        special_tokens=[(cls, vocabulary[cls]), (sep, vocabulary[sep])],
    )
    tokenizer.add_special_tokens(
        [tokenizers.AddedToken(token, special=True, normalized=False) for token in special.values()]
    )
    return tokenizer
