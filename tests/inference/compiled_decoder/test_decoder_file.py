"""The INT8 file of a causal reranker: used where it is mapped, and refused where it is damaged."""

import json

import numpy as np
import pytest
from causal_folders import write_causal
from decoder_cases import PATHS, make_batch, prefixed_texts, write_exported

from rank_rerank.checkpoints.find import find_model
from rank_rerank.checkpoints.safetensors_file import TensorFiles
from rank_rerank.errors import CheckpointFormatError
from rank_rerank.inference.compiled_decoder.numba_causal_reranker import NumbaCausalReranker
from rank_rerank.inference.int8_weights.decoder_file import weights_from_file
from rank_rerank.kernels.processor import usable_vector_paths, vector_path

pytestmark = pytest.mark.skipif(not PATHS, reason="this processor has no instruction that the compiled runtime needs")


@pytest.fixture
def checkpoint(tmp_path):
    return find_model(write_causal(tmp_path / "reranker"))


@pytest.fixture
def prefixed():
    return prefixed_texts()


@pytest.mark.parametrize("lanes", [8, 16])
def test_a_file_of_another_width_gives_the_same_bits(checkpoint, tmp_path, prefixed, lanes):
    [*_, other] = [path for path in usable_vector_paths() if path.lanes == lanes] or [vector_path()]
    exported = NumbaCausalReranker(write_exported(checkpoint, tmp_path, other))
    assert np.array_equal(
        exported.logits(make_batch(prefixed)), NumbaCausalReranker(checkpoint).logits(make_batch(prefixed))
    )


def test_an_exported_file_is_used_where_it_is_mapped(checkpoint, tmp_path):
    exported = write_exported(checkpoint, tmp_path, vector_path())
    weights = weights_from_file(TensorFiles(exported.model_file), exported.decoder, vector_path())
    for layer in weights.layers:
        for name, array in layer.items():
            assert not array.flags.owndata, name
            assert array.ctypes.data % 64 == weights.layers[0]["heads.panels"].ctypes.data % 64


def stored_tensors(file):
    tensors = TensorFiles(file)
    return {name: tensors.stored(name).copy() for name in tensors}


def write_stored(file, tensors):
    """As they are, whatever their dtype."""
    header, end = {}, 0
    for name, array in tensors.items():
        kind = {"float32": "F32", "int8": "I8", "int64": "I64"}[array.dtype.name]
        header[name] = {"dtype": kind, "shape": array.shape, "data_offsets": (end, end + array.nbytes)}
        end += array.nbytes
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(array.tobytes() for array in tensors.values()))


def break_nan(tensors):
    tensors["layers.1.down.columns"][1, 3] = np.nan


def break_factors(tensors):
    tensors["layers.0.feed_factors"][0] = np.inf


def break_shape(tensors):
    tensors["layers.2.up.panels"] = tensors["layers.2.up.panels"][:, :-1].copy()


def break_dtype(tensors):
    tensors["layers.2.up.panels"] = tensors["layers.2.up.panels"].astype(np.float32)


def break_missing(tensors):
    del tensors["layers.0.query_gamma"]


def break_more(tensors):
    tensors["layers.3.query_gamma"] = tensors["layers.0.query_gamma"]


def break_version(tensors):
    tensors["layout"][0] = 2


def break_group(tensors):
    tensors["layout"][1] = 0


def break_width(tensors):
    tensors["layout"][2] = 8


def break_words(tensors):
    tensors["words"] = tensors["words"][:-1].copy()


def break_answer(tensors):
    tensors["answer"][0] = np.nan


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (break_nan, "NaN"),
        (break_factors, "NaN"),
        (break_shape, "shape"),
        (break_dtype, "dtype I8"),
        (break_missing, "missing"),
        (break_more, "says nothing of"),
        (break_version, "layout 2"),
        (break_group, "groups"),
        (break_width, "columns"),
        (break_words, "shape"),
        (break_answer, "NaN"),
    ],
)
def test_a_damaged_file_is_refused(checkpoint, tmp_path, damage, words):
    exported = write_exported(checkpoint, tmp_path, vector_path())
    tensors = stored_tensors(exported.model_file)
    write_stored(exported.model_file, tensors)
    NumbaCausalReranker(exported)
    damage(tensors)
    write_stored(exported.model_file, tensors)
    with pytest.raises(CheckpointFormatError, match=words):
        NumbaCausalReranker(exported)


def test_a_cut_file_is_refused(checkpoint, tmp_path):
    exported = write_exported(checkpoint, tmp_path, vector_path())
    content = exported.model_file.read_bytes()
    for length in (4, 100, len(content) // 2, len(content) - 1):
        exported.model_file.write_bytes(content[:length])
        with pytest.raises(CheckpointFormatError):
            NumbaCausalReranker(exported)
