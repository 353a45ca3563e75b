import numpy as np
import pytest
from example_counts import examples
from hypothesis import given
from hypothesis import strategies as st

from rank_rerank.encoding.compiled.ward import ward_labels
from rank_rerank.encoding.pooling import Pooling, pool
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.errors import InvalidArgumentError


def unit_rows(seed, num_tokens, dim=8):
    vectors = np.random.default_rng(seed).standard_normal((num_tokens, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def pool_one(vectors, *options):
    return pool(TokenEmbeddings.from_list([vectors]), Pooling(*options))[0]


def same_clusters(first, second):
    return (np.equal.outer(first, first) == np.equal.outer(second, second)).all()


@examples(60)
@given(st.integers(0, 10_000), st.integers(2, 90), st.integers(2, 6))
def test_clusters_are_those_of_scipy(seed, num_tokens, factor):
    hierarchy = pytest.importorskip("scipy.cluster.hierarchy")
    vectors = unit_rows(seed, num_tokens)
    similarities = (vectors @ vectors.T).astype(np.float64)
    count = max(num_tokens // factor, 1)
    condensed = (1 - similarities)[np.triu_indices(num_tokens, 1)]
    expected = hierarchy.fcluster(hierarchy.linkage(condensed, "ward"), count, "maxclust")
    found = ward_labels(1 - similarities, count)
    assert same_clusters(found, expected)
    assert len(set(found.tolist())) == count


def test_equal_vectors_fall_together():
    vectors = np.repeat(unit_rows(0, 3), 4, axis=0)
    pooled = pool_one(vectors, 2, "hierarchical", 0)
    assert len(pooled) == 3
    np.testing.assert_allclose(pooled, unit_rows(0, 3), atol=1e-6)


@examples(40)
@given(
    st.lists(st.integers(0, 40), max_size=6),
    st.integers(1, 8),
    st.sampled_from(["hierarchical", "sequential"]),
    st.integers(0, 3),
)
def test_how_many_are_left_and_which_stay(lengths, factor, method, protected):
    matrices = [unit_rows(number, length) for number, length in enumerate(lengths)]
    embeddings = TokenEmbeddings.from_list(matrices) if matrices else TokenEmbeddings(unit_rows(0, 0), np.zeros(1, int))
    pooled = pool(embeddings, Pooling(factor, method, protected))
    assert len(pooled) == len(lengths)
    for before, after in zip(matrices, pooled, strict=True):
        rest = max(len(before) - protected, 0)
        assert len(after) == len(before) - rest + min(rest, max(rest // factor, 1))
        assert after[:protected].tobytes() == before[:protected].tobytes()
        np.testing.assert_allclose(np.linalg.norm(after, axis=1), 1, atol=1e-5)


def test_a_documents_vectors_do_not_depend_on_its_neighbours():
    matrices = [unit_rows(number, length) for number, length in enumerate((37, 5, 64))]
    together = pool(TokenEmbeddings.from_list(matrices), Pooling(3))
    for matrix, pooled in zip(matrices, together, strict=True):
        assert pool_one(matrix, 3).tobytes() == pooled.tobytes()


def test_sequential_pooling_joins_neighbours():
    vectors = np.eye(6, dtype=np.float32)
    pooled = pool_one(vectors, 2, "sequential", 0)
    np.testing.assert_allclose(pooled * np.sqrt(2), vectors[::2] + vectors[1::2], atol=1e-6)


def test_opposite_vectors_give_a_zero_and_no_nan():
    vectors = np.array([[1, 0], [-1, 0]], np.float32)
    assert pool_one(vectors, 2, "sequential", 0).tolist() == [[0, 0]]


@pytest.mark.parametrize("options", [(0,), (65,), (2.0,), (True,), (2, "mean"), (2, "sequential", -1)])
def test_options_out_of_range(options):
    with pytest.raises(InvalidArgumentError):
        Pooling(*options)
