"""calibrate(): fit a reranker's relevance on pairs, judged or not, and measure it on queries that were held out."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from rank_rerank.arguments import check_choice, check_kind, check_number
from rank_rerank.arrays import AnyArray, BoolVector, check_whole_number
from rank_rerank.calibration.calibration import Calibration, CalibrationMethod
from rank_rerank.calibration.combination import Combination, Evidence, standardized
from rank_rerank.calibration.combination_fitting import MIN_QUERIES, JudgedCandidates, fit_combination
from rank_rerank.calibration.fitting import expected_calibration_error, fit_calibration
from rank_rerank.calibration.unlabelled import fit_unlabelled_calibration
from rank_rerank.documents import Document, DocumentLike, SequenceNotStr, as_document, each_item, is_missing
from rank_rerank.errors import InvalidArgumentError, InvalidItemError
from rank_rerank.rerankers.colbert_reranker import ColbertReranker

logger = logging.getLogger("rank_rerank")

# the candidates of each query, with their labels
Groups: TypeAlias = dict[str, list[tuple[Document, bool | None]]]
Pair: TypeAlias = tuple[str, DocumentLike, bool | None]


def calibrate(
    reranker: ColbertReranker,
    pairs: SequenceNotStr[Pair] | Iterator[Pair],
    *,
    held_out: float = 0.2,
    seed: int = 0,
    method: CalibrationMethod = "platt",
) -> Calibration:
    """Fit the map from score to probability, for ``dataclasses.replace(reranker, calibration=…)``.

    Pairs that nobody has judged will do, several per query. They are then taken to hold at most one answer per query,
    which is guessed from the scores (calibration/unlabelled.py says what else that assumes).

    Where every document brings the score of the search that found it, as ``Document(text, score=…)`` or a mapping with
    "score", the weights that blend it with the model's are fitted too, and with them the relevance of blended rankings.
    It takes 16 queries with an answer and other candidates; give each query all its candidates. Otherwise the weights
    stay those that the reranker has, and the relevance of blended rankings is that of the model's score.

    Args:
        reranker: whose scores; a calibration it has already is not used.
        pairs: query, document (a text, or what ``rerank`` takes), and whether the document answers the query; or None
            instead of every label. Give
            wrong documents of the kind that a search really finds: the probabilities hold for documents like those.
        held_out: the share of queries, from 0 to below 1, that the error is measured on; the map is fitted on the rest.
            Without labels the map is fitted on all, for nothing can be measured.
        seed: of the choice of those queries.
        method: "platt", or "isotonic" for a curve of any rising shape, which needs some thousands of labels.

    Returns:
        The map, with the expected calibration error on the queries held out (None where held_out is 0, or without
        labels).

    Raises:
        InvalidArgumentError: held_out is out of its range, the method is unknown, or "isotonic" without labels; there
            are too few pairs, pairs of one kind only, or some with labels and some without.
        InvalidItemError: a pair is not a query, a document and a label.
        EmptyQueryError, InvalidTextError: as for rerank.
    """
    check_kind(reranker, "reranker", ColbertReranker)
    if check_number(held_out, "held_out", 0, 1) == 1:
        raise InvalidArgumentError("held_out must be below 1: there must be pairs to fit on")
    check_whole_number(seed, "seed", 0)
    check_choice(method, "method", ("platt", "isotonic"))
    groups = _by_query(pairs)
    if _are_unlabelled(groups):
        if method != "platt":
            raise InvalidArgumentError('pairs without labels can be calibrated by method="platt" only')
        found = _score(reranker, groups)
        fitted = fit_unlabelled_calibration(found.scores, found.lengths, found.queries)
        return replace(fitted, combination=_kept_weights(reranker))
    order = np.random.default_rng(seed).permutation(len(groups))
    tested = order[: round(held_out * len(groups))]
    found = _score(reranker, groups)
    is_tested = np.isin(found.queries, tested)
    rest = ~is_tested
    calibration = fit_calibration(found.scores[rest], found.lengths[rest], found.labels[rest], method)
    calibration = replace(calibration, combination=_fit_weights(reranker, found, rest))
    if len(tested) == 0:
        return calibration
    relevance = np.array(
        [
            calibration.relevance(np.array([score]), int(length))[0]
            for score, length in zip(found.scores[is_tested], found.lengths[is_tested], strict=True)
        ]
    )
    return replace(calibration, calibration_error=expected_calibration_error(relevance, found.labels[is_tested]))


def _by_query(pairs: object) -> Groups:
    groups: Groups = {}
    for index, pair in enumerate(each_item(pairs, "pairs", "pairs")):
        try:
            query, document, label = pair
        except (TypeError, ValueError):
            raise InvalidItemError(f"pairs[{index}] must be a query, a document and a label") from None
        if not isinstance(query, str):
            raise InvalidItemError(f"pairs[{index}] must begin with a query, a str")
        read = as_document(document, f"pairs[{index}]: its document")
        groups.setdefault(query, []).append((read, _read_label(label, f"pairs[{index}]")))
    return groups


def _read_label(label: Any, name: str) -> bool | None:
    """Whether the document answers the query; None where nobody has said."""
    if is_missing(label):
        return None
    if not isinstance(label, bool | int | float | np.bool_ | np.integer | np.floating) or label not in (0, 1):
        raise InvalidItemError(
            f"the label of {name} must be True, False, 1, 0 or None. Say from which grade on it is 1"
        )
    return bool(label)


def _are_unlabelled(groups: Groups) -> bool:
    num_unlabelled = sum(label is None for group in groups.values() for _, label in group)
    if num_unlabelled not in {0, sum(map(len, groups.values()))}:
        raise InvalidArgumentError(f"{num_unlabelled} pairs have no label: give labels to all pairs, or to none")
    return num_unlabelled > 0


@dataclass(frozen=True)
class _ScoredPairs:
    """Raw scores, lengths and numbers of queries, labels (False for None): [num_pairs] each.

    And where every document has a score of a search: these, best windows and cosines.
    """

    scores: AnyArray
    lengths: AnyArray
    queries: AnyArray
    labels: AnyArray
    first_stage: AnyArray | None
    best_windows: AnyArray
    cosines: AnyArray


def _kept_weights(reranker: ColbertReranker) -> Combination | None:
    """The reranker's weights without their probabilities, which are not of these pairs."""
    kept = reranker.scale.combination
    return None if kept is None else replace(kept, slope=None, length_slope=0.0, intercept=0.0)


