"""Vectors go out to other tools and come back the same; real clients, on local folders."""

import json

import numpy as np
import pytest
from small_stores import DIM, IDENTITY, embeddings_of, fill, unit_rows

import rank_rerank
from rank_rerank.encoding.compression import Compression
from rank_rerank.errors import DuplicateIdError, FileFormatError, MissingDependencyError, ShapeError, StoreMismatchError
from rank_rerank.scoring.stored_scores import score_stored
from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.storage.lancedb_exchange import add_from_lancedb, to_lancedb
from rank_rerank.storage.model_identity import ModelIdentity
from rank_rerank.storage.pyarrow_exchange import add_arrow, add_parquet, arrow_schema, write_parquet
from rank_rerank.storage.qdrant_exchange import add_from_qdrant, to_qdrant


@pytest.fixture
def full(tmp_path):
    store = EmbeddingStore.create(tmp_path / "full", IDENTITY, Compression("float32"))
    ids = [f"d{number}" for number in range(40)]
    metadata = [{"n": number} for number in range(40)]
    store.add(ids, embeddings=embeddings_of(40), texts=[f"text {each}" for each in ids], metadata=metadata)
    return store


def empty(folder, identity=IDENTITY):
    return EmbeddingStore.create(folder, identity, Compression("float32"))


def assert_same(first, second, ids, tolerance=0.0):
    for one, other in zip(first.get(ids), second.get(ids), strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance)
    assert first.get_documents(ids) == second.get_documents(ids)
    query = unit_rows(np.random.default_rng(0), 4)
    np.testing.assert_allclose(
        score_stored(query, first.select(ids)), score_stored(query, second.select(ids)), atol=4 * 16 * tolerance + 1e-6
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 0), ("float16", 5e-4)])
def test_parquet_there_and_back(full, tmp_path, dtype, tolerance):
    parquet = pytest.importorskip("pyarrow.parquet")
    write_parquet(full, tmp_path / "s.parquet", dtype)
    table = parquet.read_table(tmp_path / "s.parquet")
    number = "halffloat" if dtype == "float16" else "float"
    assert str(table.schema.field("tokens").type).replace("element", "item") == (
        f"list<item: fixed_size_list<item: {number}>[{DIM}]>"
    )
    facts = json.loads(table.schema.metadata[b"rank_rerank"])
    assert (facts["model"], facts["dim"], facts["dtype"], facts["normalized"]) == ("a-model", DIM, dtype, True)
    back = empty(tmp_path / "back")
    assert add_parquet(back, tmp_path / "s.parquet") == 40
    assert_same(full, back, list(full), tolerance)
    with pytest.raises(DuplicateIdError):
        add_parquet(back, tmp_path / "s.parquet")


