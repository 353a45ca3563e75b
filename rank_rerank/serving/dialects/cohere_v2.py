"""Cohere v2, ``POST /v2/rerank``: cohere's ClientV2, langchain-cohere, LlamaIndex, Haystack, litellm."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from rank_rerank.serving.dialects.dialect import Dialect, Question, question
from rank_rerank.serving.dialects.fields import Answered, Ignored, RerankBody
from rank_rerank.serving.dialects.results import object_of, results_of


class CohereV2Body(RerankBody):
    """Cohere's second version: relevant_spans come out."""

    max_tokens_per_doc: Ignored = Field(default=None, description="ignored: the model's own limit holds")


def read(values: Mapping[str, Any]) -> Question:
    """Read a body."""
    body = CohereV2Body.model_validate(values)

    def reply(answered: Answered) -> dict[str, Any]:
        return object_of(results_of(body, answered), answered, "2")

    return question(body, reply)


COHERE_V2 = Dialect("Cohere v2", CohereV2Body, read)
