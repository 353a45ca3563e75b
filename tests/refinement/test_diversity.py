"""MMR and DPP against the definitions, by brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank_rerank.encoding import Compression, Pooling, pool
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.errors import InvalidArgumentError, InvalidItemError, NonFiniteError, ShapeError
from rank_rerank.refinement import dpp, drop_near_duplicates, mmr
from rank_rerank.refinement.diversity import choose_by_dpp, choose_by_mmr
from rank_rerank.refinement.similarities import CosineSimilarities, MaxsimSimilarities


def random_case(seed, num_documents, dim):
    generator = np.random.default_rng(seed)
    return generator.random(num_documents), CosineSimilarities(generator.standard_normal((num_documents, dim)))


cases = st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 12))
shares = st.floats(0, 1)


@given(cases, shares)
def test_mmr_takes_the_best_of_all_at_every_step(case, trade_off):
    relevance, similarities = random_case(*case)
    matrix = similarities.vectors @ similarities.vectors.T
    chosen = choose_by_mmr(relevance, similarities, len(relevance), trade_off).tolist()
    assert sorted(chosen) == list(range(len(relevance)))
    for step, choice in enumerate(chosen):
        before = chosen[:step]
        gains = {
            i: trade_off * relevance[i] - (1 - trade_off) * max((matrix[i, j] for j in before), default=0)
            for i in range(len(relevance))
            if i not in before
        }
        assert gains[choice] >= max(gains.values()) - 1e-9


# at 1 only relevance counts: what adds nothing is not last then
@given(cases, st.floats(0, 1, exclude_max=True))
def test_dpp_takes_what_adds_most_to_the_determinant_at_every_step(case, trade_off):
    relevance, similarities = random_case(*case)
    matrix = similarities.vectors @ similarities.vectors.T
    chosen = choose_by_dpp(relevance, similarities, len(relevance), trade_off).tolist()
    assert sorted(chosen) == list(range(len(relevance)))

    def determinant(places):
        return np.linalg.det(matrix[np.ix_(places, places)])

    for step, choice in enumerate(chosen):
        before = chosen[:step]
        free = [i for i in range(len(relevance)) if i not in before]
        volumes = {i: determinant([*before, i]) / determinant(before) for i in free}
        adding = [i for i in free if abs(volumes[i]) > 1e-12]
        # a determinant is off by some 1e-15: one below 1e-8 tells no gain to 1e-6, and a small volume may be none
        if not adding or min(volumes[i] for i in adding) < max(1e-4, 1e-8 / determinant(before)):
            break
        gains = {i: trade_off * relevance[i] + (1 - trade_off) * np.log(volumes[i]) for i in adding}
        assert gains[choice] >= max(gains.values()) - 1e-6


def test_what_adds_nothing_comes_last_by_relevance():
    vectors = np.array([[1.0, 0], [2.0, 0], [0, 1.0], [0, 0], [-1.0, 0]])
    relevance = np.array([0.9, 0.8, 0.1, 0.0, 0.5])
    assert choose_by_dpp(relevance, CosineSimilarities(vectors), 5, 0.5).tolist() == [0, 2, 3, 1, 4]
    assert choose_by_dpp(relevance, CosineSimilarities(vectors), 2, 0.5).tolist() == [0, 2]


def test_without_a_share_for_what_is_new_the_order_is_that_of_relevance():
    vectors = np.array([[1.0, 0], [2.0, 0], [0, 1.0]])
    relevance = np.array([0.9, 0.8, 0.1])
    for choose in (choose_by_mmr, choose_by_dpp):
        assert choose(relevance, CosineSimilarities(vectors), 3, 1.0).tolist() == [0, 1, 2]
        assert choose(relevance, CosineSimilarities(vectors), 3, 1 - 2**-53).tolist()[0] == 0


def unit(*rows):
    matrix = np.array(rows, np.float32)
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


@pytest.mark.parametrize("diversify", [mmr, dpp])
def test_copies_make_room(make_ranking, diversify):
    """Three copies of the best hit, a near copy, and something else."""
    ranking = make_ranking([0.9, 0.9, 0.9, 0.8, 0.3])
    dense = unit([1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0.1, 0], [0, 0, 1])
    tokens = TokenEmbeddings.from_list([unit(row, row) for row in dense])
    for vectors in (dense, tokens):
        assert [hit.index for hit in diversify(ranking, vectors, top_k=2)] == [0, 4]
        assert [hit.index for hit in diversify(ranking, vectors, top_k=3, trade_off=1)] == [0, 1, 2]


def test_hits_keep_their_scores_and_a_part_of_a_ranking_is_enough(make_ranking):
    ranking = make_ranking([0.1, 0.9, 0.5, 0.4])
    vectors = unit([1, 0], [1, 0], [1, 0.01], [0, 1])
    chosen = mmr(ranking.select(np.array([0, 1, 2])), vectors)
    assert [(hit.index, hit.score) for hit in chosen] == [(1, 9.0), (3, 4.0), (2, 5.0)]
    assert chosen.query == "q"


def test_similarities_of_tokens_are_maxsim_in_both_directions():
    generator = np.random.default_rng(0)
    matrices = [unit(*generator.standard_normal((size, 16))) for size in (3, 1, 7)]
    matrices.insert(2, np.empty((0, 16), np.float32))
    found = np.array([MaxsimSimilarities(TokenEmbeddings.from_list(matrices)).to_all(i) for i in range(4)])
    for i, left in enumerate(matrices):
        for j, right in enumerate(matrices):
            if len(left) and len(right):
                products = left @ right.T
                wanted = (products.max(axis=1).mean() + products.max(axis=0).mean()) / 2
            else:
                wanted = 0
            assert found[i, j] == pytest.approx(wanted, abs=1e-5)


def test_near_duplicates_are_left_out(make_ranking):
    ranking = make_ranking([0.2, 0.9, 0.8, 0.7, 0.0])
    vectors = unit([1, 0], [0, 1], [0.01, 1], [0.5, 1], [1, 0])
    assert [hit.index for hit in drop_near_duplicates(ranking, vectors)] == [1, 3, 0]
    assert [hit.index for hit in drop_near_duplicates(ranking, vectors, threshold=0.8)] == [1, 0]
    assert [hit.index for hit in drop_near_duplicates(ranking, vectors, threshold=1)] == [1, 2, 3, 0]


@pytest.mark.parametrize("diversify", [mmr, dpp, drop_near_duplicates])
def test_bad_input(make_ranking, diversify):
    ranking = make_ranking([0.2, 0.9])
    vectors = unit([1, 0], [0, 1])
    option = "threshold" if diversify is drop_near_duplicates else "trade_off"
    for value in (-0.1, 1.1, float("nan")):
        with pytest.raises(InvalidArgumentError, match=option):
            diversify(ranking, vectors, **{option: value})
    with pytest.raises(ShapeError, match="vectors of 1 documents"):
        diversify(ranking, vectors[:1])
    with pytest.raises(ShapeError, match="num_documents, dim"):
        diversify(ranking, vectors[0])
    with pytest.raises(NonFiniteError, match="document 1"):
        diversify(ranking, np.array([[1, 0], [np.nan, 1]]))
    assert len(diversify(make_ranking([]), np.empty((0, 4)))) == 0
    if diversify is not drop_near_duplicates:
        with pytest.raises(InvalidArgumentError, match="top_k"):
            diversify(ranking, vectors, top_k=0)


def test_vectors_of_any_length_are_compared_by_angle():
    similarities = CosineSimilarities(np.array([[1e300, 0], [1e-300, 1e-300], [0, 0]]))
    assert similarities.to_all(0) == pytest.approx([1, np.sqrt(0.5), 0])


def stored_as(dtype, vectors):
    if dtype == "signs":
        return np.packbits(vectors > 0, axis=1)
    if dtype == "int8":
        return np.round(vectors * 127).astype(np.int8)
    if dtype.startswith("torch."):
        torch = pytest.importorskip("torch")
        return torch.from_numpy(vectors).to(getattr(torch, dtype.removeprefix("torch.")))
    return vectors.astype(dtype) * (3 if dtype == "float64" else 1)  # of another length


@pytest.mark.parametrize(
    "dtype", ["float16", "float64", "int8", "signs", "torch.float32", "torch.bfloat16", "torch.int8"]
)
def test_token_vectors_of_any_storage_compare_as_what_they_stand_for(dtype, make_ranking):
    generator = np.random.default_rng(3)
    vectors = generator.choice([-0.25, 0.25], size=(12, 16)).astype(np.float32)  # of unit length, and ±1 for signs
    if dtype == "torch.int8":
        dtype, vectors = "torch.int8", (vectors * 4).astype(np.float32)
    exact = TokenEmbeddings(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), [0, 3, 6, 9, 12])
    stored = TokenEmbeddings(stored_as(dtype, vectors), [0, 3, 6, 9, 12])
    for index in range(4):
        wanted = MaxsimSimilarities(exact).to_all(index)
        assert MaxsimSimilarities(stored).to_all(index) == pytest.approx(wanted, abs=1e-2)
    assert stored.mean_vectors() == pytest.approx(exact.mean_vectors(), abs=1e-2)
    ranking = make_ranking([0.9, 0.5, 0.4, 0.3])
    assert drop_near_duplicates(ranking, stored).hits == ranking.hits
    assert [hit.index for hit in dpp(ranking, stored)] == [hit.index for hit in dpp(ranking, exact)]
    assert [hit.index for hit in mmr(ranking, stored)] == [hit.index for hit in mmr(ranking, exact)]


def test_sign_bits_are_neither_pooled_nor_compressed():
    signs = TokenEmbeddings(np.zeros((4, 2), np.uint8), [0, 4])
    for use in (lambda: pool(signs, Pooling(2)), lambda: Compression().compress(signs)):
        with pytest.raises(InvalidItemError, match="sign bits"):
            use()
