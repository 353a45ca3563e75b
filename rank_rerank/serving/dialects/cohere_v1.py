"""Cohere v1, ``POST /v1/rerank`` with fields of its own: cohere's Client, Dify, RAGFlow."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from rank_rerank.serving.dialects.dialect import Dialect, Question, has_any, question
from rank_rerank.serving.dialects.fields import Answered, Ignored, RerankBody
from rank_rerank.serving.dialects.results import object_of, results_of


class CohereV1Body(RerankBody):
    """Cohere's first version: documents may be objects, of which some fields are read."""

    max_chunks_per_doc: Ignored = Field(default=None, description="ignored: see long_documents")


def read(values: Mapping[str, Any]) -> Question:
    """Read a body."""
    body = CohereV1Body.model_validate(values)

    def reply(answered: Answered) -> dict[str, Any]:
        return object_of(results_of(body, answered), answered, "1")

    return question(body, reply)


COHERE_V1 = Dialect("Cohere v1", CohereV1Body, read, has_any("rank_fields", "max_chunks_per_doc"))
