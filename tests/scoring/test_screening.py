"""Screened documents give the hits, bits and ties of scoring every document."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from maxsim_cases import FAMILIES, make_case

from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.errors import InvalidArgumentError, NonFiniteError, ShapeError
from rank_rerank.kernels.processor import usable_vector_paths
from rank_rerank.scoring import PackedDocuments, ScreenedDocuments, maxsim, maxsim_top_k
from rank_rerank.scoring.cpu_scorer import Queries
from rank_rerank.scoring.document_view import BFLOAT16
from rank_rerank.scoring.screening import Screening, Slack

DTYPES = ("float32", "float16", "bfloat16")


def stored_as(vectors: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "bfloat16":
        return (vectors.view(np.uint32) >> 16).astype(np.uint16).view(BFLOAT16)
    return np.clip(vectors, -65504, 65504).astype(dtype)


def near(rng: np.random.Generator, matrix: np.ndarray) -> np.ndarray:
    """The same document with one number moved to its neighbor among floats, so that scores tie, or nearly."""
    moved = matrix.copy()
    if moved.size:
        place = tuple(rng.integers(0, moved.shape))
        moved[place] = np.nextafter(moved[place], np.float32(rng.choice([-1, 1]) * np.inf))
    return moved


def random_case(seed: int) -> tuple[np.ndarray, TokenEmbeddings, np.ndarray | None, int]:
    """A query, documents that lie close together or tie, candidates or none, and how many are wanted."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 40))
    lengths = rng.integers(0, 9, count).tolist()
    family = FAMILIES[seed % len(FAMILIES)]
    case = make_case(family, int(rng.integers(1, 34)), int(rng.integers(1, 70)), lengths, seed)
    matrices = list(case.documents)
    for _ in range(int(rng.integers(0, 20))):
        twin = matrices[rng.integers(len(matrices))]
        matrices.append([twin, near(rng, twin), twin[::-1]][rng.integers(3)])
    embeddings = TokenEmbeddings.from_list([np.ascontiguousarray(matrix) for matrix in matrices])
    embeddings = TokenEmbeddings(stored_as(embeddings.vectors, DTYPES[seed % 3]), embeddings.offsets)
    candidates = rng.integers(0, len(matrices), int(rng.integers(1, 60))) if rng.random() < 0.3 else None
    return case.query, embeddings, candidates, int(rng.integers(1, 12))


def check_same(query: np.ndarray, documents: ScreenedDocuments, top_k: int) -> None:
    plain = PackedDocuments(documents.embeddings, candidates=documents.candidates)
    expected, found = maxsim_top_k(query, plain, top_k), maxsim_top_k(query, documents, top_k)
    assert found.indices.tolist() == expected.indices.tolist()
    assert found.scores.tobytes() == expected.scores.tobytes()


@pytest.fixture
def small_steps(monkeypatch):
    """Several blocks of documents, and several turns per block, with few documents."""
    monkeypatch.setattr(sys.modules["rank_rerank.scoring.maxsim"], "TOP_K_BLOCK_DOCUMENTS", 17)
    monkeypatch.setattr(sys.modules["rank_rerank.scoring.screening"], "MIN_SCORED_AT_ONCE", 2)
    monkeypatch.setattr(sys.modules["rank_rerank.scoring.screening"], "MIN_DOCUMENTS_PER_HIT", 2)


@pytest.mark.parametrize("seed", range(200))
def test_random_documents(seed, small_steps):
    query, embeddings, candidates, top_k = random_case(seed)
    check_same(query, ScreenedDocuments(embeddings, candidates=candidates), top_k)


@pytest.mark.slow
def test_ten_thousand_cases(small_steps):
    for seed in range(200, 10_200):
        query, embeddings, candidates, top_k = random_case(seed)
        check_same(query, ScreenedDocuments(embeddings, candidates=candidates), top_k)


@pytest.mark.parametrize("path", [path.name for path in usable_vector_paths()])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_bound_is_above_each_exact_score(path, family, dtype):
    kernel = f"numba-{path}"
    for seed in range(4):
        case = make_case(family, 1 + 11 * seed, 1 + 37 * seed, [1, 2, 3, 5, 0, 8, 13], seed)
        packed = TokenEmbeddings.from_list(case.documents)
        documents = ScreenedDocuments(TokenEmbeddings(stored_as(packed.vectors, dtype), packed.offsets))
        rounded = documents.rounded
        coarse = PackedDocuments(TokenEmbeddings(rounded.vectors, packed.offsets), token_scales=rounded.scales)
        slack = Slack.of(Queries.read([case.query], [None]))
        assert slack.holds(rounded)
        bounds = maxsim(case.query, coarse, kernel=kernel).astype(np.float64) + slack(rounded.errors, rounded.norms)
        assert (maxsim(case.query, documents.embeddings, kernel=kernel) <= bounds).all()


