import numpy as np
import pytest

from rank_rerank.errors import InvalidArgumentError, NonFiniteError, ShapeError
from rank_rerank.refinement import dense_scores, refine_matryoshka


def test_cosines():
    vectors = np.array([[2.0, 0], [0, 3], [1, 1], [0, 0], [-1, 0]], np.float32)
    assert dense_scores([5.0, 0], vectors) == pytest.approx([1, 0, np.sqrt(0.5), 0, -1])
    assert dense_scores([5.0, 7.0], vectors, dims=1) == pytest.approx([1, 0, 1, 0, -1])


def test_two_steps_find_what_one_step_finds_among_those_kept():
    generator = np.random.default_rng(0)
    vectors, query = generator.standard_normal((200, 32)), generator.standard_normal(32)
    exact = np.argsort(-dense_scores(query, vectors), kind="stable")
    assert refine_matryoshka(query, vectors, head_dims=4, keep=200, top_k=7).tolist() == exact[:7].tolist()
    heads = set(np.argsort(-dense_scores(query, vectors, dims=4))[:20].tolist())
    wanted = [place for place in exact.tolist() if place in heads][:5]
    assert refine_matryoshka(query, vectors, head_dims=4, keep=20, top_k=5).tolist() == wanted


def test_bad_input():
    vectors = np.eye(3)
    with pytest.raises(ShapeError):
        dense_scores([1.0, 0], vectors)
    with pytest.raises(NonFiniteError, match="query"):
        dense_scores([np.nan, 0, 0], vectors)
    with pytest.raises(NonFiniteError, match="document 2"):
        dense_scores([1.0, 0, 0], np.array([[1, 0, 0], [0, 1, 0], [0, 0, np.inf]]))
    with pytest.raises(InvalidArgumentError, match="dims"):
        dense_scores([1.0, 0, 0], vectors, dims=4)
    with pytest.raises(InvalidArgumentError, match="keep"):
        refine_matryoshka([1.0, 0, 0], vectors, head_dims=1, keep=1, top_k=2)
