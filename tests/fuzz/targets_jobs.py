"""Public functions that work on corpora, and what reads the lists and documents that callers pass to all others."""

import json
import math

import numpy as np
from call_targets import Target, always, check_type, one_of
from wild_values import text, words

from rank_rerank import Compression, Document
from rank_rerank.distributed import (
    Columns,
    EncodeSettings,
    ImportOptions,
    LocalEngine,
    RayEngine,
    RerankSettings,
    encode_corpus,
    import_shards,
    rerank_run,
)
from rank_rerank.documents import (
    as_document,
    as_documents,
    each_item,
    is_missing,
    list_items,
    plain_value,
    refuse_shared_iterators,
)
from rank_rerank.inference.load_options import LoadOptions, RuntimeOptions
from rank_rerank.rankings import check_top_k

NOWHERE = "/no/such/folder"


def document(rng):
    return rng.choice((words(rng), {"text": words(rng), "id": 7}, Document(words(rng), id="a", metadata={"n": 1})))


def documents(rng):
    return [document(rng) for _ in range(rng.randint(0, 3))]


def metadata(rng):
    return rng.choice(({"a": [1, None, {"b": text(rng)}]}, [np.float32(2), (True, 1.5)], np.arange(3), words(rng)))


def check_documents(found, _, target):
    for each in found:
        target.require(isinstance(each.text, str), "a text that is no str")
        target.require(each.id is None or type(each.id) is int or isinstance(each.id, str), "an id that is no id")
        target.require(each.score is None or math.isfinite(each.score), "a score that is no number")


def check_plain(value, _, target):
    """What json.loads would give: no other type, at any depth, and no number that JSON lacks."""
    target.require(json.loads(json.dumps(value, allow_nan=False)) == value, "what JSON does not carry as it is")


def check_hashable(value, _, target):
    """Settings are compared and sent to other processes: their fields are plain."""
    target.require(repr(value), "what has no words")


def never(_, __, target):
    target.fail("worked on a corpus that is not there")


SETTINGS = {"columns": always(Columns()), "price_per_hour": one_of(None, 1.5)}
JOB = {"model": one_of(None, LoadOptions()), "engine": one_of(None, LocalEngine()), "report": one_of(None)}

TARGETS = [
    Target("Columns", Columns, {"text": one_of(None, "body"), "id": one_of(None, "pid")}, check_hashable, weight=0.3),
    Target(
        "EncodeSettings",
        EncodeSettings,
        {
            "compression": one_of(None, Compression("binary")),
            "shard_format": one_of("store", "parquet"),
            "parquet_dtype": one_of("float16", "float32"),
            "shard_documents": one_of(1, 1024),
            "keep_texts": one_of(True, False),
            **SETTINGS,
        },
        check_hashable,
        weight=0.5,
    ),
    Target(
        "RerankSettings",
        RerankSettings,
        {"top_k": one_of(None, 3), "tag": one_of("a"), "unit_queries": one_of(1, 16), **SETTINGS},
        check_hashable,
        weight=0.5,
    ),
    Target(
        "ImportOptions",
        ImportOptions,
        {
            "how": one_of("link", "copy", "merge"),
            "num_stores": one_of(None, 2),
            "compression": one_of(None, Compression("int4")),
        },
        check_hashable,
        weight=0.3,
    ),
    Target("LocalEngine", LocalEngine, {"workers": one_of(1, 2)}, check_hashable, weight=0.2),
    Target(
        "RayEngine",
        RayEngine,
        {
            "address": one_of(None, "auto"),
            "workers": one_of(2, 3),
            "min_workers": one_of(None, 1),
            "cpus": one_of(1, 0.5),
            "gpus": one_of(0, 1),
        },
        check_hashable,
        weight=0.2,
    ),
    Target(
        "encode_corpus",
        encode_corpus,
        {
            "source": one_of(NOWHERE, [NOWHERE]),
            "output": one_of("/dev/null/no"),
            "settings": one_of(None, EncodeSettings()),
            **JOB,
        },
        never,
        ("output",),
        0.1,
    ),
    Target(
        "import_shards",
        import_shards,
        {"shards": one_of(NOWHERE), "store": one_of(NOWHERE), "options": one_of(None, ImportOptions())},
        never,
        weight=0.2,
    ),
    Target(
        "rerank_run",
        rerank_run,
        {
            "run": one_of(NOWHERE),
            "corpus": one_of(NOWHERE, [NOWHERE]),
            "queries": one_of(NOWHERE),
            "output": one_of("/dev/null/no"),
            "settings": one_of(None, RerankSettings()),
            **JOB,
        },
        never,
        ("output",),
        0.1,
    ),
    Target(
        "LoadOptions",
        LoadOptions,
        {
            "model": one_of(None, "bundled"),
            "hub": always(LoadOptions().hub),
            "runtime": always(RuntimeOptions()),
            "instruction": one_of(None),
            "cache_bytes": one_of(None, 1 << 20),
            "label": one_of(None, 1),
        },
        check_hashable,
        weight=0.3,
    ),
    Target(
        "as_documents",
        lambda items, text_key: as_documents(items, text_key=text_key),
        {"items": documents, "text_key": one_of(None, None, "body")},
        check_documents,
        weight=2,
    ),
    Target(
        "as_document",
        lambda item: [as_document(item, "the document")],
        {"item": document},
        check_documents,
        weight=2,
    ),
    Target("list_items", lambda value: list_items(value, "documents"), {"value": documents}, check_type(list)),
    Target("each_item", lambda value: list(each_item(value, "documents")), {"value": documents}, check_type(list)),
    Target(
        "refuse_shared_iterators",
        lambda values: refuse_shared_iterators(list_items(values, "lists", "lists"), "lists"),
        {"values": lambda rng: [iter(documents(rng)), documents(rng)]},
        weight=0.3,
    ),
    Target(
        "plain_value",
        lambda value, dates_as_text: plain_value(value, "the value", dates_as_text=dates_as_text),
        {"value": metadata, "dates_as_text": one_of(True, False)},
        check_plain,
        ("dates_as_text",),
        2,
    ),
    Target("is_missing", is_missing, {"value": metadata}, check_type(bool), weight=0.3),
    Target("check_top_k", check_top_k, {"top_k": one_of(None, 1, 9)}, weight=0.3),
]
