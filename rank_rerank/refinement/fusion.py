r"""One ranking out of several: by ranks (RRF, ISR, Borda) or by scores (CombSUM, CombMNZ, weighted sum).

With :math:`r_i(d)` the rank of d in ranking i from 1, :math:`s_i(d)` its normalized score, :math:`w_i` the weight of
the ranking, and sums over the rankings that hold d:

- "rrf": :math:`\sum w_i / (k + r_i(d))`, k = 60 (Cormack, Clarke and Büttcher, SIGIR 2009);
- "isr": :math:`n(d) \sum w_i / r_i(d)^2`, n(d) rankings hold d (Mourão, Martins and Magalhães, 2014);
- "borda": :math:`\sum w_i (N - r_i(d)) / N`, N documents in all; those that a ranking lacks share what it has left
  (Aslam and Montague, SIGIR 2001);
- "comb_sum": :math:`\sum w_i s_i(d)`; "comb_mnz": the same times n(d) (Fox and Shaw, TREC-2, 1994).

Scores of different systems are not comparable, so they are normalized first: "min_max" to [0, 1] over the ranking;
"z_score" to mean 0 and deviation 1; "distribution" to [0, 1] over mean ± 3 deviations, cut; "none" as they are. A
document that a ranking lacks is worth the least that normalization gives there: 0, the ranking's lowest z-score, 0.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from rank_rerank.arguments import as_vector, check_choice, check_kind, check_number
from rank_rerank.arrays import Float64Vector, as_array
from rank_rerank.documents import DocumentId, list_items
from rank_rerank.errors import InvalidArgumentError, InvalidItemError, NonFiniteError
from rank_rerank.rankings import RankedDocument, Ranking, check_top_k

FusionMethod: TypeAlias = Literal["rrf", "isr", "borda", "comb_sum", "comb_mnz"]
Normalization: TypeAlias = Literal["min_max", "z_score", "distribution", "none"]
RankedList: TypeAlias = Ranking | Mapping[Any, float] | Sequence[Any]

DEFAULT_RRF_K = 60
DEVIATIONS = 3


@dataclass(frozen=True, slots=True)
class FusedDocument:
    """One document of a fused ranking.

    Attributes:
        key: its id, or what the rankings call it.
        score: the fused score, higher is better.
        ranks: its rank in each ranking, from 1; None where it is not there.
    """

    key: Hashable
    score: float
    ranks: tuple[int | None, ...]


def fuse(
    rankings: Sequence[RankedList],
    method: FusionMethod = "rrf",
    *,
    weights: Sequence[float] | None = None,
    normalization: Normalization = "min_max",
    rrf_k: float = DEFAULT_RRF_K,
    top_k: int | None = None,
) -> list[FusedDocument]:
    """Fuse rankings of one query.

    Args:
        rankings: each a Ranking (documents are identified by id, or by index if they have none), a mapping from
            document to score, or a list of documents, best first, for the methods that need no scores.
        method: "rrf", "isr", "borda", "comb_sum" or "comb_mnz".
        weights: one per ranking, not negative; None for 1 each.
        normalization: of scores, for the last two methods.
        rrf_k: how little the first ranks stand out.
        top_k: how many to keep; None for all.

    Returns:
        Documents from best to worst; of equals the one that stands first in the first ranking that has one of them.

    Raises:
        InvalidArgumentError: an option is unknown or out of its range.
        InvalidItemError: a ranking is of another type, or has no scores where they are needed, or those of several
            stages of a cascade; or numbers are ids of some documents, and others have none.
        NonFiniteError: a score is NaN or infinite. (Minus infinity, the score of an empty document, counts as absent.)
    """
    top_k = check_top_k(top_k)
    check_choice(method, "method", _METHODS)
    check_choice(normalization, "normalization", _NORMALIZATIONS)
    rrf_k = check_number(rrf_k, "rrf_k", 0)
    listed = list_items(rankings, "rankings", "rankings")
    _refuse_numbers_beside_indices(listed)
    lists = [_Ranked.read(ranking, f"rankings[{number}]") for number, ranking in enumerate(listed)]
    factors = _read_weights(weights, len(lists))
    keys = list(dict.fromkeys(key for ranked in lists for key in ranked.keys))
    ranks = np.full((len(lists), len(keys)), np.inf)  # [num_rankings, num_documents]
    position_of = {key: position for position, key in enumerate(keys)}
    for number, ranked in enumerate(lists):
        ranks[number, [position_of[key] for key in ranked.keys]] = np.arange(1, len(ranked.keys) + 1)
    if method in _BY_RANK:
        parts = _BY_RANK[method](ranks, rrf_k)
    else:
        parts = _normalized_scores(lists, ranks, normalization, method)
    with np.errstate(over="ignore", invalid="ignore"):
        scores = factors @ parts
        if method in {"isr", "comb_mnz"}:
            scores = scores * np.isfinite(ranks).sum(axis=0)
    if not np.isfinite(scores).all():
        raise NonFiniteError("fused scores are too large for a float: choose smaller weights, or a normalization")
    order = np.argsort(-scores, kind="stable")[:top_k]
    return [
        FusedDocument(
            keys[position],
            float(scores[position]),
            tuple(int(rank) if math.isfinite(rank) else None for rank in ranks[:, position].tolist()),
        )
        for position in order.tolist()
    ]


def blend(ranking: Ranking, first_stage: Sequence[float], *, weight: float = 0.5) -> list[FusedDocument]:
    """Order hits by their score and the score of the search that found them, each brought to [0, 1] over the hits.

    Args:
        ranking: of the reranker.
        first_stage: the score that each document had there, in the order they were passed to rerank.
        weight: of the first stage, from 0 to 1; the reranker has the rest.

    Returns:
        As fuse; ``ranks`` are those of the reranker and of the first stage.

    Raises:
        InvalidArgumentError: the weight is out of its range, or a hit has no score in first_stage.
        InvalidItemError, ShapeError: first_stage is no list of numbers.
        NonFiniteError: a score is NaN or infinite.
    """
    weight = check_number(weight, "weight", 0, 1)
    check_kind(ranking, "ranking", Ranking)
    scores = as_vector(first_stage, "first_stage")
    if len(ranking) and max(hit.index for hit in ranking) >= len(scores):
        raise InvalidArgumentError(
            f"first_stage has {len(scores)} scores. Pass one for each document that was ranked, in that order"
        )
    before = {_key(hit.id, hit.index): float(scores[hit.index]) for hit in ranking}
    return fuse([ranking, before], "comb_sum", weights=[1 - weight, weight])


@dataclass(frozen=True)
class _Ranked:
    """Documents of one ranking, best first, and their scores where it has any."""

    keys: list[Hashable]
    scores: Float64Vector | None

    @classmethod
    def read(cls, ranking: object, name: str) -> "_Ranked":
        if isinstance(ranking, Ranking):
            hits = [hit for hit in ranking if hit.score != -math.inf]
            if len({hit.stage for hit in hits}) > 1:
                keys: list[Hashable] = [_key(hit.id, hit.index) for hit in hits]
                _refuse_repeated(keys, name)
                return cls(keys, None)
            return cls.of_pairs([(_key(hit.id, hit.index), hit.score) for hit in hits], name)
        if isinstance(ranking, Mapping):
            pairs: list[tuple[Hashable, Any]] = list(ranking.items())
            numbers = [(key, _read_score(score, name)) for key, score in pairs]
            kept = [(key, score) for key, score in numbers if score != -math.inf]
            return cls.of_pairs(sorted(kept, key=lambda pair: -pair[1]), name)
        if isinstance(ranking, str | bytes | RankedDocument) or not isinstance(ranking, Iterable):
            raise InvalidItemError(f"{name} must be a Ranking, a mapping from document to score, or a list, best first")
        if callable(getattr(ranking, "to_dict", None)):  # a column of scores, whose labels are the documents
            raise InvalidItemError(f"{name} is a column of a table. Pass a mapping from document to score: .to_dict()")
        listed: list[Hashable] = list_items(ranking, name, "documents")
        _refuse_repeated(listed, name)
        return cls(listed, None)

    @classmethod
    def of_pairs(cls, pairs: list[tuple[Hashable, float]], name: str) -> "_Ranked":
        keys = [key for key, _ in pairs]
        _refuse_repeated(keys, name)
        scores = np.array([score for _, score in pairs], np.float64)
        if not np.isfinite(scores).all():
            raise NonFiniteError(f"{name} has a score that is NaN or infinite")
        return cls(keys, scores)


def _read_score(score: Any, name: str) -> float:
    if isinstance(score, bool | np.bool_) or not isinstance(score, int | float | np.integer | np.floating):
        raise InvalidItemError(f"{name} must map documents to numbers")
    try:
        return float(score)
    except OverflowError:
        raise NonFiniteError(f"{name} has a score that is too large for a float") from None


def _key(identifier: DocumentId | None, index: int) -> Hashable:
    return index if identifier is None else identifier


def _refuse_numbers_beside_indices(rankings: Sequence[object]) -> None:
    """Refuse hits known by their index beside hits whose ids are numbers: one would be taken for another."""
    kinds = {type(hit.id) for ranking in rankings if isinstance(ranking, Ranking) for hit in ranking}
    if type(None) in kinds and any(issubclass(kind, int) for kind in kinds):
        raise InvalidItemError(
            "some documents have numbers as ids, and others have none and are told apart by their index, a number too. "
            "Give every document an id"
        )


def _refuse_repeated(keys: list[Hashable], name: str) -> None:
    try:
        num_distinct = len(set(keys))
    except TypeError as error:
        raise InvalidItemError(f"{name} holds something that cannot tell documents apart: {error}") from None
    if num_distinct != len(keys):
        raise InvalidItemError(f"{name} has a document twice")


def _read_weights(weights: Sequence[float] | None, count: int) -> Float64Vector:
    factors = np.ones(count) if weights is None else as_array(weights, "weights").astype(np.float64)
    if factors.shape != (count,) or not (np.isfinite(factors).all() and (factors >= 0).all()):
        raise InvalidArgumentError(f"weights must be {count} numbers, one per ranking, finite and not negative")
    return factors


def _reciprocal_ranks(ranks: Any, rrf_k: float) -> Any:
    return 1 / (rrf_k + ranks)


def _inverse_square_ranks(ranks: Any, _: float) -> Any:
    return 1 / np.square(ranks)


def _borda_counts(ranks: Any, _: float) -> Any:
    """Each ranking gives N − 1, N − 2, … points; what it has left is shared by the documents that it lacks."""
    num_documents = ranks.shape[1]
    lengths = np.isfinite(ranks).sum(axis=1, keepdims=True)  # [num_rankings, 1]
    shared = (num_documents - lengths - 1) / 2  # the mean of the points that are left
    points = np.where(np.isfinite(ranks), num_documents - ranks, shared)
    return points / max(num_documents, 1)


def _normalized_scores(lists: list[_Ranked], ranks: Any, normalization: str, method: str) -> Any:
    parts = np.zeros(ranks.shape)
    for number, ranked in enumerate(lists):
        if ranked.scores is None:
            raise InvalidItemError(
                f"rankings[{number}] has no scores, or those of several stages of a cascade, which are of different "
                f'kinds, and "{method}" adds up scores; "rrf" does without'
            )
        if len(ranked.keys) == 0:
            continue
        normalized = _NORMALIZATIONS[normalization](ranked.scores)
        positions = np.flatnonzero(np.isfinite(ranks[number]))
        parts[number] = normalized.min() if normalization == "z_score" else 0
        parts[number, positions] = normalized[ranks[number, positions].astype(np.int64) - 1]
    return parts


def _min_max(scores: Float64Vector) -> Float64Vector:
    """To [0, 1]; scores that are all the same become 1: they say that a document was found."""
    low, high = float(scores.min()), float(scores.max())
    if high == low:
        return np.ones(len(scores))
    if high / 2 == low / 2:  # so small that half of them is nothing
        return (scores > low).astype(np.float64)
    return np.clip((scores / 2 - low / 2) / (high / 2 - low / 2), 0, 1)


def _z_score(scores: Float64Vector) -> Float64Vector:
    if scores.min() == scores.max():  # their deviation may round to something that is not 0
        return np.zeros(len(scores))
    scaled = scores / np.abs(scores).max()  # no square overflows
    deviation = scaled.std()
    return np.zeros(len(scores)) if deviation == 0 else (scaled - scaled.mean()) / deviation


def _distribution(scores: Float64Vector) -> Float64Vector:
    return np.clip((_z_score(scores) / DEVIATIONS + 1) / 2, 0, 1)


_NORMALIZATIONS: dict[str, Callable[[Float64Vector], Float64Vector]] = {
    "min_max": _min_max,
    "z_score": _z_score,
    "distribution": _distribution,
    "none": lambda scores: scores,
}
_BY_RANK: dict[str, Callable[[Any, float], Any]] = {
    "rrf": _reciprocal_ranks,
    "isr": _inverse_square_ranks,
    "borda": _borda_counts,
}
_METHODS = (*_BY_RANK, "comb_sum", "comb_mnz")
