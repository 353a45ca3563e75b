"""The store as seen through a reranker: stored candidates by id, and a cache of texts."""

import numpy as np
import pytest

import rank_rerank
from rank_rerank.checkpoints.find import find_checkpoint
from rank_rerank.documents import Document
from rank_rerank.encoding.compression import Compression
from rank_rerank.encoding.pooling import Pooling
from rank_rerank.encoding.projection import Projection
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.errors import (
    DuplicateIdError,
    InvalidArgumentError,
    InvalidItemError,
    InvalidTextError,
    StoreWriteError,
    UnknownIdError,
)
from rank_rerank.storage.embedding_store import EmbeddingStore

QUERY = "What is the capital of France?"
TEXTS = [
    "Bananas are rich in potassium.",
    "Paris is the capital and largest city of France.",
    "Berlin has been the capital of Germany since 1990.",
    "",
    "The French parliament meets in Paris. " * 90,
]
IDS = [f"d{number}" for number in range(len(TEXTS))]


@pytest.fixture
def store(tmp_path, encoder):
    return EmbeddingStore.create(tmp_path / "s", encoder, Compression("float32"))


@pytest.fixture
def texts_read(encoder, monkeypatch):
    """The texts that were tokenised as documents."""
    read = []
    kind = type(encoder.tokenizer)
    original = kind.tokenize_documents
    monkeypatch.setattr(
        kind, "tokenize_documents", lambda self, texts, *names: read.extend(texts) or original(self, texts, *names)
    )
    return read


def summary(ranking):
    return [(hit.index, hit.score, hit.relevance, hit.truncated, hit.text) for hit in ranking]


def test_stored_candidates_rank_as_their_texts_do_to_the_bit(store, reranker, texts_read):
    expected = reranker.rerank(QUERY, TEXTS)
    store.add(IDS, texts=TEXTS)
    texts_read.clear()
    ranking = reranker.rerank(QUERY, store.select(IDS))
    assert summary(ranking) == summary(expected)
    assert [hit.id for hit in ranking] == [f"d{hit.index}" for hit in ranking]
    assert summary(reranker.rerank(QUERY, store.select(IDS), top_k=2)) == summary(expected)[:2]
    assert (ranking.usage.document_tokens, ranking.model) == (0, expected.model)
    assert texts_read == []


def test_the_order_of_ids_is_the_callers_and_breaks_ties(store, reranker):
    store.add(["x", "y", "z"], texts=[TEXTS[1]] * 3)
    assert [hit.id for hit in reranker.rerank(QUERY, store.select(["z", "x", "y", "x"]))] == ["z", "x", "y", "x"]


def test_many_queries_may_mix_stored_candidates_and_texts(store, reranker):
    store.add(IDS, texts=TEXTS)
    queries = [QUERY, "healthy fruit", "German history", "nothing"]
    lists = [store.select(IDS), TEXTS[:2], store.select(["d2", "d0"]), []]
    rankings = reranker.rerank_many(queries, lists, top_k=3)
    alone = [reranker.rerank(query, documents, top_k=3) for query, documents in zip(queries, lists, strict=True)]
    assert [summary(ranking) for ranking in rankings] == [summary(ranking) for ranking in alone]
    assert [ranking.query for ranking in rankings] == queries


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_store_as_a_cache_encodes_a_text_once(tmp_path, reranker, texts_read, dtype):
    store = EmbeddingStore.create(tmp_path / "s", reranker.encoder, Compression(dtype))
    expected = reranker.rerank(QUERY, TEXTS)
    documents = [Document(text, id=f"mine-{number}", metadata={"n": number}) for number, text in enumerate(TEXTS)]
    texts_read.clear()
    first = reranker.rerank(QUERY, documents, store=store)
    assert sorted(texts_read) == sorted(TEXTS)
    second = reranker.rerank(QUERY, documents, store=store)
    assert len(texts_read) == len(TEXTS)
    assert summary(first) == summary(second)
    if dtype == "float32":
        assert summary(first) == summary(expected)
    assert [(hit.id, hit.metadata["n"]) for hit in first] == [(f"mine-{hit.index}", hit.index) for hit in first]
    assert first.usage.document_tokens == expected.usage.document_tokens
    assert second.usage.document_tokens == 0
    # another program finds them too
    assert len(EmbeddingStore.open(tmp_path / "s")) == len(TEXTS)
    assert all(identifier.startswith("text-sha256:") for identifier in store)


