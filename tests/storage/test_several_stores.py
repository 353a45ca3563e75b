"""Several stores read as one, filters say which documents are candidates, and a ranking says what it is of."""

import json
import math
import shutil

import numpy as np
import pytest
from small_stores import DIM, IDENTITY, content, embeddings_of, fill

from rank_rerank.encoding.compression import Compression
from rank_rerank.errors import (
    DuplicateIdError,
    InvalidArgumentError,
    InvalidItemError,
    StoreError,
    StoreFormatError,
    StoreMismatchError,
    StoreNotFoundError,
    UnknownIdError,
)
from rank_rerank.scoring.stored_scores import score_stored
from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.storage.model_identity import ModelIdentity
from rank_rerank.storage.sharded_repair import repair_folder, verify_folder
from rank_rerank.storage.sharded_store import SHARDED_FILE, ShardedStore
from rank_rerank.storage.stores import open_stores

IDS = [f"d{number}" for number in range(40)]
TEXTS = [f"text {each}" for each in IDS]
METADATA = [{"lang": ("en", "de")[number % 2], "year": 2000 + number % 3} for number in range(40)]
QUERY = np.eye(DIM, dtype=np.float32)[:3]


@pytest.fixture
def spread(tmp_path):
    store = ShardedStore.create(tmp_path / "spread", IDENTITY, Compression("float32"), num_stores=4)
    store.add(IDS, embeddings=embeddings_of(40), texts=TEXTS, metadata=METADATA)
    return store


@pytest.fixture
def whole(tmp_path):
    store = EmbeddingStore.create(tmp_path / "whole", IDENTITY, Compression("float32"))
    store.add(IDS, embeddings=embeddings_of(40), texts=TEXTS, metadata=METADATA)
    return store


def test_a_spread_store_is_read_as_a_whole_one(spread, whole):
    assert sorted(spread) == sorted(whole)
    assert (len(spread), "d7" in spread, "x" in spread) == (40, True, False)
    wanted = ["d9", "d3", "d31", "d3", "d0"]
    one, other = spread.select(wanted), whole.select(wanted)
    np.testing.assert_array_equal(score_stored(QUERY, one), score_stored(QUERY, other))
    assert list(one) == list(other)
    np.testing.assert_array_equal(spread.get(wanted).vectors, whole.get(wanted).vectors)
    assert spread.verify().is_sound
    assert "stores=4" in repr(spread)
    with pytest.raises(UnknownIdError, match=r"ids\[1\]"):
        spread.select(["d1", "x"])


def test_a_spread_store_changes_as_a_whole_one(spread, tmp_path):
    reader = ShardedStore.open(tmp_path / "spread", read_only=True)
    before = spread.generation
    spread.update(["d1", "d2"], embeddings=embeddings_of(2, seed=5))
    spread.delete(["d3", "d4", "d5"])
    spread.add(["new"], embeddings=embeddings_of(1, seed=9))
    spread.compact()
    assert (len(spread), len(reader), reader.generation) == (38, 40, before)
    assert "d3" in reader
    reader.refresh()
    assert (len(reader), reader.generation) == (38, spread.generation)
    assert spread.generation > before
    np.testing.assert_array_equal(reader.get(["d2"]).vectors, embeddings_of(2, seed=5)[1])


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda store: store.add(["x", "d1"], embeddings=embeddings_of(2)), DuplicateIdError),
        (lambda store: store.add(["x", "x"], embeddings=embeddings_of(2)), DuplicateIdError),
        (lambda store: store.add(["x", "y"], embeddings=embeddings_of(3)), Exception),
        (lambda store: store.add(["x", "y"], texts=["a", 3], embeddings=embeddings_of(2)), InvalidItemError),
        (lambda store: store.add(["x"], embeddings=embeddings_of(1), metadata=[{"a": object()}]), InvalidItemError),
        (lambda store: store.add(["x"], texts=["a"]), InvalidArgumentError),
        (lambda store: store.update(["d1", "x"], embeddings=embeddings_of(2)), UnknownIdError),
        (lambda store: store.delete(["d1", "x"]), UnknownIdError),
        (lambda store: store.encode([{"id": "x", "text": "a"}]), InvalidArgumentError),
    ],
)
def test_what_is_refused_changes_no_part_of_a_spread_store(spread, change, error):
    generation = spread.generation
    with pytest.raises(error):
        change(spread)
    spread.refresh()
    assert (spread.generation, len(spread)) == (generation, 40)


