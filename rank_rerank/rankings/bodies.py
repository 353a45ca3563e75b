"""The bodies of other systems' rerank responses, and what a type checker may know of them."""

from collections.abc import Sequence
from typing import NotRequired, TypedDict

from rank_rerank.rankings.hits import RankedDocument, SpanDict, Usage


class CohereResult(TypedDict):
    """A hit of Cohere's."""

    index: int
    relevance_score: float
    relevant_spans: NotRequired[list[SpanDict]]


class CohereVersion(TypedDict):
    """The version of Cohere's interface."""

    version: str


class CohereTokens(TypedDict, total=False):
    """What was read; nothing where that is not known."""

    input_tokens: int
    output_tokens: int


class CohereMeta(TypedDict):
    """What Cohere reports beside the hits."""

    api_version: CohereVersion
    tokens: CohereTokens


class CohereBody(TypedDict):
    """The body of a Cohere v2 rerank response."""

    results: list[CohereResult]
    meta: CohereMeta


class JinaUsage(TypedDict):
    """Tokens that were read; there is no completion, so both are the same."""

    prompt_tokens: int
    total_tokens: int


class JinaDocument(TypedDict):
    """A text as an object."""

    text: str


class JinaResult(TypedDict):
    """A hit of Jina's."""

    index: int
    relevance_score: float
    document: NotRequired[JinaDocument]


class JinaBody(TypedDict):
    """The body of a Jina rerank response."""

    model: str | None
    object: str
    usage: JinaUsage | None
    results: list[JinaResult]


class TeiResult(TypedDict):
    """A hit of text-embeddings-inference's; the score is None where it is minus infinity."""

    index: int
    score: float | None
    text: NotRequired[str]


def cohere_body(hits: Sequence[RankedDocument], usage: Usage | None) -> CohereBody:
    """Hits as Cohere's v2 gives them."""
    results: list[CohereResult] = []
    for hit in hits:
        result = CohereResult(index=hit.index, relevance_score=hit.relevance)
        if hit.spans is not None:
            result["relevant_spans"] = [span.to_dict() for span in hit.spans]
        results.append(result)
    tokens: CohereTokens = {} if usage is None else {"input_tokens": usage.total_tokens, "output_tokens": 0}
    return {"results": results, "meta": {"api_version": {"version": "2"}, "tokens": tokens}}


def jina_body(
    hits: Sequence[RankedDocument], usage: Usage | None, model: str | None, *, return_documents: bool
) -> JinaBody:
    """Hits as Jina gives them."""
    results: list[JinaResult] = []
    for hit in hits:
        result = JinaResult(index=hit.index, relevance_score=hit.relevance)
        if return_documents:
            result["document"] = {"text": hit.text}
        results.append(result)
    return {"model": model, "object": "list", "usage": jina_usage(usage), "results": results}


def jina_usage(usage: Usage | None) -> JinaUsage | None:
    """Tokens as Jina counts them; None where they are not known."""
    return None if usage is None else {"prompt_tokens": usage.total_tokens, "total_tokens": usage.total_tokens}


def tei_body(hits: Sequence[RankedDocument], *, raw_scores: bool, return_text: bool) -> list[TeiResult]:
    """Hits as text-embeddings-inference gives them: a bare array."""
    results: list[TeiResult] = []
    for hit in hits:
        result = TeiResult(index=hit.index, score=hit.json_score if raw_scores else hit.relevance)
        if return_text:
            result["text"] = hit.text
        results.append(result)
    return results
