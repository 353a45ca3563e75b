"""A fact far behind what the model reads: missed and reported, or found, or refused."""

from dataclasses import replace

import numpy as np
import pytest

import rank_rerank
from rank_rerank import Chunking
from rank_rerank.errors import DocumentTooLongError, EmptyQueryError, InvalidArgumentError, StoreMismatchError

QUERY = "Who discovered penicillin?"
FACT = "Alexander Fleming discovered penicillin in 1928."
FILLER = "The committee met again on Tuesday and talked about the budget of the coming year. "


@pytest.fixture(scope="module")
def long_text(encoder):
    tokens_a_sentence = len(encoder.tokenizer.read_document(FILLER).token_ids) - 2
    text = FILLER * -(-3000 // tokens_a_sentence)
    return f"{text}{FACT} {FILLER * 20}"


def test_a_fact_in_token_3000(reranker, long_text):
    other = "Bacteria were seen first by Leeuwenhoek."
    truncated = reranker.rerank(QUERY, [long_text, other])
    assert [hit.index for hit in truncated] == [1, 0]
    assert truncated[1].truncated
    assert truncated[1].best_chunk is None
    chunked = reranker.rerank(QUERY, [long_text, other], long_documents="chunk")
    assert [hit.index for hit in chunked] == [0, 1]
    start, end = chunked[0].best_chunk
    assert FACT in long_text[start:end]
    assert not chunked[0].truncated
    assert chunked[0].to_dict()["best_chunk"] == [start, end]
    assert chunked.usage.document_tokens > 3000
    with pytest.raises(DocumentTooLongError, match=r"documents\[0\] is longer than the 512 tokens"):
        reranker.rerank(QUERY, [long_text, other], long_documents="error")
    assert reranker.rerank(QUERY, [other], long_documents="error")[0].score == chunked[1].score


def test_scores_are_those_of_the_chunks(reranker, encoder, long_text):
    [hit] = reranker.rerank(QUERY, [long_text], long_documents="chunk")
    start, end = hit.best_chunk
    assert hit.score == reranker.rerank(QUERY, [long_text[start:end]])[0].score
    [whole] = reranker.rerank(QUERY, [long_text], long_documents=Chunking(score="all_tokens"))
    assert whole.score >= hit.score
    query, chunk = encoder.encode_query(QUERY).vectors, encoder.encode_document(long_text[start:end]).vectors
    assert whole.score >= np.max(query @ chunk.T, axis=1).sum() - 1e-4


def test_short_documents_score_as_ever(reranker):
    documents = ["Fleming found penicillin.", "", "Something else.", "Penicillin kills bacteria."]
    plain = reranker.rerank(QUERY, documents)
    for chunking in ("chunk", Chunking(score="all_tokens")):
        chunked = reranker.rerank(QUERY, documents, long_documents=chunking)
        assert [(hit.index, hit.score, hit.relevance) for hit in chunked] == [
            (hit.index, hit.score, hit.relevance) for hit in plain
        ]
    assert len(reranker.rerank(QUERY, [], long_documents="chunk")) == 0
    assert len(reranker.rerank(QUERY, documents, long_documents="chunk", top_k=2)) == 2


def test_bad_input(reranker):
    with pytest.raises(InvalidArgumentError, match="long_documents must be"):
        reranker.rerank(QUERY, ["a"], long_documents="split")
    with pytest.raises(InvalidArgumentError, match="the model reads 512 tokens of a text; a chunk cannot have 513"):
        reranker.rerank(QUERY, ["a"], long_documents=Chunking(length=513))


@pytest.mark.parametrize("long_documents", ["truncate", "chunk", Chunking(length=64, score="all_tokens")])
@pytest.mark.parametrize("spans", [False, True])
def test_many_queries_get_what_each_gets(reranker, long_text, long_documents, spans):
    queries = [QUERY, "What was talked about on Tuesday?"]
    lists = [[long_text, "Bacteria were seen first by Leeuwenhoek.", ""], [FACT, long_text]]
    options = {"long_documents": long_documents, "spans": spans, "top_k": 2}
    found = reranker.rerank_many(queries, lists, **options)
    assert found == [reranker.rerank(query, each, **options) for query, each in zip(queries, lists, strict=True)]
    assert (found[0][0].spans is not None) == spans
    assert (found[0][0].best_chunk is None) == (long_documents == "truncate")


def test_chunks_of_many_queries_are_kept_in_the_store(reranker, long_text, tmp_path):
    store = rank_rerank.EmbeddingStore.create(tmp_path / "store", reranker.encoder)
    queries, lists = [QUERY, "the budget"], [[long_text], [long_text]]
    first, second = reranker.rerank_many(queries, lists, store=store, long_documents="chunk")
    assert first.usage.document_tokens > 1000  # chunks that are alike are read once
    assert second.usage.document_tokens == 0


def test_errors_of_many_queries_name_the_list(reranker, long_text):
    with pytest.raises(DocumentTooLongError, match=r"documents_per_query\[1\]\[2\] is longer than the 512 tokens"):
        reranker.rerank_many([QUERY, QUERY], [["a"], ["a", "b", long_text]], long_documents="error")
    with pytest.raises(EmptyQueryError, match=r"queries\[1\]"):
        reranker.rerank_many([QUERY, ""], [["a"], ["b"]], long_documents="chunk")
    with pytest.raises(InvalidArgumentError, match="long_documents must be"):
        reranker.rerank_many([QUERY], [["a"]], long_documents="split")


@pytest.mark.parametrize("length", [None, 64])
def test_spans_of_the_best_chunk_stand_where_they_are_in_the_text(reranker, long_text, length):
    other = "Bacteria were seen first by Leeuwenhoek."
    ranking = reranker.rerank(QUERY, [other, long_text], long_documents=Chunking(length=length), spans=True)
    assert [hit.index for hit in ranking] == [1, 0]
    best = max(ranking[0].spans, key=lambda span: span.score)
    assert long_text[best.start : best.end] == "discovered penicillin"
    start, end = ranking[0].best_chunk
    assert all(start <= span.start < span.end <= end for span in ranking[0].spans)
    assert ranking[1].spans == reranker.rerank(QUERY, [other], spans=True)[0].spans


def test_chunks_of_a_given_length(reranker, encoder, long_text, monkeypatch):
    read = []
    encode = type(encoder).encode_documents
    monkeypatch.setattr(
        type(encoder), "encode_documents", lambda self, texts: read.append(texts) or encode(self, texts)
    )
    [hit] = reranker.rerank(QUERY, [long_text], long_documents=Chunking(length=40, overlap=8))
    texts = [text for window in read for text in window]
    lengths = [len(encoder.tokenizer.read_document(text).token_ids) for text in texts]
    assert max(lengths) <= 40
    assert sum(lengths) > 3000
    assert max(map(len, read)) <= 128  # what is held at once
    start, end = hit.best_chunk
    assert FACT in long_text[start:end]
    assert end - start < 4 * len(FILLER)


@pytest.fixture
def store(encoder, tmp_path):
    return rank_rerank.EmbeddingStore.create(tmp_path / "store", encoder, rank_rerank.Compression("float32"))


@pytest.mark.parametrize("score", ["best_chunk", "all_tokens"])
def test_a_store_keeps_the_chunks(reranker, store, score):
    numbered = " ".join(f"Item {number} of the budget was put off again by the committee." for number in range(200))
    documents = [f"{numbered} {FACT}", "", "Bacteria were seen first by Leeuwenhoek."]
    chunking = Chunking(score=score, length=128)
    plain = reranker.rerank(QUERY, documents, long_documents=chunking)
    first = reranker.rerank(QUERY, documents, long_documents=chunking, store=store)
    assert len(store) > 20
    assert first.usage == plain.usage
    again = reranker.rerank(QUERY, documents, long_documents=chunking, store=store, spans=True)
    assert again.usage.document_tokens == 0
    for ranking in (first, again):
        assert [(hit.index, hit.best_chunk, hit.truncated) for hit in ranking] == [
            (hit.index, hit.best_chunk, hit.truncated) for hit in plain
        ]
        assert [hit.score for hit in ranking] == pytest.approx([hit.score for hit in plain], rel=1e-5)
    assert again[0].spans


@pytest.mark.parametrize("score", ["best_chunk", "all_tokens"])
def test_stored_documents_are_read_again_only_where_the_store_has_their_beginning(reranker, store, long_text, score):
    texts = ["Bacteria were seen first by Leeuwenhoek.", long_text, "Penicillin kills bacteria."]
    store.add(["a", "b", "c"], texts=texts)
    chosen = store.select(["c", "b", "a"])
    assert next(hit for hit in reranker.rerank(QUERY, chosen) if hit.id == "b").truncated
    expected = reranker.rerank(QUERY, [texts[2], texts[1], texts[0]], long_documents=Chunking(score=score))
    ranking = reranker.rerank(QUERY, chosen, long_documents=Chunking(score=score), spans=True)
    assert [(hit.index, hit.best_chunk, hit.truncated) for hit in ranking] == [
        (hit.index, hit.best_chunk, False) for hit in expected
    ]
    assert [hit.score for hit in ranking] == pytest.approx([hit.score for hit in expected], rel=1e-5)
    assert ranking[0].id == "b"
    assert "penicillin" in {ranking[0].text[span.start : span.end].split()[-1] for span in ranking[0].spans}
    short = store.select(["a", "c"])
    assert reranker.rerank(QUERY, short, long_documents="chunk").usage.document_tokens == 0
    assert reranker.rerank(QUERY, short, long_documents=Chunking(length=16)).usage.document_tokens > 0


def test_a_text_that_was_not_kept_cannot_be_read_in_chunks(reranker, encoder, tmp_path, long_text):
    store = rank_rerank.EmbeddingStore.create(tmp_path / "bare", encoder)
    store.add(["short", "long"], embeddings=encoder.encode_documents(["Penicillin kills bacteria.", long_text]))
    assert len(reranker.rerank(QUERY, store.select(["short"]), long_documents="chunk")) == 1
    with pytest.raises(InvalidArgumentError, match=r"documents\[1\] can be read in chunks from its text only"):
        reranker.rerank(QUERY, store.select(["short", "long"]), long_documents="chunk")
    with pytest.raises(InvalidArgumentError, match=r"documents_per_query\[1\]\[0\] can be read in chunks"):
        reranker.rerank_many([QUERY, QUERY], [["a"], store.select(["long"])], long_documents="chunk")


def test_stored_chunks_of_another_model_are_refused(reranker, store):
    store.add(["a"], texts=["Penicillin kills bacteria."])
    settings = replace(reranker.encoder.checkpoint.settings, document_length=64)
    checkpoint = replace(reranker.encoder.checkpoint, settings=settings)
    other = replace(reranker, encoder=rank_rerank.TokenEncoder.from_checkpoint(checkpoint))
    with pytest.raises(StoreMismatchError):
        other.rerank(QUERY, store.select(["a"]), long_documents="chunk")
    with pytest.raises(StoreMismatchError):
        other.rerank(QUERY, ["a text"], store=store, long_documents="chunk")


def test_the_score_is_the_checkpoints_own(reranker, long_text):
    checkpoint = replace(reranker.encoder.checkpoint, similarity="meanmaxsim")
    mean = replace(reranker, encoder=replace(reranker.encoder, checkpoint=checkpoint))
    documents = [long_text, "Penicillin kills bacteria."]
    sums, means = (each.rerank(QUERY, documents, long_documents="chunk") for each in (reranker, mean))
    num_query_tokens = sums.usage.query_tokens
    assert [hit.score * num_query_tokens for hit in means] == pytest.approx([hit.score for hit in sums], rel=1e-5)
    assert [hit.relevance for hit in means] == [hit.relevance for hit in sums]
