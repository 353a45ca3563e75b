import asyncio
import inspect

import numpy as np
import pytest
from adapter_properties import QUERY, THOUSAND, Got, Unchanged, assert_as_reranked, documents, quick, top_ks
from hypothesis import given

from rank_rerank import CascadeReranker, CascadeStage
from rank_rerank.errors import InvalidArgumentError, InvalidItemError
from rank_rerank.integrations import compatible
from rank_rerank.integrations.compatible import (
    CrossEncoder,
    Document,
    LateInteractionTextEmbedding,
    RankedResults,
    Ranker,
    Reranker,
    RerankRequest,
    TextCrossEncoder,
)

TEXTS = ["Bananas are yellow.", "Paris is the capital of France.", "", "Berlin is in Germany."]


@given(given=documents, top_k=top_ks)
@quick
def test_cross_encoder_ranks_as_rerank(reranker, given, top_k):
    texts = [each.text for each in given]
    with Unchanged(texts):
        hits = CrossEncoder(reranker).rank(QUERY, texts, top_k=top_k, return_documents=True)
    got = [
        Got(hit["text"], given[hit["corpus_id"]].id, given[hit["corpus_id"]].metadata, score=hit["score"])
        for hit in hits
    ]
    assert_as_reranked(reranker, given, got, top_k)


def test_cross_encoder_without_documents_in_what_it_returns(reranker):
    model = CrossEncoder(reranker)
    assert model.rank(QUERY, TEXTS, 1) == [{"corpus_id": 1, "score": reranker.rerank(QUERY, TEXTS)[0].score}]
    assert model.rank(QUERY, [], batch_size=8, show_progress_bar=False) == []


def test_predict_scores_pairs_in_their_order(reranker):
    model = CrossEncoder(reranker)
    pairs = [["a capital", TEXTS[1]], ["yellow", TEXTS[0]], ("a capital", TEXTS[0]), ["a capital", ""]]
    scores = model.predict(pairs, batch_size=2)
    assert scores.dtype == np.float32
    assert scores.tolist() == [reranker.rerank(query, [text])[0].score for query, text in pairs]
    assert model.predict(pairs[0]) == scores[0]
    assert model.predict(pairs, convert_to_numpy=False) == scores.tolist()
    assert model.predict([]).shape == (0,)
    with pytest.raises(InvalidItemError, match=r"inputs\[1\] must be two texts"):
        model.predict([["a", "b"], ["only one"]])


def test_beir_reranks_with_it(reranker):
    reranking = pytest.importorskip("beir.reranking", reason="needs beir")
    corpus = {str(number): {"title": "A title", "text": text} for number, text in enumerate(TEXTS[:2])}
    found = {"q": {"0": 2.0, "1": 1.0}}
    results = reranking.Rerank(CrossEncoder(reranker), batch_size=128).rerank(corpus, {"q": QUERY}, found, top_k=2)
    ranking = reranker.rerank(QUERY, [f"A title {text}" for text in TEXTS[:2]])
    assert results == {"q": {str(hit.index): hit.score for hit in ranking}}


@given(given=documents)
@quick
def test_reranker_ranks_as_rerank(reranker, given):
    model = Reranker(reranker, model_type="colbert", verbose=0)
    ids, texts, metadata = [e.id for e in given], [e.text for e in given], [e.metadata for e in given]
    with Unchanged([ids, texts, metadata]):
        results = model.rank(QUERY, texts, ids, metadata)
    got = [Got(each.text, each.doc_id, each.metadata, score=each.score) for each in results]
    assert_as_reranked(reranker, given, got)
    assert [each.rank for each in results] == list(range(1, len(given) + 1))
    own = model.rank(QUERY, [Document(each.text, each.id, each.metadata) for each in given])
    assert own == results == asyncio.run(model.rank_async(QUERY, texts, ids, metadata))


