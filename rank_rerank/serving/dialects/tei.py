"""text-embeddings-inference, ``POST /rerank`` with ``texts``: a bare list. LlamaIndex, Continue, Dify, RAGFlow."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from rank_rerank.documents import as_documents
from rank_rerank.rerankers import RerankRequest
from rank_rerank.serving.dialects.dialect import Dialect, Question, has_any
from rank_rerank.serving.dialects.fields import Answered, Ranked, TopN
from rank_rerank.serving.dialects.results import shown_scores, unread


class TeiBody(Ranked):
    """TEI's; litellm adds a top_n."""

    query: str = Field(description="a text with at least one word")
    texts: list[str] = Field(description="what is to be ranked")
    truncate: bool = Field(default=True, description="false refuses texts that are longer than the model reads")
    raw_scores: bool = Field(default=False, description="the model's score in place of a number from 0 to 1")
    return_text: bool = Field(default=False, description="whether results have their text")
    top_n: TopN = None


def read(values: Mapping[str, Any]) -> Question:
    """Read a body."""
    body = TeiBody.model_validate(values)
    request = RerankRequest(
        body.query,
        as_documents(body.texts),
        top_k=body.top_n or None,
        long_documents=body.long_document_rule if body.truncate else "error",
        instruction=body.instruction,
        budget_ms=body.budget_rule,
        settled=body.settled,
    )

    def reply(answered: Answered) -> list[dict[str, Any]]:
        scores = shown_scores(answered.ranking, raw=body.raw_scores)
        return [
            {"index": hit.index, "score": score, **({"text": hit.text} if body.return_text else {}), **unread(hit)}
            for hit, score in zip(answered.ranking, scores, strict=True)
        ]

    return Question(request, len(body.texts), body, reply)


TEI = Dialect("TEI", TeiBody, read, lambda values: has_any("texts")(values) and not has_any("documents")(values))
