"""calibrate(): fit a reranker's relevance on judged pairs, and measure it on queries that were held out."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from rank_rerank.arrays import AnyArray
from rank_rerank.errors import InvalidArgumentError, InvalidItemError
from rank_rerank.rerankers.colbert_reranker import ColbertReranker
from rank_rerank.scoring.calibration import Calibration, expected_calibration_error, fit_calibration


def calibrate(
    reranker: ColbertReranker, pairs: Iterable[tuple[str, str, bool]], *, held_out: float = 0.2, seed: int = 0
) -> Calibration:
    """Fit the map from score to probability, for ``dataclasses.replace(reranker, calibration=…)``.

    Args:
        reranker: whose scores; a calibration it has already is not used.
        pairs: query, document, and whether the document answers the query. Give wrong documents of the kind that a
            search really finds: the probabilities hold for documents like those.
        held_out: the share of queries, from 0 to below 1, that the error is measured on; the map is fitted on the rest.
        seed: of the choice of those queries.

    Returns:
        The map, with the expected calibration error on the queries held out (None where held_out is 0).

    Raises:
        InvalidArgumentError: held_out is out of its range, or there are too few pairs, or of one kind only.
        InvalidItemError: a pair is not a query, a document and a label.
        EmptyQueryError, InvalidTextError: as for rerank.
    """
    if not 0 <= held_out < 1:
        raise InvalidArgumentError(f"held_out must be from 0 to below 1, not {held_out}")
    groups = _by_query(pairs)
    queries = list(groups)
    order = np.random.default_rng(seed).permutation(len(queries)).tolist()
    tested = order[: round(held_out * len(queries))]
    scores, lengths, labels, is_tested = _score(reranker, groups, {queries[place] for place in tested})
    calibration = fit_calibration(scores[~is_tested], lengths[~is_tested], labels[~is_tested])
    if not tested:
        return calibration
    found = np.array(
        [
            calibration.relevance(np.array([score]), int(length))[0]
            for score, length in zip(scores[is_tested], lengths[is_tested], strict=True)
        ]
    )
    return replace(calibration, calibration_error=expected_calibration_error(found, labels[is_tested]))


def _by_query(pairs: Iterable[tuple[str, str, bool]]) -> dict[str, list[tuple[str, bool]]]:
    groups: dict[str, list[tuple[str, bool]]] = {}
    for index, pair in enumerate(pairs):
        try:
            query, document, label = pair
        except (TypeError, ValueError):
            raise InvalidItemError(f"pairs[{index}] must be a query, a document and a label") from None
        if not isinstance(query, str) or not isinstance(document, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidItemError(f"pairs[{index}] must begin with two strings, a query and a document")
        groups.setdefault(query, []).append((document, bool(label)))
    return groups


def _score(
    reranker: ColbertReranker, groups: dict[str, list[tuple[str, bool]]], tested: set[str]
) -> tuple[AnyArray, AnyArray, AnyArray, AnyArray]:
    """Raw scores, lengths of queries, labels, and which pairs are held out: [num_pairs] each."""
    rankings = reranker.rerank_many(list(groups), [[text for text, _ in group] for group in groups.values()])
    scores: list[float] = []
    lengths: list[int] = []
    labels: list[bool] = []
    is_tested: list[bool] = []
    for (query, group), ranking in zip(groups.items(), rankings, strict=True):
        num_query_tokens = 0 if ranking.usage is None else ranking.usage.query_tokens
        # a checkpoint may show the mean over the query's tokens; the map is of their sum
        factor = num_query_tokens if reranker.encoder.checkpoint.similarity == "meanmaxsim" else 1
        for hit in ranking:
            scores.append(hit.score * factor)
            lengths.append(num_query_tokens)
            labels.append(group[hit.index][1])
            is_tested.append(query in tested)
    return np.array(scores), np.array(lengths), np.array(labels, np.bool_), np.array(is_tested, np.bool_)
