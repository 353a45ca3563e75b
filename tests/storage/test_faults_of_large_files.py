"""What happens to the files of an open store, to its descriptors and to its process is refused or changes nothing."""

import copy
import errno
import mmap
import os
import pickle  # noqa: TID251 - one's own
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from small_stores import fill
from test_checksums import QUERY

from rank_rerank.errors import StoreError, StoreFormatError
from rank_rerank.scoring.stored_scores import score_stored
from rank_rerank.storage import mapped_file, mapped_memory, own_descriptor, row_copies
from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.storage.mapped_file import MappedFile
from rank_rerank.storage.own_descriptor import OwnDescriptor
from rank_rerank.storage.read_ahead import read_ahead

pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or not hasattr(mmap, "MADV_WILLNEED"), reason="this system takes no advice about files"
)


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store that is read as one of gigabytes, on the disk, whose pages are let go of after each question."""
    monkeypatch.setattr(mapped_file, "LARGE_FILE_BYTES", 1)
    monkeypatch.setattr(own_descriptor, "DESCRIPTOR_SHARE", 1)  # however few this process may have
    monkeypatch.setattr(mapped_memory, "MAX_MAPPED_BYTES", -1)
    monkeypatch.setattr(mapped_memory, "_mapped_bytes", lambda: 0)
    monkeypatch.setattr(OwnDescriptor, "is_cached", lambda _self, _offset: False)
    monkeypatch.setattr(row_copies, "read_cached", lambda parts: [None] * len(parts))
    written = fill(tmp_path / "s", 40, "int8")
    written.add(["later"], embeddings=[np.eye(3, written.identity.dim, dtype=np.float32)])
    return EmbeddingStore.open(tmp_path / "s", read_only=True)


def answers(store):
    """Bytes of what a store is asked."""
    ids = [f"d{number}" for number in range(40)] + ["later"]
    documents = store.select(ids)
    scores = score_stored(QUERY, documents)
    again = score_stored(QUERY, documents)
    return scores.tobytes() + again.tobytes() + store.mean_vectors(ids).tobytes() + store.get(ids).vectors.tobytes()


def small_answers(store):
    """What the same store answers where its files are mapped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mapped_file, "LARGE_FILE_BYTES", 1 << 40)
        return answers(EmbeddingStore.open(store.folder, read_only=True))


def test_files_that_are_removed_or_replaced_stay_readable(store):
    expected = small_answers(store)
    for path in store.folder.glob("segment*"):
        path.unlink()
        path.write_bytes(bytes(1 << 16))
    assert answers(store) == expected


def test_a_store_that_was_removed_stays_readable(store):
    expected = small_answers(store)
    shutil.rmtree(store.folder)
    assert answers(store) == expected


def test_copies_need_no_file(store):
    expected = answers(store)
    ids = [f"d{number}" for number in range(40)] + ["later"]
    copies = [copy.deepcopy(store.select(ids)), pickle.loads(pickle.dumps(store.select(ids)))]  # noqa: S301 - one's own
    for path in store.folder.glob("segment*"):
        os.truncate(path, 0)
    for each in copies:
        assert score_stored(QUERY, each).tobytes() == expected[: 4 * len(ids)]


def test_threads_that_ask_at_once_get_what_one_gets(store):
    expected = small_answers(store)
    with ThreadPoolExecutor(4) as pool:
        found = [*pool.map(lambda _: answers(store), range(12))]
    assert found == [expected] * 12


def test_stores_are_opened_and_closed_while_others_are_let_go_of(store):
    expected = small_answers(store)
    with ThreadPoolExecutor(4) as pool:
        found = [*pool.map(lambda _: answers(EmbeddingStore.open(store.folder, read_only=True)), range(12))]
    assert found == [expected] * 12


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_reads_beside_its_parent(store):
    expected = small_answers(store)
    ids = [f"d{number}" for number in range(40)]
    wanted = store.get(ids).vectors.tobytes()
    child = os.fork()
    if child == 0:  # no assertion leaves it
        is_right = False
        try:
            is_right = store.get(ids).vectors.tobytes() == wanted and len(store.select(ids)) == len(ids)
        finally:
            os._exit(0 if is_right else 1)
    assert answers(store) == expected
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.fixture
def numbers(store):
    """Of the store's descriptors, for other code to close; they are the store's again at the end."""
    found = [segment.file.descriptor.number for segment in store.snapshot.segments]
    kept = [os.dup(number) for number in found]
    yield found
    for number, own in zip(found, kept, strict=True):
        os.dup2(own, number)
        os.close(own)


def test_descriptors_that_other_code_closed_are_told(store, numbers):
    for number in numbers:
        os.close(number)
    with pytest.raises(StoreError, match="was closed by other code"):
        store.select(["d1"])


def give_away(numbers, path, content=bytes(1 << 20)):
    """Make descriptors those of another file."""
    path.write_bytes(content)
    other = os.open(path, os.O_RDONLY)
    for number in numbers:
        os.dup2(other, number)
    os.close(other)


