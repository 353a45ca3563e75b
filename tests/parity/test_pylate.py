"""Token ids, vectors and scores against PyLate, from folders that PyLate has saved."""

import json

import numpy as np
import pytest
from parity_models import TEXTS

from rank_rerank import TokenEncoder
from rank_rerank.errors import CheckpointFormatError

pytestmark = pytest.mark.filterwarnings("ignore")
KINDS = ["bert", "distilbert", "electra", "modernbert", "xlm-roberta", "mpnet", "deberta-v2"]
CASES = {
    "defaults": {},
    "no expansion": {"do_query_expansion": False, "query_length": 24},
    "attended expansion": {"attend_to_expansion_tokens": True, "query_length": 40},
    "empty skiplist": {"skiplist_words": []},
    "no markers": {"query_prefix": "", "document_prefix": ""},
    "short documents": {"document_length": 20, "skiplist_words": [",", "the", "nosuchword"]},
    "wide expansion": {"query_length": 100},
}


def build(folder, target, dense=(), **options):
    import torch
    from pylate import models
    from sentence_transformers.models import Transformer

    torch.manual_seed(1)
    modules = [Transformer(str(folder)), models.Dense(48, 32, bias=False), *dense]
    model = models.ColBERT(modules=modules, device="cpu", **options)
    model.eval()
    model.save(str(target))
    theirs = models.ColBERT(model_name_or_path=str(target), device="cpu")
    # PyLate reads a skiplist word that it does not know as [UNK], and so silences every unknown word of documents
    theirs.skiplist = [token for token in theirs.skiplist if token != theirs.tokenizer.unk_token_id]
    return theirs


def ours_of(folder):
    return TokenEncoder.from_pretrained(folder, device="cpu", precision="fp32")


def assert_same(ours, theirs):
    for is_query in (True, False):
        batch = (ours.tokenizer.tokenize_queries if is_query else ours.tokenizer.tokenize_documents)(TEXTS)
        features = theirs.tokenize(TEXTS, is_query=is_query)
        expected = [
            ids[mask.bool()].tolist() if not (is_query and theirs.do_query_expansion) else ids.tolist()
            for ids, mask in zip(features["input_ids"], features["attention_mask"], strict=True)
        ]
        found = [batch.token_ids[a:b].tolist() for a, b in zip(batch.offsets, batch.offsets[1:], strict=False)]
        assert found == expected
        vectors = theirs.encode(TEXTS, is_query=is_query, batch_size=4, show_progress_bar=False)
        embeddings = (ours.encode_queries if is_query else ours.encode_documents)(TEXTS)
        for mine, other in zip(embeddings, vectors, strict=True):
            assert mine.shape == other.shape
            assert np.einsum("td,td->t", mine, other).min() >= 0.99999
            assert np.abs(mine - other).max() < 1e-4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", CASES.values(), ids=CASES.keys())
def test_every_architecture_and_setting(base_folder, tmp_path, kind, options):
    theirs = build(base_folder(kind), tmp_path / "model", **options)
    fills_unseen = options.get("do_query_expansion", True) and not options.get("attend_to_expansion_tokens")
    if kind == "deberta-v2" and fills_unseen:
        with pytest.raises(CheckpointFormatError, match="attend_to_expansion_tokens"):
            ours_of(tmp_path / "model")
        return
    assert_same(ours_of(tmp_path / "model"), theirs)


def test_several_dense_with_activation_bias_and_residual(base_folder, tmp_path):
    import torch
    from pylate.models import Dense

    torch.manual_seed(2)
    dense = [
        Dense(32, 24, bias=True, activation_function=torch.nn.Tanh(), use_residual=True),
        Dense(24, 24, bias=True, activation_function=torch.nn.GELU(), use_residual=True),
        Dense(24, 16, bias=False),
    ]
    theirs = build(base_folder("bert"), tmp_path / "model", dense)
    ours = ours_of(tmp_path / "model")
    assert len(ours.checkpoint.dense) == 4
    assert ours.dim == 16
    assert_same(ours, theirs)


def test_truncation_frozen_in_the_tokenizer_is_not_believed(base_folder, tmp_path):
    theirs = build(base_folder("bert"), tmp_path / "model", document_length=180)
    file = tmp_path / "model" / "tokenizer.json"
    content = json.loads(file.read_text())
    content["truncation"] = {"direction": "Right", "max_length": 12, "strategy": "LongestFirst", "stride": 0}
    padding = {"strategy": {"Fixed": 12}, "direction": "Left", "pad_id": 103, "pad_type_id": 0, "pad_token": "[MASK]"}
    content["padding"] = {**padding, "pad_to_multiple_of": None}
    file.write_text(json.dumps(content))
    assert_same(ours_of(tmp_path / "model"), theirs)


def test_scores(base_folder, tmp_path):
    import torch
    from pylate import scores

    import rank_rerank

    theirs = build(base_folder("bert"), tmp_path / "model")
    reranker = rank_rerank.load(tmp_path / "model", device="cpu", precision="fp32")
    query = torch.tensor(theirs.encode(TEXTS[:1], is_query=True))
    expected = [
        float(scores.colbert_scores(query, torch.tensor(document)[None])[0, 0])
        for document in theirs.encode(TEXTS, is_query=False)
    ]
    ranking = reranker.rerank(TEXTS[0], TEXTS)
    assert [hit.score for hit in sorted(ranking, key=lambda hit: hit.index)] == pytest.approx(expected, abs=1e-4)


def test_half_precision_weights(base_folder, tmp_path):
    import torch
    from pylate import models

    build(base_folder("bert"), tmp_path / "full")
    half = models.ColBERT(model_name_or_path=str(tmp_path / "full"), device="cpu")
    half.to(torch.bfloat16).save(str(tmp_path / "half"))
    theirs = models.ColBERT(model_name_or_path=str(tmp_path / "half"), device="cpu").to(torch.float32)
    assert_same(ours_of(tmp_path / "half"), theirs)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("kind", KINDS)
def test_lower_precisions_stay_near(base_folder, tmp_path, precision, kind):
    build(base_folder(kind), tmp_path / "model", do_query_expansion=False)
    exact = ours_of(tmp_path / "model").encode_documents(TEXTS).vectors
    low = TokenEncoder.from_pretrained(tmp_path / "model", device="cpu", precision=precision).encode_documents(TEXTS)
    cosines = np.einsum("td,td->t", exact, low.vectors)
    assert cosines.mean() > 0.999
    assert not np.array_equal(exact, low.vectors)


def test_an_unknown_skiplist_word_does_not_silence_unknown_words(base_folder, tmp_path):
    theirs = build(base_folder("bert"), tmp_path / "model", skiplist_words=["nosuchword"])
    ours = ours_of(tmp_path / "model")
    text = "an unknown sign \U0001f9ff here"
    assert len(ours.encode_document(text)[0]) == len(theirs.encode(text, is_query=False))
    theirs.skiplist = [theirs.tokenizer.convert_tokens_to_ids("nosuchword")]
    assert len(ours.encode_document(text)[0]) == len(theirs.encode(text, is_query=False)) + 1


def test_a_marker_that_a_real_text_contains_stays_text(base_folder, tmp_path):
    build(base_folder("bert"), tmp_path / "model")
    ours = ours_of(tmp_path / "model")
    marker = ours.tokenizer.tokenize_documents(["x"]).token_ids[1]
    ids = ours.tokenizer.tokenize_documents(["say [D] and [Q] again"]).token_ids
    assert (ids == marker).sum() == 1
