"""Whatever is passed to a store is read as meant, or refused by a typed error that leaves the store as it was."""

import os
from pathlib import Path

import numpy as np
import pytest
from small_stores import DIM, IDENTITY, content, embeddings_of, fill

from rank_rerank.encoding.compression import Compression
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.errors import InvalidArgumentError, RankRerankError, ShapeError, StoreNotFoundError
from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.storage.model_identity import ModelIdentity
from rank_rerank.storage.sharded_store import ShardedStore
from rank_rerank.storage.snapshot import Places
from rank_rerank.storage.store_repair import repair_store
from rank_rerank.storage.stored_documents import StoredDocuments
from rank_rerank.storage.stores import open_stores

STRANGE = [
    None,
    0,
    2.5,
    True,
    "ab",
    b"ab",
    [],
    {},
    (),
    [None],
    [1],
    ["d1", None],
    [b"d1"],
    {"d1"},
    object(),
    np.ones(2),
]
STRANGE += [
    [["d1"]],
    ["\ud800"],
    [""],
    ["x" * 2000],
    np.array(["d1"]),
    [np.ones((2, DIM + 1))],
    [np.full((2, DIM), np.nan)],
]
STRANGE += [[np.full((1, DIM), 1e300)], [np.ones((1, DIM), complex)], np.ones((1, 2, DIM), object), embeddings_of(2)]
STRANGE += [TokenEmbeddings(np.zeros((1, DIM), [("bfloat16", np.uint16)]), [0, 1]), float("nan"), 10**30, iter(["d1"])]


@pytest.mark.parametrize(
    "call",
    [
        lambda store, value: store.contains(value),
        lambda store, value: store.select(value),
        lambda store, value: store.get(value),
        lambda store, value: store.get_documents(value),
        lambda store, value: store.add(value, embeddings=embeddings_of(1)),
        lambda store, value: store.add(["new"], embeddings=value),
        lambda store, value: store.add(["new"], texts=value),
        lambda store, value: store.add(["new"], texts=value, embeddings=embeddings_of(1)),
        lambda store, value: store.add(["new"], embeddings=embeddings_of(1), metadata=value),
        lambda store, value: store.add(["new"], embeddings=embeddings_of(1), metadata=[value]),
        lambda store, value: store.update(value, embeddings=embeddings_of(1)),
        lambda store, value: store.update(["d1"], embeddings=value),
        lambda store, value: store.delete(value),
        lambda store, value: store.encode(value),
        lambda store, value: store.encode_texts(["a"], value),
        lambda store, value: EmbeddingStore.open(store.folder, value),
        lambda store, value: EmbeddingStore.open(store.folder, read_only=value),
        lambda store, value: EmbeddingStore.open(store.folder, check_reads=value),
        lambda store, value: EmbeddingStore.create(store.folder.parent / "n", value),
        lambda store, value: EmbeddingStore.create(store.folder.parent / "n", IDENTITY, value),
        lambda store, value: EmbeddingStore.create(store.folder.parent / "n", IDENTITY, keep_texts=value),
        lambda _, value: ModelIdentity.foreign(value, 3),
        lambda _, value: ModelIdentity.foreign("m", value),
        lambda _, value: ModelIdentity.foreign("m", 3, value),
    ],
)
def test_strange_values_are_read_or_refused_and_break_nothing(store, tmp_path, call):
    refused = 0
    for value in STRANGE:
        try:
            call(store, value)
        except RankRerankError:
            refused += 1
    assert refused > 10
    for name in ("store", "n"):
        if (tmp_path / name / "manifest.json").exists():
            content(tmp_path / name)
            assert EmbeddingStore.verify_folder(tmp_path / name).is_sound


def test_anything_can_be_asked_for(store):
    assert [value for value in STRANGE if value in store] == []


@pytest.mark.parametrize("folder", [None, 3, b"ab", "", "a\0b", object(), []])
def test_a_folder_that_is_none_is_refused(folder):
    for call in (
        EmbeddingStore.open,
        EmbeddingStore.verify_folder,
        lambda value: EmbeddingStore.create(value, IDENTITY),
        lambda value: repair_store(value, 1),
    ):
        with pytest.raises(InvalidArgumentError, match="folder of a store"):
            call(folder)


@pytest.mark.skipif(os.name == "nt", reason="the home has another variable there")
def test_a_tilde_is_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert fill("~/s").folder == tmp_path / "s"
    for opened in (EmbeddingStore.open("~/s"), EmbeddingStore.open(Path("~/s"))):
        assert len(opened) == 7
    assert EmbeddingStore.verify_folder("~/s").is_sound
    assert repair_store("~/s", 1).num_documents == 7
    fill("./~/s")
    assert (tmp_path / "~" / "s").is_dir()


def test_a_compression_is_no_string(tmp_path):
    with pytest.raises(InvalidArgumentError, match="Compression, not str"):
        EmbeddingStore.create(tmp_path / "s", IDENTITY, "int8")
    assert not (tmp_path / "s").exists()
    assert EmbeddingStore.create(tmp_path / "s", IDENTITY, Compression("int8")).compression.dtype == "int8"


def test_a_reranker_is_no_encoder(store, reranker):
    with pytest.raises(InvalidArgumentError, match=r"pass reranker\.encoder"):
        EmbeddingStore.open(store.folder, reranker)


@pytest.mark.parametrize(
    ("segments", "rows"),
    [([1], [0]), ([-1], [0]), ([0], [-1]), ([0], [7]), ([0], [1 << 40]), ([0, 0], [0]), ([0.0], [0.0]), ([[0]], [[0]])],
)
def test_places_that_lead_outside_are_refused(store, segments, rows):
    with pytest.raises((InvalidArgumentError, ShapeError)):
        StoredDocuments(store.snapshot, Places(np.array(segments), np.array(rows)))


@pytest.mark.parametrize("wanted", [[7], [-1], [0.5], ["a"], [1 << 70]])
def test_choosing_documents_that_are_not_there_is_refused(store, wanted):
    with pytest.raises(RankRerankError):
        store.select(list(store)).select(np.array(wanted))


def test_a_name_longer_than_the_system_allows_holds_no_store(tmp_path):
    folder = tmp_path / ("x" * 300)
    for opened in (EmbeddingStore.open, ShardedStore.open, open_stores, EmbeddingStore.verify_folder):
        with pytest.raises(StoreNotFoundError, match="Check the path"):
            opened(folder)
