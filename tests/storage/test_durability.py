"""Nothing that was acknowledged is lost, and nothing half written is ever seen."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from child_processes import child_environment
from example_counts import in_a_search
from small_stores import DIM, content, embeddings_of, fill

from rank_rerank.errors import StoreError, StoreLockedError, StoreWriteError
from rank_rerank.storage import durable_files, embedding_store, manifest, snapshot, writer_lock
from rank_rerank.storage.embedding_store import EmbeddingStore

WRITER = Path(__file__).with_name("endless_writer.py")


class FailingDisk:
    """Counts the system calls that write, and makes one of them fail."""

    def __init__(self, fail_at, kind):
        self.fail_at, self.kind, self.count = fail_at, kind, 0

    def install(self, monkeypatch):
        for name in ("open", "write", "fsync", "replace", "close"):
            monkeypatch.setattr(durable_files.os, name, self._wrap(name, getattr(os, name)))

    def _wrap(self, name, call):
        def wrapped(*arguments, **options):
            if name == "open" and not arguments[1] & os.O_WRONLY and not Path(arguments[0]).is_dir():
                return call(*arguments, **options)  # the lock, and files that are read
            if name == "close":
                return call(*arguments, **options)
            self.count += 1
            if self.count != self.fail_at:
                # what reaches the disk is tested by killing; here the order of calls counts, and time
                return None if name == "fsync" else call(*arguments, **options)
            return self._fail(name, call, arguments)

        return wrapped

    def _fail(self, name, call, arguments):
        if self.kind == "short":
            # a short write is no error: the rest must be written by another call
            return (
                call(arguments[0], arguments[1][: max(1, len(arguments[1]) // 2)])
                if name == "write"
                else call(*arguments)
            )
        raise OSError(getattr(errno, self.kind), os.strerror(getattr(errno, self.kind)))


def change_add(store):
    store.add(["new", "newer"], embeddings=embeddings_of(2, seed=5))


def change_update(store):
    store.update(["d1"], embeddings=embeddings_of(1, seed=6))


def change_delete(store):
    store.delete(["d2", "d3"])


CHANGES = [change_add, change_update, change_delete, EmbeddingStore.compact]


def two_segments(folder):
    store = fill(folder, 40)
    store.add(["d90"], embeddings=embeddings_of(1, seed=3))
    store.delete(["d5"])
    assert len(store.snapshot.segments) == 2
    return store


@pytest.mark.parametrize("kind", ["ENOSPC", *in_a_search("EIO", "short")])
@pytest.mark.parametrize("change", CHANGES)
def test_a_failure_of_any_single_write_leaves_the_old_or_the_new_state(tmp_path, change, kind):
    two_segments(tmp_path / "before")
    shutil.copytree(tmp_path / "before", tmp_path / "after")
    change(EmbeddingStore.open(tmp_path / "after"))
    expected = {name: content(tmp_path / name) for name in ("before", "after")}
    fail_at, outcomes = 0, set()
    while True:
        fail_at += 1
        folder = tmp_path / f"{fail_at}"
        shutil.copytree(tmp_path / "before", folder)
        store = EmbeddingStore.open(folder)
        disk = FailingDisk(fail_at, kind)
        with pytest.MonkeyPatch.context() as patch:
            disk.install(patch)
            try:
                change(store)
                acknowledged = True
            except StoreWriteError:
                acknowledged = False
        found = content(folder)
        assert found in expected.values()
        if acknowledged:
            assert found == expected["after"]
        outcomes.add((acknowledged, found == expected["after"]))
        assert EmbeddingStore.open(folder).verify().is_sound
        # and the store goes on working
        again = EmbeddingStore.open(folder)
        again.add(["later"], embeddings=embeddings_of(1, seed=9))
        assert content(folder).keys() == found.keys() | {"later"}
        listed = {entry.name for entry in again.snapshot.manifest.files()}
        assert {path.name for path in folder.glob("*.safetensors*")} == listed
        if disk.count < fail_at:
            break
    assert fail_at > 10
    assert (True, True) in outcomes
    if kind != "short" and expected["before"] != expected["after"]:
        assert (False, False) in outcomes


@pytest.mark.parametrize("kind", ["ENOSPC", "EIO"])
def test_a_failure_while_a_store_is_made_leaves_no_store_or_a_whole_one(tmp_path, kind):
    for fail_at in range(1, 12):
        with pytest.MonkeyPatch.context() as patch:
            FailingDisk(fail_at, kind).install(patch)
            with suppress(StoreWriteError):
                fill(tmp_path / f"{fail_at}", 0)
        try:
            store = EmbeddingStore.open(tmp_path / f"{fail_at}")
        except StoreError:
            store = fill(tmp_path / f"{fail_at}", 0)
        assert len(store) == 0


@pytest.mark.skipif(os.name == "nt" or os.getuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder_for_a_user(tmp_path):
    fill(tmp_path / "s")
    (tmp_path / "s").chmod(0o500)
    (tmp_path / "s" / "lock").chmod(0o400)
    with pytest.raises(StoreWriteError, match="read_only=True"):
        EmbeddingStore.open(tmp_path / "s").delete(["d1"])
    assert len(EmbeddingStore.open(tmp_path / "s", read_only=True).get(["d1"])) == 1


def test_a_read_only_disk_is_said_and_reading_goes_on(store, tmp_path, monkeypatch):
    real = os.open

    def refuse(path, flags, *mode):
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(path, flags, *mode)

    monkeypatch.setattr(durable_files.os, "open", refuse)
    with pytest.raises(StoreWriteError, match=r"Read-only file system.*read_only=True"):
        store.delete(["d1"])
    assert len(EmbeddingStore.open(tmp_path / "store", read_only=True)) == 7


def test_one_writer_at_a_time(store, tmp_path, monkeypatch):
    monkeypatch.setattr(embedding_store, "LOCK_TIMEOUT_S", 0.01)
    with writer_lock.writer_lock(tmp_path / "store", 1):
        with pytest.raises(StoreLockedError, match="another program has been writing"):
            store.delete(["d1"])
        assert "d1" in EmbeddingStore.open(tmp_path / "store")
    store.delete(["d1"])


def test_two_writers_lose_nothing(store, tmp_path):
    other = EmbeddingStore.open(tmp_path / "store")
    store.add(["a"], embeddings=embeddings_of(1))
    other.add(["b"], embeddings=embeddings_of(1))
    store.delete(["b"])
    assert set(content(tmp_path / "store")) == {"a", *(f"d{number}" for number in range(7))}


def test_a_file_that_a_writer_replaces_while_it_is_opened_is_no_damage(tmp_path, monkeypatch):
    fill(tmp_path / "s").delete(["d1"])
    hash_file = snapshot.hash_file

    def after_another_deletion(path):
        monkeypatch.setattr(snapshot, "hash_file", hash_file)
        EmbeddingStore.open(tmp_path / "s").delete(["d2"])
        assert not path.exists()
        return hash_file(path)

    monkeypatch.setattr(snapshot, "hash_file", after_another_deletion)
    assert set(EmbeddingStore.open(tmp_path / "s")) == {"d0", "d3", "d4", "d5", "d6"}


def start(arguments):
    command = [sys.executable, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=child_environment())


def kill_at_random(folder, rounds, seed, min_hits=0):
    """Start a program that writes without end, kill it, check what it had acknowledged; so often that some kills hit.

    A kill hits where it leaves traces of a write that was not done.
    """
    generator, acknowledged, hits = np.random.default_rng(seed), -1, 0
    fill(folder, 0)
    for number in count():
        if number >= rounds and hits >= min_hits:
            break
        process = start([WRITER, folder, DIM, acknowledged + 1])
        lines = [process.stdout.readline() for _ in range(1 + generator.integers(12))]
        # a random moment within the next write, which takes about a millisecond
        moment = time.perf_counter() + generator.uniform(0, 0.002)
        while time.perf_counter() < moment:
            pass
        os.kill(process.pid, signal.SIGKILL)
        lines += process.stdout.readlines()
        process.stdout.close()
        process.wait()
        acknowledged = max([acknowledged, *(int(line) for line in lines if line.endswith(b"\n"))])
        store = EmbeddingStore.open(folder)
        assert store.verify().is_sound
        held = {identifier: store.get([identifier])[0] for identifier in store}
        last = max(int(identifier[1:]) for identifier in held)
        assert last in (acknowledged, acknowledged + 1)
        hits += any(folder.glob("*.tmp")) or last == acknowledged + 1
        # the last ten are there, whole, and none besides but one that was about to be deleted
        whole = [{f"d{number}" for number in range(max(0, last - size), last + 1)} for size in (9, 10)]
        assert set(held) in whole
        for identifier, vectors in held.items():
            assert (vectors == np.float32(int(identifier[1:]) % 1000)).all()
        acknowledged = last


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 here")
def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path):
    kill_at_random(tmp_path / "s", 5, seed=0)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 here")
def test_500_kills_lose_nothing_that_was_acknowledged(tmp_path):
    kill_at_random(tmp_path / "s", 500, seed=1, min_hits=50)


def readers_and_a_writer(folder, num_readers, num_states):
    """Readers that open and check the store while one program writes, until each has seen so many states."""
    fill(folder, 0)
    writer = start([WRITER, folder, DIM, 0])
    for _ in range(12):
        writer.stdout.readline()
    reader = WRITER.with_name("checking_reader.py")
    readers = [start([reader, folder, num_states]) for _ in range(num_readers)]
    # the pipe must not fill up, or the writer would stop
    drain = threading.Thread(target=lambda: [None for _ in iter(writer.stdout.readline, b"")], daemon=True)
    drain.start()
    results = [each.communicate() for each in readers]
    writer.kill()
    writer.wait()
    drain.join()
    writer.stdout.close()
    assert [each.returncode for each in readers] == [0] * num_readers, results
    return [tuple(map(int, out.split())) for out, _ in results]


def test_readers_never_see_a_mixed_state(tmp_path):
    for looks, generations in readers_and_a_writer(tmp_path / "s", 2, 100):
        assert looks >= generations == 100


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_eight_readers_see_no_mixed_state_in_ten_thousand(tmp_path):
    for looks, generations in readers_and_a_writer(tmp_path / "s", 8, 10_000):
        assert looks >= generations == 10_000


def test_a_manifest_that_nobody_could_read_is_not_written(tmp_path, monkeypatch):
    """One of more segments than readers take in: the store stays as it was."""
    store = fill(tmp_path / "s", 5)
    before, kept = content(tmp_path / "s"), (tmp_path / "s" / "manifest.json").read_bytes()
    # a deletion makes the manifest longer by one file
    monkeypatch.setattr(manifest, "MAX_MANIFEST_BYTES", len(kept))
    with pytest.raises(StoreWriteError, match="--how merge"):
        store.delete(["d0"])
    assert (tmp_path / "s" / "manifest.json").read_bytes() == kept
    assert content(tmp_path / "s") == before
