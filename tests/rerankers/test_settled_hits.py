"""Reading ends when the first hits are settled: what is read, what a ranking says of it, and what is refused."""

import asyncio
import json
import logging
import math
from dataclasses import replace

import pytest

import rank_rerank
from rank_rerank.calibration.combination import FIXED
from rank_rerank.calibration.settling import Settling, looks
from rank_rerank.documents import Document
from rank_rerank.encoding.chunking import Chunking
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.rerankers import Blend, CascadeReranker, CascadeStage, RerankRequest, answer, settled_hits
from rank_rerank.rerankers.time_budget import TimeBudget

QUERY = "What is the capital of France?"
TEXTS = [
    "Paris is the capital and largest city of France.",
    "Berlin has been the capital of Germany since 1990.",
    "The French parliament meets in Paris.",
    *(f"{number} bananas are rich in potassium, says text {number}." for number in range(21)),
]
DOCUMENTS = [Document(text, id=str(number), score=30.0 - number) for number, text in enumerate(TEXTS)]


def with_limit(reranker, limit, **cache):
    bounds = Settling(1e6, 1.7, (100,), (1, 3), (0.9,), (((limit,), (limit,)),))
    own = rank_rerank.load(**cache) if cache else reranker
    return replace(own, calibration=replace(reranker.calibration, settling=bounds))


@pytest.fixture(scope="module")
def easy(reranker):
    """A reranker whose hits are settled at the first look: what is unread is foretold to be hopeless."""
    return with_limit(reranker, 50.0)


@pytest.fixture
def read(monkeypatch):
    """Texts that were encoded, in order."""
    texts = []
    encode = rank_rerank.TokenEncoder.encode_documents

    def noted(encoder, documents):
        texts.extend(documents)
        return encode(encoder, documents)

    monkeypatch.setattr(rank_rerank.TokenEncoder, "encode_documents", noted)
    return texts


def test_what_is_read_ends_at_a_look_and_the_ranking_says_so(easy, reranker, read):
    ranking = easy.rerank(QUERY, DOCUMENTS, top_k=3, settled=0.9)
    first = next(looks(len(DOCUMENTS), 3))
    assert read == TEXTS[:first]
    assert (ranking.stopped, ranking.num_unread, ranking.num_read) == ("settled", len(TEXTS) - first, 3)
    assert len(ranking) == 3
    assert "16 candidates left unread (settled)" in repr(ranking)
    # what was read has the bits of any other call, and is blended as if there were nothing else
    exact = {hit.index: hit.score for hit in reranker.rerank(QUERY, DOCUMENTS)}
    assert all(hit.was_read and hit.score == exact[hit.index] for hit in ranking)
    alone = reranker.rerank(QUERY, DOCUMENTS[:first], top_k=3)
    assert [(hit.index, hit.blended_score) for hit in ranking] == [(hit.index, hit.blended_score) for hit in alone]
    assert ranking.usage == reranker.rerank(QUERY, DOCUMENTS[:first]).usage
    told = json.loads(json.dumps(ranking.to_dict()))
    assert (told["stopped"], told["num_unread"]) == ("settled", 16)


def test_where_nothing_settles_all_is_read_and_the_bits_are_those_of_the_exact_ranking(reranker, read):
    exact = reranker.rerank(QUERY, DOCUMENTS, top_k=3)
    for own, options in (
        (with_limit(reranker, -50.0), {"settled": 0.9}),
        (with_limit(reranker, 50.0), {"settled": 0.99}),  # beyond what was fitted
    ):
        del read[:]
        found = own.rerank(QUERY, DOCUMENTS, top_k=3, **options)
        assert (list(found), found.usage, found.stopped, found.num_unread) == (list(exact), exact.usage, None, 0)
        assert "stopped" not in found.to_dict()
        assert len(read) == len(TEXTS)
    many = with_limit(reranker, 50.0).rerank(QUERY, DOCUMENTS, top_k=4, settled=0.9)
    assert (many.stopped, list(many)) == (None, list(reranker.rerank(QUERY, DOCUMENTS, top_k=4)))


def test_a_cache_and_the_order_of_calls_change_nothing_without_a_budget(reranker, easy):
    expected = easy.rerank(QUERY, DOCUMENTS, top_k=1, settled=0.9)
    cached = with_limit(reranker, 50.0, cache_bytes=1 << 24)
    cached.encoder.encode_documents(TEXTS[10:])
    for _ in range(2):
        found = cached.rerank(QUERY, DOCUMENTS, top_k=1, settled=0.9)
        assert (list(found), found.num_unread) == (list(expected), expected.num_unread)


def test_the_shape_of_windows_changes_nothing(easy, monkeypatch):
    expected = easy.rerank(QUERY, DOCUMENTS, top_k=1, settled=0.9)
    for size in (1, 3, 100):
        monkeypatch.setattr(TimeBudget, "window", lambda _budget, texts, _pace, size=size: min(size, len(texts)))
        found = easy.rerank(QUERY, DOCUMENTS, top_k=1, settled=0.9)
        assert (list(found), found.num_unread) == (list(expected), expected.num_unread)


def test_with_a_budget_whichever_comes_first_ends_reading(easy, monkeypatch):
    sizes = iter([3, 0])
    monkeypatch.setattr(TimeBudget, "window", lambda _budget, texts, _pace: min(next(sizes), len(texts)))
    late = easy.rerank(QUERY, DOCUMENTS, top_k=1, settled=0.9, budget_ms=1e9)
    assert (late.stopped, late.num_unread, len(late)) == ("budget", len(TEXTS) - 3, 1)
    sizes = iter([8, 0])
    early = easy.rerank(QUERY, DOCUMENTS, top_k=1, settled=0.9, budget_ms=1e9)
    assert (early.stopped, early.num_unread) == ("settled", len(TEXTS) - 8)