def test_ranked_results_are_asked_as_in_rerankers(reranker):
    results = Reranker(reranker).rank(QUERY, TEXTS, metadata=[{"n": number} for number in range(4)])
    best = reranker.rerank(QUERY, TEXTS)[0]
    assert results.results_count() == len(results) == 4
    assert results[0] == results.top_k(1)[0] == results.get_result_by_docid(1)
    assert results.get_score_by_docid(1) == best.score
    assert results.get_score_by_docid("none") is None
    assert (results[0].n, results[0].document.text, results.query, results.has_scores) == (1, TEXTS[1], QUERY, True)
    assert Reranker(reranker).score(QUERY, TEXTS[1]) == best.score
    converted = RankedResults.of(reranker.rerank(QUERY, [{"text": TEXTS[0], "id": "x", "n": 0}, TEXTS[1]]))
    assert [(each.doc_id, each.rank) for each in converted] == [(1, 1), ("x", 2)]
    assert converted[1].n == 0
    with pytest.raises(AttributeError, match="no 'missing'"):
        _ = results[0].missing
    with pytest.raises(InvalidArgumentError, match="4 docs, but 1 doc_ids"):
        Reranker(reranker).rank(QUERY, TEXTS, doc_ids=["a"])


def test_ranked_results_answer_as_those_of_rerankers(reranker):
    theirs = pytest.importorskip("rerankers.results", reason="needs rerankers")
    their_documents = pytest.importorskip("rerankers.documents")
    passed = [their_documents.Document(text, doc_id=f"d{n}", metadata={"n": n}) for n, text in enumerate(TEXTS)]
    ours = Reranker(reranker).rank(QUERY, passed)
    same = theirs.RankedResults(
        [theirs.Result(passed[int(each.doc_id[1:])], each.score, each.rank) for each in ours], QUERY, has_scores=True
    )
    for question in (
        lambda results: results.results_count(),
        lambda results: [(each.doc_id, each.text, each.n, each.rank) for each in results.top_k(2)],
        lambda results: results.get_score_by_docid("d3"),
        lambda results: results.get_result_by_docid("d0").rank,
        lambda results: results[1].score,
    ):
        assert question(ours) == question(same)


@given(given=documents)
@quick
def test_ranker_ranks_as_rerank(reranker, given):
    passages = [{"id": each.id, "text": each.text, "meta": each.metadata} for each in given]
    with Unchanged(passages):
        results = Ranker(reranker).rerank(RerankRequest(QUERY, passages))
    got = [Got(each["text"], each["id"], each["meta"], relevance=each["score"]) for each in results]
    assert_as_reranked(reranker, given, got)


def test_ranker_takes_flashranks_own_request(reranker):
    flashrank = pytest.importorskip("flashrank", reason="needs flashrank")
    request = flashrank.RerankRequest(query=QUERY, passages=[{"text": text} for text in TEXTS])
    assert Ranker(reranker).rerank(request)[0]["text"] == TEXTS[1]


def test_a_passage_without_text_is_named(reranker):
    with pytest.raises(InvalidItemError, match=r"passages\[1\] must be a mapping"):
        Ranker(reranker).rerank(RerankRequest(QUERY, [{"text": "a"}, {"txt": "b"}]))


def test_text_cross_encoder_scores_in_the_order_given(reranker):
    model = TextCrossEncoder(reranker)
    scores = {hit.index: hit.score for hit in reranker.rerank(QUERY, TEXTS)}
    assert list(model.rerank(QUERY, iter(TEXTS), batch_size=2)) == [scores[number] for number in range(4)]
    assert list(model.rerank_pairs(((QUERY, text) for text in TEXTS), parallel=2)) == [scores[n] for n in range(4)]