@pytest.mark.parametrize("dim", [3, 16, 64, 384])
def test_bound_is_nearly_reached_by_a_query_along_an_error(dim):
    """So no smaller one would do: with one half of it some of these documents would be missed."""
    rng = np.random.default_rng(dim)
    documents = ScreenedDocuments(TokenEmbeddings(rng.standard_normal((50, dim), np.float32), np.arange(51)))
    rounded = documents.rounded
    errors = documents.embeddings.vectors - rounded.vectors * rounded.scales[:, None].astype(np.float64)
    coarse = PackedDocuments(TokenEmbeddings(rounded.vectors, np.arange(51)), token_scales=rounded.scales)
    shares = []
    for error in errors:
        query = (error / np.abs(error).max() * 127).round()[None].astype(np.float32)  # whole, so not rounded itself
        slack = Slack.of(Queries.read([query], [None]))(rounded.errors, rounded.norms)
        above = maxsim(query, documents.embeddings).astype(np.float64) - maxsim(query, coarse)
        shares.append((above / slack).max())
        check_same(query, documents, 3)
    assert 0.9 < max(shares) <= 1


def unit(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    vectors = rng.standard_normal(shape)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_scores_few_documents_exactly(monkeypatch):
    rng = np.random.default_rng(0)
    documents = ScreenedDocuments(TokenEmbeddings(unit(rng, (4000, 64)), np.arange(1001) * 4))
    scored = []
    with_others = Screening._with
    monkeypatch.setattr(
        Screening, "_with", lambda self, best, indices: scored.append(len(indices)) or with_others(self, best, indices)
    )
    check_same(unit(rng, (32, 64)), documents, 10)
    assert 10 <= sum(scored) <= 150


def test_blocks_go_on_with_the_best_of_those_before(monkeypatch):
    monkeypatch.setattr(sys.modules["rank_rerank.scoring.maxsim"], "TOP_K_BLOCK_DOCUMENTS", 100)
    rng = np.random.default_rng(1)
    documents = ScreenedDocuments(TokenEmbeddings(unit(rng, (4000, 64)), np.arange(1001) * 4))
    for top_k in (1, 10, 62, 63, 2000):
        check_same(unit(rng, (8, 64)), documents, top_k)


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("trusted", [False, True])
def test_options_change_nothing(num_threads, trusted):
    query, embeddings, _, _ = random_case(7)
    documents = ScreenedDocuments(embeddings)
    found = maxsim_top_k(query, documents, 2, num_threads=num_threads, trusted=trusted, kernel="reference")
    assert found.indices.tolist() == maxsim_top_k(query, embeddings, 2, kernel="reference").indices.tolist()


def test_are_scored_as_packed_documents_elsewhere():
    query, embeddings, _, _ = random_case(3)
    assert maxsim(query, ScreenedDocuments(embeddings)).tobytes() == maxsim(query, embeddings).tobytes()


def test_other_candidates_are_not_rounded_anew():
    query, embeddings, _, _ = random_case(9)
    documents = ScreenedDocuments(embeddings)
    chosen = documents.choose(np.arange(len(embeddings))[::-1])
    assert chosen.rounded is documents.rounded
    check_same(query, chosen, 2)


def test_torch_tensors():
    torch = pytest.importorskip("torch")
    query, embeddings, _, _ = random_case(12)
    tensors = TokenEmbeddings(torch.from_numpy(embeddings.vectors.copy()), embeddings.offsets)
    found, expected = maxsim_top_k(query, ScreenedDocuments(tensors), 3), maxsim_top_k(query, embeddings, 3)
    assert found.scores.tobytes() == expected.scores.tobytes()


def test_numbers_near_the_end_of_float32_are_scored_whole():
    vectors = np.full((8, 2), 3e38, np.float32)
    vectors[:7] = np.arange(7)[:, None]
    documents = ScreenedDocuments(TokenEmbeddings(vectors, np.arange(9)))
    query = np.full((1, 2), 0.25, np.float32)
    check_same(query, documents, 1)
    with pytest.raises(NonFiniteError, match="document 7"):
        maxsim_top_k(query * 100, documents, 1)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_refuses_what_is_rounded_already(dtype):
    with pytest.raises(InvalidArgumentError, match="PackedDocuments"):
        ScreenedDocuments(TokenEmbeddings(np.ones((3, 8), dtype), np.arange(4)))


def test_refuses_nan_by_the_name_of_its_document():
    vectors = np.ones((5, 8), np.float32)
    vectors[3, 2] = np.nan
    with pytest.raises(NonFiniteError, match="document 1 "):
        ScreenedDocuments(TokenEmbeddings(vectors, np.array([0, 3, 5])))


def test_refuses_rounded_rows_of_others():
    _, embeddings, _, _ = random_case(5)
    other = ScreenedDocuments(TokenEmbeddings(np.ones((3, 8), np.float32), np.arange(4)))
    with pytest.raises(ShapeError, match="rounded"):
        replace(other, embeddings=embeddings)
