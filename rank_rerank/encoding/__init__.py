"""Texts → token embeddings, and what makes them smaller."""

from rank_rerank.encoding.chunking import Chunking
from rank_rerank.encoding.compression import Compression
from rank_rerank.encoding.embedding_cache import CacheInfo
from rank_rerank.encoding.pooling import Pooling, pool
from rank_rerank.encoding.projection import Projection, normalize_rows
from rank_rerank.encoding.self_check import SelfCheck, self_check
from rank_rerank.encoding.text_windows import BestWindows
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.encoding.token_encoder import TokenEncoder

__all__ = [
    "BestWindows",
    "CacheInfo",
    "Chunking",
    "Compression",
    "Pooling",
    "Projection",
    "SelfCheck",
    "TokenEmbeddings",
    "TokenEncoder",
    "normalize_rows",
    "pool",
    "self_check",
]