def test_late_interaction_embeddings_are_the_encoders(reranker):
    model = LateInteractionTextEmbedding(reranker)
    assert model.embedding_size == reranker.encoder.dim
    for embed in (model.embed, model.passage_embed):
        embedded = list(embed(TEXTS))
        assert len(embedded) == 4
        for own, text in zip(embedded, TEXTS, strict=True):
            assert np.array_equal(own, reranker.encoder.encode_document(text)[0])
    (query,) = model.query_embed(QUERY)
    assert np.array_equal(query, reranker.encoder.encode_query(QUERY)[0])
    assert np.array_equal(next(model.embed("one text")), reranker.encoder.encode_document("one text")[0])


def test_a_corpus_is_read_as_it_is_embedded(reranker):
    read = []
    embedded = LateInteractionTextEmbedding(reranker).embed(read.append(each.text) or each.text for each in THOUSAND)
    next(embedded)
    assert len(read) == 256


def test_a_thousand_documents(reranker):
    texts = [each.text for each in THOUSAND]
    hits = CrossEncoder(reranker).rank(QUERY, texts, return_documents=True)
    got = [Got(hit["text"], THOUSAND[hit["corpus_id"]].id, {}, score=hit["score"]) for hit in hits]
    assert_as_reranked(reranker, THOUSAND, got)


def test_any_reranker_and_any_model_may_be_inside(reranker):
    cascade = CascadeReranker(reranker, [CascadeStage(reranker, keep=1)])
    assert CrossEncoder(cascade).rank(QUERY, TEXTS, top_k=1)[0]["corpus_id"] == 1
    assert CrossEncoder().rank(QUERY, TEXTS, top_k=1)[0]["corpus_id"] == 1
    assert Ranker(num_threads=1).reranker.num_threads == 1
    with pytest.raises(InvalidArgumentError, match="takes no options: leave out num_threads"):
        CrossEncoder(reranker, num_threads=1)
    with pytest.raises(InvalidArgumentError, match="come from late-interaction models; this is CascadeReranker"):
        LateInteractionTextEmbedding(cascade)


@pytest.mark.parametrize(
    "name", ["CrossEncoder", "Reranker", "Ranker", "TextCrossEncoder", "LateInteractionTextEmbedding"]
)
def test_foreign_arguments_of_a_constructor_are_answered(name):
    with pytest.raises(TypeError, match=f"{name}.__init__.. has no argument 'trust_remote_code'; .*never run"):
        getattr(compatible, name)(trust_remote_code=True)


def test_foreign_arguments_of_calls_are_answered(reranker):
    with pytest.raises(TypeError, match="the number of hits is top_k"):
        CrossEncoder(reranker).rank(QUERY, TEXTS, top_n=3)
    with pytest.raises(TypeError, match="scores are Python floats"):
        CrossEncoder(reranker).predict([[QUERY, "a"]], convert_to_tensor=True)
    assert inspect.signature(CrossEncoder.rank).parameters["top_k"].default is None


def test_the_compressor_of_rerankers(reranker):
    pytest.importorskip("langchain_core")
    from langchain_core.documents import Document as LangChainDocument

    compressor = Reranker(reranker).as_langchain_compressor(k=1)
    (best,) = compressor.compress_documents([LangChainDocument(text) for text in TEXTS], QUERY)
    assert best.page_content == TEXTS[1]


@pytest.mark.parametrize("strange", [None, 3, "a query", object(), {"query": "a"}])
def test_a_request_that_is_none_is_refused_with_what_to_pass(reranker, strange):
    with pytest.raises(InvalidItemError, match="Pass RerankRequest"):
        Ranker(reranker).rerank(strange)
    with pytest.raises(InvalidItemError, match="passages"):
        Ranker(reranker).rerank(RerankRequest("a query", strange))


@pytest.mark.parametrize("strange", [None, 3, {"a": "b"}, {"a"}, [3], [None]])
def test_texts_to_embed_that_are_none_are_refused(reranker, strange):
    with pytest.raises(InvalidItemError, match="documents"):
        list(LateInteractionTextEmbedding(reranker).embed(strange))
