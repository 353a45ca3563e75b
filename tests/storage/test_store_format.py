"""What examples/store_format.md says is on the disk: a reader without this library reads every kind of store."""

import numpy as np
import pytest
from plain_store_reader import read_store
from small_stores import DIM, IDENTITY, embeddings_of

from rank_rerank.encoding.compression import Compression
from rank_rerank.encoding.pooling import Pooling
from rank_rerank.encoding.projection import Projection
from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.storage.segment_import import SegmentFile, import_segments

FORMS = [
    Compression("float32"),
    Compression("float16", pooling=Pooling(2)),
    Compression("int8", projection=Projection(DIM, 8)),
    Compression("int4"),
    Compression("binary"),
    Compression("binary", "int8"),
    Compression("binary", "float16", Pooling(2), Projection.fit(embeddings_of(60).vectors, 8)),
]


@pytest.mark.parametrize("compression", FORMS, ids=str)
def test_a_reader_without_this_library_reads_what_was_written(tmp_path, compression):
    store = EmbeddingStore.create(tmp_path / "s", IDENTITY, compression)
    ids = [f"d{number}-é" for number in range(30)]
    metadata = [{"n": number} if number % 3 else None for number in range(30)]
    store.add(
        ids[:20], embeddings=embeddings_of(20), texts=[f"text {each}" for each in ids[:20]], metadata=metadata[:20]
    )
    store.add(ids[20:], embeddings=embeddings_of(10, seed=1), metadata=metadata[20:])
    store.delete([ids[2], ids[25]])
    read = read_store(tmp_path / "s")
    assert read.keys() == set(store)
    for document in store.documents():
        text, values, vectors, truncated = read[document.id]
        assert (text, values, truncated) == (document.text, dict(document.metadata), False)
        np.testing.assert_array_equal(vectors, store.get([document.id]).vectors)


def test_it_finds_any_damage(tmp_path):
    store = EmbeddingStore.create(tmp_path / "s", IDENTITY, Compression("int8"))
    store.add(["a", "b"], embeddings=embeddings_of(2), texts=["x", "y"])
    for path in [*(tmp_path / "s").glob("segment-*"), tmp_path / "s" / "manifest.json"]:
        sound = path.read_bytes()
        for place in (20, len(sound) // 2, len(sound) - 3):
            damaged = bytearray(sound)
            damaged[place] ^= 1
            path.write_bytes(bytes(damaged))
            with pytest.raises(ValueError, match=r"damaged|JSON|Expecting|property|control|delimiter|Invalid"):
                read_store(tmp_path / "s")
        path.write_bytes(sound)


def test_a_segment_made_elsewhere_is_taken_in(tmp_path):
    """A file of another program is a segment if its arrays are: here, one of another store."""
    other = EmbeddingStore.create(tmp_path / "other", IDENTITY, Compression("int8"))
    other.add(["a", "b"], embeddings=embeddings_of(2), texts=["x", "y"])
    entry = other.snapshot.manifest.segments[0].file
    EmbeddingStore.create(tmp_path / "s", IDENTITY, Compression("int8"))
    report = import_segments(tmp_path / "s", [SegmentFile(tmp_path / "other" / entry.name, entry)], "link", 1)
    assert report.num_added == 2
    assert read_store(tmp_path / "s").keys() == {"a", "b"}
