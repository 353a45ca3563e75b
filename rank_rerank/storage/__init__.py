"""TokenEmbeddings on disk: documents are encoded once, then scored where they lie.

Parquet, Arrow, Qdrant and LanceDB go in and out here; each package is imported when it is used.
"""

from rank_rerank.storage.corpus_encoding import EncodeReport
from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.storage.lancedb_exchange import add_from_lancedb, to_lancedb
from rank_rerank.storage.memory_store import hold_in_memory
from rank_rerank.storage.model_identity import ModelIdentity
from rank_rerank.storage.pyarrow_exchange import add_arrow, add_parquet, to_arrow, write_parquet
from rank_rerank.storage.qdrant_exchange import add_from_qdrant, to_qdrant
from rank_rerank.storage.sharded_store import ShardedStore
from rank_rerank.storage.store_repair import Repair
from rank_rerank.storage.store_verification import Verification
from rank_rerank.storage.stored_documents import StoredDocuments
from rank_rerank.storage.stores import JoinedStores, open_stores

__all__ = [
    "EmbeddingStore",
    "EncodeReport",
    "JoinedStores",
    "ModelIdentity",
    "Repair",
    "ShardedStore",
    "StoredDocuments",
    "Verification",
    "add_arrow",
    "add_from_lancedb",
    "add_from_qdrant",
    "add_parquet",
    "hold_in_memory",
    "open_stores",
    "to_arrow",
    "to_lancedb",
    "to_qdrant",
    "write_parquet",
]
