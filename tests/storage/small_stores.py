"""Small stores with vectors that need no model."""

import numpy as np

from rank_rerank.encoding.compression import Compression
from rank_rerank.encoding.token_embeddings import TokenEmbeddings, offsets_of_lengths
from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.storage.model_identity import ModelIdentity

DIM = 16
IDENTITY = ModelIdentity.foreign("a-model", DIM, "v1")


def unit_rows(generator, num_tokens, dim=DIM):
    vectors = generator.standard_normal((num_tokens, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def embeddings_of(num_documents, seed=0, dim=DIM, longest=9):
    generator = np.random.default_rng(seed)
    lengths = generator.integers(0, longest, num_documents)
    return TokenEmbeddings(unit_rows(generator, int(lengths.sum()), dim), offsets_of_lengths(lengths))


def fill(folder, num_documents=7, dtype="float32", **options):
    store = EmbeddingStore.create(folder, IDENTITY, Compression(dtype, **options))
    if num_documents:
        store.add([f"d{number}" for number in range(num_documents)], embeddings=embeddings_of(num_documents))
    return store


def content(folder):
    """What a store holds, read anew: ids with the bytes of their vectors."""
    store = EmbeddingStore.open(folder)
    return {identifier: store.get([identifier])[0].tobytes() for identifier in store}
