"""Qdrant multivectors in and out."""

import uuid
from typing import Any, cast

from rank_rerank.arrays import as_float32
from rank_rerank.devices import import_optional
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.errors import FileFormatError, InvalidItemError
from rank_rerank.storage.embedding_store import EmbeddingStore

BATCH_DOCUMENTS = 64
# Qdrant's ids are numbers or UUIDs: ours are hashed into one, and stand whole in the payload
NAMESPACE = uuid.UUID("5d9c2f1e-6d3b-4a53-9f0e-0c8b6a1e7a11")


def to_qdrant(store: EmbeddingStore, client: Any, collection: str) -> None:
    """Make a Qdrant collection of a store's documents, scored by MaxSim.

    Vectors are indexed by nothing (HNSW off): they are there to rescore hits of another search. The payload holds
    "id", "text" and "metadata". Documents without a vector are left out, as Qdrant takes none.

    Args:
        store: any store; vectors go as they were stored.
        client: a qdrant_client.QdrantClient, of a server or of a local folder.
        collection: the name; it must not be there yet.

    Raises:
        MissingDependencyError: qdrant-client is not installed.
    """
    models = import_optional("qdrant_client.models", "qdrant", "Qdrant")
    dim = store.compression.stored_dim(store.identity.dim)
    client.create_collection(
        collection,
        vectors_config=models.VectorParams(
            size=dim,
            distance=models.Distance.DOT,
            multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
            hnsw_config=models.HnswConfigDiff(m=0),
        ),
    )
    ids = list(store)
    for first in range(0, len(ids), BATCH_DOCUMENTS):
        chosen = ids[first : first + BATCH_DOCUMENTS]
        points = [
            models.PointStruct(
                id=str(uuid.uuid5(NAMESPACE, document.id_text)),
                vector=vectors.tolist(),
                payload={"id": document.id, "text": document.text, "metadata": dict(document.metadata)},
            )
            for document, vectors in zip(store.get_documents(chosen), store.get(chosen), strict=True)
            if len(vectors)
        ]
        if points:
            client.upsert(collection, points=points)


def add_from_qdrant(store: EmbeddingStore, client: Any, collection: str, vector_name: str | None = None) -> int:
    """Add the documents of a Qdrant collection of multivectors, page by page.

    The id is the payload's "id", or the point's own; the payload's "text" and "metadata" come along. That the vectors
    are of the store's model is for the caller to know.

    Args:
        store: where to.
        client: a qdrant_client.QdrantClient.
        collection: the name.
        vector_name: of a named vector; None for the unnamed one.

    Returns:
        How many documents were added. Pages before a failing one stay.

    Raises:
        FileFormatError: a point has no multivector.
        StoreError, InputError: as for EmbeddingStore.add.
    """
    count, page = 0, None
    while True:
        points, page = client.scroll(
            collection, limit=BATCH_DOCUMENTS, offset=page, with_payload=True, with_vectors=True
        )
        if points:
            _add(store, points, vector_name)
            count += len(points)
        if page is None:
            return count


def _add(store: EmbeddingStore, points: list[Any], vector_name: str | None) -> None:
    matrices = [_matrix(point, vector_name) for point in points]
    payloads = [_payload(point) for point in points]
    texts = [payload.get("text") for payload in payloads]
    store.add(
        [
            str(point.id if payload.get("id") is None else payload["id"])
            for point, payload in zip(points, payloads, strict=True)
        ],
        embeddings=TokenEmbeddings.from_list(matrices),
        texts=[text if isinstance(text, str) and text else None for text in texts],
        metadata=[payload.get("metadata") for payload in payloads],
    )


def _payload(point: Any) -> dict[str, Any]:
    payload = {} if point.payload is None else point.payload
    if not isinstance(payload, dict):
        raise FileFormatError(f"the payload of the point {point.id} is no mapping")
    return cast("dict[str, Any]", payload)


def _matrix(point: Any, vector_name: str | None) -> Any:
    vector = point.vector
    if vector_name is not None:
        vector = (vector or {}).get(vector_name) if isinstance(vector, dict) else None
    try:
        matrix = as_float32(vector if vector is not None and not isinstance(vector, dict) else [], "vector")
    except InvalidItemError as error:
        raise FileFormatError(f"the vector of the point {point.id} is no array of numbers") from error
    if matrix.ndim != 2:  # noqa: PLR2004
        raise FileFormatError(f"the point {point.id} has no multivector. Name it with vector_name=")
    return matrix
