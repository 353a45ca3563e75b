import copy
import math
from types import SimpleNamespace

import model_folders as folders
import numpy as np
import pytest

pytest.importorskip("torch", reason='needs the torch extra: pip install ".[torch]"')

import rank_rerank
from rank_rerank.errors import (
    CheckpointFormatError,
    EmptyQueryError,
    InvalidArgumentError,
    InvalidItemError,
    InvalidTextError,
    NonFiniteError,
)
from rank_rerank.rerankers import cascade_stages

DOCUMENTS = ["Paris is in France.", "", "word " * 100, "Berlin", {"text": "Rome", "id": "r"}]


@pytest.fixture(scope="module")
def reranker(tmp_path_factory):
    return rank_rerank.load(folders.write_cross_encoder(tmp_path_factory.mktemp("cross")), device="cpu")


def test_load_gives_the_reranker_that_the_model_asks_for(reranker):
    assert isinstance(reranker, rank_rerank.CrossEncoderReranker)
    assert isinstance(rank_rerank.load(), rank_rerank.ColbertReranker)


def test_a_ranking(reranker):
    ranking = reranker.rerank("What is the capital?", DOCUMENTS)
    scores = [hit.score for hit in ranking]
    assert scores == sorted(scores, reverse=True)
    assert (ranking[-1].index, ranking[-1].score, ranking[-1].relevance) == (1, -math.inf, 0)
    assert [hit.index for hit in ranking if hit.truncated] == [2]
    assert next(hit for hit in ranking if hit.index == 4).id == "r"
    assert all(hit.score == hit.relevance for hit in ranking[:-1])
    assert len(reranker.rerank("a", DOCUMENTS, top_k=2)) == 2
    assert len(reranker.rerank("a", [])) == 0


def test_a_score_does_not_depend_on_the_other_documents(reranker):
    together = {hit.index: hit.score for hit in reranker.rerank("a query", DOCUMENTS)}
    for index, document in enumerate(DOCUMENTS):
        assert reranker.rerank("a query", [document])[0].score == pytest.approx(together[index], abs=1e-6)


def test_rerank_many_is_rerank(reranker):
    queries, lists = ["one", "two words"], [DOCUMENTS, DOCUMENTS[:2]]
    for query, documents, ranking in zip(queries, lists, reranker.rerank_many(queries, lists), strict=True):
        assert [hit.score for hit in ranking] == [hit.score for hit in reranker.rerank(query, documents)]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda r: r.rerank("", ["a"]), EmptyQueryError, "the query has no words"),
        (lambda r: r.rerank(" ", []), EmptyQueryError, "the query has no words"),
        (lambda r: r.rerank("a", "text"), InvalidItemError, "list of documents"),
        (lambda r: r.rerank("a", ["b", 3]), InvalidItemError, r"documents\[1\]"),
        (lambda r: r.rerank("a", ["b", "\ud800"]), InvalidTextError, r"documents\[1\]"),
        (lambda r: r.rerank(5, ["b"]), InvalidItemError, "the query"),
        (lambda r: r.rerank("a", ["b"], top_k=0), InvalidArgumentError, "top_k"),
        (lambda r: r.rerank_many(["a"], []), InvalidArgumentError, "1 queries"),
        (lambda r: r.rerank_many("a", ["b"]), InvalidItemError, "must be a list of (queries|lists)"),
        (lambda r: r.rerank_many(["a", ""], [["b"], ["b"]]), EmptyQueryError, r"queries\[1\]"),
    ],
)
def test_bad_input(reranker, call, error, message):
    with pytest.raises(error, match=message):
        call(reranker)


