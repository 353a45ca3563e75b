import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.errors import NonFiniteError, ShapeError

LENGTHS = st.lists(st.integers(0, 5), max_size=12)


def embeddings_of(lengths):
    rng = np.random.default_rng(len(lengths))
    return [rng.standard_normal((length, 3)).astype(np.float32) for length in lengths]


@given(LENGTHS)
def test_a_packed_list_comes_apart_again(lengths):
    matrices = embeddings_of(lengths)
    packed = TokenEmbeddings.from_list(matrices)
    assert len(packed) == len(lengths)
    assert packed.num_tokens == sum(lengths)
    for whole, part in zip(matrices, packed, strict=True):
        assert np.array_equal(whole, part)


@given(LENGTHS.filter(bool), st.data())
def test_select_is_indexing(lengths, data):
    packed = TokenEmbeddings.from_list(embeddings_of(lengths))
    indices = data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=8))
    chosen = packed.select(np.array(indices, np.int64))
    assert len(chosen) == len(indices)
    for part, index in zip(chosen, indices, strict=True):
        assert np.array_equal(part, packed[index])


def test_an_index_outside_is_refused_and_a_negative_one_counts_from_the_end():
    packed = TokenEmbeddings.from_list(embeddings_of([1, 2]))
    assert np.array_equal(packed[-1], packed[1])
    for index in (2, -3):
        with pytest.raises(IndexError):
            packed[index]


@pytest.mark.parametrize("offsets", [[], [0], [0, 3], [1, 4], [0, 5, 4], [0, 3, 2, 4], [[0, 4]]])
def test_offsets_that_do_not_fit_are_refused(offsets):
    with pytest.raises(ShapeError, match="offsets"):
        TokenEmbeddings(np.zeros((4, 2), np.float32), np.array(offsets, np.int64))


def test_axes_and_dims_are_checked():
    with pytest.raises(ShapeError, match="axes"):
        TokenEmbeddings(np.zeros(4, np.float32), np.array([0, 4]))
    with pytest.raises(ShapeError, match="text 1 has dim 3, text 0 has dim 2"):
        TokenEmbeddings.from_list([np.zeros((1, 2)), np.zeros((1, 3))])
    with pytest.raises(ShapeError, match="text 0: vectors need the axes"):
        TokenEmbeddings.from_list([np.zeros(2)])


@pytest.mark.parametrize("number", [3e38, -3e38, 1e-40, 1e-30, 1.0])
def test_mean_vectors_have_unit_length_whatever_float32_holds(number):
    packed = TokenEmbeddings(np.full((4, 8), number, np.float32), np.array([0, 3, 3, 4]))
    means = packed.mean_vectors()
    assert np.allclose(means[[0, 2]], np.sign(number) / np.sqrt(np.float32(8)), rtol=1e-5)
    assert not means[1].any()


def test_mean_vectors_of_extremes_leave_the_others_as_they_were():
    plain = TokenEmbeddings.from_list(embeddings_of([2, 3]))
    mixed = TokenEmbeddings.from_list([*plain, np.full((2, 3), 3e38, np.float32), np.full((1, 3), 1e-40, np.float32)])
    assert np.array_equal(mixed.mean_vectors()[:2], plain.mean_vectors())


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 1e300])
def test_mean_vectors_of_what_is_not_finite_are_refused(number):
    packed = TokenEmbeddings(np.array([[number, 1.0], [1.0, 2.0]]), np.array([0, 1, 2]))
    with pytest.raises(NonFiniteError, match="NaN or infinity"):
        packed.mean_vectors()
