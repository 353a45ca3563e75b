import json

import numpy as np
import pytest
from small_stores import DIM, IDENTITY, content, embeddings_of, fill

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
from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.storage.model_identity import ModelIdentity


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
