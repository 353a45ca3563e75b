"""vLLM's ``POST /score``: pairs of texts in, a number for each out; one text with many, or as many with as many."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from pydantic import Field

from rank_rerank.documents import as_documents
from rank_rerank.errors import InvalidArgumentError, InvalidItemError
from rank_rerank.rankings import Ranking
from rank_rerank.rerankers import RerankRequest
from rank_rerank.serving.dialects.documents import documents_of
from rank_rerank.serving.dialects.fields import Wanted
from rank_rerank.serving.dialects.results import shown_scores, usage_of

# the two sides of a pair, in the names that vLLM has given them over time
SIDES = (("text_1", "text_2"), ("queries", "documents"), ("queries", "items"), ("data_1", "data_2"))


class ScoreBody(Wanted):
    """Two sides under one of four pairs of names; each a text or a list of texts."""

    text_1: Any = Field(default=None, description="a text, or a list of texts")
    text_2: Any = Field(default=None, description="a text, or a list of texts")
    queries: Any = Field(default=None, description="another name of text_1")
    documents: Any = Field(default=None, description="another name of text_2")
    items: Any = Field(default=None, description="another name of text_2")
    data_1: Any = Field(default=None, description="another name of text_1")
    data_2: Any = Field(default=None, description="another name of text_2")
    use_activation: bool = Field(default=True, description="false asks for the model's score")
    activation: bool = Field(default=True, description="an older name of use_activation")


@dataclass(frozen=True)
class ScoreQuestion:
    """What is asked: a request for each query, and how the scores of all of them come out.

    Attributes:
        requests: one for a query with many documents; one per pair for lists of one length.
        num_documents: of all requests.
        wanted: model, priority, deadline.
        raw: the model's score is asked for.
    """

    requests: list[RerankRequest]
    num_documents: int
    wanted: Wanted
    raw: bool

    def reply(self, rankings: Sequence[Ranking], model: str, request_id: str) -> dict[str, Any]:
        """The answer's body: a score for each pair, in the order of the request."""
        scores: list[float] = []
        usage = {"prompt_tokens": 0, "total_tokens": 0}
        for ranking in rankings:
            pairs = zip(ranking, shown_scores(ranking, raw=self.raw), strict=True)
            scores += [score for _, score in sorted(pairs, key=lambda pair: pair[0].index)]
            usage = {name: count + usage[name] for name, count in usage_of(ranking).items()}
        return {
            "id": request_id,
            "object": "list",
            "created": int(time.time()),
            "model": model,
            "data": [{"index": index, "object": "score", "score": score} for index, score in enumerate(scores)],
            "usage": {**usage, "completion_tokens": 0, "prompt_tokens_details": None},
        }


def read_score(values: Mapping[str, Any]) -> ScoreQuestion:
    """Read a body.

    Raises:
        InvalidArgumentError: there is no pair of sides, or their lengths do not fit.
        InvalidItemError: a side is neither a text nor a list of texts.
    """
    body = ScoreBody.model_validate(values)
    for names in SIDES:
        sides = [getattr(body, name) for name in names]
        if all(side is not None for side in sides):
            queries, documents = (_texts(side, name) for side, name in zip(sides, names, strict=True))
            requests = _pair(queries, documents, names, body)
            return ScoreQuestion(requests, len(documents), body, raw=not (body.use_activation and body.activation))
    raise InvalidArgumentError('text_1 and text_2 are needed, or "queries" and "documents"')


def _pair(queries: list[str], documents: list[str], names: tuple[str, str], body: ScoreBody) -> list[RerankRequest]:
    def request(query: str, texts: list[str]) -> RerankRequest:
        return RerankRequest(
            query, as_documents(texts), long_documents=body.long_document_rule, instruction=body.instruction
        )

    if len(queries) == 1:
        return [request(queries[0], documents)]
    if len(queries) != len(documents):
        raise InvalidArgumentError(
            f"{names[0]} has {len(queries)} texts and {names[1]} has {len(documents)}: give one query, or as many"
        )
    return [request(query, [document]) for query, document in zip(queries, documents, strict=True)]


def _texts(side: Any, name: str) -> list[str]:
    if isinstance(side, str | Mapping):
        side = [side]
    if not isinstance(side, list):
        raise InvalidItemError(f"{name} must be a text or a list of texts")
    return [document.text for document in documents_of(cast("list[object]", side), name)]
