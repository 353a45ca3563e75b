"""Rerank search candidates with late interaction (ColBERT): exact, fast on CPU, no torch needed, offline.

    import rank_rerank

    reranker = rank_rerank.load()
    for hit in reranker.rerank("query text", ["a document", "another document"]):
        print(hit.score, hit.text)

Errors are in ``rank_rerank.errors``. What is needed less often stands in one place each: ``rank_rerank.storage``,
``scoring``, ``explanation``, ``refinement``, ``calibration`` and ``encoding``. What is in their ``__all__`` is public,
and modules below them are not.
"""

from rank_rerank.devices import get_gpu_device
from rank_rerank.documents import Document
from rank_rerank.encoding.chunking import Chunking
from rank_rerank.encoding.compression import Compression
from rank_rerank.encoding.pooling import Pooling
from rank_rerank.encoding.projection import Projection
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.errors import RankRerankError
from rank_rerank.inference.execution_provider import ExecutionProvider
from rank_rerank.rankings import RankedDocument, Ranking
from rank_rerank.rerankers import (
    Blend,
    CascadeReranker,
    CascadeStage,
    ColbertReranker,
    CrossEncoderReranker,
    DenseReranker,
    Reranker,
    calibrate,
    load,
)
from rank_rerank.scoring.cross_encoder import CrossEncoder
from rank_rerank.scoring.maxsim import maxsim
from rank_rerank.storage.embedding_store import EmbeddingStore

__all__ = [
    "Blend",
    "CascadeReranker",
    "CascadeStage",
    "Chunking",
    "ColbertReranker",
    "Compression",
    "CrossEncoder",
    "CrossEncoderReranker",
    "DenseReranker",
    "Document",
    "EmbeddingStore",
    "ExecutionProvider",
    "Pooling",
    "Projection",
    "RankRerankError",
    "RankedDocument",
    "Ranking",
    "Reranker",
    "TokenEmbeddings",
    "TokenEncoder",
    "calibrate",
    "get_gpu_device",
    "load",
    "maxsim",
]
