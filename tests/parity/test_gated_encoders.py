"""mGTE's architecture, of which transformers has no class, against its definition in plain PyTorch."""

import numpy as np
import pytest
from parity_models import TEXTS, make_tokenizer

from rank_rerank import CrossEncoder, TokenEncoder

torch = pytest.importorskip("torch")
gated_encoder = pytest.importorskip("gated_encoder")

pytestmark = pytest.mark.filterwarnings("ignore")
QUERY = "What is the capital, of France?"
SETTINGS = [
    {},
    {"rope_scaling": None, "type_vocab_size": 0, "pack_qkv": False},
    {"rope_scaling": {"type": "ntk", "factor": 4.0, "mixed_b": 0.75}, "hidden_act": "silu"},
    {"rope_scaling": {"rope_type": "ntk", "type": "ntk", "factor": 1.0}, "hidden_act": "relu", "layer_norm_eps": 1e-5},
    {"hidden_act": "gelu_new", "num_attention_heads": 2, "type_vocab_size": 2},
]


def build(folder, kind=gated_encoder.Classifier, **changes):
    tokenizer = make_tokenizer("xlm-roberta")
    settings, model = gated_encoder.make(len(tokenizer), kind, **changes)
    return gated_encoder.save(folder, settings, model, tokenizer), model


def expected_logits(model, reranker):
    batch = reranker.tokenizer.tokenize(QUERY, TEXTS).batch
    bounds = zip(batch.offsets[:-1], batch.offsets[1:], strict=True)
    ids = [torch.from_numpy(batch.token_ids[None, start:end]) for start, end in bounds]
    with torch.inference_mode():
        return batch, np.array([model(each, torch.ones_like(each, dtype=torch.bool))[0, 0].item() for each in ids])


@pytest.mark.parametrize("changes", SETTINGS)
def test_a_cross_encoder_as_its_settings_say(tmp_path, changes):
    folder, model = build(tmp_path / "model", **changes)
    ours = CrossEncoder.from_pretrained(folder, device="cpu", precision="fp32")
    batch, expected = expected_logits(model, ours)
    assert ours.transformer.logits(batch) == pytest.approx(expected, abs=1e-4)
    assert np.ptp(expected) > 1e-2
    assert ours.checkpoint.max_length == 512


@pytest.mark.parametrize("changes", SETTINGS)
def test_in_compiled_kernels(tmp_path, changes):
    folder, model = build(tmp_path / "model", **changes)
    ours = CrossEncoder.from_pretrained(folder, device="cpu", runtime="numba")
    batch, expected = expected_logits(model, ours)
    found = ours.transformer.logits(batch)
    assert np.corrcoef(found, expected)[0, 1] > 0.995
    # rounding at random weights; halves of a gate changed about correlate by 0.56, angles left out by 0.988
    assert np.abs(found - expected).max() < 0.2 * np.ptp(expected)


@pytest.mark.parametrize("runtime", ["torch", "numba"])
def test_token_vectors(tmp_path, runtime):
    folder, model = build(tmp_path / "model", gated_encoder.Encoder, architectures=["NewModel"])
    encoder = TokenEncoder.from_pretrained(folder, device="cpu", runtime=runtime, precision="auto")
    batch = encoder.tokenizer.tokenize_documents(TEXTS)
    found, rows = encoder.transformer.encode(batch), []
    with torch.inference_mode():
        for start, end in zip(batch.offsets[:-1], batch.offsets[1:], strict=True):
            ids = torch.from_numpy(batch.token_ids[None, start:end])
            rows.append(torch.nn.functional.normalize(model(ids, torch.ones_like(ids, dtype=torch.bool))[0], dim=-1))
    cosines = (found * torch.cat(rows).numpy()).sum(axis=1)
    assert cosines.mean() > (0.9999999 if runtime == "torch" else 0.999)
    assert cosines.min() > (0.999999 if runtime == "torch" else 0.99)


def test_a_text_that_stands_alone_or_in_a_batch(tmp_path):
    folder, _ = build(tmp_path / "model")
    ours = CrossEncoder.from_pretrained(folder, device="cpu", precision="fp32")
    alone = [ours.score(QUERY, [text]).scores[0] for text in TEXTS]
    assert ours.score(QUERY, TEXTS).scores == pytest.approx(alone, abs=1e-6)
