"""Scores are the same bits for any thread count, from many threads at once, and in children after fork or spawn."""

import multiprocessing
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from rank_rerank.encoding.token_embeddings import TokenEmbeddings, offsets_of_lengths
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
