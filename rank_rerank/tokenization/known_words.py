"""Which words of a text the vocabulary has, and whether a query says anything.

All words that a vocabulary lacks become one and the same token, so that any of them matches any other: a text of such
words alone is as similar to every other as to itself.
"""

import re
import unicodedata

import numpy as np
import tokenizers

from rank_rerank.arrays import Int32Matrix, Int64Vector

UNKNOWN_TOKENS = ("[UNK]", "<unk>")
# from this share on, a text's vectors stand for words that the model does not know more than for others
MOSTLY_UNKNOWN = 0.5
# letters of scripts that are read in words, and are not Latin: Greek, Cyrillic, Arabic, Indic, Thai, Hangul and others
_OTHER_LETTER = re.compile(r"[\u0370-\u1dff\u1f00-\u1fff\ua4d0-\ua6ff\ua800-\uabff\uac00-\ud7ff]")
# so much of a text tells its script
SCRIPT_CHARACTERS = 400
# a vocabulary that knows a language spends a token on three to five letters, another one for nearly each
LETTERS_PER_TOKEN = 1.6
# a name or two in an English text are no other language
MIN_LETTERS = 24
# relevance of what answers a query of function words alone: nobody can tell what is asked
FUNCTION_WORDS_LIMIT = 0.5
# English, as the bundled model: words that stand in every text, whatever it is about
_FUNCTION_WORDS = (
    "a about above after again against all also am an and any are as at be because been before being below "
    "between both but by can could did do does doing down during each few for from further had has have having "
    "he her here hers him his how i if in into is it its just me more most my no nor not now of off on once "
    "only or other our ours out over own same she should so some such than that the their theirs them then "
    "there these they this those through to too under until up very was we were what when where which while "
    "who whom why will with would you your yours"
)
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())


def unknown_id(tokenizer: tokenizers.Tokenizer) -> int | None:
    """The token that stands for every word that is not in the vocabulary; None where there is none."""
    found = (tokenizer.token_to_id(word) for word in UNKNOWN_TOKENS)
    return next((token for token in found if token is not None), None)


def unknown_share(
    token_ids: Int64Vector, words: Int64Vector, spans: Int32Matrix, text: str, unknown: int | None
) -> float:
    """The share of a text's words that the vocabulary lacks, from 0 to 1.

    Args:
        token_ids: [num_tokens] of the text.
        words: [num_tokens] the number of the word that each token is of.
        spans: [num_tokens, 2] code points of the text.
        text: a word that is known counts if it has a letter or digit.
        unknown: the token of unknown words; None where there is none.
    """
    is_unknown = token_ids == unknown if unknown is not None else np.zeros(len(token_ids), np.bool_)
    if not is_unknown.any():
        return 0.0
    lacking = set(words[is_unknown].tolist())
    known = {
        word
        for word, (start, end) in zip(words[~is_unknown].tolist(), spans[~is_unknown].tolist(), strict=True)
        if any(map(str.isalnum, text[start:end]))
    }
    return len(lacking) / (len(lacking) + len(known - lacking))


def is_spelled_out(text: str, spans: Int32Matrix) -> bool:
    """Whether a text is in a script that the vocabulary reads letter by letter, as English ones do with Greek or Hindi.

    Args:
        text: of any script.
        spans: [num_tokens, 2] code points of its tokens.
    """
    head = text[:SCRIPT_CHARACTERS]
    if head.isascii():
        return False
    num_letters = sum(map(str.isalpha, head))
    num_other = len(_OTHER_LETTER.findall(head))
    if num_other < MOSTLY_UNKNOWN * num_letters or num_other < MIN_LETTERS:
        return False
    num_tokens = int(((spans[:, 1] > spans[:, 0]) & (spans[:, 1] <= len(head))).sum())
    read_to = int(spans[:, 1].max(initial=0))
    return num_tokens * LETTERS_PER_TOKEN > sum(map(str.isalpha, head[:read_to]))


def relevance_limit(query: str, unknown_words: float | None) -> float:
    """The most relevance that a document can have for a query, from 0 to 1.

    Args:
        query: the text.
        unknown_words: the share of its words that the vocabulary lacks; None where that is not known.

    Returns:
        0 for a query without a known word, and for one of punctuation alone; 0.5 for one of function words alone;
        1 for any other.
    """
    if unknown_words == 1 or not any(_says_something(character) for character in query):
        return 0.0
    words = "".join(character if character.isalnum() else " " for character in query.casefold()).split()
    return FUNCTION_WORDS_LIMIT if words and FUNCTION_WORDS.issuperset(words) else 1.0


def _says_something(character: str) -> bool:
    """Letters, digits, and pictures as emoji are."""
    return character.isalnum() or unicodedata.category(character) in ("So", "Mn", "Mc")
