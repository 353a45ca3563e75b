"""The lock belongs to one writer, never to its children, and what cannot be locked is said."""

import errno
import os
import signal
import time

import pytest
from small_stores import embeddings_of, fill

from rank_rerank.errors import StoreFormatError, StoreLockedError, StoreWriteError
from rank_rerank.storage import embedding_store, writer_lock
from rank_rerank.storage.embedding_store import EmbeddingStore

fcntl = pytest.importorskip("fcntl")
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture
def in_child():
    """Forks a child that does something and then lives until the test is over."""
    children = []

    def fork(act=lambda: None):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                act()
                os.write(writer, b"done")
                time.sleep(3600)
            finally:
                os._exit(1)
        children.append(child)
        os.close(writer)
        said = os.read(reader, 10)
        os.close(reader)
        return said

    yield fork
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_child_that_is_forked_while_a_store_is_written_does_not_keep_it_locked(store, tmp_path, in_child):
    with writer_lock.writer_lock(tmp_path / "store", 1):
        assert in_child() == b"done"
    with writer_lock.writer_lock(tmp_path / "store", 0.01):
        pass


def test_nor_does_a_child_that_python_has_not_forked(store, tmp_path):
    with writer_lock.writer_lock(tmp_path / "store", 1):
        [held] = writer_lock._open_ones
        inherited = os.dup(held.descriptor)  # what a fork in another language leaves open
    with writer_lock.writer_lock(tmp_path / "store", 0.01):
        pass
    os.close(inherited)


def test_nor_if_the_parent_dies_before_it_unlocks(store, tmp_path, in_child, monkeypatch):
    monkeypatch.setattr(writer_lock, "_unlock", lambda _: None)  # as a killed program does not either
    with writer_lock.writer_lock(tmp_path / "store", 1):
        assert in_child() == b"done"
    with writer_lock.writer_lock(tmp_path / "store", 0.01):
        pass


def test_a_child_that_leaves_the_block_does_not_unlock_what_its_parent_holds(store, tmp_path, in_child):
    with writer_lock.writer_lock(tmp_path / "store", 1) as _:
        [held] = writer_lock._open_ones

        def leave():
            assert not writer_lock._open_ones
            number = os.open(tmp_path / "store" / "lock", os.O_RDWR)  # may get the number that the lock had
            writer_lock._close(held)
            os.fstat(number)

        assert in_child(leave) == b"done"
        with pytest.raises(StoreLockedError), writer_lock.writer_lock(tmp_path / "store", 0.01):
            pass


def test_a_child_writes_when_its_turn_comes(store, tmp_path, in_child):
    def write():
        EmbeddingStore.open(tmp_path / "store").add(["child"], embeddings=embeddings_of(1))

    assert in_child(write) == b"done"
    store.add(["parent"], embeddings=embeddings_of(1))
    assert {"child", "parent"} <= set(EmbeddingStore.open(tmp_path / "store"))


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO, errno.EPERM, errno.EACCES, errno.ENOSYS])
def test_a_file_system_without_locks_is_said(store, tmp_path, monkeypatch, code):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StoreWriteError, match=rf"cannot be locked.*{os.strerror(code)}.*read_only=True"):
        store.add(["new"], embeddings=embeddings_of(1))
    assert not writer_lock._open_ones
    assert len(EmbeddingStore.open(tmp_path / "store", read_only=True)) == 7


def test_a_lock_that_a_signal_interrupts_is_asked_for_again(store, monkeypatch):
    real, calls = fcntl.flock, []

    def interrupt(*arguments):
        calls.append(arguments)
        if len(calls) < 3:
            raise InterruptedError(errno.EINTR, os.strerror(errno.EINTR))
        return real(*arguments)

    monkeypatch.setattr(fcntl, "flock", interrupt)
    store.add(["new"], embeddings=embeddings_of(1))
    assert len(calls) >= 3


def test_a_lock_file_that_was_removed_while_somebody_waited_locks_nobody_out_or_in(store, tmp_path, monkeypatch):
    path = tmp_path / "store" / "lock"
    real, opened = writer_lock._open, []

    def open_and_lose(folder):
        file = real(folder)
        if not opened:
            path.unlink()
        opened.append(file)
        return file

    monkeypatch.setattr(writer_lock, "_open", open_and_lose)
    with writer_lock.writer_lock(tmp_path / "store", 1):
        assert len(opened) == 2
        with pytest.raises(StoreLockedError), writer_lock.writer_lock(tmp_path / "store", 0.01):
            pass


@pytest.mark.parametrize("name", ["manifest.json", "segment-00000001.safetensors"])
def test_a_fifo_in_place_of_a_file_keeps_nobody_waiting(tmp_path, name, monkeypatch):
    monkeypatch.setattr(embedding_store, "LOCK_TIMEOUT_S", 0.1)
    fill(tmp_path / "s")
    (tmp_path / "s" / name).unlink()
    os.mkfifo(tmp_path / "s" / name)
    with pytest.raises(StoreFormatError, match="no regular file"):
        EmbeddingStore.open(tmp_path / "s")
    assert not EmbeddingStore.verify_folder(tmp_path / "s").is_sound
