"""A budget of milliseconds: what is read, in which order, and what becomes of the rest."""

import asyncio
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from paced_reading import DOCUMENTS, QUERY

import rank_rerank
from rank_rerank.documents import Document
from rank_rerank.encoding.chunking import Chunking
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.rerankers import Blend
from rank_rerank.rerankers.pace import pace_of
from rank_rerank.rerankers.promise import lexical_scores, promise
from rank_rerank.rerankers.time_budget import TimeBudget, check_budget


@pytest.fixture
def reads(monkeypatch):
    """Let budgets read so many texts window by window, whatever the time."""

    def script(*sizes):
        left = iter(sizes)

        def window(_budget, texts, _pace):
            return min(next(left, 0), len(texts))

        monkeypatch.setattr(TimeBudget, "window", window)

    return script


def test_only_the_most_promising_are_read_and_their_scores_are_the_same_bits(reranker, reads):
    expected = {hit.index: hit.score for hit in reranker.rerank(QUERY, DOCUMENTS)}
    reads(1, 1)
    ranking = reranker.rerank(QUERY, DOCUMENTS, budget_ms=50)
    # the same text twice is read once
    assert [hit.index for hit in ranking if hit.was_read] == [2, 5, 3]
    assert all(hit.score == expected[hit.index] for hit in ranking if hit.was_read)
    assert ranking.num_read == 3
    # the rest is in the caller's order
    assert [hit.index for hit in ranking if not hit.was_read] == [0, 1, 4]
    assert all(hit.score == -math.inf and hit.relevance == 0 for hit in ranking if not hit.was_read)
    assert "3 of them read" in repr(ranking)
    assert "not read" in repr(ranking[-1])


def test_what_is_not_read_comes_before_what_has_no_words(reranker, reads):
    reads(1)
    documents = [Document("", score=9.0), Document("Paris", score=3.0)]
    assert [(hit.index, hit.was_read) for hit in reranker.rerank(QUERY, documents, budget_ms=5)] == [
        (1, False),
        (0, True),
    ]


def test_json_says_what_was_read_and_only_where_something_was_not(reranker, reads):
    reads(2)
    content = json.loads(json.dumps(reranker.rerank(QUERY, DOCUMENTS, budget_ms=50).to_dict()))
    assert content["num_read"] == 3
    assert [hit.get("was_read", True) for hit in content["results"]] == [True] * 3 + [False] * 3
    assert content["results"][-1]["score"] is None
    whole = reranker.rerank(QUERY, DOCUMENTS).to_dict()
    assert "num_read" not in whole
    assert "was_read" not in whole["results"][-1]


@pytest.mark.parametrize("budget_ms", [math.inf, np.float32(math.inf), 1e9])
def test_with_time_enough_the_ranking_is_the_exact_one(reranker, budget_ms):
    exact, found = reranker.rerank(QUERY, DOCUMENTS), reranker.rerank(QUERY, DOCUMENTS, budget_ms=budget_ms)
    assert [replace(hit) for hit in found] == list(exact)
    assert found.num_read == len(DOCUMENTS)


def test_first_stage_scores_say_what_is_read_first(reranker, reads):
    scores = [9.0, 8.0, 7.0, 6.0, 5.0, 4.0]
    documents = [Document(f"text of {number}", score=score) for number, score in enumerate(scores)]
    reads(2)
    assert {hit.index for hit in reranker.rerank(QUERY, documents, budget_ms=5) if hit.was_read} == {0, 1}
    reads(2)
    distances = Blend(lower_is_better=True)
    read = {hit.index for hit in reranker.rerank(QUERY, documents, budget_ms=5, blend=distances) if hit.was_read}
    assert read == {4, 5}


def test_a_blend_of_what_was_read(reranker, reads):
    documents = [Document(text, score=10.0 - number) for number, text in enumerate(DOCUMENTS)]
    expected = reranker.rerank(QUERY, documents[:3], blend=Blend())
    reads(3)
    found = reranker.rerank(QUERY, documents, budget_ms=50, blend=Blend())
    # the text of the third is that of the last, which brings a score of its own
    kept = [hit for hit in found if hit.index < 3]
    assert [hit.index for hit in kept if hit.was_read and hit.text] == [hit.index for hit in expected if hit.text]
    assert all(hit.blended_score == -math.inf for hit in found if not hit.was_read)


def test_passages_are_found_in_what_was_read(reranker, reads):
    reads(2)
    ranking = reranker.rerank(QUERY, DOCUMENTS, budget_ms=50, spans=True)
    assert [hit.spans is not None for hit in ranking] == [True] * 3 + [False] * 3


