r"""Isotonic regression: the nondecreasing steps nearest to labels, by pooling adjacent violators.

.. math:: \min_{p_1 \le \dots \le p_n} \sum_i (p_i - y_i)^2

(Barlow et al., "Statistical inference under order restrictions", 1972.) Between the middles of two steps the fit is
read off the line that joins them, so that it rises strictly there (Oron and Flournoy, "Centered isotonic regression",
2017). Documents of different scores keep different probabilities, but for those beyond the first and last step.
"""

import numpy as np

from rank_rerank.arrays import AnyArray

Steps = tuple[tuple[float, float], ...]


def fit_steps(positions: AnyArray, targets: AnyArray) -> Steps:
    """Fit the steps, in n log n operations.

    Args:
        positions: [num_pairs] finite.
        targets: [num_pairs], from 0 to 1.

    Returns:
        The middle of each step, the mean of its positions, and its height, the mean of its targets; both ascend.
    """
    # equal positions belong to one step from the start
    distinct, of, counts = np.unique(np.asarray(positions, np.float64), return_inverse=True, return_counts=True)
    totals = np.bincount(of, weights=np.asarray(targets, np.float64))
    steps: list[tuple[float, float, int]] = []  # sum of positions, sum of targets, pairs
    for position, total, count in zip(distinct.tolist(), totals.tolist(), counts.tolist(), strict=True):
        step = (position * count, total, count)
        while steps and steps[-1][1] / steps[-1][2] >= step[1] / step[2]:
            before = steps.pop()
            step = (before[0] + step[0], before[1] + step[1], before[2] + step[2])
        steps.append(step)
    return tuple((places_sum / count, total / count) for places_sum, total, count in steps)


def read_steps(steps: Steps, positions: AnyArray) -> AnyArray:
    """The height at each position: on the line between two middles; that of the first and last step beyond them."""
    middles, heights = np.array(steps).T
    return np.interp(positions, middles, heights)
