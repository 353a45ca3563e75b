"""What comes out: hits, rankings, and the shapes that other systems read."""

from rank_rerank.rankings.bodies import CohereBody, JinaBody, TeiResult
from rank_rerank.rankings.hits import RankedDocument, RelevantSpan, Usage, WordMatch
from rank_rerank.rankings.ranking import Ranking, ScoredDocuments, Stopped, check_top_k

__all__ = [
    "CohereBody",
    "JinaBody",
    "RankedDocument",
    "Ranking",
    "RelevantSpan",
    "ScoredDocuments",
    "Stopped",
    "TeiResult",
    "Usage",
    "WordMatch",
    "check_top_k",
]
