"""Plan which texts share one call of the model."""

import numpy as np

from rank_rerank.arrays import Int64Vector


def plan_batches(lengths: Int64Vector, token_budget: int) -> list[Int64Vector]:
    """Group texts of similar length, so that little is padded and no call exceeds the budget.

    Texts without tokens are in no batch. The longest come first: what is left for the end is short, so threads that
    share the batches finish together.

    Args:
        lengths: [num_texts] tokens per text.
        token_budget: the most padded tokens a batch may have (texts × longest); a longer text goes alone.

    Returns:
        Indices of texts, one vector per batch; each text with tokens stands in exactly one.
    """
    order = np.argsort(-lengths, kind="stable")
    order = order[lengths[order] > 0]
    batches: list[Int64Vector] = []
    first = 0
    while first < len(order):
        longest = int(lengths[order[first]])
        last = first + max(1, token_budget // longest)
        batches.append(order[first:last])
        first = last
    return batches
