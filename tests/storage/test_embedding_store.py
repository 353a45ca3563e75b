import json
import threading

import numpy as np
import pytest
from example_counts import examples
from hypothesis import given
from hypothesis import strategies as st
from small_stores import DIM, IDENTITY, content, embeddings_of, fill, unit_rows

import rank_rerank
from rank_rerank.encoding.compression import Compression
from rank_rerank.errors import (
    DuplicateIdError,
    InvalidArgumentError,
    InvalidItemError,
    InvalidTextError,
    NonFiniteError,
    ShapeError,
    StoreError,
    StoreMismatchError,
    StoreNotFoundError,
    StoreWriteError,
    UnknownIdError,
)
from rank_rerank.scoring.stored_evidence import measure_stored
from rank_rerank.scoring.stored_scores import score_stored
from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.storage.model_identity import ModelIdentity

DTYPES = ("float32", "float16", "int8", "int4", "binary")


def test_what_is_added_comes_back(store, tmp_path):
    expected = embeddings_of(7)
    assert (len(store), list(store)) == (7, [f"d{number}" for number in range(7)])
    for opened in (store, EmbeddingStore.open(tmp_path / "store", read_only=True)):
        back = opened.get(["d6", "d0", "d6"])
        assert [each.tobytes() for each in back] == [expected[number].tobytes() for number in (6, 0, 6)]
        assert "d3" in opened
        assert "e" not in opened
        assert 3 not in opened
        assert "\ud800" not in opened
    assert store.verify().is_sound


