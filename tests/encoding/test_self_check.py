import json
import shutil

import numpy as np
import pytest

import rank_rerank
from rank_rerank.checkpoints.find import bundled_folder
from rank_rerank.encoding.self_check import TEXTS_FILE, VECTORS_FILE, self_check
from rank_rerank.errors import CheckpointFormatError, SelfCheckError


@pytest.fixture
def folder(tmp_path):
    for name in ("model_int8.onnx", "tokenizer.json", "onnx_config.json", TEXTS_FILE, VECTORS_FILE):
        shutil.copy(bundled_folder() / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("runtime", ["auto", "onnx"])
def test_the_bundled_model_passes_with_room_to_spare(runtime):
    result = self_check(rank_rerank.TokenEncoder.from_pretrained(runtime=runtime))
    assert result.num_tokens > 50
    assert result.mean_cosine > 0.998
    assert result.min_cosine > 0.99


def test_a_model_that_computes_something_else_is_refused(folder):
    vectors = np.load(folder / VECTORS_FILE)
    np.save(folder / VECTORS_FILE, np.roll(vectors, 1, axis=1))
    with pytest.raises(SelfCheckError, match="differs from its golden vectors"):
        rank_rerank.load(folder)


def test_one_wrong_token_is_enough(folder):
    vectors = np.load(folder / VECTORS_FILE)
    vectors[7] = -vectors[7]
    np.save(folder / VECTORS_FILE, vectors)
    with pytest.raises(SelfCheckError, match="minimum -"):
        rank_rerank.load(folder)


def test_golden_vectors_of_other_texts_are_refused(folder):
    (folder / TEXTS_FILE).write_text(json.dumps({"texts": ["something else"]}))
    with pytest.raises(SelfCheckError, match="token vectors for its golden texts"):
        rank_rerank.load(folder)


def npy(header: bytes, data=b""):
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f2', 'fortran_order': False, 'shape': (-1, DIM)}\n",
        b"{'descr': '<f2', 'fortran_order': False, 'shape': (1,)}\n",
        b"{'descr': '<f2', 'fortran_order': False, 'shape': (0, DIM)}\n",
        b"{'descr': '<f2', 'fortran_order': False, 'shape': (10000000000, 10000000000)}\n",
        b"(" * 9000,
        b"'" + b"{" * 50,
        b"\n " + b"'" * 3,
        b"[" * 3000 + b"]" * 3000,
    ],
)
def test_hostile_headers_of_golden_vectors_are_refused(folder, header):
    header = header.replace(b"DIM", str(np.load(folder / VECTORS_FILE).shape[1]).encode())
    (folder / VECTORS_FILE).write_bytes(npy(header, b"\0" * 768))
    with pytest.raises(CheckpointFormatError, match=VECTORS_FILE):
        rank_rerank.load(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0])
def test_golden_vectors_that_would_pass_anything_are_refused(folder, value):
    vectors = np.load(folder / VECTORS_FILE)
    vectors[3] = value
    np.save(folder / VECTORS_FILE, vectors)
    with pytest.raises(CheckpointFormatError, match="NaN, infinity or a vector of zeros"):
        rank_rerank.load(folder)


def test_golden_texts_that_are_no_unicode_are_refused(folder):
    (folder / TEXTS_FILE).write_text('{"texts": ["\\ud800"]}')
    with pytest.raises(CheckpointFormatError, match=TEXTS_FILE):
        rank_rerank.load(folder)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"\x80\x04K\x01."])
def test_damaged_golden_vectors_are_refused(folder, content):
    (folder / VECTORS_FILE).write_bytes(content)
    with pytest.raises(CheckpointFormatError, match=VECTORS_FILE):
        rank_rerank.load(folder)


def test_a_model_without_golden_vectors_is_not_checked(folder):
    (folder / TEXTS_FILE).unlink()
    assert self_check(rank_rerank.load(folder).encoder) is None