def test_damage_to_a_spread_store_is_named(spread, tmp_path):
    folder = tmp_path / "spread"
    with pytest.raises(StoreError, match="not empty"):
        ShardedStore.create(folder, IDENTITY, num_stores=2)
    part = folder / "store-00002"
    [segment] = part.glob("segment-*")
    damaged = bytearray(segment.read_bytes())
    damaged[-9] ^= 4
    segment.write_bytes(bytes(damaged))
    assert ShardedStore.open(folder).verify().problems[0].startswith("store-00002: ")
    for text in ("{", json.dumps({"format": "x"}), (folder / SHARDED_FILE).read_text().replace("4", "0")):
        (folder / SHARDED_FILE).write_text(text)
        with pytest.raises(StoreFormatError):
            ShardedStore.open(folder)
    (folder / SHARDED_FILE).unlink()
    with pytest.raises(StoreNotFoundError):
        ShardedStore.open(folder)


def test_any_stores_of_one_kind_are_joined(tmp_path, whole):
    parts = [tmp_path / "a", tmp_path / "b"]
    for number, part in enumerate(parts):
        ids = IDS[number::2]
        store = EmbeddingStore.create(part, IDENTITY, Compression("float32"))
        store.add(ids, embeddings=embeddings_of(40).select(np.arange(number, 40, 2)), texts=TEXTS[number::2])
    joined = open_stores(parts)
    assert (len(joined), joined.generation) == (40, 4)
    np.testing.assert_array_equal(score_stored(QUERY, joined.select(IDS)), score_stored(QUERY, whole.select(IDS)))
    late = EmbeddingStore.open(parts[0])
    late.add(["late"], embeddings=embeddings_of(1))
    assert "late" not in joined
    joined.refresh()
    assert ("late" in joined, joined.generation) == (True, 5)
    late.add(["d1"], embeddings=embeddings_of(1))  # which is in the other one
    with pytest.raises(DuplicateIdError, match="'d1' is in two of the stores"):
        joined.refresh()
    EmbeddingStore.open(parts[1]).delete(["d1"])
    joined.refresh()
    assert len(joined) == 41


def test_stores_of_different_kinds_are_not_joined(tmp_path):
    fill(tmp_path / "a")
    EmbeddingStore.create(tmp_path / "b", ModelIdentity.foreign("another", DIM))
    EmbeddingStore.create(tmp_path / "c", IDENTITY, Compression("int8"))
    for other in "bc":
        with pytest.raises(StoreMismatchError):
            open_stores([tmp_path / "a", tmp_path / other])
    with pytest.raises(InvalidArgumentError):
        open_stores([])


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({"only": ["d3", "d1", "nowhere"]}, ["d1", "d3"]),
        ({"except_": ["d3", "d1", "nowhere"]}, ["d0", "d2", "d4"]),
        ({"only": {"lang": "en"}}, ["d0", "d2", "d4"]),
        ({"only": {"lang": "en", "year": 2001}}, ["d4"]),
        ({"only": {"lang": "en"}, "except_": {"year": 2000}}, ["d2", "d4"]),
        ({"only": {"missing": None}}, []),
        ({"only": []}, []),
        ({"except_": {}}, []),
        ({}, ["d0", "d1", "d2", "d3", "d4"]),
    ],
)
def test_filters_choose_among_candidates(whole, spread, filters, wanted):
    for store in (whole, spread):
        chosen = store.select(IDS[:5], **filters)
        assert [document.id for document in chosen] == wanted
    whole.delete(["d9"])
    everything = {document.id for document in whole.select(**filters)}
    candidates = {document.id for document in whole.select([each for each in IDS if each != "d9"], **filters)}
    assert everything == candidates


def test_a_filter_of_ids_is_a_list(whole):
    with pytest.raises(InvalidItemError):
        whole.select(IDS, only="d1")


def test_a_ranking_says_which_generation_it_is_of(tmp_path, reranker):
    store = EmbeddingStore.create(tmp_path / "store", reranker.encoder)
    store.add(["a", "b"], texts=["Paris is in France", "a banana"])
    chosen = store.select(["a", "b"])
    store.delete(["b"])
    ranking = reranker.rerank("capital of France", chosen)
    assert (ranking.as_of, [hit.id for hit in ranking], store.generation) == (2, ["a", "b"], 3)
    assert ranking[:1].as_of == ranking.to_dict()["as_of"] == 2
    assert reranker.rerank("capital of France", store.select()).as_of == 3
    assert reranker.rerank("capital of France", ["Paris"]).as_of is None
    assert reranker.rerank("capital of France", ["Paris"], store=store).as_of == store.generation == 4


def test_content_is_the_same_in_one_folder_and_in_several(spread, tmp_path):
    pieces = {}
    for number in range(4):
        pieces |= content(tmp_path / "spread" / f"store-{number:05}")
    assert pieces == {each: spread.get([each])[0].tobytes() for each in spread}


