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
        InvalidArgumentError: an id or the tag is empty or holds white space, which would break the line; or two hits
            have one id, which no evaluator reads.
    """
    ids = [str(hit.index) if hit.id is None else hit.document.id_text for hit in hits]
    for hit, identifier in zip(hits, ids, strict=True):
        check_word(f"the id of document {hit.index}", identifier)
    _check_distinct(hits, ids)
    return run_lines(query_id, ids, [hit.ranking_score for hit in hits], tag)


def run_lines(query_id: str, ids: Sequence[str], scores: Sequence[float], tag: str) -> str:
    """Lines of a TREC run for one query, from ids and scores.

    Args:
        query_id: the query.
        ids: of its documents, best first.
        scores: [num_ids], never NaN; lowered as falling_scores says.
        tag: the system's name.

    Raises:
        InvalidArgumentError: an id or the tag is empty or holds white space, which would break the line.
    """
    for name, value in (("query_id", query_id), ("tag", tag)):
        check_word(name, value)
    lines: list[str] = []
    for rank, (identifier, score) in enumerate(zip(ids, falling_scores(scores), strict=True), start=1):
        check_word(f"the id at rank {rank}", identifier)
        lines.append(f"{query_id} Q0 {identifier} {rank} {score!s} {tag}\n")
    return "".join(lines)


def falling_scores(scores: Sequence[float]) -> list[np.float32]:
    """Scores that fall from each to the next in single precision: one that does not is lowered to the next smaller.

    Args:
        scores: best first, never NaN; minus infinity becomes a number.
    """
    falling: list[np.float32] = []
    previous = np.float32(np.inf)
    for score in scores:
        with np.errstate(over="ignore"):
            single = np.float32(score)
        highest = np.nextafter(previous, np.float32(-np.inf), dtype=np.float32)
        previous = min(highest, max(single, np.finfo(np.float32).min / np.float32(2)))
        falling.append(previous)
    return falling


def _check_distinct(hits: Sequence[RankedDocument], ids: Sequence[str]) -> None:
    first: dict[str, int] = {}
    for hit, identifier in zip(hits, ids, strict=True):
        if (other := first.setdefault(identifier, hit.index)) != hit.index:
            raise InvalidArgumentError(
                f"documents {other} and {hit.index} have one id, and a TREC run names each document once. Give them "
                "ids of their own, or leave out all but the best of them"
            )


def check_word(name: str, word: object) -> None:
    """Refuse what cannot be a word of a run.

    Args:
        name: what to call it in an error.
        word: what should be one.

    Raises:
        InvalidItemError, InvalidTextError, InvalidArgumentError: it is no str, no valid Unicode, or no single word.
    """
    if not isinstance(word, str):
        raise InvalidItemError(f"{name} must be a str, this is {type(word).__name__}")
    if any("\ud800" <= character <= "\udfff" for character in word):
        raise InvalidTextError(f"{name} holds a lone surrogate, which no file can carry")
    if not word or word.split() != [word]:
        raise InvalidArgumentError(f"{name} is empty or holds white space: it cannot stand in a TREC run")
