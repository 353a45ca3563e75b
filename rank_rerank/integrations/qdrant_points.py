"""Qdrant: points of a search reranked, by the texts in their payload or by the multivectors stored beside them.

::

    found = client.query_points("documents", query=vector, limit=100, with_vectors=["tokens"]).points
    best = rerank_points(reranker, "query text", found, vector_name="tokens", top_k=10)
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from rank_rerank.arrays import AnyArray
from rank_rerank.documents import Document
from rank_rerank.documents.document import read_score
from rank_rerank.errors import InvalidItemError
from rank_rerank.integrations.hit_fields import hit_fields
from rank_rerank.integrations.stored_vectors import rank_vectors
from rank_rerank.rankings import check_top_k
from rank_rerank.rerankers import Reranker, RerankRequest, answer
from rank_rerank.rerankers.blending import BlendRule

Point = TypeVar("Point")


def rerank_points(  # noqa: PLR0913 - every option of a request
    reranker: Reranker,
    query: str,
    points: Sequence[Point],
    *,
    text_key: str = "text",
    vector_name: str | None = None,
    top_k: int | None = None,
    blend: BlendRule = "auto",
) -> list[Point]:
    """Rerank the points that a Qdrant search has found; they are left as they are.

    Args:
        reranker: any; for ``vector_name`` a late-interaction one, of the model that made the vectors.
        query: a text with at least one word.
        points: ScoredPoints or Records, with payload, or with vectors; or the answer of query_points.
        text_key: where the payload has the text.
        vector_name: of a multivector that the search was asked to return, "" for the unnamed one; its vectors are
            scored, and no text is read; points without it come last.
        top_k: how many to return; None for all.
        blend: whether the search's scores are blended with the reranker's, as for ``rerank``.

    Returns:
        Copies, best first: ``score`` is the raw score, where a point has one, and the payload has ``relevance_score``,
        ``rerank_score`` and ``truncated`` beside what it had, and ``blended_score`` where scores were blended.

    Raises:
        InvalidItemError: a point is none or has no text, or none of them has such a multivector; the message has its
            index.
        RankRerankError: as of rerank().
    """
    check_top_k(top_k)
    listed = _read(points)
    scores = [read_score(getattr(point, "score", None)) for point in listed]
    if vector_name is None:
        documents = [Document(_text(point, text_key, index), score=scores[index]) for index, point in enumerate(listed)]
        ranking = answer(reranker, RerankRequest(query, documents, top_k=top_k, blend=blend))
    else:
        matrices = _matrices(listed, vector_name)
        ranking = rank_vectors(reranker, query, matrices, top_k, scores=scores, blend=blend)
    return [_copy(listed[hit.index], hit.score, hit_fields(hit)) for hit in ranking]


def _text(point: Any, key: str, index: int) -> str:
    text = (point.payload or {}).get(key)
    if not isinstance(text, str):
        raise InvalidItemError(f"points[{index}] has no text in its payload. Name its key with text_key=")
    return text


def _matrices(points: Sequence[Any], name: str) -> list[AnyArray]:
    """The multivector of each point; Qdrant stores no empty one, so a document without words has none."""
    found = [_matrix(point, name, index) for index, point in enumerate(points)]
    dim = next((matrix.shape[1] for matrix in found if matrix is not None), None)
    if points and dim is None:
        raise InvalidItemError("points[0] has no such multivector, nor have others. Ask the search for it with "
                               "with_vectors=")  # fmt: skip
    return [np.empty((0, dim or 0), np.float32) if matrix is None else matrix for matrix in found]


def _matrix(point: Any, name: str, index: int) -> AnyArray | None:
    vector = point.vector.get(name) if isinstance(point.vector, dict) else point.vector  # pyright: ignore[reportUnknownVariableType]
    if vector is None:
        return None
    matrix = np.asarray(vector, np.float32)
    if matrix.ndim != 2:  # noqa: PLR2004
        raise InvalidItemError(f"points[{index}] has one vector under this name, and no multivector. Name another")
    return matrix


def _read(points: Any) -> list[Any]:
    listed: list[Any] = list(points.points if hasattr(points, "points") else points)
    for index, point in enumerate(listed):
        if not (hasattr(point, "payload") and hasattr(point, "vector")):
            raise InvalidItemError(f"points[{index}] must be a point of Qdrant's, not {type(point).__name__}")
    return listed


def _copy(point: Any, score: float, fields: dict[str, Any]) -> Any:
    update: dict[str, Any] = {"payload": {**(point.payload or {}), **fields}}
    if hasattr(point, "score"):
        update["score"] = score
    return point.model_copy(update=update)
