"""What the lists show that a model is trained on, and how trained layers are put together with the source's."""

import argparse
import json

import numpy as np
import pytest

pytest.importorskip("bm25s", reason='needs bm25s: pip install ".[evaluation]"')
pytest.importorskip("safetensors", reason='needs safetensors: pip install ".[export]"')
import prepare_gpu_data
from training import corpora
from training.bundle import LIST_LENGTH
from training.query_lists import ListedQuery, SourcePlan, draw_queries, find_lists

TOPICS = ["rivers", "markets", "hearts", "stars"]
PASSAGES = [
    corpora.Passage("", f"A text on {TOPICS[n % 4]}. It has word{n} and more on {TOPICS[n % 4]}.", [f"about word{n}"])
    for n in range(200)
]
PASSAGES[196].text += " padding" * 60  # of all on rivers the last that BM25 finds
HELD = [n % 10 == 0 for n in range(200)]


@pytest.fixture(scope="module")
def queries():
    plan = SourcePlan("made-up", 40, 30, 8)
    drawn = draw_queries(plan, PASSAGES, HELD, corpora.TestQueries.of_words([frozenset({"about", "word3"})]))
    drawn.append(ListedQuery("rivers", held_back=False, relevant={196}))
    find_lists(drawn, PASSAGES, HELD)
    return drawn


def test_what_is_asked_about_a_held_back_passage_is_held_back(queries):
    asked = [query for query in queries if query.relevant]
    assert sum(query.held_back for query in asked) == 8
    assert all(query.held_back == any(HELD[index] for index in query.relevant) for query in asked)


def test_no_list_to_train_on_shows_a_held_back_or_hidden_passage(queries):
    train = [query for query in queries if not query.held_back]
    assert len(train) == 71
    assert not any(HELD[index] for query in train for index in query.found)
    hidden = [query for query in train if query.hidden >= 0]
    assert 5 < len(hidden) < 30
    assert not any(query.hidden in query.found for query in hidden)
    assert any(HELD[index] for query in queries if query.held_back for index in query.found)


def test_test_queries_are_left_out(queries):
    assert "about word3" not in {query.text for query in queries}


def test_an_answer_that_bm25_has_further_down_is_shown(queries):
    *others, last = queries[-1].found
    assert last == 196
    assert 196 not in others
    assert len(queries[-1].found) == LIST_LENGTH


def test_licences_decide_what_is_trained_on():
    plan = next(plan for plan in prepare_gpu_data.PLANS if plan.name == "docs")
    assert plan.permits("python-tutorial-1")
    assert not plan.permits("foldoc-1")
    assert not any(plan.train + plan.crops for plan in prepare_gpu_data.PLANS if plan.name in {"squad", "debian"})


def test_tokens_are_those_of_the_bundled_tokenizer():
    ids, lengths = prepare_gpu_data.token_ids(["who wrote Hamlet?", "a " * 500], 300)
    assert lengths.tolist() == [4, 300]
    assert ids.dtype == np.uint16
    assert len(ids) == 304


def test_a_mix_goes_from_the_source_to_what_was_trained():
    pytest.importorskip("torch", reason="building needs PyTorch")
    pytest.importorskip("onnx", reason='building needs the extra "export"')
    from build_trained import mixed

    source = {"embeddings": np.ones(2, np.float32), "encoder.layer.0": np.zeros(2, np.float32)}
    layers = {"encoder.layer.0": np.full(2, 4, np.float32)}
    for share in (0.0, 0.25, 1.0):
        found = mixed(source, layers, share)
        np.testing.assert_array_equal(found["encoder.layer.0"], 4 * share)
        np.testing.assert_array_equal(found["embeddings"], 1)


def test_what_is_read_stands_above_the_rest_in_its_order():
    pytest.importorskip("bm25s")
    from judge_trained import first_read

    order, scores = np.array([4.0, 3.0, 2.0, 1.0]), np.array([0.1, 0.2, 0.9, 0.8])
    ranked = np.argsort(-first_read(order, scores, 2))
    assert ranked.tolist() == [1, 0, 2, 3]


def test_the_judge_keeps_scores_and_reads_them_again(tmp_path):
    from judge import Collection
    from judge_trained import MODELS, SCORERS, SOURCE, Candidates, judged, keep, score_model

    qrels = {"q1": {"a": 1}, "q2": {"b": 1}}
    collection = Collection("tiny", {"a": "one", "b": "two", "c": "three"}, {"q1": "one", "q2": "two"}, qrels)
    ids = {"q1": ["c", "a", "b"], "q2": ["b", "a"]}
    candidates = Candidates(collection, ids, {"q1": np.array([3.0, 2.0, 1.0]), "q2": np.array([2.0, 1.0])})
    for model, name, found in (("bundled", SOURCE, [1, 2, 0, 2, 1]), ("encoder", "trained: encoder", [2, 1, 0, 1, 2])):
        kept = {f"{name}; {scorer}": np.array(found, np.float64) for scorer in SCORERS}
        np.savez(tmp_path / f"tiny-{model}.npz", **kept)
    options = argparse.Namespace(output=tmp_path, models=tmp_path, trained=tmp_path, only=None, num_threads=1)
    scores = {name: rows for model in MODELS for name, rows in score_model(options, candidates, model).items()}
    assert set(scores) == {SOURCE, "trained: encoder"}
    assert [row.tolist() for row in scores[SOURCE]["MaxSim"]] == [[1, 2, 0], [2, 1]]
    keep(options, {name: {"tiny": values} for name, values in judged(candidates, scores)})
    rows = {row["name"]: row for row in json.loads((tmp_path / "report.json").read_text("utf-8"))["rows"]}
    second = 1 / np.log2(3)
    assert rows[f"{SOURCE}; MaxSim"]["ndcg@10"] == {"tiny": 1, "mean": 1}
    assert rows["trained: encoder; MaxSim"]["ndcg@10"]["tiny"] == pytest.approx(second)
    assert rows["trained: encoder; MaxSim"]["difference"]["mean"]["mean"] == pytest.approx(second - 1)
    assert rows["trained: encoder; MaxSim"]["difference"]["tiny"]["p"] == 0.5
    assert rows["BM25"]["ndcg@10"]["tiny"] == pytest.approx((second + 1) / 2)


def test_the_student_is_compared_with_what_computes_as_many_layers():
    from judge_trained import SOURCE, as_costly

    assert as_costly("trained: student; MaxSim") == " 50 read in the order of BM25, cost  50; MaxSim"
    way = "{} read in the order of student's MaxSim, cost {}; combination"
    assert as_costly(way.format(" 10", " 60")) == " 60 read in the order of BM25, cost  60; combination"
    assert as_costly(way.format(" 50", "100")) == f"{SOURCE}; combination"
    assert as_costly(f"{SOURCE}; MaxSim") is None
