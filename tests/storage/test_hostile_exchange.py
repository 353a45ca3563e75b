"""What other programs hand over is read as they mean it, or refused by a typed error; none of it reaches a kernel."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_stores import DIM, IDENTITY, content, embeddings_of, fill

from rank_rerank.encoding.compression import Compression
from rank_rerank.errors import FileFormatError, InvalidItemError, NonFiniteError, RankRerankError, StoreFormatError
from rank_rerank.evaluation.text_files import read_rows
from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.storage.pyarrow_exchange import add_arrow, add_parquet, write_parquet
from rank_rerank.storage.qdrant_exchange import add_from_qdrant

arrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def table(offsets, ids=("a", "b", "c"), **columns):
    """A record batch whose list offsets are as given, right or wrong."""
    values = arrow.FixedSizeListArray.from_arrays(arrow.array(np.ones(5 * DIM, np.float32)), DIM)
    numbers = np.array([0, 1, 2, 3], np.int32)
    buffers = [None, arrow.py_buffer(numbers)]
    tokens = arrow.Array.from_buffers(arrow.list_(values.type), 3, buffers, children=[values])
    batch = arrow.record_batch({"id": list(ids), "tokens": tokens} | columns)
    numbers[:] = offsets  # Arrow looks at some of them when a batch is made
    return batch


@pytest.fixture(scope="module")
def receiver(tmp_path_factory):
    return EmbeddingStore.create(tmp_path_factory.mktemp("receiver") / "s", IDENTITY, Compression("float32"))


@settings(max_examples=150, deadline=None)
@given(offsets=st.lists(st.integers(-3, 9) | st.integers(-(1 << 31), (1 << 31) - 1), min_size=4, max_size=4))
def test_any_offsets_are_read_as_meant_or_refused(receiver, offsets):
    try:
        add_arrow(receiver, table(offsets))
    except RankRerankError:
        assert len(receiver) == 0
        return
    lengths = [len(each) for each in receiver.get(["a", "b", "c"])]
    receiver.delete(["a", "b", "c"])
    assert lengths == np.diff(offsets).tolist()
    assert 0 <= offsets[0] <= offsets[-1] <= 5


@pytest.mark.parametrize(
    "batch",
    [
        lambda: None,
        lambda: {"id": ["a"], "tokens": [[[1.0]]]},
        lambda: table([0, 1, 2, 3], metadata=["{", "1", "2"]),
        lambda: table([0, 1, 2, 3], metadata=["[" * 100_000, "", ""]),
        lambda: table([0, 1, 2, 3], metadata=["[1]", "", ""]),
        lambda: table([0, 1, 2, 3], metadata=[1, 2, 3]),
        lambda: table([0, 1, 2, 3], ids=[1, 2, 3]),
        lambda: table([0, 1, 2, 3], ids=["a", None, "c"]),
        lambda: table([0, 1, 2, 3], text=[b"a", b"b", b"c"]),
        lambda: arrow.record_batch(
            {"id": ["a"], "tokens": arrow.array([[[]]], arrow.list_(arrow.list_(arrow.float32(), 0)))}
        ),
        lambda: arrow.record_batch({"id": ["a"], "tokens": [[["x"]]]}),
        lambda: arrow.record_batch({"id": ["a"], "tokens": [[[1.0, 2.0]]]}),
        lambda: arrow.record_batch({"id": ["a"], "tokens": [None]}),
        lambda: arrow.record_batch(
            {"id": ["a"], "tokens": arrow.array([[[1e300] * DIM]], arrow.list_(arrow.list_(arrow.float64(), DIM)))}
        ),
    ],
)
def test_tables_of_other_kinds_are_refused(receiver, batch):
    with pytest.raises(RankRerankError):
        add_arrow(receiver, batch())
    assert len(receiver) == 0


def test_a_parquet_file_that_is_damaged_in_the_middle_is_refused(tmp_path, receiver):
    write_parquet(fill(tmp_path / "s", 40), tmp_path / "f.parquet")
    sound = (tmp_path / "f.parquet").read_bytes()
    generator, refused = np.random.default_rng(0), 0
    for _ in range(60):
        damaged = bytearray(sound)
        for place in generator.integers(0, len(sound) - 8, 20):
            damaged[place] ^= 255
        (tmp_path / "f.parquet").write_bytes(damaged)
        try:
            add_parquet(receiver, tmp_path / "f.parquet")
        except RankRerankError:
            refused += 1
        receiver.delete(list(receiver))
    assert refused > 30


def test_a_parquet_file_stays_where_a_store_is_damaged(tmp_path):
    store = fill(tmp_path / "s", 40)
    (tmp_path / "f.parquet").write_bytes(b"old")
    path = tmp_path / "s" / store.snapshot.segments[0].name
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(max(store.get(list(store)), key=len).tobytes())] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(StoreFormatError):
        write_parquet(EmbeddingStore.open(tmp_path / "s"), tmp_path / "f.parquet")
    assert (tmp_path / "f.parquet").read_bytes() == b"old"
    assert not list(tmp_path.glob(".rank*"))


ROWS = embeddings_of(3, seed=1).vectors[:2].tolist()


@pytest.mark.parametrize(
    "point",
    [
        {"vector": [[1.0, 2.0], [1.0]]},
        {"vector": [["a"] * DIM]},
        {"vector": [[None] * DIM]},
        {"vector": [1.0] * DIM},
        {"vector": None},
        {"vector": {"other": ROWS}},
        {"vector": "abc"},
        {"vector": [[1e300] * DIM]},
        {"vector": [[float("nan")] * DIM]},
        {"vector": ROWS, "payload": [1]},
        {"vector": ROWS, "payload": "abc"},
        {"vector": ROWS, "payload": {"metadata": 3}},
        {"vector": ROWS, "payload": {"metadata": "abc"}},
        {"vector": ROWS, "payload": {"id": "\ud800"}},
        {"vector": ROWS, "payload": {"text": "\ud800"}},
    ],
)
def test_points_of_other_kinds_are_refused(receiver, point):
    made = SimpleNamespace(**{"id": 7, "payload": None} | point)
    with pytest.raises(RankRerankError):
        add_from_qdrant(receiver, SimpleNamespace(scroll=lambda *_, **__: ([made], None)), "c")
    assert len(receiver) == 0


def test_a_point_without_an_id_of_ours_keeps_its_own(tmp_path):
    store = EmbeddingStore.create(tmp_path / "s", IDENTITY, Compression("float32"))
    made = SimpleNamespace(id=7, vector=ROWS, payload={"id": None})
    add_from_qdrant(store, SimpleNamespace(scroll=lambda *_, **__: ([made], None)), "c")
    assert list(content(tmp_path / "s")) == ["7"]


def test_a_folder_is_no_parquet_file(tmp_path):
    with pytest.raises(FileFormatError, match="cannot be written"):
        write_parquet(fill(tmp_path / "s"), tmp_path)


def test_documents_without_a_text_take_no_text_from_others(tmp_path):
    store = EmbeddingStore.create(tmp_path / "s", IDENTITY, Compression("float32"))
    add_arrow(store, table([0, 1, 2, 3], text=["first", "", None]))
    points = [
        SimpleNamespace(id=7, vector=ROWS, payload={"id": "p", "text": "a text"}),
        SimpleNamespace(id=8, vector=ROWS, payload={"id": "q", "text": ""}),
        SimpleNamespace(id=9, vector=ROWS, payload=None),
    ]
    add_from_qdrant(store, SimpleNamespace(scroll=lambda *_, **__: (points, None)), "c")
    texts = {document.id: document.text for document in store.documents()}
    assert texts == {"a": "first", "b": "", "c": "", "p": "a text", "q": "", "9": ""}
    write_parquet(store, tmp_path / "f.parquet", "float32")
    again = EmbeddingStore.create(tmp_path / "again", IDENTITY, Compression("float32"))
    add_parquet(again, tmp_path / "f.parquet")
    assert {document.id: document.text for document in again.documents()} == texts


def test_only_vectors_may_lack_their_text(tmp_path):
    store = fill(tmp_path / "s", 0)
    store.add(["a"], embeddings=embeddings_of(1), texts=[None])
    with pytest.raises(InvalidItemError, match=r"texts\[0\]"):
        store.add(["b"], texts=[None])


def test_numbers_beyond_float16_are_not_written_as_infinity(tmp_path):
    store = EmbeddingStore.create(tmp_path / "s", IDENTITY, Compression("float32"))
    store.add(["a"], embeddings=[np.full((1, DIM), 1e6, np.float32)])
    (tmp_path / "f.parquet").write_bytes(b"old")
    with pytest.raises(NonFiniteError, match='dtype="float32"'):
        write_parquet(store, tmp_path / "f.parquet")
    assert (tmp_path / "f.parquet").read_bytes() == b"old"
    write_parquet(store, tmp_path / "f.parquet", "float32")


@pytest.mark.parametrize("payload", [np.empty(0), (), "", 0, False])
def test_a_payload_that_is_no_mapping_is_refused_whatever_its_truth(receiver, payload):
    point = SimpleNamespace(id=7, vector=ROWS, payload=payload)
    with pytest.raises(FileFormatError, match="payload"):
        add_from_qdrant(receiver, SimpleNamespace(scroll=lambda *_, **__: ([point], None)), "c")


def test_a_parquet_file_whose_names_are_no_text_is_refused(tmp_path, receiver):
    plain = arrow.table({"id": ["a"], "tokens": [[[1.0]]], "nnnn": ["nothing"]})
    parquet.write_table(plain, tmp_path / "f.parquet", store_schema=False)
    content = (tmp_path / "f.parquet").read_bytes()
    (tmp_path / "f.parquet").write_bytes(content.replace(b"nnnn", b"nnn\xdb"))
    with pytest.raises(FileFormatError, match="cannot be read as Parquet"):
        add_parquet(receiver, tmp_path / "f.parquet")
    with pytest.raises(FileFormatError, match="cannot be read as Parquet"):
        list(read_rows(tmp_path / "f.parquet", ("id",)))
