"""What the lists show that a model is trained on, and how trained layers are put together with the source's."""

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
