"""Small stores of every compression, and everything that can be read from one."""

from pathlib import Path

import numpy as np
from wild_values import DIM

from rank_rerank import Compression, EmbeddingStore, Pooling, Projection, maxsim
from rank_rerank.storage.model_identity import ModelIdentity

MODEL = ModelIdentity.foreign("a-model", DIM)
COMPRESSIONS = {
    "float32": Compression("float32"),
    "float16": Compression("float16"),
    "int8": Compression("int8"),
    "int4": Compression("int4"),
    "binary": Compression("binary"),
    "binary, rescored": Compression("binary", "int8"),
    "pooled and projected": Compression("int8", pooling=Pooling(2), projection=Projection(DIM, 8)),
}


def make_stores(folder: Path) -> dict[str, Path]:
    """Each with two segments and deleted documents."""
    for name, compression in COMPRESSIONS.items():
        store = EmbeddingStore.create(folder / name, MODEL, compression)
        for first in (0, 9):
            added = range(first, first + 9)
            store.add(
                [f"d{number}" for number in added],
                texts=[f"The text of number {number}." for number in added],
                embeddings=[rows(number) for number in added],
                metadata=[{"number": number} for number in added],
            )
        store.delete(["d3", "d11"])
    return {name: folder / name for name in COMPRESSIONS}


def rows(number: int, dim: int = DIM) -> np.ndarray:
    drawn = np.random.default_rng(number).standard_normal((number % 6, dim)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def read_everything(folder: Path):
    """Vectors, documents and scores of a whole store, in the order of its ids."""
    store = EmbeddingStore.open(folder, read_only=True)
    ids = sorted(store)
    vectors = store.get(ids)
    query = rows(5, vectors.dim if ids else store.compression.stored_dim(DIM))
    return vectors, store.get_documents(ids), maxsim(query, vectors)
