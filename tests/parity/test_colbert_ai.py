"""Token ids, vectors and scores against colbert-ai, from folders that it has saved.

colbert-ai 0.2.22 needs transformers 4: with 5 it cannot open a model ("'HF_ColBERT' object has no attribute
'all_tied_weights_keys'", which transformers 5 sets in a post_init() that colbert-ai does not call).
"""

import json

import numpy as np
import pytest
from parity_models import TEXTS

import rank_rerank
from rank_rerank import TokenEncoder

pytestmark = pytest.mark.filterwarnings("ignore")
CASES = {
    "defaults": {},
    "attended expansion": {"attend_to_mask_tokens": True},
    "punctuation is scored": {"mask_punctuation": False},
    "other lengths": {"query_maxlen": 12, "doc_maxlen": 20},
}


@pytest.fixture
def build(base_folder, tmp_path, monkeypatch):
    """A folder that colbert-ai saved, and colbert-ai's own encoder of it."""
    import torch
    from colbert.infra import ColBERTConfig
    from colbert.modeling.base_colbert import BaseColBERT
    from colbert.modeling.checkpoint import Checkpoint
    from colbert.modeling.colbert import ColBERT

    # its scoring in C++ is compiled at the first use, and is not what is compared
    monkeypatch.setattr(ColBERT, "try_load_torch_extensions", classmethod(lambda *_: None))

    def save(kind, **options):
        torch.manual_seed(2)
        config = ColBERTConfig(
            dim=32, **{"doc_maxlen": 180, "query_token_id": "[unused0]", "doc_token_id": "[unused1]", **options}
        )
        target = tmp_path / "saved"
        BaseColBERT(str(base_folder(kind)), colbert_config=config).save(str(target))
        theirs = Checkpoint(str(target), colbert_config=ColBERTConfig.load_from_checkpoint(str(target)))
        if not theirs.colbert_config.mask_punctuation:
            theirs.skiplist = {}  # it makes none then, and fails where it looks for it
        return target, theirs

    return save


def texts_of(ours, *, is_query):
    batch = (ours.tokenizer.tokenize_queries if is_query else ours.tokenizer.tokenize_documents)(TEXTS)
    return [batch.token_ids[a:b].tolist() for a, b in zip(batch.offsets[:-1], batch.offsets[1:], strict=True)]


@pytest.mark.parametrize("kind", ["bert", "electra", "distilbert"])
@pytest.mark.parametrize("case", CASES)
def test_tokens_and_vectors(build, kind, case):
    folder, theirs = build(kind, **CASES[case])
    ours = TokenEncoder.from_pretrained(folder, device="cpu", precision="fp32")
    assert ours.checkpoint.family == "Stanford ColBERT"

    token_ids, _ = theirs.query_tokenizer.tensorize(TEXTS)
    assert texts_of(ours, is_query=True) == token_ids.tolist()
    expected = theirs.queryFromText(TEXTS).numpy()
    for mine, other in zip(ours.encode_queries(TEXTS), expected, strict=True):
        assert np.abs(mine - other).max() < 1e-4

    token_ids, mask = theirs.doc_tokenizer.tensorize(TEXTS)
    rows = zip(token_ids, mask, strict=True)
    assert texts_of(ours, is_query=False) == [ids[kept.bool()].tolist() for ids, kept in rows]
    for text, mine in zip(TEXTS, ours.encode_documents(TEXTS), strict=True):
        # one by one: what shares its batch is padded, and a kept list of vectors in half precision only
        other = theirs.docFromText([text])[0].float().numpy()
        other = other[np.abs(other).sum(axis=1) > 0]  # vectors of punctuation are set to zero
        assert mine.shape == other.shape
        assert np.abs(mine - other).max() < 1e-4


def test_scores(build):
    from colbert.modeling.colbert import colbert_score

    folder, theirs = build("bert")
    query = "What is the capital, of France?"
    vectors = theirs.queryFromText([query])
    expected = []
    for text in TEXTS:
        document = theirs.docFromText([text]).float()
        kept = document.abs().sum(-1, keepdim=True) > 0
        expected.append(colbert_score(vectors, document, kept, config=theirs.colbert_config).item())
    ranking = rank_rerank.load(folder, device="cpu", precision="fp32").rerank(query, TEXTS)
    found = {hit.index: hit.score for hit in ranking}
    assert [found[index] for index in range(len(TEXTS))] == pytest.approx(expected, abs=1e-4)


def test_what_it_writes_is_what_is_read(build):
    folder, _ = build("bert", query_maxlen=12)
    stated = json.loads((folder / "artifact.metadata").read_text())
    settings = TokenEncoder.from_pretrained(folder, device="cpu").checkpoint.settings
    assert (settings.query_length, settings.document_length) == (stated["query_maxlen"], stated["doc_maxlen"])
    assert settings.query_prefix == stated["query_token_id"]
