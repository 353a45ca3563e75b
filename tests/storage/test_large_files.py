"""Files that are read ahead and let go of give what small ones give, and little of them stays in memory."""

import mmap
import os

import numpy as np
import pytest
from small_stores import fill, unit_rows
from test_checksums import KINDS, QUERY, everything, flips, make

from rank_rerank.scoring import stored_source
from rank_rerank.scoring.stored_scores import score_stored
from rank_rerank.storage import mapped_file, mapped_memory, own_descriptor, row_copies
from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.storage.mapped_file import MappedFile, ask_for_spans
from rank_rerank.storage.own_descriptor import OwnDescriptor
from rank_rerank.storage.segment_merging import PIECE_BYTES

pytestmark = pytest.mark.skipif(not hasattr(mmap, "MADV_WILLNEED"), reason="this system takes no advice about files")
PAGE = mmap.PAGESIZE


@pytest.fixture
def every_file_is_large(monkeypatch):
    """Each file is read ahead, page by page, and let go of after each question; blocks hold a few documents."""
    monkeypatch.setattr(mapped_file, "LARGE_FILE_BYTES", 1)
    monkeypatch.setattr(mapped_file, "READ_AHEAD_BYTES", PAGE)
    monkeypatch.setattr(own_descriptor, "DESCRIPTOR_SHARE", 1)  # however few this process may have
    monkeypatch.setattr(mapped_memory, "MAX_MAPPED_BYTES", -1)
    # what is mapped and what is in the cache is the system's affair
    monkeypatch.setattr(mapped_memory, "_mapped_bytes", lambda: 0)
    monkeypatch.setattr(OwnDescriptor, "is_cached", lambda _self, _offset: False)
    monkeypatch.setattr(row_copies, "read_cached", lambda parts: [None] * len(parts))
    monkeypatch.setattr(stored_source, "BLOCK_BYTES", 200)


def answers(folder):
    return [str(answer) for answer in everything(folder)]


@pytest.mark.parametrize(("dtype", "options"), KINDS)
def test_large_files_answer_as_small_ones(tmp_path, dtype, options, request):
    make(tmp_path / "s", dtype, options)
    small = answers(tmp_path / "s")
    request.getfixturevalue("every_file_is_large")
    assert answers(tmp_path / "s") == small
    assert not any("Error" in answer for answer in small)


def test_damage_is_found_in_large_files(tmp_path, every_file_is_large):
    found = flips(tmp_path / "s", "int8", {}, 15)
    assert found["other"] == 0
    assert found["refused"] > 7


def test_a_process_that_may_open_no_more_files_reads_what_it_has_mapped(tmp_path, every_file_is_large, monkeypatch):
    make(tmp_path / "s", "int8", {})
    expected = answers(tmp_path / "s")

    def refuse(_descriptor):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "dup", refuse)
    assert answers(tmp_path / "s") == expected


def test_descriptors_are_left_for_other_files(tmp_path, every_file_is_large, monkeypatch):
    make(tmp_path / "s", "int8", {})
    read, pread = [], os.pread
    monkeypatch.setattr(os, "pread", lambda *given: read.append(given) or pread(*given))
    expected = answers(tmp_path / "s")
    assert read
    read.clear()
    monkeypatch.setattr(own_descriptor, "DESCRIPTOR_SHARE", 1 << 40)  # none is left
    assert answers(tmp_path / "s") == expected
    assert not read


def test_descriptors_are_closed_with_their_store(tmp_path, every_file_is_large, monkeypatch):
    make(tmp_path / "s", "int8", {})
    opened, dup = [], os.dup
    monkeypatch.setattr(os, "dup", lambda descriptor: opened.append(dup(descriptor)) or opened[-1])
    store = EmbeddingStore.open(tmp_path / "s", read_only=True)
    store.get(["later"])
    assert opened
    assert [os.fstat(descriptor).st_size > 0 for descriptor in opened] == [True] * len(opened)
    del store
    for descriptor in opened:
        with pytest.raises(OSError, match="descriptor"):
            os.fstat(descriptor)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "int4", "binary"])
def test_documents_of_many_segments_are_scored_together(tmp_path, dtype, monkeypatch):
    store = fill(tmp_path / "s", 0, dtype)
    generator, ids = np.random.default_rng(3), [f"d{number}" for number in range(60)]
    for first in range(0, 60, 6):
        vectors = [unit_rows(generator, int(count)) for count in generator.integers(0, 9, 6)]
        store.add(ids[first : first + 6], embeddings=vectors)
    assert len(store.snapshot.segments) > 1
    wanted = [ids[number] for number in generator.integers(0, 60, 100).tolist()]
    one_by_one = [score_stored(QUERY, store.select([each]))[0] for each in wanted]
    assert score_stored(QUERY, store.select(wanted)).tolist() == one_by_one
    monkeypatch.setattr(stored_source, "BLOCK_BYTES", 100)
    assert score_stored(QUERY, store.select(wanted)).tolist() == one_by_one
    assert score_stored(QUERY, store.select(wanted), num_threads=2).tolist() == one_by_one


