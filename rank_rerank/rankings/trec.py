"""Hits as lines of a TREC run."""

from collections.abc import Sequence

import numpy as np

from rank_rerank.errors import InvalidArgumentError, InvalidItemError, InvalidTextError
from rank_rerank.rankings.hits import RankedDocument


def trec_lines(hits: Sequence[RankedDocument], query_id: str, tag: str) -> str:
    """Lines of a TREC run, best first; see Ranking.to_trec.

    Raises:
        InvalidItemError: query_id or the tag is no str.
        InvalidTextError: an id or the tag holds lone surrogates.
        InvalidArgumentError: an id or the tag is empty or holds white space, which would break the line.
    """
    for name, value in (("query_id", query_id), ("tag", tag)):
        _check_word(name, value)
    lines: list[str] = []
    previous = np.float32(np.inf)
    for rank, hit in enumerate(hits, start=1):
        identifier = str(hit.index if hit.id is None else hit.id)
        _check_word(f"the id of document {hit.index}", identifier)
        highest = np.nextafter(previous, np.float32(-np.inf), dtype=np.float32)
        previous = min(highest, max(np.float32(hit.score), np.finfo(np.float32).min / np.float32(2)))
        lines.append(f"{query_id} Q0 {identifier} {rank} {previous!s} {tag}\n")
    return "".join(lines)


def _check_word(name: str, word: object) -> None:
    if not isinstance(word, str):
        raise InvalidItemError(f"{name} must be a str, this is {type(word).__name__}")
    if any("\ud800" <= character <= "\udfff" for character in word):
        raise InvalidTextError(f"{name} holds a lone surrogate, which no file can carry")
    if not word or word.split() != [word]:
        raise InvalidArgumentError(f"{name} is empty or holds white space: it cannot stand in a TREC run")
