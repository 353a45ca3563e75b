"""What other servers do not have, told by its fields: stored documents by id, passages, words, chunks, deadlines."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from rank_rerank.serving.dialects.dialect import Dialect, Question, has_any, question
from rank_rerank.serving.dialects.fields import Answered, RerankBody
from rank_rerank.serving.dialects.results import extended, object_of, results_of


class OwnBody(RerankBody):
    """The common fields; results say everything that is known of a hit, beside what Jina's clients read."""

    extended: bool = Field(default=True, description="results with score, relevance, truncated, id and word_matches")


def read(values: Mapping[str, Any]) -> Question:
    """Read a body."""
    body = OwnBody.model_validate(values)

    def reply(answered: Answered) -> dict[str, Any]:
        results = results_of(body, answered)
        if body.extended:
            results = [extended(result, hit) for result, hit in zip(results, answered.ranking, strict=True)]
        whole = object_of(results, answered, "1")
        ranking = answered.ranking
        return {
            **whole,
            "query_truncated": ranking.query_truncated,
            "is_blended": ranking.is_blended,
            "num_read": ranking.num_read,
            "num_unread": ranking.num_unread,
            "stopped": ranking.stopped,
        }

    return question(body, reply)


FIELDS = ("store", "ids", "spans", "long_documents", "deadline_ms", "budget_ms", "settled", "extended", "blend")
OWN = Dialect("rank-rerank", OwnBody, read, has_any(*FIELDS))
