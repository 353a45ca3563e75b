"""Which of the words that matched tell hits apart: what stands in every text says nothing of any."""

from collections.abc import Sequence

from rank_rerank.rankings import RankedDocument, Ranking, WordMatch
from rank_rerank.tokenization.known_words import FUNCTION_WORDS

# of fewer hits a word that all have may be what was asked for
MIN_HITS = 4


def telling_matches(ranking: Ranking) -> list[Sequence[WordMatch]]:
    """The matches of each hit that are worth a mark.

    Function words, as "the", are none, and neither are words that matched in every one of four hits or more. A hit
    that would be left without any keeps those that it has.
    """
    explained = [hit for hit in ranking if hit.matches]
    shared: set[str] = set()
    if len(explained) >= MIN_HITS:
        shared = set[str].intersection(*(set(_words(hit)) for hit in explained))
    return [_telling(hit, shared) for hit in ranking]


def _telling(hit: RankedDocument, shared: set[str]) -> Sequence[WordMatch]:
    matches = hit.matches or ()
    content = [match for match, word in zip(matches, _words(hit), strict=True) if word not in FUNCTION_WORDS]
    rare = [match for match in content if _word(hit, match) not in shared]
    return rare or content or matches


def _words(hit: RankedDocument) -> list[str]:
    return [_word(hit, match) for match in hit.matches or ()]


def _word(hit: RankedDocument, match: WordMatch) -> str:
    return hit.text[match.start : match.end].casefold()
