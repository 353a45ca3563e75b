"""doctor --published: a model beside what others have published of it; here on folders of the same shapes."""

import json

import model_folders as folders
import numpy as np
import pytest

from rank_rerank.cli import published_check
from rank_rerank.cli.published_check import compare, find_entry, read_table
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.errors import InvalidArgumentError

TABLE = read_table()


@pytest.mark.parametrize("name", TABLE)
def test_every_fact_has_a_source_and_fits_the_others(name):
    entry = TABLE[name]
    stated = [
        *entry.get("vectors", []),
        *entry.get("scores", []),
        *([entry["settings"]] if "settings" in entry else []),
    ]
    assert stated
    assert set(entry) <= {"settings", "vectors", "scores"}
    assert all(len(each["source"]) > 10 for each in stated)
    for each in entry.get("vectors", []):
        rows = np.array(each["first_numbers"])
        assert rows.shape[0] <= each["num_vectors"]
        # parts of rows of unit length
        assert (np.linalg.norm(rows, axis=1) < 1).all()
    for each in entry.get("scores", []):
        assert len(each["values"]) == len(each["documents"])
        assert 0 < each["tolerance"] <= published_check.INT8_TOLERANCES[each["kind"]]


@pytest.mark.parametrize(
    "name", ["colbert-ir/colbertv2.0", "COLBERT-IR/ColBERTv2.0", "/models/colbertv2.0/", "colbertv2.0"]
)
def test_a_model_is_found_by_its_name_or_its_folders(name):
    assert find_entry(name)[0] == "colbert-ir/colbertv2.0"


def test_a_model_that_nothing_is_published_of_is_refused_with_what_is_known(run, tmp_path):
    with pytest.raises(InvalidArgumentError, match="BAAI/bge-reranker-v2-m3"):
        find_entry("owner/unknown")
    code, _, err = run("doctor", "--model", str(folders.write_cross_encoder(tmp_path / "own")), "--published")
    assert code == 2
    assert "--published NAME" in err


@pytest.fixture
def colbert(tmp_path):
    """As colbertv2.0 is laid out: its marker ids, lengths and number of dims; its weights are random."""
    pytest.importorskip("torch", reason='needs torch: pip install ".[torch]"')
    tensors = folders.bert_tensors("bert.") | {"linear.weight": np.eye(128, folders.HIDDEN, dtype=np.float32)}
    config = {**folders.BERT_CONFIG, "architectures": ["HF_ColBERT"], "max_position_embeddings": 180}
    rows = np.random.default_rng(3).normal(size=(180, folders.HIDDEN)) * 0.3
    tensors["bert.embeddings.position_embeddings.weight"] = rows.astype(np.float32)
    folder = folders.write_bert(tmp_path / "colbertv2.0", tensors, config)
    metadata = {"query_maxlen": 32, "doc_maxlen": 180, "dim": 128, "query_token_id": "[unused0]"}
    folders.write_json(folder / "artifact.metadata", {**metadata, "doc_token_id": "[unused1]"})
    return folder


def test_of_a_folder_with_the_same_settings_and_other_weights_the_vectors_fail(run, colbert):
    code, out, _ = run("doctor", "--json", "--model", str(colbert), "--device", "cpu", "--published")
    assert code == 1
    report = json.loads(out)["published"]
    assert report["of"] == "colbert-ir/colbertv2.0"
    met = {what.partition(". ")[2] for what, said in report.items() if said.startswith("met")}
    assert met == {
        "dim 128", "query_length 32", "document_length 180", "query_marker_id 1", "document_marker_id 2",
        "expansion_id 103",
    }  # fmt: skip
    failed = [said for said in report.values() if said.startswith("FAILED")]
    assert len(failed) == 3  # a document, a query, scores
    assert all("off by" in said and ("http" in said or "blog" in said) for said in failed)


def test_values_that_the_model_gives_are_met_and_others_are_not(colbert):
    encoder = TokenEncoder.from_pretrained(colbert, device="cpu")
    entry = TABLE["colbert-ir/colbertv2.0"]
    own = encoder.encode_document("Hello World").vectors
    assert len(own) == 5
    vectors = {**entry["vectors"][0], "first_numbers": own[:, :5].round(4).tolist()}
    [found] = compare(encoder, {"vectors": [vectors]})
    assert found.is_met
    vectors["first_numbers"][4][4] += 0.002
    assert not compare(encoder, {"vectors": [vectors]})[0].is_met
    assert not compare(encoder, {"vectors": [{**vectors, "num_vectors": 6}]})[0].is_met


@pytest.mark.parametrize("kind", ["logit", "probability"])
def test_scores_of_a_cross_encoder(run, tmp_path, monkeypatch, kind):
    pytest.importorskip("torch", reason='needs torch: pip install ".[torch]"')
    from rank_rerank.scoring.cross_encoder import CrossEncoder

    folder = folders.write_cross_encoder(tmp_path / "ms-marco-MiniLM-L6-v2")
    stated = {**TABLE["cross-encoder/ms-marco-MiniLM-L6-v2"]["scores"][0], "kind": kind}
    scored = CrossEncoder.from_pretrained(folder, device="cpu").score(stated["query"], stated["documents"])
    logits = np.log(scored.relevance / (1 - scored.relevance))
    stated["values"] = (logits if kind == "logit" else scored.relevance).tolist()
    entry = {"scores": [stated]}
    monkeypatch.setattr(published_check, "read_table", lambda: {"cross-encoder/ms-marco-MiniLM-L6-v2": entry})
    arguments = ("doctor", "--model", str(folder), "--device", "cpu", "--published")
    code, out, _ = run(*arguments)
    assert code == 0
    assert "met: off by" in out
    stated["values"][1] += 0.01
    assert run(*arguments)[0] == 1
    # INT8 is allowed more, which is said
    code, out, _ = run(*arguments, "--precision", "int8")
    assert f"allowed {published_check.INT8_TOLERANCES[kind]}" in out


def test_a_model_of_another_kind_is_not_taken_for_compared(run, tmp_path):
    pytest.importorskip("torch", reason='needs torch: pip install ".[torch]"')
    folder = folders.write_cross_encoder(tmp_path / "own")
    code, out, _ = run(
        "doctor", "--model", str(folder), "--device", "cpu", "--published", "lightonai/GTE-ModernColBERT-v1"
    )
    assert code == 1
    assert "nothing was compared" in out