def make_spread(folder):
    store = ShardedStore.create(folder, IDENTITY, num_stores=3)
    store.add(IDS, embeddings=embeddings_of(len(IDS)))
    return store


def test_a_spread_store_is_verified_and_repaired_by_its_folder(tmp_path):
    expected = [*make_spread(tmp_path / "s")]
    assert verify_folder(tmp_path / "s").is_sound
    assert repair_folder(tmp_path / "s", 1.0).actions == ()
    (path,) = (tmp_path / "s" / "store-00001").glob("segment-*")
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    assert [problem.startswith("store-00001: ") for problem in verify_folder(tmp_path / "s").problems] == [True]
    repaired = repair_folder(tmp_path / "s", 1.0)
    assert all(action.startswith("store-00001: ") for action in repaired.actions)
    assert verify_folder(tmp_path / "s").is_sound
    left = [*ShardedStore.open(tmp_path / "s")]
    assert len(left) == repaired.num_documents == len(expected) - repaired.num_lost
    assert set(left) <= set(expected)


@pytest.mark.parametrize(
    "content", [None, "{", '{"format": "rank-rerank sharded store", "version": 1, "num_stores": 2}']
)
def test_how_many_stores_there_are_is_told_by_their_documents(tmp_path, content):
    """Where the file that says so is lost or wrong."""
    expected = [*make_spread(tmp_path / "s")]
    file = tmp_path / "s" / SHARDED_FILE
    file.unlink() if content is None else file.write_text(content)
    assert not verify_folder(tmp_path / "s").is_sound
    assert repair_folder(tmp_path / "s", 1.0).num_documents == len(expected)
    assert sorted(ShardedStore.open(tmp_path / "s")) == sorted(expected)
    assert verify_folder(tmp_path / "s").is_sound
    file.unlink()
    shutil.rmtree(tmp_path / "s" / "store-00002")
    with pytest.raises(StoreFormatError, match="are not all"):
        repair_folder(tmp_path / "s", 1.0)


def test_a_missing_one_of_several_stores_is_named(tmp_path):
    make_spread(tmp_path / "s")
    (tmp_path / "s" / "store-00002").rename(tmp_path / "elsewhere")
    for read in (ShardedStore.open, lambda folder: repair_folder(folder, 1.0)):
        with pytest.raises(StoreNotFoundError, match="store-00002"):
            read(tmp_path / "s")
    assert verify_folder(tmp_path / "s").problems == ("store-00002 is missing, with its documents",)
    (tmp_path / "elsewhere").rename(tmp_path / "s" / "store-00002")
    assert verify_folder(tmp_path / "s").is_sound
    with pytest.raises(StoreNotFoundError):
        verify_folder(tmp_path / "nowhere")


def test_true_is_not_one(tmp_path):
    store = EmbeddingStore.create(tmp_path / "s", IDENTITY)
    store.add(IDS[:3], embeddings=embeddings_of(3), metadata=[{"is": True}, {"is": 1}, {"is": 1.0}])
    chosen = [[each.id for each in store.select(only={"is": value})] for value in (True, 1, False)]
    assert chosen == [["d0"], ["d1", "d2"], []]


FILTERED = [
    {"tags": ("a", "b")},
    {"tags": ["a", "b"]},
    {"tags": np.array([1, 0])},
    {"tags": [True, False]},
    {"tags": {"on": True}},
    {"tags": {"on": 1}},
    {"tags": np.float32(0.1)},
    {"tags": math.nan},
]


def test_a_filter_is_read_as_the_metadata_was(tmp_path):
    """What was handed in is found by the same value, of whatever type, and nothing else is."""
    store = EmbeddingStore.create(tmp_path / "store", IDENTITY)
    ids = [str(number) for number in range(len(FILTERED))]
    store.add(ids, embeddings=embeddings_of(len(ids)), metadata=FILTERED)
    for number, wanted in enumerate(FILTERED):
        same = ids[:2] if number < 2 else [ids[number]]
        assert [document.id for document in store.select(ids, only=wanted)] == same
        assert [document.id for document in store.select(ids, except_=wanted)] == [
            each for each in ids if each not in same
        ]


@pytest.mark.parametrize("value", [{"a", "b"}, math.inf, object(), b"a", {1: 2}])
@pytest.mark.parametrize("name", ["only", "except_"])
def test_a_filter_that_no_metadata_can_fit_is_refused(whole, name, value):
    with pytest.raises(InvalidItemError, match=rf'{name}\["lang"\]'):
        whole.select(IDS, **{name: {"lang": value}})
    with pytest.raises(InvalidItemError, match=f"{name} has a key of type int"):
        whole.select(IDS, **{name: {1: "en"}})
