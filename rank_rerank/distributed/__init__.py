"""One job on one machine or on Ray: a corpus into shards of token embeddings, a run into a reranked run."""

from rank_rerank.distributed.corpus_items import Columns
from rank_rerank.distributed.encode_corpus import EncodeSettings, encode_corpus
from rank_rerank.distributed.engines import Engine
from rank_rerank.distributed.local_engine import LocalEngine
from rank_rerank.distributed.progress import Progress, Summary
from rank_rerank.distributed.ray_engine import RayEngine
from rank_rerank.distributed.rerank_run import RerankSettings, rerank_run
from rank_rerank.distributed.shard_import import ImportOptions, ImportReport, import_shards

__all__ = [
    "Columns",
    "EncodeSettings",
    "Engine",
    "ImportOptions",
    "ImportReport",
    "LocalEngine",
    "Progress",
    "RayEngine",
    "RerankSettings",
    "Summary",
    "encode_corpus",
    "import_shards",
    "rerank_run",
]
