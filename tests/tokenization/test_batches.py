import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rank_rerank.tokenization.batches import plan_batches


@given(st.lists(st.integers(0, 600), max_size=80), st.integers(1, 2000))
def test_each_text_once_within_the_budget_and_the_longest_first(lengths, token_budget):
    values = np.array(lengths, np.int64)
    batches = plan_batches(values, token_budget)
    planned = [int(index) for batch in batches for index in batch]
    assert sorted(planned) == [index for index, length in enumerate(lengths) if length]
    assert [lengths[index] for index in planned] == sorted((n for n in lengths if n), reverse=True)
    for batch in batches:
        assert len(batch) == 1 or len(batch) * values[batch].max() <= token_budget
