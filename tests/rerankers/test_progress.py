"""Long work shows a bar where it is asked for, and none where it is not."""

import re

import pytest
from model_folders import write_cross_encoder

import rank_rerank
from rank_rerank.errors import InvalidItemError

TEXTS = ["Paris is the capital of France.", "Bananas are yellow.", "Berlin " * 600]
QUERY = "capital of France"


@pytest.fixture(scope="module")
def cross_encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "cross"
    write_cross_encoder(folder)
    return rank_rerank.load(folder)


def hits_of(ranking):
    return [(hit.index, hit.score, hit.relevance) for hit in ranking]


@pytest.mark.parametrize("kind", ["late", "chunks", "store", "cross", "cascade"])
def test_a_bar_is_shown_when_asked(reranker, cross_encoder, tmp_path, capsys, kind):
    cascade = rank_rerank.CascadeReranker(reranker, [rank_rerank.CascadeStage(cross_encoder, keep=2)])
    chosen = {"cross": cross_encoder, "cascade": cascade}.get(kind, reranker)
    options = {"chunks": {"long_documents": "chunk"}}.get(kind, {})
    if kind == "store":
        options = {"store": rank_rerank.EmbeddingStore.create(tmp_path / "store", reranker.encoder)}
    chosen.rerank(QUERY, TEXTS, show_progress=False, **options)
    capsys.readouterr()  # what is logged once per process
    silent = chosen.rerank(QUERY, TEXTS, show_progress=False, **options)
    assert capsys.readouterr().err == ""
    assert hits_of(chosen.rerank(QUERY, TEXTS, show_progress=True, **options)) == hits_of(silent)
    assert re.search(r"\d/[3-9] \[.*(doc|pair|chunk)/s", capsys.readouterr().err)
    many = chosen.rerank_many([QUERY, QUERY], [TEXTS, TEXTS], show_progress=True, **options)
    assert [hits_of(each) for each in many] == [hits_of(silent)] * 2
    assert re.search(r"\d/[3-9] \[.*(doc|pair|chunk)/s", capsys.readouterr().err)
    # a test's standard error is no terminal
    chosen.rerank(QUERY, TEXTS, **options)
    assert capsys.readouterr().err == ""


def test_arguments_the_wrong_way_round(reranker, cross_encoder):
    for each in (reranker, cross_encoder, rank_rerank.DenseReranker(len)):
        with pytest.raises(InvalidItemError, match="the query, a str, comes first"):
            each.rerank(TEXTS, QUERY)


def test_a_key_of_the_texts(reranker, cross_encoder):
    rows = [{"body": text} for text in TEXTS]
    cascade = rank_rerank.CascadeReranker(reranker, [rank_rerank.CascadeStage(cross_encoder)])
    for each in (reranker, cross_encoder, cascade):
        expected = [(hit.index, hit.score) for hit in each.rerank(QUERY, TEXTS)]
        assert [(hit.index, hit.score) for hit in each.rerank(QUERY, rows, text_key="body")] == expected
        [many] = each.rerank_many([QUERY], [rows], text_key="body")
        assert [(hit.index, hit.score) for hit in many] == expected
        request = rank_rerank.rerankers.RerankRequest(QUERY, rows, text_key="body")
        answered = rank_rerank.rerankers.answer(each, request)
        assert [(hit.index, hit.score) for hit in answered] == expected