def test_parquet_made_elsewhere(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    kind = arrow.list_(arrow.list_(arrow.float16(), DIM))
    vectors = [np.eye(DIM, dtype=np.float16)[:3].tolist(), []]
    table = arrow.table({"id": ["a", "b"], "tokens": arrow.array(vectors, kind)})
    store = empty(tmp_path / "s")
    add_arrow(store, table)
    assert store.get(["a"])[0].tolist() == np.eye(DIM)[:3].tolist()
    assert len(store.get(["b"])[0]) == 0
    # a slice of a batch has offsets that do not begin at 0
    more = empty(tmp_path / "more")
    add_arrow(more, arrow.table({"id": ["x", "a"], "tokens": arrow.array([vectors[0], vectors[0]], kind)}).slice(1))
    assert list(more) == ["a"]
    assert more.get(["a"])[0].shape == (3, DIM)


def test_parquet_that_does_not_fit(full, tmp_path):
    arrow = pytest.importorskip("pyarrow")
    write_parquet(full, tmp_path / "s.parquet")
    with pytest.raises(StoreMismatchError, match="weights"):
        add_parquet(empty(tmp_path / "o", ModelIdentity.foreign("other", DIM)), tmp_path / "s.parquet")
    store = empty(tmp_path / "s")
    (tmp_path / "no.parquet").write_bytes(b"PAR1 but not really")
    for name in ("no.parquet", "missing.parquet"):
        with pytest.raises(FileFormatError, match=name):
            add_parquet(store, tmp_path / name)
    with pytest.raises(FileFormatError, match='"id" and "tokens"'):
        add_arrow(store, arrow.table({"id": ["a"]}))
    with pytest.raises(FileFormatError, match="list<fixed_size_list"):
        add_arrow(store, arrow.table({"id": ["a"], "tokens": [[1.0, 2.0]]}))
    kind = arrow.list_(arrow.list_(arrow.float32(), 3))
    table = arrow.table({"id": ["a"], "tokens": arrow.array([[[1.0, 2.0, 3.0]]], kind)})
    with pytest.raises(ShapeError, match="dim 3"):
        add_arrow(store, table)
    assert len(store) == 0


def test_qdrant_there_and_back_with_the_same_scores(full, tmp_path):
    qdrant_client = pytest.importorskip("qdrant_client")
    client = qdrant_client.QdrantClient(":memory:")
    to_qdrant(full, client, "documents")
    with_vectors = [key for key, vectors in zip(full, full.get(list(full)), strict=True) if len(vectors)]
    query = unit_rows(np.random.default_rng(0), 4)
    found = client.query_points("documents", query=query.tolist(), limit=5).points
    scores = dict(zip(with_vectors, score_stored(query, full.select(with_vectors)).tolist(), strict=True))
    assert [point.payload["id"] for point in found] == sorted(scores, key=lambda key: -scores[key])[:5]
    for point in found:
        assert point.score == pytest.approx(scores[point.payload["id"]], abs=1e-4)
    back = empty(tmp_path / "back")
    assert add_from_qdrant(back, client, "documents") == len(with_vectors)
    assert_same(full, back, with_vectors, 1e-6)
    with pytest.raises(FileFormatError, match="vector_name"):
        add_from_qdrant(empty(tmp_path / "other"), client, "documents", "colbert")
    client.close()


def test_lancedb_there_and_back(full, tmp_path):
    lancedb = pytest.importorskip("lancedb")
    database = lancedb.connect(tmp_path / "lance")
    table = to_lancedb(full, database, "documents")
    assert table.count_rows() == 40
    back = empty(tmp_path / "back")
    assert add_from_lancedb(back, database.open_table("documents")) == 40
    assert_same(full, back, list(full))
    with pytest.raises(FileFormatError, match="column="):
        add_from_lancedb(back, table, "vectors")


def test_lists_of_arrays_as_pylate_and_sentence_transformers_give_them(tmp_path):
    store = empty(tmp_path / "s")
    arrays = [unit_rows(np.random.default_rng(number), number + 1) for number in range(5)]
    store.add(list("abcde"), embeddings=arrays)
    assert [back.tobytes() for back in list(store.get(list("abcde")))] == [array.tobytes() for array in arrays]
    torch = pytest.importorskip("torch")
    store.add(["t"], embeddings=[torch.from_numpy(arrays[3])])
    assert store.get(["t"])[0].tobytes() == arrays[3].tobytes()
    assert rank_rerank.maxsim(arrays[0], list(store.get(["a"]))).shape == (1,)


def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch):
    import sys

    store = fill(tmp_path / "s")
    for name in ("pyarrow", "qdrant_client.models", "lancedb"):
        monkeypatch.setitem(sys.modules, name, None)
    for call, package in (
        (lambda: arrow_schema(store), "pyarrow"),
        (lambda: to_qdrant(store, None, "x"), "qdrant-client"),
        (lambda: to_lancedb(store, None, "x"), "lancedb"),
    ):
        with pytest.raises(MissingDependencyError, match=rf'pip install.* "{package}>='):
            call()
