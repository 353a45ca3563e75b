"""Which words of a document a query's words found."""

import unicodedata
from dataclasses import dataclass

import numpy as np

from rank_rerank.arrays import Int32Matrix, Int64Vector
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.errors import InvalidArgumentError

# below this cosine the best match of a query word is background for the bundled model
MIN_SIMILARITY = 0.5
# a word that stands in a document several times is found wherever it is nearly as similar as at its best
NEARLY_BEST = 0.9
SHORT_WORD = 2


@dataclass(frozen=True, slots=True)
class WordMatch:
    """A run of text that a query word found.

    Attributes:
        start: first code point.
        end: the code point behind the last.
        similarity: the cosine of the best pair of tokens in it, from 0 to 1.
    """

    start: int
    end: int
    similarity: float


def match_words(
    query: TokenEmbeddings,
    query_text: str,
    document: TokenEmbeddings,
    text: str,
    min_similarity: float = MIN_SIMILARITY,
) -> list[WordMatch]:
    """Find the document's words that are the best match of a word of the query, or nearly so.

    Special tokens, punctuation and words of one or two small letters match each other in every text, so they are left
    out on both sides.

    Args:
        query: embeddings of one text, with character spans.
        query_text: that text.
        document: likewise.
        text: likewise.
        min_similarity: weaker pairs are left out.

    Returns:
        Spans of whole words, ascending and apart from each other.

    Raises:
        InvalidArgumentError: the embeddings have no character spans.
    """
    if query.character_spans is None or document.character_spans is None:
        raise InvalidArgumentError("the embeddings need character spans; encoders give them")
    query_tokens = _tokens_of_words(query.character_spans, query_text)
    document_tokens = _tokens_of_words(document.character_spans, text)
    if len(query_tokens) == 0 or len(document_tokens) == 0:
        return []
    similarities = query.vectors[query_tokens] @ document.vectors[document_tokens].T  # [query words, document words]
    found = similarities >= np.maximum(min_similarity, NEARLY_BEST * similarities.max(axis=1, keepdims=True))
    strengths = np.where(found, similarities, -1).max(axis=0)  # [document words]
    strength_of: dict[tuple[int, int], float] = {}
    for place in np.flatnonzero(found.any(axis=0)):
        word = _whole_word(text, *document.character_spans[document_tokens[place]].tolist())
        strength_of[word] = max(float(strengths[place]), strength_of.get(word, 0.0))
    return _merge([WordMatch(start, end, min(1.0, strength)) for (start, end), strength in sorted(strength_of.items())])


def _merge(matches: list[WordMatch]) -> list[WordMatch]:
    """Join spans that overlap: a control character, which the tokenizer removes, lets a token reach over two words."""
    merged: list[WordMatch] = []
    for match in matches:
        if merged and match.start < merged[-1].end:
            last = merged.pop()
            match = WordMatch(last.start, max(last.end, match.end), max(last.similarity, match.similarity))  # noqa: PLW2901
        merged.append(match)
    return merged


def _tokens_of_words(spans: Int32Matrix, text: str) -> Int64Vector:
    """Places of the tokens that stand for a word that says something."""
    kept = [place for place, (start, end) in enumerate(spans.tolist()) if _says_something(text, start, end)]
    return np.array(kept, np.int64)


def _says_something(text: str, start: int, end: int) -> bool:
    """Whether a token has a letter or digit, and is not of a word such as "of" or "in", which are in every text."""
    if not any(map(str.isalnum, text[start:end])):
        return False
    start, end = _whole_word(text, start, end)
    word = text[start:end]
    return not (len(word) <= SHORT_WORD and word.isascii() and word.isalpha() and word.islower())


def _whole_word(text: str, start: int, end: int) -> tuple[int, int]:
    """Widen a span to the word it stands in."""
    while start > 0 and _is_in_word(text[start]) and _is_in_word(text[start - 1]):
        start -= 1
    while end < len(text) and _is_in_word(text[end - 1]) and _is_in_word(text[end]):
        end += 1
    return start, end


def _is_in_word(character: str) -> bool:
    """Letters, digits and the accents on them; CJK writes no spaces, so its characters are words of their own."""
    return (character.isalnum() or unicodedata.category(character).startswith("M")) and not _is_ideograph(character)


def _is_ideograph(character: str) -> bool:
    return unicodedata.name(character, "").startswith(("CJK", "HIRAGANA", "KATAKANA", "HANGUL"))
