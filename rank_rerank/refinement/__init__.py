"""Work on rankings after they are made: diversity, fusion of several, duplicates, weights of query tokens.

from rank_rerank import refinement

ranking = refinement.mmr(ranking, embeddings, top_k=10)
"""

from rank_rerank.refinement.deduplication import drop_near_duplicates
from rank_rerank.refinement.dense import dense_scores, refine_matryoshka
from rank_rerank.refinement.diversity import dpp, mmr
from rank_rerank.refinement.fusion import FusedDocument, blend, fuse
from rank_rerank.refinement.query_weights import TokenStatistics

__all__ = [
    "FusedDocument",
    "TokenStatistics",
    "blend",
    "dense_scores",
    "dpp",
    "drop_near_duplicates",
    "fuse",
    "mmr",
    "refine_matryoshka",
]
