"""What an adapter writes about a hit beside the framework's own document; the names are the same in every framework."""

import math
from typing import Any

from rank_rerank.rankings import RankedDocument

RELEVANCE = "relevance_score"
SCORE = "rerank_score"
BLENDED = "blended_score"
TRUNCATED = "truncated"
SPANS = "relevant_spans"
BEST_CHUNK = "best_chunk"


def hit_fields(hit: RankedDocument) -> dict[str, Any]:
    """Plain values that JSON can carry.

    ``relevance_score`` is from 0 to 1, ``rerank_score`` the raw score (None for a document without words),
    ``blended_score`` is what orders the hits where the scores of the search were blended with the raw ones.
    ``truncated`` tells that the document was not read to its end; ``relevant_spans`` and ``best_chunk`` are code points
    of the text that was read, where they were asked for.
    """
    fields: dict[str, Any] = {RELEVANCE: hit.relevance, SCORE: hit.json_score, TRUNCATED: hit.truncated}
    if hit.blended_score is not None and math.isfinite(hit.blended_score):
        fields[BLENDED] = hit.blended_score
    if hit.spans is not None:
        fields[SPANS] = [span.to_dict() for span in hit.spans]
    if hit.best_chunk is not None:
        fields[BEST_CHUNK] = list(hit.best_chunk)
    return fields
