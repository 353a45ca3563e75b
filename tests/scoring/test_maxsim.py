"""The boundary of MaxSim: what it accepts, what it refuses, and what its other outputs mean."""

import platform
import subprocess
import sys

import numpy as np
import pytest
from maxsim_kernels import tensor_device

from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.errors import (
    DeviceError,
    InvalidArgumentError,
    InvalidItemError,
    NonFiniteError,
    ShapeError,
)
from rank_rerank.scoring.array_families import to_numpy
from rank_rerank.scoring.cpu_scorer import MAX_INT8_DIM
from rank_rerank.scoring.document_view import BFLOAT16
from rank_rerank.scoring.maxsim import maxsim, maxsim_many, maxsim_matches, maxsim_top_k
from rank_rerank.scoring.maxsim_reference import maxsim_reference
from rank_rerank.scoring.packed_documents import PackedDocuments


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.fixture
def query() -> np.ndarray:
    return draw(7, 24, seed=1)


@pytest.fixture
def documents() -> list[np.ndarray]:
    return [draw(length, 24, seed=length) for length in (3, 1, 40, 17)]


@pytest.fixture
def expected(query, documents) -> np.ndarray:
    return maxsim(query, documents)


def same(left, right) -> bool:
    return np.asarray(left).tobytes() == np.asarray(right).tobytes()


class TestAccepts:
    def test_token_embeddings(self, query, documents, expected):
        packed = TokenEmbeddings.from_list(documents)
        assert same(maxsim(TokenEmbeddings.from_list([query]), packed), expected)

    def test_nested_lists(self, query, documents, expected):
        assert same(maxsim(query.tolist(), [document.tolist() for document in documents]), expected)

    def test_one_array_of_equally_long_documents(self, query):
        cube = draw(5, 9, 24)
        assert same(maxsim(query, cube), maxsim(query, list(cube)))

    @pytest.mark.parametrize("dtype", [np.float64, ">f4", ">f8", "<f4", np.longdouble])
    def test_other_kinds_of_floats_are_rounded_to_float32(self, query, documents, expected, dtype):
        assert same(maxsim(query.astype(dtype), [document.astype(dtype) for document in documents]), expected)

    def test_big_endian_float16_equals_float16(self, query, documents):
        halves = [document.astype(np.float16) for document in documents]
        assert same(maxsim(query, [half.astype(">f2") for half in halves]), maxsim(query, halves))

    def test_whole_numbers(self):
        query, document = np.array([[1, 2]]), np.array([[3, -1], [0, 5]])
        assert maxsim(query, [document]).tolist() == [10]
        assert maxsim(query, [document.astype(np.int8)]).tolist() == [10]

    def test_any_strides(self, query, documents, expected):
        spread = [np.repeat(np.repeat(document, 2, axis=0), 3, axis=1)[::2, ::3] for document in documents]
        assert same(maxsim(np.asfortranarray(query), spread), expected)
        assert same(maxsim(query, [document[::-1] for document in documents]), expected)

    def test_leading_columns_of_packed_vectors_without_a_copy(self, query, documents):
        packed = TokenEmbeddings.from_list(documents)
        narrow = TokenEmbeddings(packed.vectors[:, :10], packed.offsets)
        assert same(maxsim(query[:, :10], narrow), maxsim(query[:, :10], [document[:, :10] for document in documents]))

    def test_memory_that_is_not_aligned(self, query, documents, expected):
        def shift(document: np.ndarray) -> np.ndarray:
            raw = np.zeros(document.nbytes + 1, np.uint8)
            raw[1:] = document.reshape(-1).view(np.uint8)
            return raw[1:].view(np.float32).reshape(document.shape)

        assert same(maxsim(query, [shift(document) for document in documents]), expected)

    def test_read_only_memory_maps(self, query, documents, expected, tmp_path):
        packed = TokenEmbeddings.from_list(documents)
        np.save(tmp_path / "vectors.npy", packed.vectors)
        mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
        assert same(maxsim(query, TokenEmbeddings(mapped, packed.offsets)), expected)

    def test_documents_without_tokens_score_minus_infinity(self, query, documents):
        scores = maxsim(query, [documents[0], [], documents[1], np.empty((0, 24), np.float32)])
        assert np.isfinite(scores).tolist() == [True, False, True, False]
        assert maxsim(query, [[], []]).tolist() == [-np.inf, -np.inf]

    def test_no_documents_at_all(self, query):
        for nothing in ([], np.empty((0, 3, 24), np.float32), TokenEmbeddings.from_list([])):
            scores = maxsim(query, nothing)
            assert scores.shape == (0,)
            assert scores.dtype == np.float32

    def test_a_query_without_tokens_scores_nothing(self, documents):
        assert maxsim(np.empty((0, 24), np.float32), [*documents, []]).tolist() == [0, 0, 0, 0, -np.inf]

    def test_candidates_of_a_store(self, query, documents, expected):
        packed = TokenEmbeddings.from_list(documents)
        chosen = np.array([2, 0, 2, 3])
        assert same(maxsim(query, PackedDocuments(packed, candidates=chosen)), expected[chosen])
        scales = np.array([1, 2, 3, 4], np.float32)
        rounded = TokenEmbeddings(np.rint(packed.vectors * 100).astype(np.int8), packed.offsets)
        all_scores = maxsim(query, PackedDocuments(rounded, document_scales=scales))
        some = maxsim(query, PackedDocuments(rounded, document_scales=scales, candidates=chosen))
        assert same(some, all_scores[chosen])

    def test_bfloat16_of_ml_dtypes(self, query, documents):
        ml_dtypes = pytest.importorskip("ml_dtypes")
        rounded = [document.astype(ml_dtypes.bfloat16) for document in documents]
        words = [document.view(np.uint16).view(BFLOAT16) for document in rounded]
        assert same(maxsim(query, rounded), maxsim(query, words))
        reference = maxsim_reference(query, [document.astype(np.float32) for document in rounded])
        assert maxsim(query, rounded) == pytest.approx(reference, abs=1e-5)

    def test_mixed_kinds_of_floats(self, query, documents):
        mixed = [documents[0], documents[1].astype(np.float16), documents[2].astype(np.float64)]
        separately = [maxsim(query, [document])[0] for document in mixed]
        assert same(maxsim(query, mixed), np.array(separately, np.float32))


