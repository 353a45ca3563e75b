"""Passages of hits come from vectors that are at hand: encodings are counted."""

from collections import Counter

import numpy as np
import pytest

import rank_rerank
from rank_rerank.rerankers.hit_spans import BestSoFar

QUERY = "What is the capital of France?"
TEXTS = [f"Text {number} says that city {number} is the capital of country {number % 7}." for number in range(300)]
TEXTS[250] = "Paris is the capital of France."
LONG = ["Bananas are yellow. " * 200 + "Paris is the capital of France. " + "Grapes are green. " * 200, "Berlin"]


@pytest.fixture
def encoded(reranker, monkeypatch):
    """How often each text is tokenised, which is once per encoding."""
    counts = Counter()
    kind = type(reranker.encoder.tokenizer)
    queries, documents = kind.tokenize_queries, kind.tokenize_documents

    def count_queries(self, texts, *arguments):
        counts.update(texts)
        return queries(self, texts, *arguments)

    def count_documents(self, texts, *arguments):
        counts.update(texts)
        return documents(self, texts, *arguments)

    monkeypatch.setattr(kind, "tokenize_queries", count_queries)
    monkeypatch.setattr(kind, "tokenize_documents", count_documents)
    return counts


@pytest.mark.parametrize("options", [{}, {"top_k": 5}, {"top_k": 300}])
def test_every_text_is_encoded_once_with_spans_too(reranker, encoded, options):
    ranking = reranker.rerank(QUERY, TEXTS, spans=True, **options)
    assert set(encoded.values()) == {1}
    assert len(encoded) == len(TEXTS) + 1
    expected = reranker.with_spans(reranker.rerank(QUERY, TEXTS, **options))
    assert ranking == expected
    assert all(hit.spans is not None and hit.matches is not None for hit in ranking)


def test_so_many_of_the_best_hits_have_spans(reranker, encoded):
    ranking = reranker.rerank(QUERY, TEXTS, spans=3)
    assert set(encoded.values()) == {1}
    assert [hit.spans is not None for hit in ranking] == [True] * 3 + [False] * 297
    assert ranking[0].text[ranking[0].matches[0].start : ranking[0].matches[0].end]


def test_texts_that_queries_share_are_encoded_once_with_spans(reranker, encoded):
    queries = [QUERY, "Which city is it?"]
    rankings = reranker.rerank_many(queries, [TEXTS, TEXTS[::-1]], spans=True, top_k=4)
    assert set(encoded.values()) == {1}
    for query, documents, ranking in zip(queries, [TEXTS, TEXTS[::-1]], rankings, strict=True):
        assert ranking == reranker.rerank(query, documents, spans=True, top_k=4)


def test_a_chunk_is_encoded_once_with_spans(reranker, encoded):
    ranking = reranker.rerank(QUERY, LONG, long_documents="chunk", spans=True)
    assert max(encoded.values()) == 1
    assert ranking == reranker.with_spans(reranker.rerank(QUERY, LONG, long_documents="chunk"))
    start, end = ranking[0].best_chunk
    assert all(start <= span.start < span.end <= end for span in ranking[0].spans)
    assert any("capital of France" in ranking[0].text[span.start : span.end] for span in ranking[0].spans)


def test_a_stored_hit_is_encoded_once_for_its_spans_and_the_others_never(reranker, encoded, tmp_path):
    store = rank_rerank.EmbeddingStore.create(tmp_path / "s", reranker.encoder, rank_rerank.Compression("int8"))
    store.add([str(number) for number in range(len(TEXTS))], texts=TEXTS)
    encoded.clear()
    ranking = reranker.rerank(QUERY, store.select([str(number) for number in range(len(TEXTS))]), top_k=2, spans=True)
    assert encoded == {QUERY: 1, **{hit.text: 1 for hit in ranking}}
    assert all(hit.spans for hit in ranking)


def test_texts_that_stand_twice_have_the_same_spans(reranker):
    ranking = reranker.rerank(QUERY, [TEXTS[250]] * 3 + ["", TEXTS[250]], spans=True)
    assert [hit.spans for hit in ranking[:4]] == [ranking[0].spans] * 4
    assert ranking[-1].spans == ()


def test_the_best_so_far_hold_every_one_that_ends_among_the_best():
    random = np.random.default_rng(0)
    for _ in range(200):
        limit = int(random.integers(0, 6))
        blocks = [random.integers(0, 5, random.integers(0, 7)).astype(np.float32) for _ in range(4)]
        best, offered, first = BestSoFar(limit), set(), 0
        for block in blocks:
            offered |= {first + int(row) for row in best.among(block)}
            first += len(block)
        scores = np.concatenate(blocks)
        assert offered >= set(np.argsort(-scores, kind="stable")[:limit].tolist())


def test_a_table_encodes_what_it_shows_once(reranker, encoded, monkeypatch, capsys, tmp_path):
    from rank_rerank.cli import main, rerank_command

    (tmp_path / "texts.txt").write_text("\n".join(TEXTS[:40]), encoding="utf-8")
    monkeypatch.setattr(rerank_command, "load_with", lambda _: reranker)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    for extra in ((), ("--spans",)):
        encoded.clear()
        assert main.main(["rerank", QUERY, str(tmp_path / "texts.txt"), *extra]) == 0
        assert "capital" in capsys.readouterr().out
        assert set(encoded.values()) == {1}
        assert len(encoded) == 41
