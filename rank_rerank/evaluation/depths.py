"""The rankings that fewer candidates would have given."""

from collections.abc import Mapping, Sequence

from rank_rerank.evaluation.runs import RankedIds, Run
from rank_rerank.evaluation.systems import QueryResult


def rankings_at_depth(results: Mapping[str, QueryResult], candidates: Run, depth: int) -> dict[str, list[str]]:
    """The rankings there would be if fewer candidates had been reranked; the others follow in the first stage's order.

    Args:
        results: of a reranker that scores each document by itself; of a cascade this is not exact.
        candidates: of each query, in the first stage's order.
        depth: how many of them are reranked.
    """
    found: dict[str, list[str]] = {}
    for query, result in results.items():
        listed = candidates.rankings[query].ids
        found[query] = cut_to_depth(result.ranked, listed, depth)
    return found


def cut_to_depth(reranked: RankedIds, candidates: Sequence[str], depth: int) -> list[str]:
    """One query's ranking if only the first candidates had been reranked."""
    first = set(candidates[:depth])
    return [*(identifier for identifier in reranked.ids if identifier in first), *candidates[depth:]]
