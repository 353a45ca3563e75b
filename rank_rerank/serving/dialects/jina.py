"""Jina v1, the common one: Open WebUI, Dify, RAGFlow, LibreChat, LlamaIndex, Haystack, infinity_client."""

from collections.abc import Mapping
from typing import Any

from rank_rerank.serving.dialects.dialect import Dialect, Question, question
from rank_rerank.serving.dialects.fields import Answered, RerankBody
from rank_rerank.serving.dialects.results import object_of, results_of


class JinaBody(RerankBody):
    """Jina's: query, documents, top_n and return_documents."""


def read(values: Mapping[str, Any]) -> Question:
    """Read a body."""
    body = JinaBody.model_validate(values)

    def reply(answered: Answered) -> dict[str, Any]:
        return object_of(results_of(body, answered), answered, "1")

    return question(body, reply)


JINA = Dialect("Jina", JinaBody, read)