def test_a_cache_finds_what_was_added_under_an_id(store, reranker, texts_read):
    store.add(IDS, texts=TEXTS)
    texts_read.clear()
    reranker.rerank(QUERY, [*TEXTS, "something new", "something new"], store=store)
    assert texts_read == ["something new"]
    assert len(store) == len(TEXTS) + 1


def test_many_queries_share_a_cache(store, reranker, texts_read):
    expected = [summary(reranker.rerank(query, TEXTS)) for query in (QUERY, "fruit")]
    texts_read.clear()
    rankings = reranker.rerank_many([QUERY, "fruit"], [TEXTS, TEXTS], store=store)
    assert [summary(ranking) for ranking in rankings] == expected
    assert sorted(texts_read) == sorted(TEXTS)
    assert [ranking.usage.document_tokens > 0 for ranking in rankings] == [True, False]
    store.add(["p"], texts=["Paris"])
    mixed = reranker.rerank_many([QUERY, QUERY], [store.select(["p"]), ["Paris"]], store=store)
    assert mixed[0][0].score == mixed[1][0].score


def test_a_read_only_cache_is_used_and_left_as_it_is(store, reranker, tmp_path, texts_read):
    store.add(IDS[:2], texts=TEXTS[:2])
    reader = EmbeddingStore.open(tmp_path / "s", read_only=True)
    texts_read.clear()
    ranking = reranker.rerank(QUERY, TEXTS, store=reader)
    assert sorted(texts_read) == sorted(TEXTS[2:])
    assert summary(ranking) == summary(reranker.rerank(QUERY, TEXTS))
    assert len(EmbeddingStore.open(tmp_path / "s")) == 2


def test_more_new_texts_than_a_batch(store, reranker):
    texts = [f"text {number}" for number in range(300)]
    assert summary(reranker.rerank("text 299", texts, store=store)) == summary(reranker.rerank("text 299", texts))
    assert len(store) == 300


def test_a_string_is_a_text_and_one_that_is_an_id_is_refused(store, reranker):
    store.add(IDS, texts=TEXTS)
    with pytest.raises(InvalidArgumentError, match=r"documents\[1\] is an id of the store.*store\.select\(ids\)"):
        reranker.rerank(QUERY, ["some text", "d1"], store=store)
    with pytest.raises(InvalidArgumentError, match=r"documents_per_query\[1\]\[0\] is an id"):
        reranker.rerank_many([QUERY, QUERY], [[], ["d1"]], store=store)
    assert reranker.rerank(QUERY, [Document("d1")], store=store)[0].text == "d1"
    assert reranker.rerank(QUERY, ["d1"])[0].text == "d1"
    with pytest.raises(UnknownIdError):
        reranker.rerank(QUERY, store.select(["some text"]))


@pytest.mark.parametrize(
    ("documents", "error"),
    [("text", InvalidItemError), ([5], InvalidItemError), (["\ud800"], InvalidTextError), (None, InvalidItemError)],
)
def test_bad_candidates_are_refused_with_a_store_as_without(store, reranker, documents, error):
    with pytest.raises(error):
        reranker.rerank(QUERY, documents, store=store)
    assert list(reranker.rerank(QUERY, [], store=store)) == []
    assert list(reranker.rerank(QUERY, store.select([]))) == []


