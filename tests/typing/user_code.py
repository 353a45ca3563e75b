"""Code as users write it, for pyright alone: each line with an ignore must be an error, and no other may be.

pyright checks this file in strict mode; an ignore that is not needed is an error too.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from collections.abc import Iterator
from typing import Any, assert_type

import numpy as np

import rank_rerank
from rank_rerank.rankings import CohereBody, JinaBody, TeiResult


class PageOfLangChain:
    page_content = "text"
    metadata: dict[str, Any] = {}  # noqa: RUF012 - as the library's class has it


class DocumentOfHaystack:
    content: str | None = "text"
    meta: dict[str, Any] = {}  # noqa: RUF012


def texts() -> Iterator[str]:
    yield "text"


def documents_in_containers(reranker: rank_rerank.ColbertReranker, pages: list[PageOfLangChain]) -> None:
    rows: list[dict[str, Any]] = [{"text": "a", "id": 1}]
    reranker.rerank("q", ["a", "b"])
    reranker.rerank("q", ("a", "b"))
    reranker.rerank("q", texts())
    reranker.rerank("q", (text for text in ["a"]))
    reranker.rerank("q", {1: "a"}.values())
    reranker.rerank("q", {"a": 1}.keys())
    reranker.rerank("q", np.array(["a", "b"]))
    reranker.rerank("q", rows)
    reranker.rerank("q", ["a", {"text": "b"}, rank_rerank.Document("c")])
    reranker.rerank("q", pages)
    reranker.rerank("q", [DocumentOfHaystack()])
    reranker.rerank("q", map(str, [1, 2]))


def documents_that_are_none(reranker: rank_rerank.ColbertReranker) -> None:
    reranker.rerank("q", "one text")  # pyright: ignore[reportArgumentType]
    reranker.rerank("q", b"one text")  # pyright: ignore[reportArgumentType]
    reranker.rerank("q", {"a", "b"})  # pyright: ignore[reportArgumentType]
    reranker.rerank("q", {"text": "one document"})  # pyright: ignore[reportArgumentType]
    reranker.rerank("q", [1, 2])  # pyright: ignore[reportArgumentType]
    reranker.rerank("q", None)  # pyright: ignore[reportArgumentType]
    reranker.rerank(["q"], ["a"])  # pyright: ignore[reportArgumentType]
    reranker.rerank("q", ["a"], top_k="3")  # pyright: ignore[reportArgumentType]
    reranker.rerank("q", ["a"], top_n=3)  # pyright: ignore[reportCallIssue]
    reranker.rerank("q", ["a"], long_documents="cut")  # pyright: ignore[reportArgumentType]


def many_queries(reranker: rank_rerank.Reranker) -> None:
    reranker.rerank_many(["q", "r"], [["a"], ("b",)])
    reranker.rerank_many(texts(), [texts(), ["a"]])
    reranker.rerank_many(["q"], (["a"] for _ in range(1)))
    reranker.rerank_many("q", [["a"]])  # pyright: ignore[reportArgumentType]
    reranker.rerank_many(["q"], ["a"])  # pyright: ignore[reportArgumentType]
    reranker.rerank_many(["q"], "a")  # pyright: ignore[reportArgumentType]


def every_kind_of_reranker(
    cross: rank_rerank.CrossEncoderReranker, cascade: rank_rerank.CascadeReranker, dense: rank_rerank.DenseReranker
) -> None:
    for reranker in (cross, cascade, dense):
        reranker.rerank("q", ["a"])
        reranker.rerank("q", "a")  # pyright: ignore[reportArgumentType]
    protocols: list[rank_rerank.Reranker] = [cross, cascade, dense]
    assert_type(protocols[0].rerank("q", ["a"]), rank_rerank.Ranking)


def texts_to_encode(encoder: rank_rerank.TokenEncoder, store: rank_rerank.EmbeddingStore) -> None:
    encoder.encode_documents(["a"])
    encoder.encode_documents(texts())
    encoder.encode_queries(np.array(["a"]))
    encoder.encode_documents("a")  # pyright: ignore[reportArgumentType]
    encoder.encode_queries("a")  # pyright: ignore[reportArgumentType]
    store.encode([{"id": "a", "text": "b"}])
    store.encode("a")  # pyright: ignore[reportArgumentType]


def results(ranking: rank_rerank.Ranking) -> None:
    assert_type(ranking[0], rank_rerank.RankedDocument)
    assert_type(ranking[:2], rank_rerank.Ranking)
    assert_type(ranking[0].score, float)
    assert_type(ranking[0].id, str | int | None)
    assert_type(ranking.to_cohere(), CohereBody)
    assert_type(ranking.to_jina(), JinaBody)
    assert_type(ranking.to_tei(), list[TeiResult])
    ranking.to_cohere()["hits"]  # pyright: ignore[reportGeneralTypeIssues]


def options() -> None:
    rank_rerank.load(precision="int8", runtime="numba", device="cpu")
    rank_rerank.load(precision="int4")  # pyright: ignore[reportArgumentType]
    rank_rerank.load(runtime="tensorflow")  # pyright: ignore[reportArgumentType]
