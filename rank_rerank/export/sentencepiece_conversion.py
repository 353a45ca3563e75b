"""tokenizer.json from a SentencePiece model: Unigram, as XLM-RoBERTa's relatives have it.

A SentencePiece model is a protocol buffer: ModelProto.pieces (1) with piece (1) and score (2), trainer_spec (2) with
model_type (3), and normalizer_spec (3) with precompiled_charsmap (2). XLM-RoBERTa counts its pieces as fairseq does.
Four special tokens of its own come first, in place of the three that the file begins with, and the mask comes last.
Format: github.com/google/sentencepiece, src/sentencepiece_model.proto.
"""

import struct
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram

from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.checkpoints.model_files import file_inside, map_file
from rank_rerank.checkpoints.protocol_buffers import LENGTH, DamagedMessageError, read_fields
from rank_rerank.checkpoints.special_tokens import MAX_TOKENIZER_BYTES, TOKENIZER_CONFIG_FILE
from rank_rerank.checkpoints.transformer_config import ROBERTA_TYPES
from rank_rerank.errors import CheckpointFormatError, ExportError

PIECES, TRAINER, NORMALIZER = 1, 2, 3
PIECE_TEXT, PIECE_SCORE = 1, 2
MODEL_TYPE, UNIGRAM, CHARSMAP = 3, 1, 2
FIRST = ("<s>", "<pad>", "</s>", "<unk>")
MASK = "<mask>"
# what the file begins with: <unk>, <s>, </s>
NUM_OWN_SPECIAL = 3
MODEL_TYPES = tuple(kind for kind in ROBERTA_TYPES if kind.startswith("xlm-roberta"))


def read_tokenizer(folder: Path, vocabulary_file: str) -> tokenizers.Tokenizer:
    """Make the tokenizer of a folder's SentencePiece model.

    Args:
        folder: the model's folder.
        vocabulary_file: the name of the SentencePiece model.

    Raises:
        CheckpointFormatError: a file is damaged, or no plain file inside the folder.
        ExportError: the tokenizer is not XLM-RoBERTa's, or the pieces are of another kind than Unigram's.
    """
    stated = JsonSettings.read_if_there(folder, TOKENIZER_CONFIG_FILE)
    if stated.get("tokenizer_class", "XLMRobertaTokenizer").removesuffix("Fast") != "XLMRobertaTokenizer":
        raise ExportError(f'{TOKENIZER_CONFIG_FILE}: "tokenizer_class" is another than XLMRobertaTokenizer')
    pieces, charsmap = _read_model(file_inside(folder, vocabulary_file))
    return _build(pieces, charsmap)


def _read_model(path: Path) -> tuple[list[tuple[str, float]], bytes]:
    """The pieces with their scores, and the table of the normalizer; empty where it has none."""
    content = memoryview(map_file(path))
    if len(content) > MAX_TOKENIZER_BYTES:
        raise CheckpointFormatError(f"{path.name} is larger than such a file can be ({MAX_TOKENIZER_BYTES} bytes)")
    pieces: list[tuple[str, float]] = []
    charsmap = b""
    try:
        for number, _, value in read_fields(content):
            if isinstance(value, int):
                continue
            if number == PIECES:
                pieces.append(_read_piece(value))
            elif number == TRAINER:
                _check_kind(path, value)
            elif number == NORMALIZER:
                tables = [part for field, wire, part in read_fields(value) if field == CHARSMAP and wire == LENGTH]
                charsmap = b"".join(bytes(part) for part in tables if not isinstance(part, int))
    except (DamagedMessageError, UnicodeDecodeError, struct.error) as error:
        raise CheckpointFormatError(f"{path.name} is no whole SentencePiece model") from error
    if len(pieces) <= NUM_OWN_SPECIAL or len({piece for piece, _ in pieces}) != len(pieces):
        raise CheckpointFormatError(f"{path.name} is no SentencePiece model: it has no pieces, or one twice")
    return pieces, charsmap


def _read_piece(message: memoryview) -> tuple[str, float]:
    text, score = "", 0.0
    for number, _, value in read_fields(message):
        if not isinstance(value, int) and number == PIECE_TEXT:
            text = str(value, "utf-8")
        elif not isinstance(value, int) and number == PIECE_SCORE:
            (score,) = struct.unpack("<f", value)
    return text, score


def _check_kind(path: Path, trainer: memoryview) -> None:
    kinds = [value for number, _, value in read_fields(trainer) if number == MODEL_TYPE]
    if any(kind != UNIGRAM for kind in kinds):
        raise ExportError(f"{path.name} holds pieces of another kind than Unigram's, which are not read")


def _build(pieces: list[tuple[str, float]], charsmap: bytes) -> tokenizers.Tokenizer:
    vocabulary = [*((word, 0.0) for word in FIRST), *pieces[NUM_OWN_SPECIAL:], (MASK, 0.0)]
    tokenizer = tokenizers.Tokenizer(Unigram(vocabulary, unk_id=FIRST.index("<unk>"), byte_fallback=False))
    if charsmap:
        tokenizer.normalizer = normalizers.Precompiled(charsmap)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=["<s>:0", "$A:0", "</s>:0"],
        pair=["<s>:0", "$A:0", "</s>:0", "</s>:0", "$B:0", "</s>:0"],
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    # the mask takes the white space before it, as in a sentence with a gap
    tokens = [AddedToken(word, special=True, normalized=False) for word in FIRST]
    tokenizer.add_special_tokens([*tokens, AddedToken(MASK, lstrip=True, special=True, normalized=False)])
    return tokenizer
