r"""Rankings whose hits differ from each other: maximal marginal relevance, and determinantal point processes.

Both choose one hit after the other, and weigh a hit's relevance against what was chosen before.

MMR (Carbonell and Goldstein, SIGIR 1998) takes the hit with the largest
:math:`\lambda r_i - (1 - \lambda) \max_{j \in Y} s_{ij}`.

DPP (greedy; Chen, Zhang and Zhou, "Fast greedy MAP inference", NeurIPS 2018) takes the hit that adds most to
:math:`\lambda \sum_{i \in Y} r_i + (1 - \lambda) \log\det S_Y`. A row of the Cholesky factor of S grows with every
choice, so that a step costs one column of similarities, and the determinant's gain is the square of the diagonal.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from rank_rerank.arguments import check_kind
from rank_rerank.arrays import Float64Vector, Int64Vector
from rank_rerank.rankings import Ranking, check_top_k
from rank_rerank.refinement.similarities import (
    Similarities,
    check_documents,
    check_share,
    kernel_of,
    similarities_of,
)

# a hit whose part that is new is smaller adds nothing: rounding of float64 cosines is a thousand times smaller
SMALLEST_VOLUME = 1e-10


def mmr(ranking: Ranking, vectors: Any, *, top_k: int | None = None, trade_off: float = 0.5) -> Ranking:
    """Reorder hits so that each is relevant and unlike those before it (maximal marginal relevance).

    Similarities are computed for the hits that are chosen, not for all pairs.

    Args:
        ranking: its hits' ``relevance`` counts; their scores stay as they are.
        vectors: of all documents that were ranked, in the order they were passed: TokenEmbeddings (compared by MaxSim
            in both directions) or dense vectors [num_documents, dim] (compared by cosine).
        top_k: how many hits to keep; None for all.
        trade_off: from 0, only difference, to 1, only relevance.

    Raises:
        InvalidArgumentError: trade_off is not from 0 to 1, or top_k is not a whole number above 0.
        ShapeError: a hit has no vector.
    """
    trade_off = check_share(trade_off, "trade_off")
    check_kind(ranking, "ranking", Ranking)
    similarities = similarities_of(vectors)
    return _reorder(ranking, similarities, top_k, lambda r, s, k: choose_by_mmr(r, s, k, trade_off))


def dpp(ranking: Ranking, vectors: Any, *, top_k: int | None = None, trade_off: float = 0.5) -> Ranking:
    """Reorder hits so that together they are relevant and span as much as they can (determinantal point process).

    Unlike MMR it looks at all that was chosen at once: a hit that lies between two others adds little, though it is
    not very similar to either. Hits that add nothing, such as duplicates, come last, by relevance.

    Args:
        ranking: as for mmr.
        vectors: as for mmr; token vectors are compared by the cosine of their means, since MaxSim is no kernel.
        top_k: as for mmr.
        trade_off: as for mmr.

    Raises:
        InvalidArgumentError, ShapeError: as for mmr.
    """
    trade_off = check_share(trade_off, "trade_off")
    check_kind(ranking, "ranking", Ranking)
    similarities = kernel_of(vectors)
    return _reorder(ranking, similarities, top_k, lambda r, s, k: choose_by_dpp(r, s, k, trade_off))


def choose_by_mmr(relevance: Float64Vector, similarities: Similarities, count: int, trade_off: float) -> Int64Vector:
    """The greedy choice of MMR.

    Args:
        relevance: [n].
        similarities: of n documents.
        count: how many to choose.
        trade_off: λ.

    Returns:
        [min(count, n)] positions, in the order of choice; of equals the first.
    """
    chosen: list[int] = []
    is_free = np.ones(len(relevance), np.bool_)
    nearest = np.zeros(len(relevance))  # to what was chosen; nothing yet
    for number in range(min(count, len(relevance))):
        gains = trade_off * relevance - (1 - trade_off) * nearest
        best = int(np.argmax(np.where(is_free, gains, -np.inf)))
        chosen.append(best)
        is_free[best] = False
        if trade_off < 1 and len(chosen) < count:
            column = similarities.to_all(best)
            nearest = column if number == 0 else np.maximum(nearest, column)
    return np.array(chosen, np.int64)


def choose_by_dpp(relevance: Float64Vector, similarities: Similarities, count: int, trade_off: float) -> Int64Vector:
    """The greedy choice of a DPP.

    Args:
        relevance: [n].
        similarities: of n documents, a positive semi-definite matrix with a diagonal of 1, or 0 for nothing.
        count: how many to choose.
        trade_off: λ.

    Returns:
        [min(count, n)] positions, in the order of choice; of equals the first.
    """
    num_documents = len(relevance)
    count = min(count, num_documents)
    if trade_off == 1:
        return np.argsort(-relevance, kind="stable")[:count].astype(np.int64)
    chosen: list[int] = []
    is_free = np.ones(num_documents, np.bool_)
    factor = np.zeros((count, num_documents))  # rows of the Cholesky factor, one a choice
    volumes = np.ones(num_documents)  # what of each document is new, squared
    for number in range(count):
        adds = is_free & (volumes > SMALLEST_VOLUME)
        if not adds.any():
            break
        gains = trade_off * relevance[adds] + (1 - trade_off) * np.log(volumes[adds])
        best = int(np.flatnonzero(adds)[np.argmax(gains)])
        column = similarities.to_all(best)
        if number == 0 and column[best] <= SMALLEST_VOLUME:  # it has no vector: it spans nothing
            volumes[best] = 0
        chosen.append(best)
        is_free[best] = False
        if volumes[best] > 0:
            factor[number] = (column - factor[:number, best] @ factor[:number]) / np.sqrt(volumes[best])
            volumes = np.maximum(volumes - factor[number] ** 2, 0)
    rest = np.flatnonzero(is_free)
    by_relevance = rest[np.argsort(-relevance[rest], kind="stable")]
    return np.array([*chosen, *by_relevance.tolist()][:count], np.int64)


class _Some:
    """Similarities between some of the documents, the hits of a ranking."""

    def __init__(self, similarities: Similarities, positions: Int64Vector) -> None:
        self._similarities = similarities
        self._positions = positions

    def __len__(self) -> int:
        return len(self._positions)

    def to_all(self, index: int) -> Float64Vector:
        return self._similarities.to_all(int(self._positions[index]))[self._positions]


def _reorder(
    ranking: Ranking,
    similarities: Similarities,
    top_k: int | None,
    choose: Callable[[Float64Vector, Similarities, int], Int64Vector],
) -> Ranking:
    top_k = check_top_k(top_k)
    positions = np.array([hit.index for hit in ranking], np.int64)
    check_documents(len(similarities), positions)
    relevance = np.array([hit.relevance for hit in ranking], np.float64)
    chosen = choose(relevance, _Some(similarities, positions), len(positions) if top_k is None else top_k)
    return ranking.select(chosen)
