"""Long documents read by their best windows: what is read is said, and passages lie where they are in the document."""

import json

import pytest
from model_folders import write_cross_encoder

import rank_rerank
from rank_rerank.documents import Document
from rank_rerank.encoding.text_windows import BestWindows
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.rerankers import Blend, RerankRequest, answer

QUERY = "What is the capital of France?"
FILLER = "The committee met again on Tuesday and talked about the budget of the coming year. "
ANSWER = "The capital of France is Paris, which has many museums. "
LONG = FILLER * 50 + ANSWER + FILLER * 20
DOCUMENTS = [FILLER * 70, LONG, "Bananas are yellow.", ""]


@pytest.fixture
def ranking(reranker):
    return reranker.rerank(QUERY, DOCUMENTS, long_documents="best-windows", spans=True)


def test_the_windows_with_the_querys_words_are_read_and_said(ranking, reranker):
    best = ranking[0]
    assert best.index == 1
    assert not best.truncated
    assert best.read_spans[0][0] == 0
    read = [LONG[start:end] for start, end in best.read_spans]
    assert ANSWER.strip() in read[1]
    assert best.score == reranker.rerank(QUERY, [" ".join(read)])[0].score
    assert [hit.read_spans is None for hit in sorted(ranking, key=lambda hit: hit.index)] == [False, False, True, True]
    assert json.loads(json.dumps(best.to_dict()))["read_spans"] == [list(span) for span in best.read_spans]
    assert "read_spans" not in ranking[-1].to_dict()
    assert best.score > reranker.rerank(QUERY, [LONG])[0].score  # its beginning has no answer


def test_passages_lie_where_they_are_in_the_document(ranking, reranker):
    best = ranking[0]
    assert any("capital of France" in LONG[span.start : span.end] for span in best.spans)
    assert {"capital", "France"} <= {LONG[match.start : match.end] for match in best.matches}
    for part in (*best.spans, *best.matches):
        assert any(start <= part.start < part.end <= end for start, end in best.read_spans)
    # encoded once more, they are the same
    assert reranker.with_spans(ranking)[0].spans == best.spans


def test_the_score_of_a_document_does_not_depend_on_the_others(reranker, ranking):
    for hit in ranking:
        alone = reranker.rerank(QUERY, [hit.text], long_documents="best-windows", spans=True)[0]
        assert (alone.score, alone.read_spans, alone.spans) == (hit.score, hit.read_spans, hit.spans)


def test_it_goes_with_budgets_blends_and_a_cache(reranker, ranking):
    for options in ({"budget_ms": 1e9}, {"blend": None}):
        found = reranker.rerank(QUERY, DOCUMENTS, long_documents="best-windows", spans=True, **options)
        assert list(found) == list(ranking)
    scored = [Document(text, score=9.0 - number) for number, text in enumerate(DOCUMENTS)]
    for options in ({}, {"budget_ms": 1e9}):
        blended = reranker.rerank(QUERY, scored, long_documents="best-windows", blend=Blend(), **options)
        assert {hit.index: hit.score for hit in blended} == {hit.index: hit.score for hit in ranking}
        assert blended[0].blended_score is not None
    own = rank_rerank.load(cache_bytes=1 << 24)
    own.rerank(QUERY, DOCUMENTS)
    for query in (QUERY, "Who met on Tuesday?", QUERY):
        found = own.rerank(query, DOCUMENTS, long_documents="best-windows")
        assert list(found) == list(reranker.rerank(query, DOCUMENTS, long_documents="best-windows"))


def test_a_cascade_reads_windows_too(reranker, ranking, tmp_path):
    cascade = rank_rerank.CascadeReranker(reranker, [rank_rerank.CascadeStage(reranker, keep=1)])
    found = cascade.rerank(QUERY, DOCUMENTS, long_documents="best-windows")
    assert [(hit.index, hit.score, hit.read_spans) for hit in found] == [
        (hit.index, hit.score, hit.read_spans) for hit in ranking
    ]
    request = RerankRequest(QUERY, DOCUMENTS, long_documents="best-windows")
    assert list(answer(cascade, request)) == list(found)
    assert list(cascade.rerank_many([QUERY], [DOCUMENTS], long_documents="best-windows")[0]) == list(found)
    with pytest.raises(InvalidArgumentError, match="a cascade reads no chunks"):
        cascade.rerank(QUERY, DOCUMENTS, long_documents="chunk")
    cross_encoder = rank_rerank.load(write_cross_encoder(tmp_path), runtime="numba")
    with pytest.raises(InvalidArgumentError, match="truncates long documents"):
        answer(cross_encoder, request)


def test_other_sizes_and_what_is_refused(reranker, tmp_path):
    whole = reranker.rerank(QUERY, [LONG], long_documents=BestWindows(48, 1))[0]
    assert len(whole.read_spans) == 1
    assert whole.read_spans[0][1] < 4 * 48 + 1
    store = rank_rerank.EmbeddingStore.create(tmp_path / "store", reranker.encoder)
    with pytest.raises(InvalidArgumentError, match="leave out best-windows, or store"):
        reranker.rerank(QUERY, [LONG], long_documents="best-windows", store=store)
    store.add(["one"], texts=[LONG])
    stored = reranker.rerank(QUERY, store.select(["one"]), long_documents="best-windows")
    assert stored[0].read_spans is None  # its vectors are there
    with pytest.raises(InvalidArgumentError, match="long_documents"):
        reranker.rerank(QUERY, [LONG], long_documents="windows")