def test_many_queries_and_tasks_that_wait(reranker, reads):
    reads(1, 0, 1, 0)
    queries, lists = [QUERY, "Which fruit has potassium?"], [DOCUMENTS, DOCUMENTS]
    rankings = reranker.rerank_many(queries, lists, budget_ms=20, top_k=2)
    assert [ranking[0].index for ranking in rankings] == [2, 0]
    reads(1, 0, 1, 0)

    async def both():
        alone = await reranker.arerank(QUERY, DOCUMENTS, budget_ms=20)
        return alone, await reranker.arerank_many(queries[1:], lists[1:], budget_ms=20)

    alone, many = asyncio.run(both())
    assert (alone[0].index, alone.num_read) == (2, 2)
    assert (many[0][0].index, many[0].num_read) == (0, 1)


def test_stored_candidates_are_scored_whatever_the_time(reranker, reads, tmp_path):
    reads()
    store = rank_rerank.EmbeddingStore.create(tmp_path / "store", reranker.encoder)
    store.add([str(number) for number in range(len(DOCUMENTS))], texts=DOCUMENTS)
    found = reranker.rerank(QUERY, store.select(["2", "0"]), budget_ms=1)
    assert [(hit.index, hit.was_read) for hit in found] == [(0, True), (1, True)]


def test_no_candidates(reranker):
    assert len(reranker.rerank(QUERY, [], budget_ms=10)) == 0


@pytest.mark.parametrize("budget_ms", [0, -1, math.nan, -math.inf, True, "50", [50], 0.0])
def test_what_is_no_budget_is_refused(reranker, budget_ms):
    with pytest.raises(InvalidArgumentError, match="budget_ms"):
        reranker.rerank(QUERY, DOCUMENTS, budget_ms=budget_ms)


def test_a_budget_does_not_go_with_chunks_or_a_cache(reranker, tmp_path):
    with pytest.raises(InvalidArgumentError, match="leave out budget_ms, or long_documents"):
        reranker.rerank(QUERY, DOCUMENTS, budget_ms=5, long_documents=Chunking())
    store = rank_rerank.EmbeddingStore.create(tmp_path / "store", reranker.encoder)
    with pytest.raises(InvalidArgumentError, match="leave out budget_ms, or store"):
        reranker.rerank(QUERY, DOCUMENTS, budget_ms=5, store=store)


def test_no_budget_is_an_infinite_one():
    assert check_budget(None) is check_budget(math.inf) is None
    assert check_budget(np.int64(5)) == 5.0


def test_what_is_cached_is_read_first_and_tells_nothing_of_the_pace(reads):
    own = rank_rerank.load(cache_bytes=1 << 24)
    expected = {hit.index: hit.score for hit in own.rerank(QUERY, DOCUMENTS)}
    own.encoder.cache.clear()
    own.encoder.encode_documents([DOCUMENTS[0], DOCUMENTS[4]])
    reads(1)
    ranking = own.rerank(QUERY, DOCUMENTS, budget_ms=1e9)
    assert {hit.index for hit in ranking if hit.was_read} == {0, 4, 2, 5}
    assert all(hit.score == expected[hit.index] for hit in ranking if hit.was_read)
    reads()
    known = own.rerank(QUERY, DOCUMENTS, budget_ms=1e9)
    assert known.num_read == 4
    own.rerank(QUERY, DOCUMENTS)
    before = pace_of(own.encoder, None).tokens_per_s
    assert own.rerank(QUERY, DOCUMENTS, budget_ms=1e9).num_read == len(DOCUMENTS)
    assert pace_of(own.encoder, None).tokens_per_s == before


def test_lexical_scores_prefer_rare_words_and_short_texts():
    texts = [
        "capital of the France",
        "France",
        "France " + "and other words " * 50,
        "",
        "capital gains",
        "capital city",
    ]
    scores = lexical_scores(QUERY, texts)
    assert scores[0] > scores[1] > 0  # two words
    assert scores[1] > scores[4] > 0  # a rarer word
    assert lexical_scores("France", texts)[1] > lexical_scores("France", texts)[2] > 0  # a shorter text
    assert scores[3] == 0
    assert lexical_scores("of the", texts)[0] > 0  # words like these count where there are no others
    assert lexical_scores("?!", texts).tolist() == [0.0] * 6
    assert lexical_scores(QUERY, []).tolist() == []


def test_promise_takes_scores_only_where_all_have_one():
    documents = [Document("France", score=1.0), Document("a bank", score=2.0)]
    assert promise(QUERY, documents).tolist() == [1.0, 2.0]
    assert promise(QUERY, documents, Blend(lower_is_better=True)).tolist() == [-1.0, -2.0]
    assert promise(QUERY, documents, Blend(by_rank=True)).tolist() == [0.0, -1.0]
    kept = [Document("France", metadata={"_distance": 0.5}), Document("a bank", metadata={"_distance": 0.25})]
    assert promise(QUERY, kept, Blend(score_key="_distance", lower_is_better=True)).tolist() == [-0.5, -0.25]
    half = promise(QUERY, [documents[0], Document("a bank")])
    assert half[0] > half[1]
