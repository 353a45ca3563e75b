"""DuckDB, Polars, Lance and Arrow read what is written here, each in its own way."""

import numpy as np
import pytest

from rank_rerank.encoding.compression import Compression
from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.storage.pyarrow_exchange import to_arrow, write_parquet

IDS = ["fruit", "paris", "nothing"]
TEXTS = ["Bananas are rich in potassium.", "Paris is the capital of France.", ""]


@pytest.fixture(scope="module")
def store(tmp_path_factory, encoder):
    store = EmbeddingStore.create(tmp_path_factory.mktemp("stores") / "s", encoder, Compression("float32"))
    store.add(IDS, texts=TEXTS, metadata=[{"n": number} for number in range(3)])
    return store


@pytest.fixture(scope="module", params=["float16", "float32"])
def path(store, encoder, request, tmp_path_factory):
    pytest.importorskip("pyarrow")
    path = tmp_path_factory.mktemp("parquet") / f"{request.param}.parquet"
    write_parquet(store, path, request.param, encoder)
    return path


def assert_rows(store, encoder, rows):
    """Each row says what the store says, and which token and characters each vector stands for."""
    assert [row["id"] for row in rows] == IDS
    for row, text in zip(rows, TEXTS, strict=True):
        batch = encoder.tokenizer.tokenize_documents([text])
        vectors = np.array(row["tokens"], np.float32).reshape(-1, encoder.dim)
        np.testing.assert_allclose(vectors, store.get([row["id"]]).vectors, atol=5e-4)
        assert (row["text"], row["truncated"], row["token_ids"]) == (
            text,
            False,
            batch.token_ids[batch.scoring_mask].tolist(),
        )
        assert [[span["start"], span["end"]] for span in row["offsets"]] == batch.character_spans[
            batch.scoring_mask
        ].tolist()


def test_arrow_reads_it(store, encoder, path):
    parquet = pytest.importorskip("pyarrow.parquet")
    assert_rows(store, encoder, parquet.read_table(path).to_pylist())


def test_duckdb_reads_it(store, encoder, path):
    duckdb = pytest.importorskip("duckdb")
    rows = duckdb.sql(f"select * from read_parquet('{path}')")  # noqa: S608 - a file of this test
    names = rows.columns
    assert_rows(store, encoder, [dict(zip(names, row, strict=True)) for row in rows.fetchall()])
    wanted = f"select id from read_parquet('{path}') where len(tokens) = 0"  # noqa: S608
    assert duckdb.sql(wanted).fetchall() == [("nothing",)]


def test_polars_reads_it(store, encoder, path):
    polars = pytest.importorskip("polars")
    assert_rows(store, encoder, polars.read_parquet(path).to_dicts())


def test_lance_reads_it(store, encoder, tmp_path):
    lance = pytest.importorskip("lance")
    arrow = pytest.importorskip("pyarrow")
    batches = list(to_arrow(store, "float16", encoder))
    lance.write_dataset(arrow.Table.from_batches(batches), tmp_path / "tokens.lance")
    assert_rows(store, encoder, lance.dataset(tmp_path / "tokens.lance").to_table().to_pylist())


def test_tokens_of_vectors_that_stand_for_several_cannot_be_told(tmp_path, encoder):
    pytest.importorskip("pyarrow")
    from rank_rerank.encoding.pooling import Pooling
    from rank_rerank.errors import InvalidArgumentError

    pooled = EmbeddingStore.create(tmp_path / "s", encoder, Compression(pooling=Pooling(2)))
    with pytest.raises(InvalidArgumentError, match="stand for several tokens"):
        next(to_arrow(pooled, "float16", encoder))


def test_without_an_encoder_the_columns_are_null(store):
    pytest.importorskip("pyarrow")
    [batch] = to_arrow(store)
    assert batch.column("token_ids").to_pylist() == batch.column("offsets").to_pylist() == [None] * 3
