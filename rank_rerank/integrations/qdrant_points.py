"""Qdrant: points of a search reranked, by the texts in their payload or by the multivectors stored beside them.

::

    found = client.query_points("documents", query=vector, limit=100, with_vectors=["tokens"]).points
    best = rerank_points(reranker, "query text", found, vector_name="tokens", top_k=10)
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

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
        points: ScoredPoints or Records, with payload, or with vectors.
        text_key: where the payload has the text.
        vector_name: of a multivector that the search was asked to return, "" for the unnamed one; its vectors are
            scored, and no text is read.
        top_k: how many to return; None for all.
        blend: whether the search's scores are blended with the reranker's, as for ``rerank``.

    Returns:
        Copies, best first: ``score`` is the raw score, where a point has one, and the payload has ``relevance_score``,
        ``rerank_score`` and ``truncated`` beside what it had, and ``blended_score`` where scores were blended.

    Raises:
        InvalidItemError: a point has no text, or no such multivector; the message has its index.
        RankRerankError: as of rerank().
    """
    check_top_k(top_k)
    listed = list(points)
    scores = [read_score(getattr(point, "score", None)) for point in listed]
    if vector_name is None:
        documents = [Document(_text(point, text_key, index), score=scores[index]) for index, point in enumerate(listed)]
        ranking = answer(reranker, RerankRequest(query, documents, top_k=top_k, blend=blend))
    else:
        matrices = [_matrix(point, vector_name, index) for index, point in enumerate(listed)]
        ranking = rank_vectors(reranker, query, matrices, top_k, scores=scores, blend=blend)
    return [_copy(listed[hit.index], hit.score, hit_fields(hit)) for hit in ranking]


def _text(point: Any, key: str, index: int) -> str:
    text = (point.payload or {}).get(key)
    if not isinstance(text, str):
        raise InvalidItemError(f"points[{index}] has no text in its payload. Name its key with text_key=")
    return text


def _matrix(point: Any, name: str, index: int) -> Any:
    vector = point.vector.get(name) if isinstance(point.vector, dict) else point.vector  # pyright: ignore[reportUnknownVariableType]
    matrix = np.asarray([] if vector is None else vector, np.float32)
    if matrix.ndim != 2:  # noqa: PLR2004
        raise InvalidItemError(f"points[{index}] has no such multivector. Ask the search for it with with_vectors=")
    return matrix


def _copy(point: Any, score: float, fields: dict[str, Any]) -> Any:
    update: dict[str, Any] = {"payload": {**(point.payload or {}), **fields}}
    if hasattr(point, "score"):
        update["score"] = score
    return point.model_copy(update=update)
