"""Near-identical hits: keep the best of each group."""

from typing import Any

import numpy as np

from rank_rerank.arguments import check_kind
from rank_rerank.rankings import Ranking
from rank_rerank.refinement.similarities import check_documents, check_share, similarities_of

DEFAULT_THRESHOLD = 0.95


def drop_near_duplicates(ranking: Ranking, vectors: Any, *, threshold: float = DEFAULT_THRESHOLD) -> Ranking:
    """Leave out hits that are nearly the same as a better one that is kept.

    Args:
        ranking: whose hits.
        vectors: as for `mmr`: of all documents that were ranked; token embeddings compare by MaxSim in both directions,
            dense vectors by cosine.
        threshold: hits this similar or more are the same, from 0 to 1.

    Returns:
        The hits that are kept, in their order.

    Raises:
        InvalidArgumentError: threshold is not from 0 to 1.
        ShapeError: a hit has no vector.
    """
    threshold = check_share(threshold, "threshold")
    check_kind(ranking, "ranking", Ranking)
    similarities = similarities_of(vectors)
    indices = np.array([hit.index for hit in ranking], np.int64)
    check_documents(len(similarities), indices)
    kept: list[int] = []
    is_free = np.ones(len(indices), np.bool_)
    for position in range(len(indices)):
        if not is_free[position]:
            continue
        kept.append(position)
        # a similarity to itself a rounding below 1 must not keep a copy
        near = similarities.to_all(int(indices[position]))[indices] >= threshold - 1e-6
        is_free &= ~near
    return ranking.select(np.array(kept, np.int64))
