"""LocalAI, told from Jina's by ``backend``: results carry their document."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from rank_rerank.serving.dialects.dialect import Dialect, Question, has_any, question
from rank_rerank.serving.dialects.fields import Answered, Ignored, RerankBody
from rank_rerank.serving.dialects.results import object_of, results_of


class LocalAIBody(RerankBody):
    """LocalAI's."""

    backend: Ignored = Field(default=None, description="ignored")


def read(values: Mapping[str, Any]) -> Question:
    """Read a body."""
    body = LocalAIBody.model_validate(values)

    def reply(answered: Answered) -> dict[str, Any]:
        return object_of(results_of(body, answered, return_documents=True), answered, "1")

    return question(body, reply)


LOCALAI = Dialect("LocalAI", LocalAIBody, read, has_any("backend"))
