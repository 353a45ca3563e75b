"""One job on one machine or on Ray: a corpus into shards of token embeddings, a run into a reranked run."""

from rank_rerank.distributed.corpus_items import Columns
from rank_rerank.distributed.encode_corpus import EncodeSettings, encode_corpus
from rank_rerank.distributed.engines import Engine
from rank_rerank.distributed.local_engine import LocalEngine
from rank_rerank.distributed.progress import Progress, Summary
from rank_rerank.distributed.ray_engine import RayEngine

__all__ = [
    "Columns",
    "EncodeSettings",
    "Engine",
    "LocalEngine",
    "Progress",
    "RayEngine",
    "Summary",
    "encode_corpus",
]
