"""Token embeddings → scores: exact MaxSim over arrays, tensors and packed documents; cross-encoders."""

from rank_rerank.scoring.cross_encoder import CrossEncoder, PairScores
from rank_rerank.scoring.maxsim import (
    MaxsimMatches,
    maxsim,
    maxsim_many,
    maxsim_matches,
    maxsim_top_k,
)
from rank_rerank.scoring.packed_documents import PackedDocuments
from rank_rerank.scoring.screened_documents import ScreenedDocuments
from rank_rerank.scoring.top_documents import TopDocuments

__all__ = [
    "CrossEncoder",
    "MaxsimMatches",
    "PackedDocuments",
    "PairScores",
    "ScreenedDocuments",
    "TopDocuments",
    "maxsim",
    "maxsim_many",
    "maxsim_matches",
    "maxsim_top_k",
]
