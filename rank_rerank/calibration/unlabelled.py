r"""A calibration without labels: which candidate of a query answers it is guessed from the scores, as far as they tell.

What is assumed, and nothing else is: at most one of a query's candidates answers it. Before its score is seen, any of
them may as likely as any other. Mean best similarities are distributed normally, in one way for documents that answer
and in another, lower one for those that do not. Then the share of queries with an answer, ρ, and the two normal
distributions are found by expectation-maximization, with L the ratio of the two densities and m the number of a
query's candidates:

.. math:: r_i = \frac{\rho L_i / m}{1 - \rho + \sum_j \rho L_j / m}

That r is the probability that candidate i answers. Platt's map is then fitted to the r as to labels. (Dempster, Laird
and Rubin, "Maximum likelihood from incomplete data via the EM algorithm", 1977.) Where several candidates of a query
answer it, their probabilities come out too low.
"""

import numpy as np

from rank_rerank.arrays import AnyArray, Float64Vector, Int64Vector
from rank_rerank.calibration.calibration import Calibration
from rank_rerank.calibration.fitting import check_pairs, fit_probabilities
from rank_rerank.errors import InvalidArgumentError

MAX_ROUNDS = 500
MIN_VARIANCE = 1e-6
# where the search begins: the best of a query's candidates answers it rather than all the others together
FIRST_BEST, FIRST_OTHERS = 0.7, 0.1


def fit_unlabelled_calibration(scores: AnyArray, num_query_tokens: AnyArray, queries: AnyArray) -> Calibration:
    """Fit the map on scores without labels.

    Args:
        scores: [num_pairs], raw; pairs with an empty document, whose score is minus infinity, are left out.
        num_query_tokens: [num_pairs].
        queries: [num_pairs] whole numbers: which query a pair belongs to. Give candidates of the kind that a search
            finds, for the probabilities hold for such, and mostly two or more per query.

    Raises:
        InvalidArgumentError: the three differ in length, there are fewer than 16 pairs, or candidates cannot be told
            apart: one per query, or all of one score.
        NonFiniteError: a score is NaN or plus infinity.
    """
    raw, lengths, kept = check_pairs(scores, num_query_tokens)
    asked = np.asarray(queries)
    if asked.shape != kept.shape:
        raise InvalidArgumentError("scores, num_query_tokens and queries must be lists of one length")
    _, of = np.unique(asked[kept], return_inverse=True)
    similarities = raw / lengths
    if len(raw) < 2 * (int(of.max()) + 1) or similarities.std() ** 2 < MIN_VARIANCE:
        raise InvalidArgumentError(
            "calibration without labels needs queries with two candidates or more on average, and scores that differ. "
            "Give more candidates per query, or labels"
        )
    return fit_probabilities(raw, lengths, guess_answers(similarities, of))


def guess_answers(similarities: Float64Vector, queries: Int64Vector) -> Float64Vector:
    """The probability that each candidate answers its query, under the assumptions above.

    Args:
        similarities: [num_pairs] mean best similarities.
        queries: [num_pairs] numbers of queries, from 0, none left out.

    Returns:
        [num_pairs]; those of one query add up to 1 at most.
    """
    num_candidates = np.bincount(queries)[queries]
    best = np.full(int(queries.max()) + 1, -np.inf)
    np.maximum.at(best, queries, similarities)
    answers = np.where(similarities == best[queries], FIRST_BEST, FIRST_OTHERS / num_candidates)
    for _ in range(MAX_ROUNDS):
        # never so near to 1 that no query could be without an answer any more
        share = min(float(np.bincount(queries, answers).mean()), 1 - 0.1 / len(best))
        ratios = _log_density(similarities, answers) - _log_density(similarities, 1 - answers)
        log_odds = np.log(share / (1 - share) / num_candidates) + ratios
        # relative to the largest of the query's terms, of which the one for "none answers" is log 1
        largest = np.zeros(len(best))
        np.maximum.at(largest, queries, log_odds)
        terms = np.exp(log_odds - largest[queries])
        found = terms / (np.bincount(queries, terms) + np.exp(-largest))[queries]
        moved = float(np.abs(found - answers).max())
        answers = found
        if moved < 1e-6:  # noqa: PLR2004
            break
    return answers


def _log_density(values: Float64Vector, weights: Float64Vector) -> Float64Vector:
    """The logarithm of the normal density that fits weighted values, up to a constant."""
    total = max(float(weights.sum()), 1e-12)
    mean = float(weights @ values) / total
    variance = max(float(weights @ (values - mean) ** 2) / total, MIN_VARIANCE)
    return -((values - mean) ** 2) / (2 * variance) - np.log(variance) / 2
