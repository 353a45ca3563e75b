"""Models on a GPU of NVIDIA or AMD: half precision, little memory, several threads. Skipped where there is none."""

import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import rank_rerank

torch = pytest.importorskip("torch", reason='needs the torch extra: pip install ".[torch]"')
if not torch.cuda.is_available():
    pytest.skip("no CUDA device is here", allow_module_level=True)

TEXTS = [" ".join(["the heart of a zebrafish grows back after a wound"] * (1 + number % 40)) for number in range(300)]


@pytest.fixture(scope="module")
def on_gpu():
    return rank_rerank.load(device="cuda")


def test_the_bundled_model_ranks_as_it_does_on_the_cpu(on_gpu, reranker):
    documents = ["A zebrafish mends its heart.", "The invoice was sent on Monday.", "Hearts of fish grow back."]
    query = "which animals regenerate their heart?"
    found, expected = (each.rerank(query, documents) for each in (on_gpu, reranker))
    assert "cuda" in on_gpu.encoder.transformer.description
    assert [hit.index for hit in found] == [hit.index for hit in expected]
    assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected], rel=0.02)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_stays_near_float32(precision):
    half, single = (
        rank_rerank.load(device="cuda", runtime="torch", precision=each).encoder.encode_documents(TEXTS[:50]).vectors
        for each in (precision, "fp32")
    )
    assert (half * single).sum(axis=1).mean() > 0.999


def test_too_little_memory_halves_the_batch(on_gpu, caplog):
    encoder = on_gpu.encoder
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    expected = encoder.encode_documents(TEXTS).vectors
    needed = torch.cuda.max_memory_allocated() - before
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 0.4 * needed) / total)
    try:
        with caplog.at_level(logging.INFO, "rank_rerank"):
            found = encoder.encode_documents(TEXTS).vectors
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "out of memory on cuda" in caplog.text
    assert np.abs(found - expected).max() < 0.02


def test_threads_may_encode_at_once(on_gpu):
    encoder = on_gpu.encoder
    expected = encoder.encode_documents(TEXTS[:60]).vectors
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: encoder.encode_documents(TEXTS[:60]).vectors, range(8)):
            assert np.abs(found - expected).max() < 1e-3
