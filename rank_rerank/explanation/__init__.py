"""Why a document ranks where it does: words that matched, passages, a page of HTML, a heat map."""

from rank_rerank.explanation.explanations import Explanation, TokenAlignment, align_tokens
from rank_rerank.explanation.heat_map import save_heat_map
from rank_rerank.explanation.html_report import render_report
from rank_rerank.explanation.snippets import find_snippet
from rank_rerank.explanation.words import TextWord

__all__ = [
    "Explanation",
    "TextWord",
    "TokenAlignment",
    "align_tokens",
    "find_snippet",
    "render_report",
    "save_heat_map",
]
