"""Whatever is passed to the settings of encoding is read as meant, or refused by a typed error."""

import numpy as np
import pytest

from rank_rerank.encoding.chunking import Chunking
from rank_rerank.encoding.compiled.ward import ward_labels
from rank_rerank.encoding.compression import Compression
from rank_rerank.encoding.pooling import Pooling, pool
from rank_rerank.encoding.projection import Projection, normalize_rows
from rank_rerank.encoding.quantization import quantize
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.errors import InputError, InvalidArgumentError, NonFiniteError

STRANGE = [None, "2", "int8", 2.5, float("nan"), True, -1, 0, 10**30, [], [1], {}, (), object(), b"x", np.ones(2)]
MATRIX = np.eye(4, dtype=np.float32)
EMBEDDINGS = TokenEmbeddings(MATRIX, [0, 4])
CALLS = [
    lambda value: Projection(value, 2),
    lambda value: Projection(4, value),
    lambda value: Projection(4, 2, value),
    lambda value: Projection.fit(value, 2),
    lambda value: Projection.fit(MATRIX, value),
    lambda value: Projection(4, 2).apply(value),
    Compression,
    lambda value: Compression("binary", value),
    lambda value: Compression("int8", None, value),
    lambda value: Compression("int8", None, None, value),
    lambda value: Compression().compress(value),
    lambda value: Compression().stored_dim(value),
    lambda value: Compression().bytes_per_token(value),
    Pooling,
    lambda value: Pooling(2, value),
    lambda value: Pooling(2, "sequential", value),
    lambda value: pool(value, Pooling(2)),
    lambda value: pool(EMBEDDINGS, value),
    Chunking,
    lambda value: Chunking(1, value),
    lambda value: Chunking(1, "best_chunk", value),
    lambda value: quantize(value, "int8"),
    lambda value: quantize(MATRIX, value),
    TokenEmbeddings.from_list,
    lambda value: TokenEmbeddings.from_list([value]),
    lambda value: TokenEmbeddings(value, [0, 4]),
    EMBEDDINGS.select,
]


@pytest.mark.parametrize("call", CALLS)
def test_strange_values_are_read_or_refused_by_a_typed_error(call):
    refused = 0
    for value in STRANGE:
        try:
            call(value)
        except InputError:
            refused += 1
    assert refused >= len(STRANGE) - 4


def test_whole_numbers_of_numpy_become_plain_ones():
    assert type(Projection(np.int64(4), np.int32(2)).dim) is int
    assert Chunking(np.int64(3), length=np.uint8(20)) == Chunking(3, length=20)
    assert Pooling(np.int16(2)) == Pooling(2)


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e30])
@pytest.mark.parametrize("method", ["hierarchical", "sequential"])
def test_pooling_of_what_is_not_finite_ends_and_is_refused(value, method):
    vectors = np.ones((20, 4), np.float32)
    vectors[7] = value
    embeddings = TokenEmbeddings(vectors, [0, 20])
    if value == np.float32(3e30) and method == "sequential":
        assert np.isfinite(pool(embeddings, Pooling(3, method)).vectors).all()
        return
    with pytest.raises(NonFiniteError):
        pool(embeddings, Pooling(3, method))


@pytest.mark.parametrize("seed", range(20))
def test_distances_that_are_not_symmetric_end_too(seed):
    distances = np.random.default_rng(seed).random((12, 12))
    labels = ward_labels(distances, 3)
    assert labels.shape == (12,)
    assert 1 <= len(np.unique(labels)) <= 12


@pytest.mark.parametrize(
    "distances", [np.ones((2, 3)), np.ones(4), np.ones((3, 3), np.float32), np.full((3, 3), 1e200)]
)
def test_distances_that_are_none_are_refused(distances):
    with pytest.raises(InputError):
        ward_labels(distances, 1)
    with pytest.raises(InvalidArgumentError):
        ward_labels(np.zeros((3, 3)), 0)


@pytest.mark.parametrize("size", [1e-38, 1e-30, 1e-13, 1.0, 1e19, 3e30, 3e38])
def test_rows_of_any_size_are_brought_to_unit_length(size):
    rows = np.array([[3, 4, 0], [0, 0, 0], [1, -1, 1]], np.float32) / 4 * np.float32(size)
    found = normalize_rows(rows)
    assert np.linalg.norm(found, axis=1) == pytest.approx([1, 0, 1], abs=1e-6)
    assert found[0] == pytest.approx([0.6, 0.8, 0], abs=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_a_projection_is_not_fitted_on_what_is_not_finite(value):
    vectors = np.tile(np.eye(4), (2, 1))
    vectors[3, 1] = value
    with pytest.raises(NonFiniteError):
        Projection.fit(vectors, 2)
    with pytest.raises(NonFiniteError):
        Projection(4, 4, vectors[:4])
