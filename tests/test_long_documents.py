"""A fact far behind what the model reads: missed and reported, or found, or refused."""

import numpy as np
import pytest

from rank_rerank import Chunking
from rank_rerank.errors import DocumentTooLongError, InvalidArgumentError

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
    with pytest.raises(InvalidArgumentError, match="neither stored vectors nor spans"):
        reranker.rerank(QUERY, ["a"], long_documents="chunk", spans=True)
