"""Scores are the same bits for any thread count, from many threads at once, and in children after fork or spawn."""

import multiprocessing
import sys
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from python_entry import PythonEntry

from rank_rerank.encoding.token_embeddings import TokenEmbeddings, offsets_of_lengths
from rank_rerank.kernels import thread_pool
from rank_rerank.kernels.job_boxes import BEGUN, WANTED
from rank_rerank.kernels.lingering import Lingering, load_lingering
from rank_rerank.kernels.processor import VECTOR_PATHS, vector_path
from rank_rerank.scoring.compiled import costs, maxsim_numba
from rank_rerank.scoring.compiled.loading import load_parts
from rank_rerank.scoring.compiled.parts import LEFT, NEXT, make_job
from rank_rerank.scoring.maxsim import maxsim, maxsim_matches

NUM_DOCUMENTS = 300


def make() -> tuple[np.ndarray, TokenEmbeddings]:
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 400, NUM_DOCUMENTS)
    vectors = rng.standard_normal((lengths.sum(), 64)).astype(np.float32)
    return rng.standard_normal((33, 64)).astype(np.float32), TokenEmbeddings(vectors, offsets_of_lengths(lengths))


def score(num_threads: int) -> bytes:
    return maxsim(*make(), num_threads=num_threads).tobytes()


def test_scores_do_not_depend_on_the_number_of_threads():
    query, documents = make()
    one = maxsim_matches(query, documents, num_threads=1)
    for num_threads in (2, 3, 8, 64):
        other = maxsim_matches(query, documents, num_threads=num_threads)
        for name in ("scores", "similarities", "indices"):
            assert getattr(one, name).tobytes() == getattr(other, name).tobytes()


def test_scores_do_not_depend_on_how_documents_are_cut():
    query, documents = make()
    together = maxsim(query, documents)
    pieces = [maxsim(query, list(documents)[first : first + 7]) for first in range(0, NUM_DOCUMENTS, 7)]
    assert together.tobytes() == np.concatenate(pieces).tobytes()


@settings(max_examples=15)
@given(
    st.lists(st.sampled_from([0, 1, 2, 3, 5, 11, 12, 13, 40, 300]), min_size=2, max_size=60),
    st.integers(2, 5),
    st.sampled_from(["float32", "float16", "int8"]),
    st.booleans(),
)
def test_scores_do_not_depend_on_who_takes_which_part(lengths, num_threads, dtype, is_large):
    rng = np.random.default_rng(len(lengths))
    query = rng.standard_normal((7, 24)).astype(np.float32)
    vectors = rng.uniform(-100, 100, (sum(lengths), 24)).astype(dtype)
    documents = TokenEmbeddings(vectors, offsets_of_lengths(lengths))
    one = maxsim_matches(query, documents, num_threads=1)
    several_us = costs.WAKING_US if is_large else costs.SHARING_US
    with (
        mock.patch.object(maxsim_numba, "estimate_us", return_value=several_us),
        mock.patch.object(thread_pool, "_rhythm", mock.Mock(begin=mock.Mock(return_value=True))),
    ):
        many = [maxsim_matches(query, documents, num_threads=num_threads) for _ in range(3)]
    for other in many:
        for name in ("scores", "similarities", "indices"):
            assert getattr(one, name).tobytes() == getattr(other, name).tobytes()


def test_helpers_take_parts_and_every_document_is_scored_once(monkeypatch):
    query, documents = make()
    expected = maxsim(query, documents, num_threads=1).tobytes()
    deal, barrier, jobs = load_parts(vector_path()), threading.Barrier(3), []

    def meet(job, number):
        barrier.wait(600)  # only against hanging
        deal.call(job, number)

    entry = PythonEntry(meet)

    def make_watched(_entry, *arguments):
        jobs.append(make_job(entry.address, *arguments))
        return jobs[-1]

    kernels = load_lingering()
    patient = Lingering(kernels.linger, kernels.hand_over, 2**60, 2)  # a busy machine may take its time
    monkeypatch.setattr(thread_pool, "_lingering", patient)
    monkeypatch.setattr(thread_pool, "_idle", deque())
    monkeypatch.setattr(thread_pool, "_rhythm", mock.Mock(begin=mock.Mock(return_value=True)))
    monkeypatch.setattr(maxsim_numba, "make_job", make_watched)
    monkeypatch.setattr(maxsim_numba, "estimate_us", lambda *_: costs.WAKING_US)
    assert maxsim(query, documents, num_threads=3, kernel="numba").tobytes() == expected
    for worker in thread_pool._idle:
        worker._box[WANTED] = 1
    assert [(job[BEGUN], job[NEXT], job[LEFT], entry.errors) for job in jobs] == [(2, NUM_DOCUMENTS, 0, [])]


@pytest.mark.parametrize(
    ("us", "num_documents", "num_threads", "expected"),
    [(99, 50, 8, 1), (100, 50, 8, 3), (100, 2, 8, 2), (1e6, 50, 8, 8), (1e6, 3, 8, 3), (240, 50, 2, 2)],
)
def test_threads_are_as_many_as_the_work_is_worth(us, num_documents, num_threads, expected):
    assert costs.count_threads(us, num_documents, num_threads) == expected


def test_every_path_has_its_rates():
    assert set(costs.LANE_PRODUCTS_PER_US) == {path.name for path in VECTOR_PATHS}


def test_many_threads_may_score_at_once():
    query, documents = make()
    expected = maxsim(query, documents, num_threads=1).tobytes()
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(maxsim, query, documents, num_threads=1 + i % 3) for i in range(50)]
        assert all(call.result().tobytes() == expected for call in calls)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_children_score_like_their_parent(method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"{sys.platform} has no {method}")
    expected = score(num_threads=2)
    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        assert pool.map_async(score, [1, 2, 3]).get() == [expected] * 3


def test_few_documents_stay_on_the_calling_thread(monkeypatch):
    def refuse() -> None:
        raise AssertionError("a thread was asked for")

    monkeypatch.setattr("rank_rerank.kernels.thread_pool._find_worker", refuse)
    query = np.ones((32, 128), np.float32)
    assert maxsim(query, np.ones((5, 30, 128), np.float32)).tolist() == [32 * 128] * 5
