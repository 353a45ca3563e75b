"""Reranking where vectors stay on the device that computes them; here PyTorch's CPU stands in for a GPU."""

import numpy as np
import pytest

import rank_rerank
from rank_rerank.encoding import token_encoder
from rank_rerank.errors import NonFiniteError

torch = pytest.importorskip("torch", reason='needs torch: pip install ".[torch]"')
QUERY = "which animals regenerate their heart?"
DOCUMENTS = ["A zebrafish mends its heart.", "", "The invoice was sent on Monday.", "Hearts of fish grow back."]


@pytest.fixture(scope="module")
def on_torch():
    return rank_rerank.load(device="cpu", runtime="torch")


@pytest.fixture
def staying(monkeypatch, on_torch):
    monkeypatch.setattr(token_encoder, "GPUS", ("cpu",))
    return on_torch


def test_vectors_are_tensors_where_they_stay(staying):
    texts = [f"{text} {number}" for number, text in enumerate(DOCUMENTS * 40)]  # more than one window
    windows = list(staying.encoder.stream_documents(texts, keep_on_device=True))
    assert [type(window.vectors) for window in windows] == [torch.Tensor] * 2
    found = torch.cat([window.vectors for window in windows]).numpy()
    expected = staying.encoder.encode_documents(texts)
    assert np.abs(found - expected.vectors).max() < 1e-5
    assert [len(window) for window in windows] == [128, 32]
    spans = np.concatenate([window.character_spans for window in windows])
    assert np.array_equal(spans, expected.character_spans)


@pytest.mark.parametrize("spans", [False, 2])
def test_rankings_are_the_same(staying, monkeypatch, spans):
    many = DOCUMENTS * 35
    there = staying.rerank_many([QUERY, "who paid?"], [many, many[:3]], spans=spans)
    monkeypatch.setattr(token_encoder, "GPUS", ())
    here = staying.rerank_many([QUERY, "who paid?"], [many, many[:3]], spans=spans)
    for found, expected in zip(there, here, strict=True):
        assert [hit.index for hit in found] == [hit.index for hit in expected]
        assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected], rel=1e-5)
        assert [hit.spans for hit in found] == [hit.spans for hit in expected]


def test_a_vector_that_is_not_finite_is_refused_with_its_text(staying, monkeypatch):
    transformer = staying.encoder.transformer
    compute = transformer.encode_on_device

    def broken(batch):
        vectors = compute(batch)
        vectors[int(batch.offsets[3])] = torch.nan
        return vectors

    monkeypatch.setattr(transformer, "encode_on_device", broken)
    with pytest.raises(NonFiniteError, match="for text 3"):
        staying.rerank(QUERY, DOCUMENTS)
