"""The words of a text, and which tokens stand for them."""

import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from rank_rerank.encoding.chunking import SENTENCE_END
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.errors import InvalidArgumentError

SHORT_WORD = 2
JOINER = "\u200d"  # joins two emoji into one


@dataclass(frozen=True, slots=True)
class TextWord:
    """A word in a text, with the tokens that stand for parts of it.

    Attributes:
        start: first code point.
        end: the code point after the last.
        tokens: their indices among the text's scored tokens.
        says_something: it has a letter or digit, and is not a little word such as "of" or "in", which match each
            other in every text.
    """

    start: int
    end: int
    tokens: tuple[int, ...]
    says_something: bool


def words_of(embeddings: TokenEmbeddings, text: str) -> list[TextWord]:
    """The words of one text, ascending and apart from each other; special tokens belong to none.

    Args:
        embeddings: of that text, with character spans.
        text: as it was encoded; what was not read, because the text is too long, has no words here.

    Raises:
        InvalidArgumentError: the embeddings are not of one text, or have no character spans.
    """
    if embeddings.character_spans is None or embeddings.num_texts != 1:
        raise InvalidArgumentError("the embeddings must be of one text and need character spans; encoders give them")
    tokens_of: dict[tuple[int, int], list[int]] = {}
    for token, (start, end) in enumerate(embeddings.character_spans.tolist()):
        if end > start:
            tokens_of.setdefault(_whole_word(text, start, end), []).append(token)
    return _join_overlapping(sorted(tokens_of.items()), text)


def sentence_numbers(words: Sequence[TextWord], text: str) -> list[int]:
    """The number of the sentence that each word of a text stands in, from 0, ascending."""
    ends = [match.end() for match in SENTENCE_END.finditer(text)]
    return [bisect_right(ends, word.start) for word in words]


def _join_overlapping(found: Sequence[tuple[tuple[int, int], list[int]]], text: str) -> list[TextWord]:
    """A control character, which the tokenizer removes, lets a token reach over two words: they become one."""
    joined: list[tuple[int, int, list[int]]] = []
    for (start, end), tokens in found:
        if joined and start < joined[-1][1]:
            before, behind, others = joined[-1]
            joined[-1] = (before, max(behind, end), others + tokens)
        else:
            joined.append((start, end, list(tokens)))
    return [TextWord(start, end, tuple(tokens), _says_something(text[start:end])) for start, end, tokens in joined]


def _says_something(word: str) -> bool:
    if not any(map(str.isalnum, word)):
        return False
    return not (len(word) <= SHORT_WORD and word.isascii() and word.isalpha() and word.islower())


def _whole_word(text: str, start: int, end: int) -> tuple[int, int]:
    """Widen a span to the word it stands in, and to the marks that are drawn on its last character."""
    while start > 0 and _is_in_word(text[start]) and _is_in_word(text[start - 1]):
        start -= 1
    while end < len(text) and (
        (_is_in_word(text[end - 1]) and _is_in_word(text[end])) or _is_mark(text[end]) or text[end - 1] == JOINER
    ):
        end += 1
    while start > 0 and (_is_mark(text[start]) or text[start - 1] == JOINER):
        start -= 1
    return start, end


def _is_in_word(character: str) -> bool:
    """Letters, digits and the accents on them; CJK writes no spaces, so its characters are words of their own."""
    return (character.isalnum() or _is_mark(character)) and not _is_ideograph(character)


def _is_mark(character: str) -> bool:
    """Accents, vowel signs, skin tones and joiners, which belong to the character before them."""
    is_skin_tone = "\U0001f3fb" <= character <= "\U0001f3ff"
    return unicodedata.category(character).startswith("M") or character == JOINER or is_skin_tone


def _is_ideograph(character: str) -> bool:
    return unicodedata.name(character, "").startswith(("CJK", "HIRAGANA", "KATAKANA", "HANGUL"))