class TestRefuses:
    def test_one_document_that_is_not_in_a_list(self, query, documents):
        with pytest.raises(ShapeError, match="wrap it in a list"):
            maxsim(query, documents[0])

    def test_dims_that_differ(self, query, documents):
        with pytest.raises(ShapeError, match=r"the query has dim 7, .* 24"):
            maxsim(query[:, :7], TokenEmbeddings.from_list(documents))
        with pytest.raises(ShapeError, match="document 1 has dim 5, document 0 has dim 24"):
            maxsim(query, [documents[0], documents[1][:, :5]])

    @pytest.mark.parametrize("axes", [(24,), (2, 3, 24, 1)])
    def test_wrong_axes(self, query, documents, axes):
        with pytest.raises(ShapeError, match="axes"):
            maxsim(query, np.zeros(axes, np.float32))
        with pytest.raises(ShapeError, match="document 0"):
            maxsim(query, [np.zeros(axes, np.float32)])
        with pytest.raises(ShapeError, match="the query"):
            maxsim(np.zeros(axes, np.float32), documents)

    @pytest.mark.parametrize("what", ["text", b"bytes", 3, None, {"a": 1}, iter([])])
    def test_what_is_not_an_array(self, query, documents, what):
        with pytest.raises(InvalidItemError):
            maxsim(query, what)
        with pytest.raises((InvalidItemError, ShapeError), match="document 1"):
            maxsim(query, [documents[0], what])
        with pytest.raises((InvalidItemError, ShapeError)):
            maxsim(what, documents)

    def test_never_repeats_a_users_text(self, query):
        with pytest.raises(InvalidItemError) as caught:
            maxsim(query, ["my secret"])
        assert "secret" not in str(caught.value)

    def test_complex_objects_and_masked_arrays(self, query):
        for bad in (np.zeros((2, 24), complex), np.zeros((2, 24), object), np.ma.masked_array(np.zeros((2, 24)))):
            with pytest.raises(InvalidItemError, match="document 0"):
                maxsim(query, [bad])

    def test_ragged_rows(self, query):
        with pytest.raises(ShapeError, match="document 0"):
            maxsim(query, [[[1.0, 2.0], [1.0]]])

    def test_a_query_of_several_texts(self, query, documents):
        with pytest.raises(ShapeError, match="one text"):
            maxsim(TokenEmbeddings.from_list([query, query]), documents)

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64, BFLOAT16])
    def test_one_number_that_is_not_finite_in_one_document(self, query, documents, bad, dtype):
        for at in (0, 23):
            broken = [document.copy() for document in documents]
            broken[2][-1, at] = bad
            if dtype == BFLOAT16:
                broken = [(d.view(np.uint32) >> 16).astype(np.uint16).view(BFLOAT16) for d in broken]
            else:
                broken = [document.astype(dtype) for document in broken]
            with pytest.raises(NonFiniteError, match="document 2"):
                maxsim(query, broken)
            scores, clean = maxsim(query, broken, trusted=True), maxsim(query, [*broken[:2], broken[3]])
            assert same(scores[[0, 1, 3]], clean)

    def test_not_finite_against_a_query_of_zeros(self, documents):
        documents[1][0, 0] = np.inf
        with pytest.raises(NonFiniteError, match="document 1"):
            maxsim(np.zeros((3, 24), np.float32), documents)

    def test_numbers_beyond_float32(self, query):
        with pytest.raises(NonFiniteError, match=r"document 0 .* beyond float32"):
            maxsim(query, [np.full((2, 24), 1e300)])

    def test_a_query_or_weights_that_are_not_finite(self, query, documents):
        with pytest.raises(NonFiniteError, match="query_weights"):
            maxsim(query, documents, query_weights=[np.nan] * 7)
        query[0, 0] = np.nan
        with pytest.raises(NonFiniteError, match="the query"):
            maxsim(query, documents)

    def test_weights_of_another_length(self, query, documents):
        with pytest.raises(ShapeError, match="query_weights"):
            maxsim(query, documents, query_weights=[1.0])

    @pytest.mark.parametrize("num_threads", [0, -1, 257, True])
    def test_numbers_of_threads_out_of_range(self, query, documents, num_threads):
        with pytest.raises(InvalidArgumentError, match="num_threads"):
            maxsim(query, documents, num_threads=num_threads)

    def test_kernels_that_are_not_there(self, query, documents):
        foreign = "avx2" if platform.machine() in {"aarch64", "arm64"} else "neon"
        with pytest.raises(InvalidArgumentError):
            maxsim(query, documents, kernel="fortran")
        with pytest.raises(InvalidArgumentError):
            maxsim(query, documents, kernel="numba-mmx")
        with pytest.raises(DeviceError):
            maxsim(query, documents, kernel=f"numba-{foreign}")

    def test_scales_and_candidates_that_do_not_fit(self, documents):
        packed = TokenEmbeddings.from_list(documents)
        rounded = TokenEmbeddings(packed.vectors.astype(np.int8), packed.offsets)
        with pytest.raises(ShapeError, match="token_scales"):
            PackedDocuments(rounded, token_scales=np.ones(3, np.float32))
        with pytest.raises(InvalidArgumentError, match="negative"):
            PackedDocuments(rounded, document_scales=np.array([1, 1, -1, 1], np.float32))
        with pytest.raises(NonFiniteError):
            PackedDocuments(rounded, document_scales=np.array([1, 1, np.inf, 1], np.float32))
        with pytest.raises(InvalidArgumentError, match="int8"):
            PackedDocuments(packed, document_scales=np.ones(4, np.float32))
        with pytest.raises(InvalidArgumentError, match="both"):
            PackedDocuments(rounded, np.ones(packed.num_tokens, np.float32), np.ones(4, np.float32))
        for candidates in ([4], [-1]):
            with pytest.raises(InvalidArgumentError, match="candidates"):
                PackedDocuments(packed, candidates=np.array(candidates))
        with pytest.raises(ShapeError, match="candidates"):
            PackedDocuments(packed, candidates=np.array([0.5]))


