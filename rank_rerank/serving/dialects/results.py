"""Parts of answers that several dialects share: results, token counts, warnings."""

import math
from collections.abc import Sequence
from typing import Any

from rank_rerank.rankings import RankedDocument, Ranking, RelevantSpan
from rank_rerank.serving.dialects.fields import Answered, DocumentForm, RelevantSpans, RerankBody

# Cohere counts a search for every hundred documents
DOCUMENTS_PER_SEARCH = 100


def shown_scores(ranking: Ranking, *, raw: bool) -> list[float]:
    """The number of each hit, never null: every client calculates with it.

    Args:
        ranking: the hits.
        raw: the model's score rather than the relevance, which is from 0 to 1. A document without words then gets the
            lowest score of the others, or 0 if that is lower.
    """
    if not raw:
        return [hit.relevance for hit in ranking]
    lowest = min([0.0, *(hit.score for hit in ranking if math.isfinite(hit.score))])
    return [hit.score if math.isfinite(hit.score) else lowest for hit in ranking]


def results_of(body: RerankBody, answered: Answered, *, return_documents: bool | None = None) -> list[dict[str, Any]]:
    """Results with index and relevance_score; with document and relevant_spans where they were asked for.

    Args:
        body: what was asked.
        answered: what came out.
        return_documents: what to do where the body does not say.
    """
    wanted = return_documents if body.return_documents is None else body.return_documents
    form: DocumentForm = answered.document_form if wanted else "none"
    results: list[dict[str, Any]] = []
    for hit, score in zip(answered.ranking, shown_scores(answered.ranking, raw=body.wants_raw), strict=True):
        result: dict[str, Any] = {"index": hit.index, "relevance_score": score, **unread(hit)}
        if form != "none":
            result["document"] = hit.text if form == "string" else {"text": hit.text}
        if hit.spans is not None:
            result["relevant_spans"] = [span.to_dict() for span in _chosen(hit.spans, body.relevant_spans)]
        results.append(result)
    return results


def unread(hit: RankedDocument) -> dict[str, Any]:
    """What a result says where a budget of time ended before its document was read."""
    return {} if hit.was_read else {"was_read": False}


def usage_of(ranking: Ranking) -> dict[str, int]:
    """Tokens that were read; there is no completion."""
    total = 0 if ranking.usage is None else ranking.usage.total_tokens
    return {"prompt_tokens": total, "total_tokens": total}


def meta_of(answered: Answered, version: str) -> dict[str, Any]:
    """What Cohere reports beside the results."""
    searches = max(1, -(-answered.num_documents // DOCUMENTS_PER_SEARCH))
    meta: dict[str, Any] = {
        "api_version": {"version": version},
        "billed_units": {"search_units": searches},
        "tokens": {"input_tokens": usage_of(answered.ranking)["total_tokens"], "output_tokens": 0},
    }
    if warnings := _warnings(answered.ranking, answered.num_documents):
        meta["warnings"] = warnings
    return meta


def object_of(results: Sequence[dict[str, Any]], answered: Answered, version: str) -> dict[str, Any]:
    """The object that Jina's, vLLM's, Xinference's, LocalAI's and Cohere's clients all find their fields in."""
    return {
        "id": answered.request_id,
        "object": "rerank",  # infinity_client takes no other word
        "model": answered.model,
        "results": list(results),
        "usage": usage_of(answered.ranking),
        "meta": meta_of(answered, version),
    }


def extended(result: dict[str, Any], hit: RankedDocument) -> dict[str, Any]:
    """A result with everything that is known of the hit."""
    more: dict[str, Any] = {"score": hit.json_score, "relevance": hit.relevance, "truncated": hit.truncated}
    if hit.id is not None:
        more["id"] = hit.id
    if hit.matches is not None:
        more["word_matches"] = [
            {"start": each.start, "end": each.end, "similarity": each.similarity} for each in hit.matches
        ]
    if hit.best_chunk is not None:
        more["best_chunk"] = list(hit.best_chunk)
    if hit.read_spans is not None:
        more["read_spans"] = [list(span) for span in hit.read_spans]
    if hit.unknown_words:
        more["unknown_words"] = hit.unknown_words
    if hit.stage is not None:
        more["stage"] = hit.stage
    if hit.blended_score is not None:
        more["blended_score"] = hit.blended_score if math.isfinite(hit.blended_score) else None
    return {**result, **more}


def _chosen(spans: Sequence[RelevantSpan], wanted: RelevantSpans | None) -> list[RelevantSpan]:
    if wanted is None:
        return list(spans)
    good = [span for span in spans if span.score >= wanted.threshold]
    best = sorted(good, key=lambda span: -span.score)[: wanted.max_spans]
    return sorted(best, key=lambda span: span.start)


def _warnings(ranking: Ranking, num_documents: int) -> list[str]:
    found: list[str] = []
    if cut := sum(hit.truncated for hit in ranking):
        found.append(f"{cut} of {len(ranking)} documents are longer than the model reads: their end was not read")
    if ranking.stopped == "budget":
        found.append(f"{ranking.num_unread} of {num_documents} documents were not read in the time of the budget")
    elif ranking.stopped == "settled":
        found.append(f"{ranking.num_unread} of {num_documents} documents were not read: the first results are settled")
    if ranking.query_truncated:
        found.append("the query is longer than the model reads: its end was not read")
    return found
