"""The usual call gives the bits of the general way; what is unusual, or was changed after a check, is left to it."""

import threading
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rank_rerank.encoding.token_embeddings import TokenEmbeddings, offsets_of_lengths
from rank_rerank.errors import InputError, NonFiniteError
from rank_rerank.kernels import thread_pool
from rank_rerank.kernels.processor import usable_vector_paths
from rank_rerank.scoring.compiled import array_objects, costs, prepared_calls
from rank_rerank.scoring.compiled.prepared_calls import MAX_KEPT, PreparedCall, score_prepared
from rank_rerank.scoring.maxsim import maxsim
from rank_rerank.scoring.packed_documents import PackedDocuments

pytestmark = pytest.mark.skipif(not array_objects.are_readable(), reason="arrays are not read as CPython's")

LENGTHS = (0, 1, 2, 3, 5, 11, 12, 13, 40)


@pytest.fixture(autouse=True)
def nothing_kept():
    prepared_calls._kept.clear()


def make(lengths=(3, 0, 5), dim=8, num_query_tokens=4, dtype=np.float32):
    rng = np.random.default_rng(len(lengths) * dim)
    vectors = rng.standard_normal((sum(lengths), dim)).astype(dtype)
    query = rng.standard_normal((num_query_tokens, dim)).astype(np.float32)
    return query, TokenEmbeddings(vectors, offsets_of_lengths(lengths))


def general(query, documents, num_threads=1):
    return maxsim(query, documents, num_threads=num_threads, kernel="numba").tobytes()


@pytest.mark.parametrize("path", usable_vector_paths(), ids=lambda path: path.name)
@settings(max_examples=8)
@given(
    lengths=st.lists(st.sampled_from(LENGTHS), min_size=1, max_size=20),
    shape=st.tuples(st.sampled_from((1, 2, 15, 16, 17, 32, 33, 48, 65)), st.sampled_from((1, 2, 8, 31, 32, 129))),
    dtype=st.sampled_from((np.float32, np.float16)),
    seed=st.integers(0, 2**32 - 1),
)
def test_scores_are_those_of_the_general_way(path, lengths, shape, dtype, seed):
    query, documents = make(lengths, shape[1], shape[0], dtype)
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, len(lengths), rng.integers(1, 30))
    as_query = TokenEmbeddings(query, np.array([0, len(query)]))
    forms = [documents, PackedDocuments(documents), PackedDocuments(documents, candidates=chosen)]
    forms += [list(documents), tuple(documents), rng.standard_normal((3, 7, shape[1])).astype(dtype)]
    for form in forms:
        expected = maxsim(query, form, num_threads=1, kernel=f"numba-{path.name}")
        for given_query in (query, as_query):
            assert score_prepared(given_query, form, 1, path).tobytes() == expected.tobytes()


@settings(max_examples=15)
@given(
    lengths=st.lists(st.sampled_from([*LENGTHS, 300]), min_size=2, max_size=60),
    num_threads=st.integers(2, 5),
    is_large=st.booleans(),
)
def test_scores_do_not_depend_on_who_takes_which_part(lengths, num_threads, is_large):
    query, documents = make([*lengths, 1], 24, 7)
    expected = general(query, documents)
    each_us = (costs.WAKING_US if is_large else costs.SHARING_US) / documents.num_tokens * 1.01
    prepared_calls._kept.clear()
    with (
        mock.patch.object(prepared_calls, "token_us", return_value=each_us),
        mock.patch.object(thread_pool, "_rhythm", mock.Mock(begin=mock.Mock(return_value=True))),
        mock.patch.object(prepared_calls, "share_job", wraps=prepared_calls.share_job) as shared,
    ):
        for form in (documents, list(documents)):
            for _ in range(3):
                assert score_prepared(query, form, num_threads).tobytes() == expected
    prepared_calls._kept.clear()
    assert shared.call_count == 6


def test_what_is_usual_needs_nothing_else(monkeypatch):
    query, documents = make()
    frozen = TokenEmbeddings(np.array(documents.vectors), documents.offsets)
    frozen.vectors.flags.writeable = False
    expected = general(query, documents)
    monkeypatch.setattr(import_module("rank_rerank.scoring.maxsim"), "_make_scorer", pytest.fail)
    for form in (documents, frozen, PackedDocuments(documents), list(documents), list(frozen)):
        for options in ({}, {"trusted": True}, {"num_threads": 2}):
            assert maxsim(query, form, **options).tobytes() == expected


def changed(documents, **values):
    """Documents whose arrays somebody replaced after they had been checked."""
    for name, value in values.items():
        object.__setattr__(documents, name, value)
    return documents


