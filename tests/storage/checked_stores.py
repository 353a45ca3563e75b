"""Small stores of every kind whose values have checksums."""

import numpy as np
from small_stores import DIM, IDENTITY, embeddings_of, unit_rows
from test_verification import change_manifest

from rank_rerank.encoding.compression import Compression
from rank_rerank.encoding.projection import Projection
from rank_rerank.errors import RankRerankError, StoreFormatError, UnknownIdError
from rank_rerank.scoring.stored_scores import score_stored
from rank_rerank.storage.array_file import ArrayPieces, map_arrays, write_arrays
from rank_rerank.storage.embedding_store import EmbeddingStore

QUERY = unit_rows(np.random.default_rng(5), 4)
KINDS = [("int8", {}), ("int4", {}), ("float32", {}), ("binary", {"rescore_dtype": "float16"})]


def make(folder, dtype, options):
    """Two segments, one with deletions, a projection where the dtype allows one, texts and metadata."""
    matrix = np.ascontiguousarray(
        np.linalg.qr(np.random.default_rng(0).standard_normal((DIM, DIM)))[0][:, :8], np.float32
    )
    store = EmbeddingStore.create(
        folder, IDENTITY, Compression(dtype, projection=Projection(DIM, 8, matrix), **options)
    )
    ids = [f"document-{number}" for number in range(40)]
    texts, metadata = [f"text of {each}" for each in ids], [{"n": number} for number in range(40)]
    store.add(ids, embeddings=embeddings_of(40), texts=texts, metadata=metadata)
    store.add(["later"], embeddings=embeddings_of(1, seed=2), texts=["a later text"])
    store.delete(["document-7", "document-9"])
    return store


def everything(folder, **options):
    """All that a store can be asked, each answer by itself: a value, or the error that refused it."""
    ids = [f"document-{number}" for number in range(41)] + ["later"]
    try:
        store = EmbeddingStore.open(folder, read_only=True, **options)
    except RankRerankError as error:
        return [error]
    here = [each for each in ids if each not in ("document-7", "document-9", "document-40")]
    return [
        ask(lambda: store.contains(ids).tolist()),
        ask(lambda: sorted(store)),
        ask(lambda: [(each.id, each.text, dict(each.metadata)) for each in store.documents()]),
        *(ask(lambda each=each: score_stored(QUERY, store.select([each])).tobytes()) for each in here),
        *(ask(lambda each=each: score_stored(QUERY, store.select([each]), top_k=1).tobytes()) for each in here),
        *(ask(lambda each=each: store.get([each])[0].tobytes()) for each in here),
        *(ask(lambda each=each: store.select([each]).truncated().tolist()) for each in here),
    ]


def ask(question):
    try:
        return question()
    except UnknownIdError:
        return "not there"  # which is another answer, not a refusal
    except StoreFormatError as error:
        return error


def rewrite(folder, store, number, change):
    """Change the arrays of a segment, and give file and manifest checksums that fit."""
    entry = store.snapshot.manifest.segments[number].file
    arrays = {name: array.copy() for name, array in map_arrays(folder / entry.name, entry.num_bytes)[0].items()}
    change(arrays)
    file = write_arrays(folder, entry.name, {name: ArrayPieces.of(array) for name, array in arrays.items()})
    values = {"num_bytes": file.num_bytes, "sha256": file.sha256}
    change_manifest(folder, lambda manifest: manifest["segments"][number]["file"].update(values))
