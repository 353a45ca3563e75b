"""Voyage, on a path of its own, since its bodies look like Jina's: Continue reads ``data``, not ``results``."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from rank_rerank.serving.dialects.dialect import Dialect, Question, question
from rank_rerank.serving.dialects.fields import Answered, RerankBody
from rank_rerank.serving.dialects.results import results_of, usage_of


class VoyageBody(RerankBody):
    """Voyage's: top_k, and documents as strings."""

    truncation: bool = Field(default=True, description="false refuses texts that are longer than the model reads")


def read(values: Mapping[str, Any]) -> Question:
    """Read a body."""
    body = VoyageBody.model_validate(values)
    if not body.truncation and body.long_documents == "truncate":
        body = body.model_copy(update={"long_documents": "error"})

    def reply(answered: Answered) -> dict[str, Any]:
        results = results_of(body, answered)
        for result, hit in zip(results, answered.ranking, strict=True):
            if "document" in result:
                result["document"] = hit.text
        return {"object": "list", "data": results, "model": answered.model, "usage": usage_of(answered.ranking)}

    return question(body, reply)


VOYAGE = Dialect("Voyage", VoyageBody, read)
