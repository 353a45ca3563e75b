"""Documents: what goes in, in the shapes that callers have it in."""

from rank_rerank.documents.document import Document, DocumentId
from rank_rerank.documents.inputs import (
    DocumentLike,
    Documents,
    DocumentsPerQuery,
    Queries,
    SequenceNotStr,
    Texts,
)
from rank_rerank.documents.lists import each_item, list_items, refuse_shared_iterators
from rank_rerank.documents.plain_values import is_missing, plain_value
from rank_rerank.documents.reading import as_document, as_documents

__all__ = [
    "Document",
    "DocumentId",
    "DocumentLike",
    "Documents",
    "DocumentsPerQuery",
    "Queries",
    "SequenceNotStr",
    "Texts",
    "as_document",
    "as_documents",
    "each_item",
    "is_missing",
    "list_items",
    "plain_value",
    "refuse_shared_iterators",
]
