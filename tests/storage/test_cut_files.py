"""A file that is cut while it is mapped is refused at the next read; the system would end the program otherwise."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from child_processes import child_environment
from small_stores import DIM, fill

from rank_rerank.encoding.projection import Projection
from rank_rerank.errors import StoreFormatError
from rank_rerank.storage.embedding_store import EmbeddingStore

READER = Path(__file__).with_name("reader_of_cut_files.py")

needs_unix = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not cut files that are mapped")


def segment_of(store):
    return store.folder / store.snapshot.segments[0].name


@needs_unix
@pytest.mark.parametrize(
    ("left", "check_reads", "is_large"),
    [("nothing", True, False), ("a page", False, False), ("all but a byte", True, False), ("a page", True, True)],
)
def test_no_read_of_a_cut_file_is_silent_or_ends_the_program(tmp_path, left, check_reads, is_large):
    store = fill(tmp_path / "s", 200, "binary", rescore_dtype="int8")
    store.delete(["d7"])
    size = segment_of(store).stat().st_size
    kept = {"nothing": 0, "a page": 4096, "all but a byte": size - 1}[left]
    assert size > 2 * 4096
    done = subprocess.run(
        [sys.executable, READER, tmp_path / "s", str(kept), str(check_reads), str(is_large)],
        env=child_environment(), capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    outcomes = json.loads(done.stdout)
    # deletions are in files of their own, and a small addition is merged with what is there
    assert {name for name, outcome in outcomes.items() if f"has {kept} bytes" not in outcome} == set()


@needs_unix
def test_a_cut_file_is_refused_when_a_store_is_opened(tmp_path):
    store = fill(tmp_path / "s", 5)
    os.truncate(segment_of(store), segment_of(store).stat().st_size - 1)
    with pytest.raises(StoreFormatError, match="was cut or replaced"):
        EmbeddingStore.open(tmp_path / "s")


@needs_unix
def test_what_was_removed_or_replaced_stays_readable(tmp_path):
    store = fill(tmp_path / "s", 5)
    vectors = store.get(["d1"])[0].tobytes()
    segment_of(store).unlink()
    segment_of(store).write_bytes(b"another file")
    assert store.get(["d1"])[0].tobytes() == vectors
    assert np.isfinite(store.get([f"d{number}" for number in range(5)]).vectors).all()


@needs_unix
def test_a_copy_in_another_process_does_not_depend_on_the_file(tmp_path):
    store = fill(tmp_path / "s", 5)
    selected = copy.deepcopy(store.select(["d1", "d2"]))  # as pickle copies
    os.truncate(segment_of(store), 0)
    assert [document.id for document in selected] == ["d1", "d2"]


def test_a_projection_is_read_when_the_store_is_opened(tmp_path):
    matrix = np.eye(DIM, 8, dtype=np.float32)
    fill(tmp_path / "s", 1, projection=Projection(DIM, 8, matrix))
    again = EmbeddingStore.open(tmp_path / "s")
    os.truncate(next((tmp_path / "s").glob("projection*")), 0)
    assert again.compression.projection.matrix.tolist() == matrix.tolist()
