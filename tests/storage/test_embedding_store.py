import threading

import numpy as np
import pytest
from example_counts import examples
from hypothesis import given
from hypothesis import strategies as st
from small_stores import DIM, content, embeddings_of, fill, unit_rows

import rank_rerank
from rank_rerank.scoring.stored_evidence import measure_stored
from rank_rerank.scoring.stored_scores import score_stored
from rank_rerank.storage.embedding_store import EmbeddingStore

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
