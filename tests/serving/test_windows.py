"""A request in pieces is the ranking of one call, to the bit."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rank_rerank.documents import Document
from rank_rerank.encoding.chunking import Chunking
from rank_rerank.errors import DocumentTooLongError, EmptyQueryError
from rank_rerank.rerankers import CascadeReranker, CascadeStage, RerankRequest, answer
from rank_rerank.serving.costs import Meter, end_of_piece, estimate_tokens
from rank_rerank.serving.piece_costs import Pace
from rank_rerank.serving.windows import rank_in_pieces
from rank_rerank.storage.embedding_store import EmbeddingStore

WORDS = ("heart", "attack", "aspirin", "cat", "of", "the", "Ärzte", "心", "42", ".", "\n")
texts = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)
options = st.fixed_dictionaries(
    {
        "top_k": st.none() | st.integers(1, 12),
        "spans": st.booleans() | st.integers(0, 5),
        "long_documents": st.sampled_from(["truncate", "chunk"]),
    }
)


class SmallPieces(Meter):
    """A meter that asks for pieces of a given size, whatever was measured."""

    def __init__(self, size):
        super().__init__()
        self._size = size

    def piece_tokens(self, _seconds):
        return self._size


def run(reranker, request, size):
    pieces = rank_in_pieces(reranker, request, Pace(SmallPieces(size), 512))
    count = 0
    try:
        while True:
            next(pieces)
            count += 1
    except StopIteration as end:
        return end.value, count


def assert_same(one, other):
    assert one.to_dict() == other.to_dict()
    assert one.usage == other.usage
    for left, right in zip(one, other, strict=True):
        assert left == right
        assert np.float32(left.score).tobytes() == np.float32(right.score).tobytes()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents=st.lists(texts, max_size=12), chosen=options, size=st.integers(1, 60))
def test_windows_are_one_ranking(reranker, documents, chosen, size):
    request = RerankRequest("aspirin for the heart", documents, **chosen)
    ranking, _ = run(reranker, request, size)
    assert_same(ranking, answer(reranker, request))


def test_a_text_that_comes_again_is_encoded_once(reranker, monkeypatch):
    documents = ["aspirin for the heart", "a cat", "attack"] * 20
    request = RerankRequest("heart attack", documents, spans=4)
    read = []
    stream = type(reranker.encoder).stream_documents

    def stream_and_note(self, texts, **options):
        read.extend(texts)
        return stream(self, texts, **options)

    monkeypatch.setattr(type(reranker.encoder), "stream_documents", stream_and_note)
    ranking, count = run(reranker, request, 5)
    assert count == 3
    assert sorted(read) == sorted(set(documents))
    assert_same(ranking, answer(reranker, request))


def test_a_query_is_encoded_once(reranker, monkeypatch):
    encode, encoded = type(reranker.encoder).encode_query, []
    monkeypatch.setattr(
        type(reranker.encoder), "encode_query", lambda self, text: encoded.append(text) or encode(self, text)
    )
    for long_documents in ("truncate", "chunk"):
        request = RerankRequest("heart", ["aspirin", "a cat", "attack"] * 5, long_documents=long_documents)
        assert run(reranker, request, 1)[1] > 2
    assert encoded == ["heart"] * 2


def test_equal_scores_keep_the_callers_order_though_equal_texts_are_read_together(reranker):
    documents = ["a cat", "aspirin", "a  cat", "a cat", " aspirin ", "aspirin"]
    request = RerankRequest("heart attack", documents)
    for size in (1, 9, 100):
        assert_same(run(reranker, request, size)[0], answer(reranker, request))


def test_long_documents_in_chunks_and_truncated(reranker):
    documents = ["The heart pumps blood. " * 200, "cat", "", "aspirin helps. " * 150]
    for long_documents in ("truncate", "chunk"):
        request = RerankRequest("heart", documents, spans=2, long_documents=long_documents)
        ranking, count = run(reranker, request, 100)
        assert count > 2
        assert_same(ranking, answer(reranker, request))


def test_the_tokens_of_all_pieces_are_what_was_estimated(reranker):
    documents = [Document("cat " * 300), Document("The heart pumps blood. " * 900), Document("aspirin")]
    for long_documents in ("truncate", "chunk"):
        pace = Pace(SmallPieces(600), 512)
        request = RerankRequest("heart", documents, long_documents=long_documents)
        tokens = list(rank_in_pieces(reranker, request, pace))
        assert min(tokens) >= 0
        assert sum(tokens) == sum(pace.cost(each, whole=long_documents == "chunk") for each in documents)


@pytest.mark.parametrize("chunking", [Chunking(), Chunking(score="all_tokens", length=40)])
def test_a_document_longer_than_a_window_is_read_in_several(reranker, chunking):
    documents = ["cat " * 300, "The heart pumps blood. " * 900, "aspirin"]
    request = RerankRequest("heart", documents, spans=2, long_documents=chunking)
    for size, least in ((600, 10), (10_000, 2)):
        ranking, count = run(reranker, request, size)
        assert count >= least
        assert_same(ranking, answer(reranker, request))


def test_a_long_document_is_refused_with_its_own_index(reranker):
    documents = ["short"] * 70 + ["aspirin helps. " * 400]
    with pytest.raises(DocumentTooLongError, match=r"documents\[70\]"):
        run(reranker, RerankRequest("heart", documents, long_documents="error"), 100)


def test_a_query_without_words_is_refused_though_there_are_no_documents(reranker):
    with pytest.raises(EmptyQueryError):
        run(reranker, RerankRequest(" ", []), 100)


@pytest.mark.parametrize("spans", [False, 3, True])
def test_a_store_gives_the_same_in_windows(reranker, tmp_path, spans):
    documents = [f"aspirin number {number} for the heart" for number in range(20)]
    store = EmbeddingStore.create(tmp_path / "store", reranker.encoder)
    store.add([str(number) for number in range(20)], texts=documents)
    for request in (
        RerankRequest("heart", store.select(map(str, range(20))), top_k=12, spans=spans),
        RerankRequest("heart", store.select(map(str, range(20))), spans=spans, long_documents="chunk"),
    ):
        ranking, _ = run(reranker, request, 30)
        assert_same(ranking, answer(reranker, request))


def test_a_store_as_cache_gives_the_same_in_windows(reranker, tmp_path):
    documents = [f"aspirin number {number} for the heart" for number in (*range(9), *range(9))]
    candidates = [Document(text) for text in documents]
    stores = [EmbeddingStore.create(tmp_path / name, reranker.encoder) for name in ("one", "two")]
    requests = [RerankRequest("heart", candidates, top_k=5, spans=2, store=store) for store in stores]
    for _ in range(2):  # what is not there yet, and what is
        in_windows, whole = run(reranker, requests[0], 40)[0], answer(reranker, requests[1])
        # the cache grew window by window, and each time made a new generation of the store
        assert in_windows.as_of >= whole.as_of
        assert_same(replace(in_windows, as_of=whole.as_of), whole)


def test_a_cross_encoder_counts_its_query_once(cross_encoder):
    documents = ["", "a heart", "aspirin", "", "cat of the heart", "attack", " "]
    for size in (1, 7, 20, 1000):
        request = RerankRequest("heart attack", documents, top_k=5)
        assert_same(run(cross_encoder, request, size)[0], answer(cross_encoder, request))
    request = replace(request, documents=["", " "])
    assert_same(run(cross_encoder, request, 1)[0], answer(cross_encoder, request))


def test_a_cascade_is_read_in_windows_too(reranker, cross_encoder):
    cascade = CascadeReranker(reranker, [CascadeStage(cross_encoder, keep=6)])
    documents = [f"aspirin number {number} for the heart" for number in range(20)]
    request = RerankRequest("heart attack", documents, top_k=15)
    ranking, count = run(cascade, request, 20)
    assert count > 8
    assert_same(ranking, answer(cascade, request))


@given(st.lists(st.integers(0, 50), max_size=20), st.integers(1, 100))
def test_pieces_cover_a_list_and_keep_below_the_largest(costs, largest):
    position = 0
    while position < len(costs):
        end = end_of_piece(costs, position, largest)
        assert end > position
        assert sum(costs[position:end]) in (costs[position], *range(largest + 1))
        assert end == len(costs) or costs[end] > 0
        position = end


def test_an_estimate_looks_at_no_more_than_the_model_reads():
    assert estimate_tokens("word " * 10_000_000, 512) == 512
    assert estimate_tokens("word " * 100) > estimate_tokens("word " * 10)
    assert estimate_tokens("") > 0


def test_a_meter_learns_and_forgets():
    meter = Meter(1000)
    assert meter.tokens_per_s == pytest.approx(1000)
    for _ in range(100):
        meter.take(5000, 1)
    assert meter.tokens_per_s == pytest.approx(5000, rel=1e-3)
    for _ in range(30):
        meter.take(100, 1)
    assert meter.tokens_per_s == pytest.approx(100, rel=0.2)
    assert meter.most_seconds(100) >= meter.seconds(100)
    # promises follow a slower machine at once, and a faster one after a while
    for _ in range(20):
        meter.take(5000, 1)
    assert meter.tokens_per_s == pytest.approx(5000, rel=0.05)
    assert meter.most_seconds(5000) > 2
    for _ in range(400):
        meter.take(5000, 1)
    assert meter.most_seconds(5000) == pytest.approx(1, rel=0.05)


def test_many_short_requests_do_not_make_the_machine_look_slow():
    meter = Meter(50_000)
    for _ in range(20):
        meter.take(2000, 0.04)
    for _ in range(3000):
        meter.take(10, 0.003)
    assert meter.seconds(50_000) == pytest.approx(1, rel=0.01)
    assert meter.most_seconds(50_000) == pytest.approx(1, rel=0.01)
    # and what each of them takes is known
    assert meter.fixed_s == pytest.approx(2 * 0.0028, rel=0.01)
    # a machine that has become slower is noticed, however it was before
    for _ in range(40):
        meter.take(2000, 0.4)
    assert meter.most_seconds(50_000) > 8


def test_the_first_measurement_is_believed():
    meter = Meter(100)
    meter.take(50_000, 5)
    assert meter.most_seconds(10_000) == pytest.approx(meter.seconds(10_000))
