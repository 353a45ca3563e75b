"""Rows of a vocabulary: rounded in memory, or read from their file when a text comes, to the same integers."""

import copy
import os
import struct
import sys

import numpy as np
import pytest
from model_folders import write_cross_encoder, write_safetensors

from rank_rerank.checkpoints.safetensors_file import SafetensorsFile
from rank_rerank.errors import CheckpointFormatError
from rank_rerank.inference.compiled import loading, opening
from rank_rerank.inference.int8_weights.word_table import StoredWords, round_words
from rank_rerank.kernels.processor import vector_path
from rank_rerank.scoring.cross_encoder import CrossEncoder

IDS = np.array([5, 0, 6, 5, 99, 6])


def write_table(path, dtype="F32", size=24, num_rows=100):
    table = np.random.default_rng(0).standard_normal((num_rows, size)).astype(np.float32)
    table[6] = 0
    if dtype == "F32":
        write_safetensors(path, {"before": np.ones(3), "table": table})
        return table
    bits = table.astype(np.float16).view(np.uint16) if dtype == "F16" else (table.view(np.uint32) >> 16).astype("<u2")
    header = f'{{"table": {{"dtype": "{dtype}", "shape": [{num_rows}, {size}], "data_offsets": [0, {bits.nbytes}]}}}}'
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + bits.tobytes())
    return SafetensorsFile(path)["table"]


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("width", [24, 32])
def test_rows_of_a_file_are_rounded_as_a_table_is(tmp_path, dtype, width):
    table = write_table(tmp_path / "table.safetensors", dtype)
    whole = round_words(table, width)
    stored = StoredWords(SafetensorsFile(tmp_path / "table.safetensors").open_rows("table"), width)
    for words in (stored, copy.copy(stored)):
        rows, integers, scales = words.rows(IDS)
        assert np.array_equal(integers[rows], whole.integers[IDS])
        assert np.array_equal(scales[rows], whole.scales[IDS])
    assert np.array_equal(stored.floats(), whole.floats())
    assert stored.num_bytes == 0
    assert not integers[:, 24:].any()


def test_rounding_is_to_nearest_with_the_largest_number_at_127():
    words = round_words(np.array([[-2.0, 1.0, 0.001], [0, 0, 0]], np.float32), 3)
    assert words.integers.tolist() == [[-127, 64, 0], [0, 0, 0]]
    assert words.scales.tolist() == [np.float32(2 / 127), 1]


def test_a_file_that_is_cut_is_refused(tmp_path):
    path = tmp_path / "table.safetensors"
    write_table(path)
    rows = SafetensorsFile(path).open_rows("table")
    os.truncate(path, path.stat().st_size // 2)
    assert rows.take(np.array([0])).shape == (1, 24)
    with pytest.raises(CheckpointFormatError, match="was cut"):
        rows.take(np.array([99]))


def test_a_row_that_is_not_finite_is_refused_when_it_is_read(tmp_path):
    path = tmp_path / "table.safetensors"
    table = np.ones((4, 2), np.float32)
    table[2, 1] = np.nan
    write_safetensors(path, {"table": table})
    rows = SafetensorsFile(path).open_rows("table")
    assert rows.take(np.array([3, 1])).tolist() == [[1, 1], [1, 1]]
    with pytest.raises(CheckpointFormatError, match="NaN"):
        rows.take(np.array([2]))


def test_what_is_no_matrix_of_numbers_is_refused(tmp_path):
    write_safetensors(tmp_path / "table.safetensors", {"table": np.ones(4)})
    with pytest.raises(CheckpointFormatError, match="no matrix"):
        SafetensorsFile(tmp_path / "table.safetensors").open_rows("table")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.skipif(sys.platform == "darwin", reason="macOS does not fork safely")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_and_its_parent_read_the_same_file(tmp_path):
    table = write_table(tmp_path / "table.safetensors")
    rows = SafetensorsFile(tmp_path / "table.safetensors").open_rows("table")
    wanted, right = np.arange(100), False
    child = os.fork()
    try:
        right = all(np.array_equal(rows.take(wanted), table) for _ in range(20))
    finally:
        if child == 0:
            os._exit(0 if right else 1)
    assert right
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not loading.is_supported(vector_path()), reason="compiled kernels need another processor")
def test_a_model_gives_the_same_bits_with_its_words_in_their_file(tmp_path, monkeypatch):
    write_cross_encoder(tmp_path)
    texts = ["a river in spring", "bread", "the sea"]
    found = []
    for limit in (opening.MAX_ROUNDED_NUMBERS, 0):
        monkeypatch.setattr(opening, "MAX_ROUNDED_NUMBERS", limit)
        model = CrossEncoder.from_pretrained(tmp_path, runtime="numba")
        found.append(model.score("a river", texts).scores.tobytes())
        words = model.transformer._transformer._weights.words
        assert isinstance(words, StoredWords) == (limit == 0)
    assert found[0] == found[1]
