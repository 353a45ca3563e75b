"""Public functions that read texts: rerankers, the encoder, explanations, and what loads them."""

import json
from dataclasses import replace

import model_folders
import numpy as np
from call_targets import (
    Target,
    always,
    check_embeddings,
    check_finite,
    check_probabilities,
    check_top_k,
    check_type,
    one_of,
)
from wild_values import text, vectors, words

import rank_rerank
from rank_rerank import Blend, CascadeReranker, CascadeStage, Chunking, DenseReranker, Document, refinement
from rank_rerank.encoding import BestWindows
from rank_rerank.encoding.embedding_cache import EmbeddingCache
from rank_rerank.explanation.html_report import render_report
from rank_rerank.explanation.snippets import find_snippet
from rank_rerank.rankings import RelevantSpan
from rank_rerank.rerankers.requests import RerankRequest, answer

top_ks = one_of(None, None, 1, 3, 100)
long_documents = one_of("truncate", "truncate", "chunk", "error", "best-windows", Chunking(length=40), BestWindows(16))
spans = one_of(False, False, True, 1)


def texts(rng):
    return [text(rng) for _ in range(rng.randint(0, 4))]


def document(rng):
    form = rng.randrange(5)
    if form == 0:
        return Document(text(rng), id=rng.choice((None, "d1", "")), metadata={"n": 1})
    if form == 1:
        return {"text": text(rng), "title": rng.choice((None, "", words(rng, 3))), "id": rng.choice((7, "x")), "z": [1]}
    return text(rng)


def documents(rng):
    return [document(rng) for _ in range(rng.randint(0, 4))]


def dense_documents(rng):
    return [{"text": words(rng), "vector": vectors(rng, 1)[0]} for _ in range(rng.randint(0, 4))]


def passages(rng):
    return [RelevantSpan(start, start + rng.randint(1, 9), rng.random()) for start in rng.sample(range(60), 2)]


def check_explanation(explanation, arguments, target):
    check_finite(explanation.similarities, arguments, target)
    json.dumps(explanation.to_dict(), allow_nan=False)
    render_report(explanation.query, [explanation]).encode()


def check_each(rankings, arguments, target):
    for ranking in rankings:
        check_top_k(ranking, arguments, target)


def check_dict(ranking, arguments, target):
    """What comes back plain can be written as JSON, whatever the caller attached."""
    check_top_k(ranking, arguments, target)
    json.dumps(ranking.to_dict(), allow_nan=False)


def check_snippet(snippet, arguments, target):
    start, end = snippet
    target.require(0 <= start <= end <= len(arguments["text"]), "a snippet out of the text")


def check_stream(stream, arguments, target):
    for window in stream:
        check_embeddings(window, arguments, target)


def make_targets(folder):
    reranker = rank_rerank.load(num_threads=1)
    return [
        *late_interaction(reranker),
        *cascades(reranker),
        *cross_encoders(folder),
        *encoders(reranker.encoder),
        *others(reranker),
        *made_by_users(reranker),
    ]


def two(draw):
    return lambda rng: [draw(rng), draw(rng)]


BLENDED = {
    "blend": one_of("auto", None, Blend(), Blend(by_rank=True)),
    "budget_ms": one_of(None, None, 1e4),
    "settled": one_of(None, None, None, 0.9),
}
READING = ("text_key", "show_progress")
LIMITS = {"top_k": top_ks, "text_key": one_of(None, None, "text"), "show_progress": one_of(None, False)}
WANTED = {"query": words, "documents": documents, **LIMITS}
ASKED = {**WANTED, "spans": spans, "long_documents": long_documents, "store": one_of(None), **BLENDED}
REQUEST = {
    name: draw for name, draw in ASKED.items() if name not in ("store", "budget_ms", "settled", "blend", *READING)
}
MANY = {"queries": two(words), "documents_per_query": two(documents), **LIMITS}
MANY_ASKED = {**MANY, "spans": spans, "long_documents": long_documents, "store": one_of(None), **BLENDED}


def late_interaction(reranker):
    return [
        Target("ColbertReranker.rerank", reranker.rerank, ASKED, check_dict, weight=0.5),
        Target("ColbertReranker.rerank_many", reranker.rerank_many, MANY_ASKED, check_each, weight=0.2),
        Target(
            "ColbertReranker.explain",
            reranker.explain,
            {
                "query": words,
                "document": document,
                "min_similarity": one_of(0.5, -1),
                "threshold": one_of(0.0, 0.9),
                "max_spans": one_of(None, 1),
            },
            check_explanation,
            weight=0.2,
        ),
        Target("answer", lambda **given: answer(reranker, RerankRequest(**given)), REQUEST, check_top_k, weight=0.2),
        Target(
            "calibrate",
            rank_rerank.calibrate,
            {
                "reranker": always(reranker),
                "pairs": lambda rng: [(words(rng, 3), words(rng, 3), rng.random() < 0.5) for _ in range(20)],
                "held_out": one_of(0, 0.3),
                "seed": one_of(0),
                "method": one_of("platt", "isotonic"),
            },
            weight=0.02,
        ),
        Target(
            "ColbertReranker.with_spans",
            reranker.with_spans,
            {
                "ranking": lambda _: reranker.rerank("whale", ["a whale"]),
                "threshold": one_of(0.0),
                "max_spans": one_of(1),
            },
            check_dict,
            ("ranking",),
            weight=0.1,
        ),
    ]


