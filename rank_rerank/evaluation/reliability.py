"""Whether ``relevance`` means what it says: of the documents with a relevance near p, how many are relevant."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rank_rerank.arrays import AnyArray, BoolVector, Float64Vector
from rank_rerank.calibration.fitting import expected_calibration_error
from rank_rerank.evaluation.systems import QueryResult

NUM_BINS = 10


@dataclass(frozen=True)
class ReliabilityBin:
    """Documents whose relevance lies in one tenth of [0, 1].

    Attributes:
        count: how many.
        mean_relevance: what the reranker says of them.
        share_relevant: what is judged so; documents without a judgement count as not relevant.
    """

    count: int
    mean_relevance: float
    share_relevant: float


@dataclass(frozen=True)
class Reliability:
    """The bins that hold documents, from the lowest relevance, and the expected calibration error over all."""

    bins: tuple[ReliabilityBin, ...]
    error: float


def labelled_relevance(
    results: Mapping[str, QueryResult], qrels: Mapping[str, Mapping[str, int]]
) -> tuple[Float64Vector, BoolVector]:
    """The relevance of every candidate of every query, and whether it is judged relevant: [num_candidates] each."""
    relevance: list[AnyArray] = [np.zeros(0)]
    labels: list[bool] = []
    for query, result in results.items():
        grades = qrels[query]
        relevance.append(result.relevance)
        labels += [grades.get(identifier, 0) > 0 for identifier in result.ranked.ids]
    return np.concatenate(relevance).astype(np.float64), np.array(labels, np.bool_)


def measure_reliability(relevance: Float64Vector, labels: BoolVector) -> Reliability:
    """Sort documents into ten bins by relevance.

    Args:
        relevance: [num_candidates] from 0 to 1.
        labels: [num_candidates].
    """
    numbers = np.minimum((relevance * NUM_BINS).astype(np.int64), NUM_BINS - 1)
    bins: list[ReliabilityBin] = []
    for number in np.unique(numbers).tolist():
        here = numbers == number
        bins.append(ReliabilityBin(int(here.sum()), float(relevance[here].mean()), float(labels[here].mean())))
    return Reliability(tuple(bins), expected_calibration_error(relevance, labels) if len(labels) else 0.0)
