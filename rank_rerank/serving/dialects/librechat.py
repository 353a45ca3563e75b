"""LibreChat's rag-api: ``candidates`` with ids and the score of the first stage; ``index`` and ``score`` come out."""

from collections.abc import Mapping
from typing import Any

from pydantic import AliasChoices, Field

from rank_rerank.documents import Document
from rank_rerank.documents.reading import TEXT_KEYS
from rank_rerank.rerankers import RerankRequest
from rank_rerank.serving.dialects.dialect import Dialect, Question, has_any
from rank_rerank.serving.dialects.fields import Answered, Body, Ignored, Ranked, TopN
from rank_rerank.serving.dialects.results import shown_scores, unread, usage_of


class Candidate(Body):
    """A document with the score that the first search gave it, which comes back and is not blended."""

    text: str = Field(validation_alias=AliasChoices(*TEXT_KEYS))
    id: str | int | None = None
    base_score: float | None = None


class LibreChatBody(Ranked):
    """LibreChat's."""

    query: str = Field(description="a text with at least one word")
    candidates: list[Candidate]
    profile: Ignored = Field(default=None, description="ignored")
    top_n: TopN = None


def read(values: Mapping[str, Any]) -> Question:
    """Read a body."""
    body = LibreChatBody.model_validate(values)
    documents = [Document(each.text, None if each.id is None else str(each.id)) for each in body.candidates]
    request = RerankRequest(
        body.query,
        documents,
        top_k=body.top_n or None,
        long_documents=body.long_document_rule,
        instruction=body.instruction,
        budget_ms=body.budget_rule,
        settled=body.settled,
    )

    def reply(answered: Answered) -> dict[str, Any]:
        scores = shown_scores(answered.ranking, raw=False)
        results = [
            {
                "index": hit.index,
                "score": score,
                "relevance_score": score,
                "id": body.candidates[hit.index].id,
                "base_score": body.candidates[hit.index].base_score,
                **unread(hit),
            }
            for hit, score in zip(answered.ranking, scores, strict=True)
        ]
        return {
            "id": answered.request_id,
            "model": answered.model,
            "results": results,
            "usage": usage_of(answered.ranking),
        }

    return Question(request, len(documents), body, reply)


LIBRECHAT = Dialect("LibreChat", LibreChatBody, read, has_any("candidates"))
