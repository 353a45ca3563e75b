"""Token embeddings → scores: exact MaxSim over arrays, tensors and packed documents; cross-encoders."""

from rank_rerank.scoring.cross_encoder import CrossEncoder, PairScores
from rank_rerank.scoring.maxsim import (
    MaxsimMatches,
    TopDocuments,
    maxsim,
    maxsim_many,
    maxsim_matches,
    maxsim_top_k,
)
from rank_rerank.scoring.packed_documents import PackedDocuments

__all__ = [
    "CrossEncoder",
    "MaxsimMatches",
    "PackedDocuments",
    "PairScores",
    "TopDocuments",
    "maxsim",
    "maxsim_many",
    "maxsim_matches",
    "maxsim_top_k",
]
