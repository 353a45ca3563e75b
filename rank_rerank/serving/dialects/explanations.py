"""Why a document has its score, ``POST /explain``: as JSON, or as a page that stands alone."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from rank_rerank.explanation.explanations import Explanation
from rank_rerank.serving.dialects.documents import Documents
from rank_rerank.serving.dialects.fields import Wanted

# what an answer takes: a cell of a heat map on a page and in JSON, and otherwise a word of a document
PAGE_CELL_BYTES, CELL_BYTES, WORD_BYTES = 64, 8, 128


class ExplainBody(Wanted):
    """A query and the documents to explain; a heat map has the cosines of all pairs of words."""

    query: str = Field(description="a text with at least one word")
    documents: Documents
    format: Literal["json", "html"] = Field(default="json", description="html gives a page that stands alone")
    heat_map: bool = Field(default=False, description="with the cosine of each word of the query with each other")
    alignments: bool = Field(default=False, description="with the token that each token of the query found")

    def bytes_per_token(self, num_query_tokens: int) -> int:
        """About what a token of a document takes in the answer."""
        page, cells = self.format == "html", num_query_tokens if self.heat_map or self.format == "html" else 0
        return WORD_BYTES + cells * (PAGE_CELL_BYTES if page else CELL_BYTES)


def explain_reply(body: ExplainBody, explanations: Sequence[Explanation], model: str) -> dict[str, Any]:
    """The answer's body."""
    return {"object": "list", "model": model, "data": [_explained(body, each) for each in explanations]}


def _explained(body: ExplainBody, explanation: Explanation) -> dict[str, Any]:
    value = explanation.to_dict()
    value.pop("query")
    value["word_matches"] = [
        {"start": each.start, "end": each.end, "similarity": each.similarity} for each in explanation.word_matches
    ]
    if body.heat_map:
        value["heat_map"] = _heat_map(explanation)
    if body.alignments:
        value["alignments"] = [
            {
                "query_token": each.query_token,
                "document_token": each.document_token if each.document_token >= 0 else None,
                "similarity": each.similarity if np.isfinite(each.similarity) else None,
            }
            for each in explanation.alignments
        ]
    return value


def _heat_map(explanation: Explanation) -> dict[str, Any]:
    """Words that say something, and the cosine of each pair."""
    rows = [row for row, word in enumerate(explanation.query_words) if word.says_something]
    columns = [column for column, word in enumerate(explanation.document_words) if word.says_something]
    asked = [explanation.query_words[row] for row in rows]
    found = [explanation.document_words[column] for column in columns]
    return {
        "query_words": [[word.start, word.end] for word in asked],
        "document_words": [[word.start, word.end] for word in found],
        "similarities": explanation.similarities[np.ix_(rows, columns)].astype(np.float64).round(4).tolist(),
    }