@pytest.mark.parametrize("content", [bytes(1 << 20), b"\xff" * (1 << 20), b"x"])
def test_descriptors_that_are_another_files_now_are_told(store, numbers, tmp_path, content):
    documents = store.select(["d1", "later"])
    give_away(numbers, tmp_path / "other", content)
    for question in (lambda: store.select(["d1"]), lambda: score_stored(QUERY, documents), lambda: answers(store)):
        with pytest.raises(StoreError, match="was closed by other code"):
            question()


def test_a_number_that_is_another_files_now_is_not_closed_with_the_store(tmp_path, monkeypatch):
    monkeypatch.setattr(mapped_file, "LARGE_FILE_BYTES", 1)
    monkeypatch.setattr(own_descriptor, "DESCRIPTOR_SHARE", 1)
    opened = fill(tmp_path / "s", 4, "int8")
    number = opened.snapshot.segments[0].file.descriptor.number
    give_away([number], tmp_path / "other")
    del opened
    try:
        assert os.fstat(number).st_size == 1 << 20
    finally:
        os.close(number)


def test_a_disk_that_cannot_be_read_is_told(store, monkeypatch):
    def fail(*_given):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(StoreFormatError, match=r"segment-\d+\.safetensors cannot be read: Input/output error"):
        answers(store)


def test_a_file_system_that_gives_less_at_once_changes_nothing(store, monkeypatch):
    expected, pread = small_answers(store), os.pread
    monkeypatch.setattr(os, "pread", lambda number, count, offset: pread(number, min(count, 7), offset))
    assert answers(EmbeddingStore.open(store.folder, read_only=True)) == expected


def test_offsets_that_lead_outside_are_refused(store):
    group = store.select(["d1"]).groups()[0]
    file, array = group.segment.file, group.segment.arrays["ids"]
    for start, end in ((-1, 2), (3, 2), (0, len(array) + 1)):
        wanted = row_copies.RowsOfFile(file, array, np.array([start]), np.array([end]))
        with pytest.raises(StoreFormatError, match="leads outside of its array"):
            row_copies.copy_rows([wanted])


def test_nothing_is_asked_for_that_is_in_the_cache(store, monkeypatch):
    groups = [(group.segment, group.rows) for group in store.select([*store]).groups()]
    asked, tried = [], []
    monkeypatch.setattr(MappedFile, "ask_for", lambda *given: asked.append(given))
    monkeypatch.setattr(OwnDescriptor, "is_cached", lambda _self, offset: tried.append(offset) or True)
    read_ahead(groups, ["vectors", "ids"])
    assert tried
    assert not asked
    monkeypatch.setattr(OwnDescriptor, "is_cached", lambda _self, offset: offset != tried[-1])  # one is not
    read_ahead(groups, ["vectors", "ids"])
    assert asked


def test_only_what_is_not_in_the_cache_is_asked_for_and_read_later(store, monkeypatch):
    expected, read, asked = small_answers(store), [], []

    def read_every_third(parts):
        missing = [index % 3 == 0 for index in range(len(parts))]
        read.append(sum(missing))
        found = [os.pread(number, count, offset) for number, count, offset in parts]
        return [None if is_missing else piece for piece, is_missing in zip(found, missing, strict=True)]

    monkeypatch.setattr(row_copies, "read_cached", read_every_third)
    monkeypatch.setattr(
        row_copies, "ask_for_spans", lambda spans: asked.append(sum(len(each.starts) for each in spans))
    )
    assert answers(store) == expected
    assert sum(asked) == sum(read) > 0


def test_what_is_in_the_cache_is_what_the_file_holds(tmp_path):
    """Whether anything is there is the system's affair."""
    content = np.random.default_rng(0).bytes(1 << 16)
    (tmp_path / "file").write_bytes(content)
    number = os.open(tmp_path / "file", os.O_RDONLY)
    try:
        parts = [(number, 10, 5), (number, 0, 7), (number, 9000, 100), (number, 10, (1 << 16) - 5)]
        found = own_descriptor.read_cached(parts)
    finally:
        os.close(number)
    for piece, (_, count, offset) in zip(found[:3], parts, strict=False):
        assert piece is None or piece == content[offset : offset + count]
    assert found[3] is None  # the file ends before it does
    assert own_descriptor.read_cached([(-1, 10, 0)]) == [None]


def test_rows_of_large_files_are_not_mapped_to_be_compared_and_scored_first(store, monkeypatch):
    """A page that is touched takes up to 15 others along; what is scored again is mapped."""
    read, checks = [], []
    monkeypatch.setattr(os, "pread", lambda *given, pread=os.pread: read.append(given) or pread(*given))
    documents = store.select([*store])
    monkeypatch.setattr("rank_rerank.storage.segment.RowChecks.check_rows", lambda *given: checks.append(given))
    score_stored(QUERY, documents)
    assert read
    assert not checks
    read.clear()
    score_stored(QUERY, documents)
    assert not read
    assert checks


def test_all_stores_are_let_go_of_whichever_is_asked(store, tmp_path, monkeypatch):
    other = EmbeddingStore.open(store.folder, read_only=True)
    let_go, really = [], MappedFile.let_go
    monkeypatch.setattr(MappedFile, "let_go", lambda self: let_go.append(self) or really(self))
    store.select(["d1"])
    assert {segment.file for each in (store, other) for segment in each.snapshot.segments} <= {*let_go}