def _fit_weights(reranker: ColbertReranker, found: _ScoredPairs, kept: BoolVector) -> Combination | None:
    """Weights fitted on some pairs, or the reranker's own where these cannot tell."""
    if found.first_stage is None:
        return _kept_weights(reranker)
    order = np.flatnonzero(kept)[np.argsort(found.queries[kept], kind="stable")]
    _, starts, numbers = np.unique(found.queries[order], return_index=True, return_inverse=True)
    first_stage = [standardized(each) for each in np.split(found.first_stage[order], starts[1:])]
    evidence = Evidence(
        found.scores[order] / found.lengths[order],
        found.best_windows[order],
        found.cosines[order],
        np.concatenate([np.empty(0), *first_stage]),
    )
    judged = JudgedCandidates(evidence, numbers.astype(np.int64), found.labels[order], found.lengths[order])
    if judged.num_usable < MIN_QUERIES:
        logger.info(
            "%d queries have an answer and other candidates, and weights for a blend take %d: they were not fitted",
            judged.num_usable,
            MIN_QUERIES,
        )
        return _kept_weights(reranker)
    return fit_combination(judged)


def _score(reranker: ColbertReranker, groups: Groups) -> _ScoredPairs:
    documents = [[document for document, _ in group] for group in groups.values()]
    given = [document.score for group in documents for document in group]
    rankings = reranker.rerank_many(list(groups), documents, blend=None if None in given else "later")
    scores: list[float] = []
    lengths: list[int] = []
    queries: list[int] = []
    labels: list[bool] = []
    first_stage: list[float | None] = []
    measured: list[tuple[float, float]] = []
    for number, (group, ranking) in enumerate(zip(groups.values(), rankings, strict=True)):
        num_query_tokens = 0 if ranking.usage is None else ranking.usage.query_tokens
        for hit in ranking:
            scores.append(reranker.scale.sum_of(hit.score, num_query_tokens))
            lengths.append(num_query_tokens)
            queries.append(number)
            labels.append(bool(group[hit.index][1]))
            first_stage.append(hit.document.score)
            measured.append((hit.best_window or 0.0, hit.cosine or 0.0))
    both = np.array(measured, np.float64).reshape(-1, 2)
    return _ScoredPairs(
        np.array(scores),
        np.array(lengths, np.int64),
        np.array(queries, np.int64),
        np.array(labels, np.bool_),
        None if None in first_stage else np.array(first_stage, np.float64),
        both[:, 0],
        both[:, 1],
    )