def test_a_budget_says_how_many_were_not_read_also_of_those_that_are_no_hits(reranker, monkeypatch):
    sizes = iter([5, 0])
    monkeypatch.setattr(TimeBudget, "window", lambda _budget, texts, _pace: min(next(sizes), len(texts)))
    ranking = reranker.rerank(QUERY, DOCUMENTS, top_k=2, budget_ms=1e9)
    assert (ranking.stopped, ranking.num_unread, ranking.num_read, len(ranking)) == ("budget", len(TEXTS) - 5, 2, 2)
    assert ranking[:1].num_unread == len(TEXTS) - 5
    assert reranker.rerank(QUERY, DOCUMENTS, budget_ms=math.inf).stopped is None


def test_distances_duplicates_and_spans(easy, read):
    distances = [replace(document, score=-document.score) for document in DOCUMENTS]
    first = next(looks(len(DOCUMENTS), 1))
    found = easy.rerank(QUERY, distances[::-1], top_k=1, settled=0.9, blend=Blend(lower_is_better=True), spans=True)
    assert found.stopped == "settled"
    assert set(read) >= set(TEXTS[:first])
    assert found[0].spans
    # a text that comes twice is read once, and both are read
    twice = [*DOCUMENTS, replace(DOCUMENTS[0], score=-1.0)]
    assert easy.rerank(QUERY, twice, top_k=1, settled=0.9).num_unread == len(TEXTS) - first


def test_many_queries_and_calls_that_wait(easy):
    alone = easy.rerank(QUERY, DOCUMENTS, top_k=1, settled=0.9)
    queries = ["Which fruit has potassium?", QUERY]
    for many in (
        easy.rerank_many(queries, [DOCUMENTS, DOCUMENTS], top_k=1, settled=0.9),
        asyncio.run(easy.arerank_many(queries, [DOCUMENTS, DOCUMENTS], top_k=1, settled=0.9)),
    ):
        assert [ranking.stopped for ranking in many] == ["settled", "settled"]
        assert list(many[1]) == list(alone)
    waited = asyncio.run(easy.arerank(QUERY, DOCUMENTS, top_k=1, settled=0.9))
    assert (list(waited), waited.num_unread) == (list(alone), alone.num_unread)
    asked = answer(easy, RerankRequest(QUERY, DOCUMENTS, top_k=1, settled=0.9))
    assert (list(asked), asked.num_unread) == (list(alone), alone.num_unread)


def test_without_scores_all_is_read_and_that_is_reported(easy, caplog):
    settled_hits._report_unsettled.cache_clear()
    with caplog.at_level(logging.INFO, "rank_rerank"):
        found = easy.rerank(QUERY, TEXTS, top_k=1, settled=0.9)
    assert (found.stopped, found.num_read) == (None, 1)
    assert list(found) == list(easy.rerank(QUERY, TEXTS, top_k=1))
    assert "settled was asked for" in caplog.text
    for few in ([], DOCUMENTS[:1], DOCUMENTS[:8]):
        assert easy.rerank(QUERY, few, top_k=1, settled=0.9).stopped is None


def test_stored_candidates_are_all_scored(easy, tmp_path):
    store = rank_rerank.EmbeddingStore.create(tmp_path / "store", easy.encoder)
    ids = [str(number) for number in range(len(TEXTS))]
    store.add(ids, texts=TEXTS)
    stored = store.select(ids, scores=[document.score for document in DOCUMENTS])
    found = easy.rerank(QUERY, stored, top_k=1, settled=0.9)
    assert (list(found), found.stopped) == (list(easy.rerank(QUERY, stored, top_k=1)), None)


@pytest.mark.parametrize("settled", [0, 1, -0.1, 1.5, math.nan, math.inf, True, "0.9", [0.9], 0.0, 1.0])
def test_what_is_no_probability_is_refused(easy, settled):
    with pytest.raises(InvalidArgumentError, match="settled"):
        easy.rerank(QUERY, DOCUMENTS, top_k=1, settled=settled)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "pass top_k"),
        ({"top_k": 1, "long_documents": "chunk"}, "leave out store and long_documents"),
        ({"top_k": 1, "long_documents": Chunking()}, "leave out store and long_documents"),
        ({"top_k": 1, "long_documents": "best-windows"}, "leave out store and long_documents"),
        ({"top_k": 1, "blend": None}, "leave out blend, or settled"),
        ({"top_k": 1, "blend": Blend(by_rank=True)}, "leave out blend, or settled"),
        ({"top_k": 1, "blend": Blend(weights={"maxsim": 1})}, "leave out blend, or settled"),
    ],
)
def test_what_does_not_go_together_is_refused(easy, options, message):
    with pytest.raises(InvalidArgumentError, match=message):
        easy.rerank(QUERY, DOCUMENTS, settled=0.9, **options)


def test_models_without_bounds_and_cascades_refuse(easy, reranker):
    fitted = replace(FIXED, first_stage=0.6)
    for calibration in (
        None,
        replace(reranker.calibration, settling=None),
        replace(easy.calibration, combination=fitted),  # bounds of other weights
    ):
        own = replace(reranker, calibration=calibration)
        with pytest.raises(InvalidArgumentError, match="no bounds were fitted for this model"):
            own.rerank(QUERY, DOCUMENTS, top_k=1, settled=0.9)
    cascade = CascadeReranker(easy, [CascadeStage(easy, keep=2)])
    with pytest.raises(InvalidArgumentError, match="leave out settled"):
        answer(cascade, RerankRequest(QUERY, DOCUMENTS, top_k=1, settled=0.9))
