"""Read only the beginning of a long text, without changing the tokens that are kept.

``tokenizers`` tokenizes everything before it truncates: 12 MB of text cost seconds for 512 tokens. So a text is cut by
characters first. The cut changes nothing as long as every kept token ends before the last position where the tokenizer
could have been influenced by what follows: the last white space of the beginning, or SAFE_DISTANCE characters before
its end (no pre-tokenizer of the supported families looks further: WordPiece gives up on a word after 100 characters).
Where that does not hold, more is read, up to MAX_CHARACTERS_PER_TOKEN a token.
"""

from dataclasses import dataclass
from itertools import chain

import numpy as np
import tokenizers

from rank_rerank.arrays import Int32Matrix, Int64Vector
from rank_rerank.tokenization.tokenizer_file import encode_bare, encode_shared

# English takes four or five; what asks for more is read once more, further
CHARACTERS_PER_TOKEN = 6
MORE_CHARACTERS_PER_TOKEN = 16
MAX_CHARACTERS_PER_TOKEN = 256
# a few tokens may be long words: below this size reading on costs nothing
MIN_LIMIT = 8192
SAFE_DISTANCE = 256
# other white space (vertical tab, next line …) is removed by BERT's normalizer, which joins the words round it
WHITE_SPACE = " \t\n\r"


@dataclass(frozen=True, eq=False)
class Words:
    """The tokens of a text without special ones.

    Attributes:
        token_ids: [num_tokens] int64.
        character_spans: [num_tokens, 2] int32, half-open, in code points of the text.
        truncated: the text goes on after the last token.
        word_numbers: [num_tokens] int64, which word each token is of; None where nobody has asked.
    """

    token_ids: Int64Vector
    character_spans: Int32Matrix
    truncated: bool
    word_numbers: Int64Vector | None = None


def encode_beginning(
    tokenizer: tokenizers.Tokenizer,
    text: str,
    max_tokens: int,
    *,
    strip: bool = True,
    unknown: int | None = None,
    is_shared: bool = False,
) -> Words:
    """Tokenize as much of a text as its first ``max_tokens`` tokens need.

    A text with fewer than max_tokens tokens in its first
    256 × max_tokens characters (8,192 at least) is read up to there.

    Args:
        tokenizer: without truncation and padding.
        text: valid Unicode of any length.
        max_tokens: tokens kept at most, special ones not counted.
        strip: leave out white space round the text.
        unknown: a token; a text that has it is told with the numbers of its words.
        is_shared: other threads may run Python meanwhile.
    """
    start = len(text) - len(text.lstrip()) if strip else 0
    text = text.strip() if strip else text
    num_characters = CHARACTERS_PER_TOKEN * max_tokens
    while True:
        beginning = text[:num_characters]
        encoding = encode_shared(tokenizer, beginning) if is_shared else encode_bare(tokenizer, beginning)
        spans = np.fromiter(chain.from_iterable(encoding.offsets), np.int32).reshape(-1, 2)
        whole = len(beginning) == len(text)
        if whole or _is_unaffected(beginning, spans, max_tokens) or num_characters >= _most_characters(max_tokens):
            break
        num_characters = max(2 * num_characters, MORE_CHARACTERS_PER_TOKEN * max_tokens)
    token_ids = np.array(encoding.ids[:max_tokens], np.int64)
    has_unknown = unknown is not None and bool((token_ids == unknown).any())
    numbers = [-1 if word is None else word for word in encoding.word_ids[:max_tokens]] if has_unknown else None
    return Words(
        token_ids=token_ids,
        character_spans=spans[:max_tokens] + np.int32(start),
        truncated=len(spans) > max_tokens or not whole,
        word_numbers=None if numbers is None else np.array(numbers, np.int64),
    )


def _most_characters(max_tokens: int) -> int:
    return max(MIN_LIMIT, MAX_CHARACTERS_PER_TOKEN * max_tokens)


def _is_unaffected(beginning: str, spans: Int32Matrix, max_tokens: int) -> bool:
    """Whether max_tokens tokens end where nothing after the cut could have changed them."""
    if len(spans) < max_tokens:
        return False
    return bool(spans[max_tokens - 1, 1] <= max(_last_white_space(beginning), len(beginning) - SAFE_DISTANCE))


def _last_white_space(text: str) -> int:
    """Where the last white space near the end stands, 0 if there is none."""
    tail = text[-SAFE_DISTANCE:]
    position = max(tail.rfind(character) for character in WHITE_SPACE)
    return 0 if position < 0 else len(text) - len(tail) + position