def freeze(offsets):
    return np.frombuffer(np.array(offsets, np.int64).tobytes(), np.int64)


def with_candidates(candidates):
    packed = PackedDocuments(make()[1], candidates=[0])
    packed.candidates = candidates
    return packed


OFFSETS = ([0, 3, 3, 9], [0, 3, 2, 8], [-1, 3, 3, 8], [0, -5, 3, 8], [0, 2**62, 3, 8], [2**63 - 1, 3, 3, 8])
CHANGED = {
    **{f"offsets {offsets}": {"offsets": freeze(offsets)} for offsets in OFFSETS},
    "offsets of bytes": {"offsets": np.array([0, 3, 3, 8], np.int8)},
    "offsets of floats": {"offsets": np.array([0, 3, 3, 8], np.float64)},
    "offsets with holes": {"offsets": np.array([0, 9, 3, 9, 3, 9, 8, 9])[::2]},
    "offsets in a list": {"offsets": [0, 3, 3, 8]},
    "offsets with two axes": {"offsets": np.array([[0], [3], [3], [8]])},
    "fewer vectors": {"vectors": np.ones((7, 8), np.float32)},
    "one axis": {"vectors": np.ones(64, np.float32)},
    "three axes": {"vectors": np.ones((8, 8, 1), np.float32)},
    "another dim": {"vectors": np.ones((8, 9), np.float32)},
    "columns of wider rows": {"vectors": np.ones((8, 16), np.float32)[:, :8]},
    "rows in Fortran's order": {"vectors": np.asfortranarray(np.ones((8, 8), np.float32))},
    "every second row": {"vectors": np.ones((16, 8), np.float32)[::2]},
    "rows backwards": {"vectors": np.ones((8, 8), np.float32)[::-1]},
    "one row again and again": {"vectors": np.broadcast_to(np.ones(8, np.float32), (8, 8))},
    "float64": {"vectors": np.ones((8, 8))},
    "other byte order": {"vectors": np.ones((8, 8), ">f4" if np.little_endian else "<f4")},
    "int8": {"vectors": np.ones((8, 8), np.int8)},
    "a list": {"vectors": np.ones((8, 8), np.float32).tolist()},
}


@pytest.mark.parametrize("values", CHANGED.values(), ids=CHANGED)
def test_arrays_that_were_changed_after_a_check_reach_no_loop(values):
    query, documents = make()
    assert score_prepared(query, changed(documents, **values), 1) is None
    candidates = np.array([2, 0])
    packed = PackedDocuments(make()[1], candidates=candidates)
    changed(packed.embeddings, **values)
    if next(iter(values)) == "vectors" or values["offsets"] is not CHANGED[f"offsets {OFFSETS[0]}"]["offsets"]:
        refused = score_prepared(query, packed, 1)
        assert refused is None or np.isfinite(refused).all()


@pytest.mark.parametrize("candidates", [[3], [-1], [2**62], [0, -(2**63)]])
def test_candidates_that_were_changed_after_a_check_reach_no_loop(candidates):
    query, documents = make()
    packed = PackedDocuments(documents, candidates=np.zeros(len(candidates), np.int64))
    packed.candidates[:] = candidates
    assert score_prepared(query, packed, 1) is None
    with pytest.raises(InputError, match="candidates lead outside"):
        maxsim(query, packed)


@pytest.mark.parametrize(
    "candidates", [np.array([0], np.int32), np.array([[0]]), np.array([0, 1, 2])[::2], [0], np.array([0.0])]
)
def test_candidates_of_another_kind_reach_no_loop(candidates):
    query, documents = make()
    packed = PackedDocuments(documents, candidates=[0])
    object.__setattr__(packed, "candidates", candidates)
    assert score_prepared(query, packed, 1) is None


class Matrix(np.ndarray):
    """What reads itself as it likes."""


UNUSUAL = {
    "an item of another dim": [np.ones((2, 8), np.float32), np.ones((2, 9), np.float32)],
    "an item of another dtype": [np.ones((2, 8), np.float32), np.ones((2, 8), np.float16)],
    "an item with holes": [np.ones((2, 8), np.float32), np.ones((4, 8), np.float32)[::2]],
    "an item with one axis": [np.ones((2, 8), np.float32), np.ones(8, np.float32)],
    "an item of a class of its own": [np.ones((2, 8), np.float32), np.ones((2, 8), np.float32).view(Matrix)],
    "a list": [np.ones((2, 8), np.float32), [[1.0] * 8]],
    "nothing": [np.ones((2, 8), np.float32), None],
    "a number": [np.ones((2, 8), np.float32), 0],
    "a text": [np.ones((2, 8), np.float32), "a text that is long enough to be read as a matrix"],
    "a type": [np.ones((2, 8), np.float32), np.ndarray],
    "no documents": [],
    "an array of another dim": np.ones((2, 3, 9), np.float32),
    "an array with two axes": np.ones((2, 8), np.float32),
    "an array without axes": np.array(1, np.float32),
    "an array with holes": np.ones((4, 3, 8), np.float32)[::2],
    "an array with its axes turned": np.ones((8, 3, 2), np.float32).T,
    "no array": 3,
}


