"""The model as it ships: without torch, without onnx."""

import hashlib
import json

import numpy as np
import onnxruntime
import pytest

from rank_rerank.checkpoints.find import bundled_folder, find_checkpoint

# one below and one above each size at which some kernel changes its way: vector widths, blocks of 66 queries
LENGTHS = [
    2,
    3,
    5,
    9,
    15,
    16,
    17,
    31,
    33,
    63,
    64,
    65,
    66,
    67,
    95,
    97,
    128,
    131,
    132,
    133,
    196,
    198,
    199,
    255,
    257,
    265,
    331,
]
LONGEST = 512


def open_session(num_threads, *, optimize=True):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(bundled_folder() / "model_int8.onnx", options, ["CPUExecutionProvider"])


def encode(session, texts, length=0):
    width = max(length, *(len(text) for text in texts))
    token_ids = np.zeros((len(texts), width), np.int64)
    attention_mask = np.zeros_like(token_ids)
    for row, text in enumerate(texts):
        token_ids[row, : len(text)] = text
        attention_mask[row, : len(text)] = 1
    vectors = session.run(["output"], {"input_ids": token_ids, "attention_mask": attention_mask})[0]
    return [vectors[row, : len(text)] for row, text in enumerate(texts)]


@pytest.fixture(scope="module")
def session():
    return open_session(1)


@pytest.fixture(scope="module")
def texts():
    random = np.random.default_rng(0)
    return [np.array([101, *random.integers(1996, 20000, length - 2), 102]) for length in LENGTHS]


@pytest.fixture(scope="module")
def alone(session, texts):
    return [encode(session, [text])[0] for text in texts]


def assert_same_bits(found, expected):
    different = [
        len(vectors) for vectors, other in zip(found, expected, strict=True) if not np.array_equal(vectors, other)
    ]
    assert different == []


@pytest.mark.parametrize("padding", [1, 2, 7, 64, LONGEST])
def test_padding_changes_no_bit(session, texts, alone, padding):
    found = [encode(session, [text], min(len(text) + padding, LONGEST))[0] for text in texts]
    assert_same_bits(found, alone)


def test_what_stands_in_the_padding_changes_no_bit(session, texts, alone):
    for text, expected in zip(texts[::4], alone[::4], strict=True):
        width = len(text) + 9
        token_ids = np.full((1, width), 2000, np.int64)
        token_ids[0, : len(text)] = text
        attention_mask = (np.arange(width) < len(text)).astype(np.int64)[None]
        vectors = session.run(["output"], {"input_ids": token_ids, "attention_mask": attention_mask})[0]
        np.testing.assert_array_equal(vectors[0, : len(text)], expected)


@pytest.mark.parametrize("seed", range(4))
def test_batch_mates_and_order_change_no_bit(session, texts, alone, seed):
    order = np.random.default_rng(seed).permutation(len(texts))
    found = dict(zip(order.tolist(), encode(session, [texts[place] for place in order]), strict=True))
    assert_same_bits([found[place] for place in range(len(texts))], alone)


@pytest.mark.parametrize(("num_threads", "optimize"), [(2, True), (3, True), (1, False)])
def test_threads_and_graph_optimization_change_no_bit(texts, alone, num_threads, optimize):
    other = open_session(num_threads, optimize=optimize)
    assert_same_bits([encode(other, [text])[0] for text in texts], alone)
    assert_same_bits(encode(other, texts), alone)


def test_rows_are_unit_vectors(alone):
    for vectors in alone:
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_the_interface_is_next_plaid_s(session):
    assert [(tensor.name, tensor.type) for tensor in session.get_inputs()] == [
        ("input_ids", "tensor(int64)"),
        ("attention_mask", "tensor(int64)"),
    ]
    output = session.get_outputs()[0]
    assert (output.name, output.type, output.shape[2]) == ("output", "tensor(float)", find_checkpoint().dim)


def test_files_are_those_that_were_built():
    expected = json.loads((bundled_folder() / "provenance.json").read_text(encoding="utf-8"))["files_sha256"]
    found = {name: hashlib.sha256((bundled_folder() / name).read_bytes()).hexdigest() for name in expected}
    assert found == expected
