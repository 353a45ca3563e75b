"""Stores that older versions of this library wrote."""

import json

import numpy as np
import pytest
from checked_stores import KINDS, everything, make, rewrite
from small_stores import embeddings_of
from test_verification import change_manifest

from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.storage.row_checksums import CHECKSUM_ARRAYS, all_checksums


def as_version_1(folder):
    """Make a store what it was before documents had checksums."""
    store = EmbeddingStore.open(folder)
    for number in range(len(store.snapshot.segments)):
        rewrite(folder, store, number, lambda arrays: [arrays.pop(name) for name in (*CHECKSUM_ARRAYS, "means")])
    change_manifest(folder, lambda manifest: manifest.update(version=1))


def as_version_2(folder):
    """Take the mean vectors out, and give the rows the checksums that they had without them."""
    store = EmbeddingStore.open(folder, read_only=True)

    def drop(arrays):
        del arrays["means"]
        arrays["checksums"] = all_checksums(arrays)

    for number in range(len(store.snapshot.segments)):
        rewrite(folder, store, number, drop)
    change_manifest(folder, lambda manifest: manifest.update(version=2))


@pytest.mark.parametrize("as_older", [as_version_1, as_version_2])
@pytest.mark.parametrize(("dtype", "options"), KINDS)
def test_a_store_of_an_older_version_is_read_and_goes_on_as_version_3(tmp_path, dtype, options, as_older):
    store = make(tmp_path / "s", dtype, options)
    expected, ids = everything(tmp_path / "s"), sorted(store)
    means = store.mean_vectors(ids)
    as_older(tmp_path / "s")
    assert everything(tmp_path / "s") == expected
    assert EmbeddingStore.verify_folder(tmp_path / "s").is_sound
    store = EmbeddingStore.open(tmp_path / "s")
    store.add(["new"], embeddings=embeddings_of(1, seed=4))
    assert json.loads((tmp_path / "s" / "manifest.json").read_text())["store"]["version"] == 3
    # those of the vectors as they are stored: rounded
    from_vectors = store.mean_vectors(ids)
    cosines = (from_vectors * means).sum(axis=1)[means.any(axis=1)]
    assert cosines.min() > {"binary": 0.5, "int4": 0.97}.get(dtype, 0.999)
    store.compact()
    assert {"checksums", "means"} <= set(store.snapshot.segments[0].arrays)
    assert np.array_equal(store.mean_vectors(ids), from_vectors.astype(np.float16))
    assert EmbeddingStore.verify_folder(tmp_path / "s").is_sound
    store.delete(["new"])
    assert everything(tmp_path / "s") == expected