@pytest.mark.parametrize("documents", UNUSUAL.values(), ids=UNUSUAL)
def test_what_is_unusual_is_left_to_the_general_way(documents):
    assert score_prepared(make()[0], documents, 1) is None


@pytest.mark.parametrize(
    "query",
    [
        np.full((4, 8), np.nan, np.float32),
        np.full((4, 8), -np.inf, np.float32),
        np.full((4, 8), 1e300),
        np.ones((4, 9), np.float32),
        np.ones((4, 16), np.float32)[:, ::2],
        np.ones((8, 4), np.float32).T,
        np.ones((0, 8), np.float32),
        np.ones(8, np.float32),
        np.ones((4, 8), ">f4" if np.little_endian else "<f4"),
        make((2, 2))[1],
        [[1.0] * 8],
    ],
)
def test_a_query_that_is_unusual_is_left_to_the_general_way(query):
    assert score_prepared(query, make()[1], 1) is None


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_scores_that_are_not_finite_are_left_to_the_general_way(value):
    query, documents = make()
    query[:] = 2
    documents.vectors[4] = value
    for form in (documents, list(documents)):
        assert score_prepared(query, form, 1) is None
        with pytest.raises(NonFiniteError, match="document 2"):
            maxsim(query, form)


def test_a_sum_that_overflows_on_its_way_to_a_finite_score_is_settled():
    query = np.array([[2, 2, 1]], np.float32)
    documents = [np.array([[3e38, -3e38, 1]], np.float32)]
    assert score_prepared(query, documents, 1) is None
    assert maxsim(query, documents).tolist() == [1.0]


def test_memory_belongs_to_one_call_at_a_time(monkeypatch):
    """Also where a signal handler scores in the midst of a call of the same shape."""
    query, documents = make()
    other = TokenEmbeddings(-documents.vectors, documents.offsets)
    expected, inner = general(query, documents), []
    score_now = PreparedCall.score

    def score(call, threads):
        if not inner:
            inner.append(None)
            inner[0] = score_prepared(query, other, 1).tobytes()
        return score_now(call, threads)

    monkeypatch.setattr(PreparedCall, "score", score)
    for _ in range(2):
        assert score_prepared(query, documents, 1).tobytes() == expected
    assert inner == [general(query, other)]


def test_threads_have_calls_of_their_own():
    cases = [make([5] * (20 + number), 16, 3) for number in range(4)]
    expected = [general(*case) for case in cases]
    barrier = threading.Barrier(4)

    def score(number):
        barrier.wait(30)
        return {score_prepared(*cases[number], 1 + number % 2).tobytes() for _ in range(200)}

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(score, range(4))) == [{each} for each in expected]


def test_growing_and_shrinking_calls_are_scored_right():
    for count in (3, 500, 2, 129, 128, 1):
        query, documents = make([2] * count)
        assert score_prepared(query, documents, 1).tobytes() == general(query, documents)


def test_memory_that_is_kept_is_bounded():
    for num_query_tokens in range(1, 3 * MAX_KEPT):
        query, documents = make(num_query_tokens=num_query_tokens)
        score_prepared(query, documents, 1)
    assert len(prepared_calls._kept) == MAX_KEPT
    prepared_calls._kept.clear()
    for query, documents in (make([1] * 40_000), make(dim=4_000, num_query_tokens=100)):
        assert score_prepared(query, documents, 1).tobytes() == general(query, documents)
    assert not prepared_calls._kept


def test_where_arrays_cannot_be_read_the_general_way_is_taken(monkeypatch):
    query, documents = make()
    expected = general(query, documents)
    monkeypatch.setattr(prepared_calls, "are_readable", lambda: False)
    assert score_prepared(query, documents, 1) is None
    assert maxsim(query, documents).tobytes() == expected


@pytest.mark.parametrize("options", [{"num_threads": 0}, {"num_threads": True}, {"num_threads": "2"}, {"trusted": 1}])
def test_options_are_checked(options):
    with pytest.raises(InputError):
        maxsim(*make(), **options)