@pytest.mark.parametrize(
    "compression",
    [
        Compression("float16"),
        Compression("int8"),
        Compression("binary", "int8"),
        Compression("int8", pooling=Pooling(2)),
        Compression("int8", pooling=Pooling(2, "sequential")),
        Compression("float16", projection=Projection(find_checkpoint().dim, 64)),
    ],
)
def test_every_compression_finds_the_answer(tmp_path, reranker, compression):
    store = EmbeddingStore.create(tmp_path / "s", reranker.encoder, compression)
    store.add(IDS, texts=TEXTS)
    ranking = reranker.rerank(QUERY, store.select(IDS))
    assert ranking[0].id == "d1"
    assert ranking[-1].id == "d3"
    assert ranking[-1].score == -np.inf
    assert all(0 <= hit.relevance <= 1 for hit in ranking)
    assert summary(reranker.rerank(QUERY, store.select(IDS), top_k=2)) == summary(ranking)[:2]
    reopened = EmbeddingStore.open(tmp_path / "s", TokenEncoder.from_pretrained())
    assert summary(reranker.rerank(QUERY, reopened.select(IDS))) == summary(ranking)


def test_encode_skips_what_is_there_and_updates_what_changed(store, texts_read):
    corpus = [{"id": identifier, "text": text, "n": 1} for identifier, text in zip(IDS, TEXTS, strict=True)]
    first = store.encode(iter(corpus))
    assert (first.num_added, first.num_updated, first.num_skipped, first.num_truncated) == (5, 0, 0, 1)
    assert store.get_documents(["d0"])[0].metadata == {"n": 1}
    corpus[1] |= {"text": "Paris."}
    texts_read.clear()
    second = store.encode([*corpus, {"id": "d9", "text": "new"}, {"id": "d9", "text": "new"}])
    assert (second.num_added, second.num_updated, second.num_skipped) == (1, 1, 5)
    assert texts_read == ["Paris.", "new"]
    assert store.get_documents(["d1"])[0].text == "Paris."


def test_encode_keeps_what_it_did_when_it_is_interrupted_and_goes_on_from_there(store, texts_read):
    corpus = [{"id": str(number), "text": f"text {number}"} for number in range(200)]

    def interrupted():
        yield from corpus[:150]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.encode(interrupted())
    assert len(store) == 128  # two whole chunks of 64
    texts_read.clear()
    assert store.encode(corpus).num_skipped == 128
    assert len(texts_read) == 72
    assert len(store) == 200


@pytest.mark.parametrize(
    ("item", "error", "message"),
    [
        ("a text", InvalidArgumentError, r"documents\[1\] has no id"),
        ({"id": "x"}, InvalidItemError, r'documents\[1\] has no "text"'),
        ({"id": "x", "text": "\ud800"}, InvalidTextError, r"documents\[1\]"),
        ({"id": "", "text": "a"}, InvalidArgumentError, r"the id of documents\[1\]"),
        ({"id": "\ud800", "text": "a"}, InvalidTextError, r"the id of documents\[1\]"),
        ({"id": "x", "text": "a", "extra": {1}}, InvalidItemError, r"the metadata of documents\[1\]"),
        ({"id": "first", "text": "another text"}, DuplicateIdError, "'first' comes twice"),
    ],
)
def test_a_bad_document_of_a_corpus_is_named(store, item, error, message):
    with pytest.raises(error, match=message):
        store.encode([{"id": "first", "text": "a text"}, item])


def test_encoding_into_a_store_that_cannot_is_refused_at_once(store, tmp_path, encoder):
    with pytest.raises(InvalidArgumentError, match="without an encoder"):
        EmbeddingStore.open(tmp_path / "s").encode([])
    with pytest.raises(StoreWriteError, match="read_only"):
        EmbeddingStore.open(tmp_path / "s", encoder, read_only=True).encode([])
    with pytest.raises(InvalidItemError, match="must be a list of documents"):
        store.encode("text")


def test_a_selection_is_a_list_of_documents_for_any_reranker(store):
    store.add(["a"], texts=["text"], metadata=[{"n": 1}])
    assert list(store.select(["a"])) == [Document("text", id="a", metadata={"n": 1})]
    assert rank_rerank.documents.as_documents(store.select(["a"])) == list(store.select(["a"]))
