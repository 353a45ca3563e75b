"""Xinference, told from Jina's by ``return_len``; its clients send "true" as a string. Dify, RAGFlow, LlamaIndex."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from rank_rerank.serving.dialects.dialect import Dialect, Question, has_any, question
from rank_rerank.serving.dialects.fields import Answered, Ignored, RerankBody
from rank_rerank.serving.dialects.results import object_of, results_of


class XinferenceBody(RerankBody):
    """Xinference's: token counts in meta, which are always there."""

    return_len: Ignored = Field(default=None, description="ignored: token counts are always there")
    max_chunks_per_doc: Ignored = Field(default=None, description="ignored: see long_documents")


def read(values: Mapping[str, Any]) -> Question:
    """Read a body."""
    body = XinferenceBody.model_validate(values)

    def reply(answered: Answered) -> dict[str, Any]:
        return object_of(results_of(body, answered), answered, "1")

    return question(body, reply)


XINFERENCE = Dialect("Xinference", XinferenceBody, read, has_any("return_len"))
