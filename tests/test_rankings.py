import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank_rerank.documents import Document
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.rankings import RankedDocument, Ranking, ScoredDocuments, Usage, check_top_k

SCORES = st.lists(st.one_of(st.just(-math.inf), st.floats(-100, 100, width=32)), max_size=40)


def ranking_of(scores, top_k=None, **options):
    documents = [Document(f"text {index}", id=f"d{index}", metadata={"n": index}) for index in range(len(scores))]
    values = np.array(scores, np.float32)
    relevance = np.clip(values / 10, 0, 1)
    scored = ScoredDocuments(values, relevance, np.zeros(len(scores), np.bool_))
    return Ranking("q", **options).filled(documents, scored, top_k)


@given(SCORES)
def test_sorted_by_score_and_ties_keep_the_callers_order(scores):
    ranking = ranking_of(scores)
    assert [hit.index for hit in ranking] == sorted(range(len(scores)), key=lambda i: (-np.float32(scores[i]), i))


@given(SCORES, st.integers(1, 50))
def test_top_k_is_a_prefix(scores, top_k):
    assert list(ranking_of(scores, top_k)) == list(ranking_of(scores))[:top_k]


def test_behaves_as_a_list():
    ranking = ranking_of([1, 3, 2])
    assert len(ranking) == 3
    assert ranking[0].index == 1
    assert [hit.index for hit in ranking[1:]] == [2, 0]
    assert ranking[-1] in ranking
    assert (ranking[0].text, ranking[0].id, ranking[0].metadata) == ("text 1", "d1", {"n": 1})


def test_values_are_plain_python():
    hit = ranking_of([1])[0]
    assert [type(value) for value in (hit.index, hit.score, hit.relevance, hit.truncated)] == [int, float, float, bool]


@given(SCORES)
def test_every_conversion_is_json_that_a_strict_reader_takes(scores):
    ranking = ranking_of(scores, usage=Usage(3, 9), model="m")
    for value in (
        ranking.to_dict(),
        ranking.to_cohere(),
        ranking.to_jina(),
        ranking.to_tei(),
        ranking.to_tei(raw_scores=True),
    ):
        json.dumps(value, allow_nan=False)


def test_shapes_of_other_systems():
    ranking = ranking_of([2, 4], usage=Usage(3, 9), model="m")
    relevance = [float(np.float32(4) / 10), float(np.float32(2) / 10)]
    assert ranking.to_cohere() == {
        "results": [{"index": 1, "relevance_score": relevance[0]}, {"index": 0, "relevance_score": relevance[1]}],
        "meta": {"api_version": {"version": "2"}, "tokens": {"input_tokens": 12, "output_tokens": 0}},
    }
    assert ranking.to_jina()["results"][0] == {
        "index": 1,
        "relevance_score": relevance[0],
        "document": {"text": "text 1"},
    }
    assert "document" not in ranking.to_jina(return_documents=False)["results"][0]
    assert ranking.to_jina()["usage"] == {"prompt_tokens": 12, "total_tokens": 12}
    assert ranking.to_tei(return_text=True) == [
        {"index": 1, "score": relevance[0], "text": "text 1"},
        {"index": 0, "score": relevance[1], "text": "text 0"},
    ]
    assert ranking.to_tei(raw_scores=True) == [{"index": 1, "score": 4.0}, {"index": 0, "score": 2.0}]
    assert ranking.to_dict()["results"][0] == ranking[0].to_dict()


@given(SCORES)
def test_a_trec_run_read_by_score_then_by_id_has_the_order_returned(scores):
    ranking = ranking_of(scores)
    rows = [line.split(" ") for line in ranking.to_trec("q1").splitlines()]
    assert all(len(row) == 6 for row in rows)
    as_read = sorted(rows, key=lambda row: (np.float32(row[4]), row[2]), reverse=True)
    assert [row[2] for row in as_read] == [hit.id for hit in ranking]
    assert [int(row[3]) for row in rows] == list(range(1, len(scores) + 1))
    assert all(np.isfinite(np.float32(row[4])) for row in rows)


@pytest.mark.parametrize("word", ["", "a b", "a\n", "\u2003"])
def test_a_trec_run_refuses_what_would_break_its_lines(word):
    with pytest.raises(InvalidArgumentError):
        ranking_of([1]).to_trec(word)
    with pytest.raises(InvalidArgumentError):
        ranking_of([1]).to_trec("q", tag=word)
    with pytest.raises(InvalidArgumentError, match="the id of document 0"):
        replace(ranking_of([1]), hits=(RankedDocument(0, 1.0, 1.0, Document("t", id=word), truncated=False),)).to_trec(
            "q"
        )


@pytest.mark.parametrize("top_k", [0, -1, True, False, 1.0, "3"])
def test_top_k_that_counts_nothing_is_refused(top_k):
    with pytest.raises(InvalidArgumentError, match="top_k"):
        check_top_k(top_k)


def test_data_frame():
    pytest.importorskip("pandas", reason='needs pandas: pip install ".[dataframe]"')
    frame = ranking_of([1, -math.inf, 2]).to_dataframe()
    assert list(frame["index"]) == [2, 0, 1]
    assert list(ranking_of([]).to_dataframe().columns) == list(frame.columns)


def test_without_pandas_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(ImportError, match=r'pip install ".*(pandas|dataframe)'):
        ranking_of([1]).to_dataframe()


def test_a_slice_of_a_ranking_is_a_ranking():
    ranking = ranking_of([1, 3, 2], usage=Usage(1, 2), model="m")
    assert isinstance(ranking[:2], Ranking)
    assert [hit.index for hit in ranking[:2]] == [1, 2]
    assert (ranking[:2].query, ranking[:2].usage, ranking[:2].model) == ("q", Usage(1, 2), "m")
    assert [hit.index for hit in ranking[::-1]] == [0, 2, 1]
    assert ranking[3:].hits == ()
    assert ranking[-1].index == 0


def test_a_repr_is_short_and_shows_the_best_hit():
    long = Document("word " * 1000, id="d7")
    hit = RankedDocument(4, 7.25, 0.5, long, truncated=True)
    ranking = Ranking("q" * 10_000, (hit,) * 1000)
    assert repr(hit) == (
        "RankedDocument(index=4, score=7.25, relevance=0.50, id='d7', "
        "text='word word word word word word word word…', truncated)"
    )
    assert repr(ranking) == f"<Ranking of 1000 documents, best {hit!r}>"
    assert repr(Ranking("q")) == "<Ranking of 0 documents>"


@pytest.mark.parametrize("ids", [("a", "b", "a"), (None, "0", "x"), (7, "7", "x")])
def test_a_trec_run_names_no_document_twice(ids):
    hits = tuple(
        RankedDocument(index, -float(index), 0.5, Document("t", id=identifier), truncated=False)
        for index, identifier in enumerate(ids)
    )
    with pytest.raises(InvalidArgumentError, match=r"documents 0 and [12] have one id, .* leave out all but the best"):
        Ranking("a query", hits).to_trec("q")