class TestOverflow:
    """Finite numbers whose similarities float32 cannot hold are scored by the definition, in float64."""

    def test_similarities_that_cancel(self):
        query = np.array([[1e30, 1e30]], np.float32)
        documents = [np.array([[1e30, -1e30], [1e-30, 0]], np.float32), np.array([[1e-30, 1e-30]], np.float32)]
        assert maxsim(query, documents) == pytest.approx(maxsim_reference(query, documents), rel=1e-6)

    def test_only_one_query_token_overflows(self):
        query = np.zeros((40, 2), np.float32)
        query[37] = [3e38, 3e38]
        document = np.array([[2, -2], [-2, 1]], np.float32)
        assert maxsim(query, [document]).tolist() == [0]

    @pytest.mark.parametrize("kernel", ["reference", "numba", "torch"])
    @pytest.mark.parametrize("sign", [1, -1])
    def test_a_score_beyond_float32_is_refused_with_its_document(self, kernel, sign):
        query, documents = (
            np.full((2, 1), 3e38, np.float32),
            [np.zeros((1, 1), np.float32), sign * np.ones((1, 1), np.float32)],
        )
        if kernel == "torch":
            documents = [pytest.importorskip("torch").tensor(document) for document in documents]
        for big in (query, np.full((2, 1), 3e30, np.float32)):
            documents[1][:] = sign if big is query else sign * 3e30
            with pytest.raises(NonFiniteError, match="document 1 is beyond float32"):
                maxsim(big, documents, kernel=kernel)
            assert maxsim(big, documents, kernel=kernel, trusted=True)[0] == 0

    def test_weights_can_make_a_score_too_large(self):
        query = np.ones((1, 2), np.float32)
        with pytest.raises(NonFiniteError, match="document 0"):
            maxsim(query, [np.full((1, 2), 1e4, np.float32)], query_weights=np.array([3e38], np.float32))

    def test_bytes_whose_products_overflow_32_bits_are_refused(self):
        vectors = np.ones((1, MAX_INT8_DIM + 8), np.int8)
        with pytest.raises(ShapeError, match="int8 vectors can have a dim"):
            maxsim(vectors.astype(np.float32), [vectors])