@examples(25)
@given(st.lists(st.tuples(st.sampled_from("audcr"), st.integers(0, 12), st.integers(0, 5)), max_size=14))
def test_any_history_leaves_what_a_dictionary_would_hold(tmp_path_factory, history):
    folder = tmp_path_factory.mktemp("store") / "s"
    store, expected = fill(folder, 0), {}
    for number, (action, first, count) in enumerate(history):
        ids = [f"d{each}" for each in range(first, first + count)]
        vectors = embeddings_of(count, seed=number)
        new = {identifier: vectors[index].tobytes() for index, identifier in enumerate(ids)}
        if action == "a":
            absent = [index for index, identifier in enumerate(ids) if identifier not in expected]
            store.add([ids[index] for index in absent], embeddings=[vectors[index] for index in absent])
            expected |= {ids[index]: new[ids[index]] for index in absent}
        elif action == "u":
            present = [index for index, identifier in enumerate(ids) if identifier in expected]
            store.update([ids[index] for index in present], embeddings=[vectors[index] for index in present])
            expected |= {ids[index]: new[ids[index]] for index in present}
        elif action == "d":
            present = [identifier for identifier in ids if identifier in expected]
            store.delete(present)
            expected = {key: value for key, value in expected.items() if key not in present}
        elif action == "c":
            store.compact()
        else:
            store = EmbeddingStore.open(folder)
        assert len(store) == len(expected)
    assert content(folder) == expected
    assert store.verify().is_sound
    assert set(store) == set(expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_scores_are_those_of_maxsim_over_what_is_stored(tmp_path, dtype):
    store = fill(tmp_path / "s", 0, dtype)
    for batch in range(3):  # several segments
        ids = [f"{batch}-{number}" for number in range(40 - 12 * batch)]
        store.add(ids, embeddings=embeddings_of(len(ids), seed=batch))
    store.delete(["0-3", "1-1"])
    ids = list(store)
    np.random.default_rng(1).shuffle(ids)
    query = unit_rows(np.random.default_rng(2), 5)
    scores = score_stored(query, store.select(ids))
    expected = rank_rerank.maxsim(query, store.get(ids))
    if dtype == "float32":
        assert scores.tobytes() == expected.tobytes()
    else:
        # the query is rounded to int8 beside int8 documents: half a step of each number
        np.testing.assert_allclose(scores, expected, atol=0.05 if dtype.startswith("int") else 1e-5)
    store.compact()
    assert score_stored(query, store.select(ids)).tobytes() == scores.tobytes()
    assert len(store.snapshot.segments) == 1


def test_four_bits_are_unpacked_some_at_a_time(tmp_path, monkeypatch):
    """Whatever is unpacked together, scores and best windows are the same bits, as are those of repeated documents."""
    store = fill(tmp_path / "s", 60, "int4")
    query, ids = unit_rows(np.random.default_rng(2), 5), [*store, *list(store)[:9]]

    def measured():
        documents = store.select(ids)
        sums = score_stored(query, documents)
        return [sums, *measure_stored(query, documents, sums, with_windows=True)]

    together = measured()
    monkeypatch.setattr("rank_rerank.scoring.readable_rows.BLOCK_TOKENS", 11)
    for one, other in zip(measured(), together, strict=True):
        assert one.tobytes() == other.tobytes()
    assert together[0][-9:].tobytes() == together[0][:9].tobytes()


@pytest.mark.parametrize("fine", ["int8", "float16"])
def test_signs_choose_and_the_finer_form_scores(tmp_path, fine):
    store = fill(tmp_path / "s", 300, "binary", rescore_dtype=fine)
    plain = fill(tmp_path / "p", 300, fine)
    query, ids = unit_rows(np.random.default_rng(2), 5), list(store)
    expected = score_stored(query, plain.select(ids))
    assert score_stored(query, store.select(ids)).tobytes() == expected.tobytes()
    chosen = score_stored(query, store.select(ids), top_k=3)
    signs = score_stored(query, fill(tmp_path / "b", 300, "binary").select(ids))
    best = np.sort(np.argsort(-signs, kind="stable")[:64])
    assert np.flatnonzero(np.isfinite(chosen)).tolist() == best.tolist()
    assert (chosen[best] == expected[best]).all()


def test_many_small_writes_leave_few_segments(tmp_path):
    store = fill(tmp_path / "s", 0)
    for number in range(40):
        store.add([str(number)], embeddings=[unit_rows(np.random.default_rng(number), 4)])
    assert len(store.snapshot.segments) <= 6
    assert len(store) == 40
    assert len(list((tmp_path / "s").glob("segment-*"))) == len(store.snapshot.segments)


def test_a_reader_keeps_its_generation_until_it_refreshes(store, tmp_path):
    reader = EmbeddingStore.open(tmp_path / "store")
    selection = reader.select(["d1", "d2"])
    before = [each.tobytes() for each in reader.get(["d1", "d2"])]
    store.delete(["d1"])
    store.update(["d2"], embeddings=[np.eye(DIM, dtype=np.float32)])
    store.compact()
    assert [each.tobytes() for each in reader.get(["d1", "d2"])] == before
    assert [document.id for document in selection] == ["d1", "d2"]
    assert score_stored(np.eye(DIM, dtype=np.float32), selection).shape == (2,)
    reader.refresh()
    assert "d1" not in reader
    assert reader.get(["d2"])[0].shape == (DIM, DIM)
    assert reader.generation == store.generation


def test_texts_metadata_and_truncation_come_back(tmp_path, encoder):
    store = EmbeddingStore.create(tmp_path / "s", encoder)
    store.add(["a", "b"], texts=["Paris", "word " * 600], metadata=[{"year": 1900, "tags": ["x", None]}, None])
    (first, second) = store.get_documents(["a", "b"])
    assert (first.text, first.id, first.metadata) == ("Paris", "a", {"year": 1900, "tags": ["x", None]})
    assert second.metadata == {}
    assert store.select(["b", "a"]).truncated().tolist() == [True, False]
    assert [document.id for document in store.documents()] == ["a", "b"]
    assert [document.id for document in store.select(["a", "b", "a"])[1:]] == ["b", "a"]


def test_texts_are_left_out_when_asked(tmp_path, encoder):
    store = EmbeddingStore.create(tmp_path / "s", encoder, keep_texts=False)
    store.add(["a"], texts=["a secret sentence"])
    assert store.get_documents(["a"])[0].text == ""
    assert not any(b"secret" in path.read_bytes() for path in (tmp_path / "s").iterdir())


@pytest.mark.parametrize(
    ("ids", "arguments", "error", "message"),
    [
        ("abc", {}, InvalidItemError, "must be a list of ids"),
        ([1], {}, InvalidItemError, r"ids\[0\] must be a str"),
        (["a", "\ud800"], {}, InvalidTextError, r"ids\[1\]"),
        (["a", ""], {}, InvalidArgumentError, r"ids\[1\].*1024"),
        (["é" * 513], {}, InvalidArgumentError, r"ids\[0\].*1024"),
        (["a", "b", "a"], {}, DuplicateIdError, r"ids\[0\] and ids\[2\] are both 'a'"),
        (["text-sha256:0"], {}, InvalidArgumentError, "keeps for itself"),
        (["a", "d3"], {}, DuplicateIdError, r"ids\[1\], 'd3', is in the store already.*update"),
        (["a"], {"embeddings": [np.zeros((2, DIM + 1))]}, ShapeError, f"dim {DIM}, these have dim {DIM + 1}"),
        (["a"], {"embeddings": [np.zeros(DIM)]}, ShapeError, "axes"),
        (["a"], {"embeddings": [np.full((1, DIM), np.nan)]}, NonFiniteError, "NaN"),
        (["a"], {"embeddings": [[["x"] * DIM]]}, InvalidItemError, "real numbers"),
        (["a", "b"], {"embeddings": [np.zeros((1, DIM))]}, ShapeError, "2 ids, but embeddings of 1"),
        (["a"], {"embeddings": None}, InvalidArgumentError, "texts=, embeddings="),
        (["a"], {"embeddings": None, "texts": ["x"]}, InvalidArgumentError, "without an encoder"),
        (["a"], {"texts": ["secret \ud800"]}, InvalidTextError, r"texts\[0\]"),
        (["a"], {"texts": "secret"}, InvalidItemError, "list"),
        (["a"], {"texts": ["secret", "b"]}, ShapeError, "1 ids, but 2 texts"),
        (["a"], {"metadata": [{"x": float("inf")}]}, InvalidItemError, r"metadata\[0\]\[\"x\"\] is infinite"),
        ([7], {}, InvalidItemError, r"ids\[0\] must be a str"),
        (["a"], {"metadata": [{"x": {1, 2}}]}, InvalidItemError, r"metadata\[0\]"),
        (["a"], {"metadata": {"x": 1}}, InvalidItemError, "metadata must be a list"),
    ],
)
def test_bad_input_has_one_typed_answer_and_changes_nothing(store, tmp_path, ids, arguments, error, message):
    before = content(tmp_path / "store")
    vectors = {"embeddings": [np.ones((1, DIM), np.float32)] * len(ids)} | arguments
    with pytest.raises(error, match=message) as caught:
        store.add(ids, **vectors)
    assert "secret" not in str(caught.value)
    assert content(tmp_path / "store") == before
    assert list((tmp_path / "store").glob("*.tmp")) == []


def test_ids_that_are_not_there_are_named(store):
    one = [np.ones((1, DIM), np.float32)]
    for call in (store.select, store.get, store.delete, store.get_documents):
        with pytest.raises(UnknownIdError, match=r"ids\[1\], 'nö\\n\.\.\.|ids\[1\], 'n\\xf6\\n'"):
            call(["d1", "nö\n"])
    with pytest.raises(UnknownIdError, match="and 1 more"):
        store.update(["x", "y"], embeddings=one * 2)
    with pytest.raises(UnknownIdError) as caught:
        store.get(["x" * 5000])
    assert len(str(caught.value)) < 300
    assert len(store) == 7


def test_ids_of_every_kind_of_unicode_are_found(tmp_path):
    ids = ["a b", "\x00", "漢字", "👩‍👩‍👧", "e\u0301", "é", "\u202e", "x" * 1024, "../../etc", "a\nb"]
    store = fill(tmp_path / "s", 0)
    store.add(ids, embeddings=embeddings_of(len(ids)))
    assert list(EmbeddingStore.open(tmp_path / "s")) == ids
    assert [document.id for document in store.select(ids)] == ids


@pytest.mark.parametrize("dtype", DTYPES)
def test_documents_without_tokens_and_empty_calls(tmp_path, dtype):
    store = fill(tmp_path / "s", 0, dtype)
    assert (len(store), list(store), len(store.get([])), list(store.select([]))) == (0, [], 0, [])
    store.add([], embeddings=[])
    store.delete([])
    store.compact()
    assert store.generation == 1
    store.add(["empty"], embeddings=[np.empty((0, DIM), np.float32)])
    store.add(["empty too"], embeddings=[np.empty((0, 0))])
    query = np.eye(DIM, dtype=np.float32)[:2]
    assert score_stored(query, store.select(["empty", "empty too"])).tolist() == [-np.inf, -np.inf]
    assert score_stored(query, store.select([])).shape == (0,)
    assert store.verify().is_sound


def test_folders_that_are_no_store(tmp_path):
    with pytest.raises(StoreNotFoundError, match="holds no store"):
        EmbeddingStore.open(tmp_path / "missing")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("mine")
    with pytest.raises(StoreNotFoundError, match="holds no store"):
        EmbeddingStore.open(tmp_path / "foreign")
    with pytest.raises(StoreError, match="not empty"):
        EmbeddingStore.create(tmp_path / "foreign", IDENTITY)
    with pytest.raises(StoreNotFoundError):
        EmbeddingStore.open(tmp_path / "foreign" / "thesis.tex")
    with pytest.raises(StoreWriteError, match="cannot be made"):
        EmbeddingStore.create(tmp_path / "foreign" / "thesis.tex", IDENTITY)
    assert [path.name for path in (tmp_path / "foreign").iterdir()] == ["thesis.tex"]
    fill(tmp_path / "s")
    with pytest.raises(StoreError, match="holds a store already"):
        EmbeddingStore.create(tmp_path / "s", IDENTITY)


def test_read_only_refuses_every_change(store, tmp_path):
    reader = EmbeddingStore.open(tmp_path / "store", read_only=True)
    (tmp_path / "store" / "lock").unlink()
    for change in (
        lambda: reader.delete(["d1"]),
        reader.compact,
        lambda: reader.add(["x"], embeddings=embeddings_of(1)),
    ):
        with pytest.raises(StoreWriteError, match="read_only"):
            change()
    assert not (tmp_path / "store" / "lock").exists()


def test_another_models_store_is_refused(tmp_path, encoder, reranker):
    store = fill(tmp_path / "s")
    with pytest.raises(StoreMismatchError, match=r"'a-model', this is 'bundled'.*weights.*dim"):
        EmbeddingStore.open(tmp_path / "s", encoder)
    with pytest.raises(StoreMismatchError):
        reranker.rerank("query", store.select(["d1"]))
    with pytest.raises(StoreMismatchError):
        reranker.rerank("query", ["text"], store=store)


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("weights_sha256", "0" * 64, "weights"),
        ("tokenizer_sha256", "0" * 64, "tokenizer"),
        ("settings", "{}", "document settings"),
        ("dim", 8, "dim"),
    ],
)
def test_every_part_of_the_identity_counts_but_the_name(encoder, field, value, word):
    from dataclasses import replace

    identity = ModelIdentity.of(encoder.checkpoint)
    with pytest.raises(StoreMismatchError, match=f"they differ in {word}"):
        identity.check(replace(identity, **{field: value}))
    identity.check(replace(identity, name="another name of it"))
    assert json.loads(identity.settings)["document_length"] == 512


def test_a_compression_that_does_not_fit_the_model(tmp_path):
    with pytest.raises(ShapeError, match="multiple of 8"):
        EmbeddingStore.create(tmp_path / "s", ModelIdentity.foreign("m", 12), Compression("binary"))
    assert not (tmp_path / "s").exists()
    with pytest.raises(InvalidArgumentError):
        ModelIdentity.foreign("", 12)


def test_threads_write_and_read_one_store(store):
    errors = []

    def work(number):
        try:
            for step in range(5):
                identifier = f"t{number}-{step}"
                store.add([identifier], embeddings=[np.ones((2, DIM), np.float32)])
                assert store.get([identifier])[0].shape == (2, DIM)
                store.delete([identifier])
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(store) == 7