def test_whole_pages_are_asked_for_once(tmp_path, monkeypatch):
    """All pages of all rows, and no page twice; neighbors in one request, up to what the system reads at once."""
    path = tmp_path / "file"
    path.write_bytes(bytes(40 * PAGE + 5))
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    monkeypatch.setattr(mapped_file, "LARGE_FILE_BYTES", 1)
    monkeypatch.setattr(mapped_file, "READ_AHEAD_BYTES", 4 * PAGE)
    mapped, array = MappedFile("file", content), np.frombuffer(content, np.uint8)
    asked = []
    monkeypatch.setattr(
        MappedFile, "ask_for", lambda self, start, end: asked.append((self, start // PAGE, end // PAGE))
    )
    starts = np.array([30 * PAGE - 1, 5, 6 * PAGE, 7 * PAGE, 8 * PAGE, 9 * PAGE, 10 * PAGE, 40 * PAGE])
    ends = np.array([30 * PAGE + 1, 6, 7 * PAGE, 8 * PAGE, 9 * PAGE, 10 * PAGE, 11 * PAGE, 999 * PAGE])
    ask_for_spans([mapped.span(array, starts, ends), mapped.span(array, starts[:1], ends[:1])])
    assert [(start, end) for _, start, end in asked] == [(0, 1), (6, 10), (10, 11), (29, 31), (40, 41), (29, 31)]


def test_what_was_read_is_let_go_of_when_it_is_too_much(tmp_path, every_file_is_large, monkeypatch):
    store = fill(tmp_path / "s", 40)
    store = EmbeddingStore.open(tmp_path / "s", read_only=True)
    let_go = []
    really = MappedFile.let_go
    monkeypatch.setattr(MappedFile, "let_go", lambda self: let_go.append(self) or really(self))
    documents = store.select([*store])
    let_go.clear()
    scores = score_stored(QUERY, documents)
    assert let_go
    assert score_stored(QUERY, documents).tolist() == scores.tolist()
    monkeypatch.setattr(mapped_memory, "MAX_MAPPED_BYTES", 1 << 50)
    let_go.clear()
    score_stored(QUERY, documents)
    assert not let_go


def test_what_others_no_longer_map_makes_no_room_for_stores(monkeypatch):
    """The system takes mapped pages back whenever it needs memory, of this process's libraries too."""
    mapped = [900 << 20]
    monkeypatch.setattr(mapped_memory, "_mapped_bytes", lambda: mapped[0])
    let_go = []

    def note(file):
        let_go.append(file)

    monkeypatch.setattr(MappedFile, "let_go", note)
    memory, files = mapped_memory.MappedMemory(), [MappedFile("one", None), MappedFile("other", None)]
    for file in files:
        memory.add(file)
    memory.limit()
    assert let_go == files  # what is left is the libraries'
    let_go.clear()
    for now, expected in ((1150, []), (300, []), (550, []), (557, files), (560, []), (814, files)):
        mapped[0] = now << 20
        memory.limit()
        assert let_go == expected, now
        let_go.clear()


def test_rows_are_asked_for_once_until_they_are_let_go_of(tmp_path, every_file_is_large, monkeypatch):
    store = fill(tmp_path / "s", 40)
    store = EmbeddingStore.open(tmp_path / "s", read_only=True)
    monkeypatch.setattr(mapped_memory, "MAX_MAPPED_BYTES", 1 << 50)
    documents = store.select([*store])
    asked = []
    monkeypatch.setattr(MappedFile, "ask_for", lambda *given: asked.append(given))
    score_stored(QUERY, documents)
    assert asked
    score_stored(QUERY, documents)  # from where it is mapped
    asked.clear()
    score_stored(QUERY, documents)
    assert not asked
    store.snapshot.segments[0].file.let_go()
    score_stored(QUERY, documents)
    assert asked


def test_merging_writes_large_arrays_some_at_a_time(tmp_path, monkeypatch):
    store = fill(tmp_path / "s", 40)
    expected = store.get([*store]).vectors.tobytes()
    assert PIECE_BYTES > 1 << 20
    monkeypatch.setattr("rank_rerank.storage.segment_merging.PIECE_BYTES", 100)
    ids = [*store][1:]
    first = store.get([*store][:1]).vectors.tobytes()
    store.delete([*store][:1])
    store.compact()
    assert first + store.get(ids).vectors.tobytes() == expected