class TestMany:
    def test_each_row_is_what_the_query_scores_alone(self, documents):
        queries = [draw(length, 24, seed=length) for length in (3, 32, 17, 1)]
        scores = maxsim_many(queries, documents)
        assert same(scores, np.stack([maxsim(query, documents) for query in queries]))
        assert same(maxsim_many(TokenEmbeddings.from_list(queries), documents), scores)

    def test_no_queries(self, documents):
        assert maxsim_many([], documents).shape == (0, 4)

    def test_names_the_query_that_is_wrong(self, query, documents):
        with pytest.raises(NonFiniteError, match="query 1"):
            maxsim_many([query, query * np.nan], documents)
        with pytest.raises(ShapeError, match="dim"):
            maxsim_many([query, query[:, :3]], documents)


class TestMatches:
    def test_names_the_first_of_the_most_similar_tokens(self, query):
        document = np.concatenate([draw(13, 24), query[::-1], query])
        matches = maxsim_matches(query, [document, [], query])
        assert matches.indices[0].tolist() == [19, 18, 17, 16, 15, 14, 13]
        assert matches.indices[1].tolist() == [-1] * 7
        assert matches.indices[2].tolist() == list(range(7))
        assert (matches.similarities[1] == -np.inf).all()

    def test_scores_are_those_of_maxsim(self, kernel):
        if not kernel.has_matches or kernel.storage != "float32":
            return
        query, documents = draw(33, 24, seed=4), [draw(length, 24, seed=length) for length in (0, 1, 12, 13, 60)]
        for document in documents:
            document[:] = np.rint(document * 8)
        given = documents
        if kernel.kernel in {"torch", "triton"}:
            device = "cuda" if "cuda" in kernel.name else tensor_device(kernel.kernel)
            given = [pytest.importorskip("torch").from_numpy(document).to(device) for document in documents]
        matches = maxsim_matches(query, given, kernel=kernel.kernel)
        found = [to_numpy(array) for array in (matches.similarities, matches.indices)]
        assert same(to_numpy(matches.scores), to_numpy(maxsim(query, given, kernel=kernel.kernel)))
        for document, similarities, indices in zip(documents, *found, strict=True):
            if len(document):
                exact = query.astype(np.float64) @ document.T
                assert similarities == pytest.approx(exact.max(axis=1), rel=1e-5, abs=1e-6)
                chosen = exact[np.arange(len(query)), indices]
                assert chosen == pytest.approx(exact.max(axis=1), rel=1e-5, abs=1e-6)


class TestTopK:
    def test_is_a_prefix_of_all_sorted(self, query, documents, monkeypatch):
        monkeypatch.setattr(sys.modules["rank_rerank.scoring.maxsim"], "TOP_K_BLOCK_DOCUMENTS", 3)
        many = [*documents, documents[0], [], documents[2]]
        scores = maxsim(query, many)
        order = np.lexsort((np.arange(len(many)), -scores))
        for top_k in (1, 3, 7, 100):
            top = maxsim_top_k(query, many, top_k)
            assert top.indices.tolist() == order[:top_k].tolist()
            assert same(top.scores, scores[order[:top_k]])

    def test_names_the_document_in_a_later_block(self, query, documents, monkeypatch):
        monkeypatch.setattr(sys.modules["rank_rerank.scoring.maxsim"], "TOP_K_BLOCK_DOCUMENTS", 2)
        documents[3][0, 0] = np.nan
        with pytest.raises(NonFiniteError, match="document 3"):
            maxsim_top_k(query, documents, 2)

    @pytest.mark.parametrize("top_k", [0, -1, True])
    def test_refuses_numbers_below_one(self, query, documents, top_k):
        with pytest.raises(InvalidArgumentError, match="top_k"):
            maxsim_top_k(query, documents, top_k)


def test_loading_loads_no_heavy_package():
    code = (
        "import sys; import rank_rerank.scoring.maxsim; "
        "sys.exit(len({'numba', 'llvmlite', 'torch', 'cupy', 'triton'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