def cascades(reranker):
    dense = DenseReranker(lambda _: np.ones(16, np.float32))
    cascade = CascadeReranker(dense, [CascadeStage(reranker, keep=2)])
    staged = {"budget_ms": one_of(None, None, 1e4), "long_documents": one_of("truncate", "best-windows")}
    wanted = {**WANTED, "documents": dense_documents, **staged}
    many = {**MANY, "documents_per_query": two(dense_documents), **staged}
    dense_wanted = {name: draw for name, draw in wanted.items() if name not in (*READING, *staged)}
    dense_many = {name: draw for name, draw in many.items() if name not in (*READING, *staged)}
    return [
        Target("DenseReranker.rerank", dense.rerank, dense_wanted, check_top_k, weight=1),
        Target(
            "DenseReranker.rerank_many",
            dense.rerank_many,
            dense_many,
            check_each,
            weight=0.5,
        ),
        Target("CascadeReranker.rerank", cascade.rerank, wanted, check_top_k, weight=0.3),
        Target(
            "CascadeReranker.rerank_many",
            cascade.rerank_many,
            many,
            check_each,
            weight=0.1,
        ),
        Target(
            "CascadeStage",
            CascadeStage,
            {"reranker": always(reranker), "keep": one_of(1, 9), "budget_ms": one_of(None, 5.0)},
            weight=0.3,
        ),
    ]


def cross_encoders(folder):
    reranker = rank_rerank.load(model_folders.write_cross_encoder(folder / "cross"), device="cpu", num_threads=1)
    return [
        Target("CrossEncoderReranker.rerank", reranker.rerank, WANTED, check_dict, weight=0.3),
        Target("CrossEncoderReranker.rerank_many", reranker.rerank_many, MANY, check_each, weight=0.1),
        Target(
            "CrossEncoder.score",
            lambda **given: reranker.cross_encoder.score(**given).relevance,
            {"query": words, "documents": texts, "name": one_of("the query")},
            check_probabilities,
            ("name",),
            weight=0.2,
        ),
    ]


def encoders(encoder):
    statistics = refinement.TokenStatistics.fit(encoder, ["Whales live in the sea.", "Bread is baked."])
    return [
        Target("TokenEncoder.encode_query", encoder.encode_query, {"query": words}, check_embeddings, weight=0.3),
        Target("TokenEncoder.encode_queries", encoder.encode_queries, {"queries": texts}, check_embeddings, weight=0.3),
        Target(
            "TokenEncoder.encode_document", encoder.encode_document, {"document": text}, check_embeddings, weight=0.3
        ),
        Target(
            "TokenEncoder.is_cached",
            replace(encoder, cache=EmbeddingCache(1 << 20)).is_cached,
            {"documents": texts},
            check_type(np.ndarray),
            weight=0.3,
        ),
        Target(
            "TokenEncoder.encode_documents",
            encoder.encode_documents,
            {"documents": texts},
            check_embeddings,
            weight=0.3,
        ),
        Target(
            "TokenEncoder.stream_documents",
            encoder.stream_documents,
            {"documents": texts, "keep_on_device": one_of(False)},
            check_stream,
            weight=0.2,
        ),
        Target(
            "TokenStatistics.fit",
            refinement.TokenStatistics.fit,
            {"encoder": always(encoder), "texts": texts},
            weight=0.3,
        ),
        Target(
            "TokenStatistics.weights",
            statistics.weights,
            {"encoder": always(encoder), "query": words, "formula": one_of("idf", "bm25")},
            check_finite,
            weight=0.3,
        ),
    ]


def others(reranker):
    explained = reranker.explain("capital of France", "Paris is the capital of France.")
    reranked = reranker.rerank(explained.query, [explained.document])
    return [
        Target(
            "find_snippet",
            find_snippet,
            {"text": words, "spans": passages, "max_characters": one_of(10, 240)},
            check_snippet,
            weight=1,
        ),
        Target(
            "load",
            rank_rerank.load,
            {
                "name_or_folder": one_of("/no/such/folder", "bundled"),
                "revision": one_of(None, "main"),
                "token": one_of(None, False, "hf_token"),
                "local_files_only": always(True),
                "cache_dir": one_of(None, "no/such/cache"),
                "device": one_of("cpu", "auto", "cuda:9", "tpu"),
                "precision": one_of("auto", "int8", "fp64"),
                "num_threads": one_of(None, 1),
                "runtime": one_of("auto", "numba", "onnx"),
                "instruction": one_of(None, "judge"),
                "cache_bytes": one_of(None, 1 << 20),
                "label": one_of(None, 1, "relevant"),
            },
            check_type(object),
            ("local_files_only",),
            0.02,
        ),
        Target(
            "render_report",
            render_report,
            {
                "query": one_of(explained.query),
                "explanations": lambda _: [explained],
                "hits": lambda rng: rng.choice(([], list(reranked), reranked)),
            },
            check_type(str),
        ),
        Target("get_gpu_device", rank_rerank.get_gpu_device, {}, check_type(str), weight=0.02),
    ]


def made_by_users(reranker):
    return [
        Target(
            "DenseReranker",
            DenseReranker,
            {"encode_query": always(len), "vector_key": one_of("v"), "dims": one_of(None, 4)},
            weight=0.1,
        ),
        Target(
            "Blend",
            Blend,
            {
                "weights": one_of(None, {"maxsim": 1.0, "first_stage": 0.5}),
                "score_key": one_of(None, "_distance"),
                "lower_is_better": one_of(False),
                "by_rank": one_of(False),
            },
            weight=0.3,
        ),
        Target(
            "Document",
            lambda **given: reranker.rerank("whale", [Document(**given)]),
            {
                "text": text,
                "id": one_of(None, "a"),
                "metadata": one_of({}, {"a": 1}),
                "score": one_of(None, 2.5),
            },
            check_dict,
            weight=0.3,
        ),
    ]
