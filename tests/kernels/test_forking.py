"""What a forked child makes anew."""

import gc
import sys
import threading
from functools import partial

import pytest
from forked_child import run_in_forked_child

from rank_rerank.inference.compiled import loading as forward_loading
from rank_rerank.kernels import forking
from rank_rerank.kernels import loading as kernel_loading
from rank_rerank.kernels.forking import renew_after_fork
from rank_rerank.scoring.compiled import loading as scorer_loading

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="fork is used on Linux"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


class Counted:
    def __init__(self):
        self.lock, self.calls = threading.Lock(), []


def held_by_another_thread(lock):
    """A lock that a thread holds until an event is set."""
    is_held, may_go = threading.Event(), threading.Event()

    def hold():
        with lock:
            is_held.set()
            may_go.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert is_held.wait(60)
    return thread, may_go


@pytest.mark.parametrize(
    ("module", "name"),
    [(kernel_loading, "_lock"), (forward_loading, "_loading"), (scorer_loading, "_loading")],
)
def test_a_lock_that_another_thread_held_is_free_in_a_child(module, name):
    thread, may_go = held_by_another_thread(getattr(module, name))

    def take():
        is_free = getattr(module, name).acquire(timeout=30)
        getattr(module, name).release()
        return is_free

    try:
        assert run_in_forked_child(take)
    finally:
        may_go.set()
        thread.join()


def test_a_tokenizers_lock_is_free_in_a_child(encoder):
    thread, may_go = held_by_another_thread(encoder.tokenizer._lock)
    try:
        assert run_in_forked_child(lambda: encoder.tokenizer._lock.acquire(timeout=30))
    finally:
        may_go.set()
        thread.join()


def test_an_owner_is_renewed_once_and_not_kept():
    owner = Counted()
    for number in (1, 2):
        renew_after_fork(owner, lambda owner, number=number: owner.calls.append(number))
    assert run_in_forked_child(partial(getattr, owner, "calls")) == [2]
    assert owner.calls == []
    count = len(forking._renewals)
    del owner
    gc.collect()
    assert len(forking._renewals) == count - 1