def test_raw_logits_where_the_checkpoint_says_identity(tmp_path, reranker):
    identity = {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"}
    raw = rank_rerank.load(folders.write_cross_encoder(tmp_path, **identity), device="cpu").rerank("a", ["b c"])[0]
    squashed = reranker.rerank("a", ["b c"])[0]
    assert squashed.score == pytest.approx(1 / (1 + math.exp(-raw.score)), abs=1e-6)
    assert raw.relevance == squashed.relevance
    assert raw.score != raw.relevance


def test_nan_names_the_document(reranker):
    class Broken:
        description = "broken"

        def logits(self, batch):
            values = np.zeros(batch.num_texts, np.float32)
            values[2] = np.nan
            return values

    broken = rank_rerank.CrossEncoder(reranker.cross_encoder.checkpoint, reranker.cross_encoder.tokenizer, Broken())
    with pytest.raises(NonFiniteError, match="document 2"):
        rank_rerank.CrossEncoderReranker(broken).rerank("a", ["b", "c", "d"])


def test_a_copy_computes_the_same(reranker):
    cross_encoder = reranker.cross_encoder
    duplicate = rank_rerank.CrossEncoder(
        cross_encoder.checkpoint, copy.copy(cross_encoder.tokenizer), copy.copy(cross_encoder.transformer)
    )
    assert duplicate.score("a", ["b"]).scores.tolist() == cross_encoder.score("a", ["b"]).scores.tolist()


def test_the_other_kind_of_model_is_refused(tmp_path):
    with pytest.raises(CheckpointFormatError, match="late-interaction model"):
        rank_rerank.CrossEncoder.from_pretrained(folders.write_pylate(tmp_path))


# --- the cascade


@pytest.fixture(scope="module")
def cascade(reranker):
    return rank_rerank.CascadeReranker(rank_rerank.load(), [rank_rerank.CascadeStage(reranker, keep=3)])


MANY = [f"text number {number} about topic {number % 5}" for number in range(30)]


def test_a_cascade_reads_the_best_again_and_keeps_the_rest_in_order(cascade, reranker):
    first = cascade.first.rerank("topic 3", MANY)
    ranking = cascade.rerank("topic 3", MANY)
    assert [hit.stage for hit in ranking] == [1] * 3 + [0] * 27
    assert {hit.index for hit in ranking[:3]} == {hit.index for hit in first[:3]}
    assert [hit.index for hit in ranking[3:]] == [hit.index for hit in first[3:]]
    for hit in ranking[:3]:
        assert hit.score == pytest.approx(reranker.rerank("topic 3", [MANY[hit.index]])[0].score, abs=1e-6)
        assert hit.text == MANY[hit.index]
    scores = [hit.score for hit in ranking[:3]]
    assert scores == sorted(scores, reverse=True)
    assert [hit.score for hit in ranking[3:]] == [hit.score for hit in first[3:]]
    assert ranking.usage.total_tokens > first.usage.total_tokens


def test_top_k_cuts_what_is_shown_not_what_is_read(cascade):
    assert [hit.index for hit in cascade.rerank("topic 3", MANY, top_k=2)] == [
        hit.index for hit in cascade.rerank("topic 3", MANY)
    ][:2]


def test_a_cascade_of_many_queries_is_that_of_each(cascade):
    queries, lists = ["topic 3", "number 7"], [MANY, MANY[:2]]
    for query, documents, ranking in zip(queries, lists, cascade.rerank_many(queries, lists), strict=True):
        assert [hit.index for hit in ranking] == [hit.index for hit in cascade.rerank(query, documents)]
    assert len(cascade.rerank("a", [])) == 0


def test_a_budget_in_milliseconds_ends_the_second_stage(cascade, reranker, monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(cascade_stages, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    # every look at the clock is a second later: a block takes one, so three fit
    limited = rank_rerank.CascadeReranker(cascade.first, [rank_rerank.CascadeStage(reranker, 30, 6000)])
    ranking = limited.rerank("topic 3", MANY)
    assert [hit.stage for hit in ranking] == [1] * 24 + [0] * 6
    assert sorted(hit.index for hit in ranking) == list(range(30))


@pytest.mark.parametrize("options", [{"keep": 0}, {"keep": 1.5}, {"keep": True}, {"budget_ms": 0}, {"budget_ms": -1}])
def test_nonsense_is_refused(reranker, options):
    with pytest.raises(InvalidArgumentError):
        rank_rerank.CascadeStage(reranker, **options)
