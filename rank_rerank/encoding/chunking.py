"""Cut a text that is longer than the model reads into chunks that it reads whole."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from rank_rerank.arrays import check_whole_number
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.tokenization.tokenizer import Tokenizer

ChunkScore: TypeAlias = Literal["best_chunk", "all_tokens"]

DEFAULT_OVERLAP = 32
# shorter chunks would be special tokens for the most part
MIN_LENGTH = 16
# a chunk ends with a sentence if one ends in its last third, so that chunks stay few
EARLIEST_END = 2 / 3
# characters that are tokenised to find one chunk: enough for all but unusual texts, and doubled for these
CHARACTERS_A_TOKEN = 16
SENTENCE_END = re.compile(r"[.!?…]['\"”’)\]]*(?=\s)|[。！？]|\n\s*\n")  # noqa: RUF001 - their full stops


@dataclass(frozen=True)
class Chunking:
    """How a text that is longer than the model reads is read in chunks.

    Attributes:
        overlap: tokens of a chunk that the next one repeats, so that no passage is cut in every chunk.
        score: "best_chunk" scores a document as its best chunk; "all_tokens" lets each query token find its best
            document token in any chunk, which favours long documents.
        length: the most tokens of a chunk, special ones included; None for as many as the model reads. Shorter chunks
            tell more exactly where the answer is, and cost more vectors and time.

    Raises:
        InvalidArgumentError: overlap is no whole number of 0 or more, length none of 16 or more, or score unknown.
    """

    overlap: int = DEFAULT_OVERLAP
    score: ChunkScore = "best_chunk"
    length: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "overlap", check_whole_number(self.overlap, "overlap, in tokens,", 0))
        if not isinstance(self.score, str) or self.score not in ("best_chunk", "all_tokens"):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError('score must be "best_chunk" or "all_tokens"')
        if self.length is not None:
            object.__setattr__(self, "length", check_whole_number(self.length, "length, in tokens,", MIN_LENGTH))


def split_text(tokenizer: Tokenizer, text: str, document_length: int, overlap: int) -> list[tuple[int, int]]:
    """All chunks of a text at once; arguments as of ``each_chunk``."""
    return list(each_chunk(tokenizer, text, document_length, overlap))


def each_chunk(tokenizer: Tokenizer, text: str, document_length: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Find the chunks of a text, each short enough to be read whole.

    Args:
        tokenizer: of the model.
        text: of valid Unicode.
        document_length: the most tokens of a chunk, at most what the model reads.
        overlap: tokens that a chunk repeats of the one before, at most a third of a chunk.

    Yields:
        Half-open spans of code points, ascending. They cover every word; a chunk ends with a sentence where one ends
        in its last third, else with a word. A text that is read whole is one chunk.
    """
    start, width = 0, CHARACTERS_A_TOKEN * document_length
    while True:
        piece = text[start : start + width]
        tokens = tokenizer.read_document(piece)
        is_longer = tokens.truncated or len(tokens.token_ids) > document_length
        if not is_longer and start + width < len(text):
            width *= 2  # few tokens to the character: look further
            continue
        if not is_longer:
            yield (start, len(text))
            return
        spans = [(begin, end) for begin, end in tokens.character_spans.tolist() if end > begin]
        num_special = len(tokens.token_ids) - len(spans)
        spans = spans[: max(1, document_length - num_special)]
        if not spans:  # nothing but white space as far as was read
            start += width
            continue
        end = _end_of_chunk(piece, spans)
        while not _is_read_whole(tokenizer, piece, end, document_length):
            fewer = [span for span in spans if span[1] < end]
            if not fewer:
                break
            spans = fewer
            end = _end_of_chunk(piece, spans)
        yield (start, start + end)
        kept = [begin for begin, behind in spans if behind <= end]
        repeated = min(overlap, len(kept) // 3)
        start += end if repeated == 0 else kept[-repeated]
        width = CHARACTERS_A_TOKEN * document_length


def _is_read_whole(tokenizer: Tokenizer, piece: str, end: int, document_length: int) -> bool:
    """Whether a chunk that ends there has no more tokens than were counted.

    The limit may fall within the tokens of one character, and a word that is cut may have others than in the text.
    """
    if piece[end - 1].isascii() and piece[end].isspace():
        return True
    tokens = tokenizer.read_document(piece[:end])
    return not tokens.truncated and len(tokens.token_ids) <= document_length


def _end_of_chunk(piece: str, spans: list[tuple[int, int]]) -> int:
    """Where a chunk ends: after the last sentence, or the last whole word, of what was read."""
    last = spans[-1][1]
    earliest = spans[int(EARLIEST_END * (len(spans) - 1))][1]
    ends = [match.end() for match in SENTENCE_END.finditer(piece, earliest, last)]
    if ends:
        return ends[-1]
    # a word may have been cut in its pieces: leave it to the next chunk, unless it is all there is
    if last < len(piece) and piece[last - 1].isalnum() and piece[last].isalnum():
        whole = [end for _, end in spans if not (piece[end - 1].isalnum() and piece[end : end + 1].isalnum())]
        if whole and whole[-1] >= earliest:
            return whole[-1]
    return last
