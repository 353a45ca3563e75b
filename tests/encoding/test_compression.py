import numpy as np
import pytest
from example_counts import examples
from hypothesis import given
from hypothesis import strategies as st

from rank_rerank.encoding.compression import Compression
from rank_rerank.encoding.pooling import Pooling
from rank_rerank.encoding.projection import Projection
from rank_rerank.encoding.quantization import dequantize, quantize
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.errors import InvalidArgumentError, NonFiniteError, ShapeError


def unit_rows(seed, num_tokens, dim=16):
    vectors = np.random.default_rng(seed).standard_normal((num_tokens, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@examples(60)
@given(st.integers(0, 10_000), st.integers(0, 20), st.sampled_from([1e-30, 1e-3, 1.0, 1e4, 1e30]))
def test_int8_is_off_by_half_a_scale_at_most(seed, num_tokens, size):
    vectors = unit_rows(seed, num_tokens) * np.float32(size)
    stored = quantize(vectors, "int8")
    error = np.abs(dequantize(stored, "int8") - vectors)
    assert (error <= stored.scales[:, None] * 0.501).all()
    assert (np.abs(stored.vectors.astype(int)).max(axis=1, initial=0) == 127).all()


def test_rows_of_zeros_stay_zero_in_int8():
    stored = quantize(np.zeros((2, 4), np.float32), "int8")
    assert (stored.scales.tolist(), dequantize(stored, "int8").tolist()) == ([0, 0], [[0] * 4] * 2)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 0), ("float16", 5e-4)])
def test_floats_come_back(dtype, tolerance):
    vectors = unit_rows(0, 9)
    np.testing.assert_allclose(dequantize(quantize(vectors, dtype), dtype), vectors, atol=tolerance)


def test_signs_are_packed_as_numpy_packs_them():
    vectors = np.array([[1, -1, 0, 2, -3, 4, 5, -6]], np.float32)
    stored = quantize(vectors, "binary")
    assert stored.vectors.tolist() == [[0b10010110]]
    np.testing.assert_allclose(np.linalg.norm(dequantize(stored, "binary"), axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "int4", "binary"])
def test_what_is_no_number_is_refused(dtype):
    for value in (np.nan, np.inf):
        with pytest.raises(NonFiniteError):
            quantize(np.full((1, 8), value, np.float32), dtype)
    with pytest.raises(NonFiniteError, match="float16"):
        quantize(np.full((1, 8), 70_000, np.float32), "float16")


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "int4", "binary"])
@pytest.mark.parametrize("options", [{}, {"pooling": Pooling(2)}, {"projection": Projection(16, 8)}])
def test_a_documents_bytes_do_not_depend_on_its_neighbours(dtype, options):
    matrices = [unit_rows(number, length) for number, length in enumerate((70, 0, 5, 64, 129))]
    compression = Compression(dtype, **options)
    together = compression.compress(TokenEmbeddings.from_list(matrices))
    for number, matrix in enumerate(matrices):
        alone = compression.compress(TokenEmbeddings.from_list([matrix]))
        rows = slice(together.offsets[number], together.offsets[number + 1])
        assert together.vectors[rows].tobytes() == alone.vectors.tobytes()
        if alone.scales is not None:
            assert together.scales[rows].tobytes() == alone.scales.tobytes()


def test_bytes_per_token():
    assert Compression("float32").bytes_per_token(384) == 1536
    assert Compression("float16").bytes_per_token(384) == 768
    assert Compression("int8").bytes_per_token(384) == 388
    assert Compression("int4").bytes_per_token(384) == 196
    assert Compression("binary", "int8").bytes_per_token(384) == 48 + 388
    assert Compression("int8", projection=Projection(384, 128)).bytes_per_token(384) == 132


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"dtype": "int3"}, InvalidArgumentError),
        ({"dtype": "int8", "rescore_dtype": "float16"}, InvalidArgumentError),
        ({"dtype": "binary", "rescore_dtype": "float32"}, InvalidArgumentError),
        ({"dtype": "binary", "projection": Projection(16, 12)}, ShapeError),
        ({"dtype": "int4", "projection": Projection(16, 7)}, ShapeError),
        ({"dtype": "int4", "rescore_dtype": "int8"}, InvalidArgumentError),
    ],
)
def test_options_that_do_not_fit(options, error):
    with pytest.raises(error):
        Compression(**options)


def test_dims_that_do_not_fit():
    with pytest.raises(ShapeError, match="multiple of 8"):
        Compression("binary").stored_dim(12)
    with pytest.raises(ShapeError, match="must be even"):
        Compression("int4").stored_dim(13)
    with pytest.raises(ShapeError, match="dim 16"):
        Compression("int8", projection=Projection(16, 8)).stored_dim(24)
    with pytest.raises(ShapeError):
        Projection(16, 8).apply(unit_rows(0, 3, 24))


def test_the_first_dims_of_a_matryoshka_model():
    vectors = unit_rows(0, 5)
    kept = Projection(16, 4).apply(vectors)
    np.testing.assert_allclose(kept, vectors[:, :4] / np.linalg.norm(vectors[:, :4], axis=1, keepdims=True), atol=1e-6)
    assert Projection(16, 4).apply(np.zeros((1, 16), np.float32)).tolist() == [[0] * 4]


def test_a_fitted_rotation_keeps_inner_products_of_flat_data():
    generator = np.random.default_rng(0)
    plane = np.linalg.qr(generator.standard_normal((16, 16)))[0][:, :4]
    vectors = (generator.standard_normal((300, 4)) @ plane.T).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    projection = Projection.fit(vectors, 4)
    np.testing.assert_allclose(projection.matrix.T @ projection.matrix, np.eye(4), atol=1e-5)
    projected = projection.apply(vectors)
    np.testing.assert_allclose(projected @ projected.T, vectors @ vectors.T, atol=1e-4)


def test_projections_that_cannot_be():
    with pytest.raises(InvalidArgumentError, match="at least 16 token vectors"):
        Projection.fit(unit_rows(0, 15), 4)
    for dims in (0, 17):
        with pytest.raises(InvalidArgumentError):
            Projection.fit(unit_rows(0, 50), dims)
    with pytest.raises(ShapeError):
        Projection(16, 4, np.zeros((4, 16), np.float32))
    with pytest.raises(NonFiniteError):
        Projection(16, 4, np.full((16, 4), np.nan, np.float32))


@pytest.mark.parametrize("pooling", [None, Pooling(2), Pooling(3, "sequential")])
@pytest.mark.parametrize(("dtype", "rescore"), [("int8", None), ("binary", "float16")])
def test_a_documents_bits_depend_on_that_document_alone(pooling, dtype, rescore):
    """At dims of a model, where a product of matrices computes the rows at its edges in another order."""
    projection = Projection.fit(unit_rows(1, 500, 384), 64)
    compression = Compression(dtype, rescore, pooling, projection)
    lengths = [7, 1, 0, 63, 64, 65, 3, 130, 5]
    vectors = [unit_rows(seed, length, 384) for seed, length in enumerate(lengths)]
    together = compression.compress(TokenEmbeddings.from_list(vectors))
    for number, matrix in enumerate(vectors):
        alone = compression.compress(TokenEmbeddings.from_list([matrix]))
        rows = slice(*together.offsets[number : number + 2].tolist())
        for name in ("vectors", "scales", "rescore_vectors"):
            if (whole := getattr(together, name)) is not None:
                np.testing.assert_array_equal(whole[rows], getattr(alone, name))
