"""Tensors: scored where they live, within a memory budget, and refused with the same errors."""

import subprocess
import sys

import numpy as np
import pytest
from maxsim_kernels import tensor_device

from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.errors import InvalidArgumentError, InvalidItemError, NonFiniteError, ShapeError
from rank_rerank.scoring.maxsim import maxsim, maxsim_many, maxsim_matches, maxsim_top_k
from rank_rerank.scoring.packed_documents import PackedDocuments

torch = pytest.importorskip("torch", reason="tensors need torch")

MEMORY_SCRIPT = """
import resource, numpy as np, torch
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.scoring.maxsim import maxsim
torch.set_num_threads(1)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
vectors = torch.zeros((2**20, 128), dtype=torch.float16)
for block in vectors.split(4096):
    block.normal_()
query = torch.randn(32, 128)
maxsim(query, [vectors[:500]], kernel="torch")
before = peak()
for num_documents in (1, 5000, 2**20):
    offsets = np.linspace(0, 2**20, num_documents + 1).astype(np.int64)
    maxsim(query, TokenEmbeddings(vectors, offsets), kernel="torch")
print(peak() - before)
"""


def draw(*shape: int, seed: int = 0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


@pytest.fixture
def query():
    return draw(5, 16, seed=1)


@pytest.fixture
def documents():
    return [draw(length, 16, seed=length) for length in (3, 40, 1, 0, 17)]


def to_arrays(tensors) -> list[np.ndarray]:
    return [tensor.numpy() for tensor in tensors]


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_tensors_in_main_memory_take_the_compiled_kernel(query, documents, dtype):
    tensors = [document.to(getattr(torch, dtype)) for document in documents]
    scores = maxsim(query, tensors)
    assert isinstance(scores, torch.Tensor)
    assert scores.dtype == torch.float32
    assert scores.numpy().tobytes() == maxsim(query.numpy(), to_arrays(tensors)).tobytes()


def test_bfloat16_tensors_are_read_without_a_conversion(query, documents):
    tensors = [document.bfloat16() for document in documents]
    expected = maxsim(query.numpy(), [tensor.float().numpy() for tensor in tensors])
    assert maxsim(query, tensors).numpy().tobytes() == expected.tobytes()


def test_tensors_that_need_gradients_are_scored_without(query, documents):
    scores = maxsim(query.requires_grad_(), [document.requires_grad_() for document in documents])
    assert not scores.requires_grad


def test_documents_decide_what_comes_back(query, documents):
    assert isinstance(maxsim(query, to_arrays(documents)), np.ndarray)
    assert isinstance(maxsim(query.numpy(), documents), torch.Tensor)
    assert isinstance(maxsim(query.numpy(), TokenEmbeddings.from_list(to_arrays(documents))), np.ndarray)


@pytest.mark.parametrize("kernel", ["torch", "triton"])
def test_every_output_agrees_with_the_compiled_kernel(query, documents, kernel):
    pytest.importorskip(kernel)
    arrays, queries = to_arrays(documents), [query, draw(9, 16, seed=2)]
    documents = [document.to(tensor_device(kernel)) for document in documents]
    many = maxsim_many(queries, documents, kernel=kernel)
    assert many.device == documents[0].device
    assert many.cpu().numpy() == pytest.approx(maxsim_many([q.numpy() for q in queries], arrays), rel=1e-5)
    matches, expected = maxsim_matches(query, documents, kernel=kernel), maxsim_matches(query.numpy(), arrays)
    assert matches.indices.tolist() == expected.indices.tolist()
    assert matches.similarities.cpu().numpy() == pytest.approx(expected.similarities, rel=1e-5, abs=1e-6)
    top, wanted = maxsim_top_k(query, documents, 3, kernel=kernel), maxsim_top_k(query.numpy(), arrays, 3)
    assert top.indices.tolist() == wanted.indices.tolist()
    store = TokenEmbeddings(torch.cat(documents), TokenEmbeddings.from_list(arrays).offsets)
    some = maxsim(query, PackedDocuments(store, candidates=np.array([4, 0, 4])), kernel=kernel)
    assert some.cpu().numpy() == pytest.approx(maxsim(query.numpy(), arrays)[[4, 0, 4]], rel=1e-5)


def test_a_document_longer_than_a_block_is_scored_in_pieces(query, monkeypatch):
    monkeypatch.setattr("rank_rerank.scoring.tensors.maxsim_torch.BUDGET_BYTES_IN_MAIN_MEMORY", 2000)
    documents = [draw(300, 16, seed=3), draw(2, 16, seed=4), draw(50, 16, seed=5)]
    matches = maxsim_matches(query, documents, kernel="torch")
    expected = maxsim_matches(query.numpy(), to_arrays(documents))
    assert matches.indices.tolist() == expected.indices.tolist()
    assert matches.scores.numpy() == pytest.approx(expected.scores, rel=1e-5)


@pytest.mark.parametrize("kernel", [None, "torch", "triton"])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_names_the_document_that_is_not_finite(query, documents, kernel):
    if kernel == "triton":
        pytest.importorskip(kernel)
        documents = [document.to(tensor_device(kernel)) for document in documents]
    documents[1][7, 3] = torch.nan
    try:
        with pytest.raises(NonFiniteError, match="document 1"):
            maxsim(query, documents, kernel=kernel)
    except Exception as error:
        if "InterpreterError" not in type(error).__name__:
            raise
    documents[1][7, 3] = 0
    with pytest.raises(NonFiniteError, match="the query"):
        maxsim(query * torch.inf, documents, kernel=kernel)


@pytest.mark.parametrize("kernel", ["torch", "triton"])
def test_read_only_arrays_become_tensors_without_a_warning(query, documents, kernel):
    pytest.importorskip(kernel)
    arrays = to_arrays(documents)
    scales = np.linspace(0.5, 2, len(documents), dtype=np.float32)
    whole = [np.rint(array * 10).astype(np.int8) for array in arrays]
    asked = query.numpy().copy()
    for array in (scales, asked):
        array.flags.writeable = False
    stored = TokenEmbeddings.from_list(whole)
    tensors = TokenEmbeddings(torch.from_numpy(stored.vectors).to(tensor_device(kernel)), stored.offsets)
    scores = maxsim(asked, PackedDocuments(tensors, document_scales=scales), kernel=kernel)
    expected = maxsim(asked, [array * scale for array, scale in zip(whole, scales, strict=True)])
    assert scores.cpu().numpy() == pytest.approx(expected, rel=2e-2)


def test_overflow_is_settled_in_float64(query):
    document = torch.tensor([[1e30, -1e30] * 8, [1e-3] * 16])
    big = torch.full((5, 16), 1e30)
    assert maxsim(big, [document], kernel="torch").numpy() == pytest.approx(maxsim(big.numpy(), [document.numpy()]))


def test_refuses_what_does_not_fit(query, documents):
    for kernel in (None, "torch"):
        with pytest.raises(ShapeError, match="wrap it in a list"):
            maxsim(query, documents[0], kernel=kernel)
        with pytest.raises(ShapeError, match="dim"):
            maxsim(query[:, :3], documents, kernel=kernel)
        with pytest.raises(ShapeError, match="dim"):
            maxsim(query, [documents[0], documents[1][:, :3]], kernel=kernel)
        with pytest.raises(InvalidItemError):
            maxsim(query, [documents[0].to(torch.complex64)], kernel=kernel)
    with pytest.raises(InvalidItemError, match="document 1"):
        maxsim(query, [documents[0], documents[1].numpy()], kernel="torch")
    with pytest.raises(InvalidArgumentError, match="tensors"):
        maxsim(query.numpy(), to_arrays(documents), kernel="torch")
    with pytest.raises(InvalidArgumentError, match="cupy"):
        maxsim(query, documents, kernel="cupy")


@pytest.mark.parametrize("num_documents", [1, 700, 2**17])
def test_memory_stays_within_the_budget(num_documents):
    from tensor_memory import peak_bytes

    from rank_rerank.scoring.tensors.maxsim_torch import BUDGET_BYTES_IN_MAIN_MEMORY

    offsets = np.linspace(0, 2**17, num_documents + 1).astype(np.int64)
    documents = TokenEmbeddings(torch.ones((2**17, 128), dtype=torch.float16), offsets)
    query = torch.ones(32, 128)
    peak_bytes(lambda: maxsim(query, [documents.vectors[:3]], kernel="torch"))  # so that imports are not counted
    # of each document: where it begins and ends, how long it is, its score, and some of them twice
    limit = BUDGET_BYTES_IN_MAIN_MEMORY + 64 * num_documents
    assert peak_bytes(lambda: maxsim(query, documents, kernel="torch")) < limit


@pytest.mark.slow
def test_a_million_tokens_need_less_than_64_mb():
    result = subprocess.run([sys.executable, "-c", MEMORY_SCRIPT], capture_output=True, text=True, check=True)
    assert int(result.stdout) < 64
