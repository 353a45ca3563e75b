"""Queries and candidates of a reranker: read, checked, found in a store, told apart by their texts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from rank_rerank.arrays import Int64Vector
from rank_rerank.documents import Document, as_documents, each_item, list_items, refuse_shared_iterators
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.errors import InvalidArgumentError, InvalidItemError
from rank_rerank.rerankers.progress import progress_bar
from rank_rerank.rerankers.tasks import RankOptions
from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.storage.model_identity import ModelIdentity
from rank_rerank.storage.stored_documents import StoredDocuments
from rank_rerank.tokenization.texts import check_text

Candidates = TypeVar("Candidates")


@dataclass(frozen=True)
class StoredCandidates:
    """The candidates of one query that lie in a store, and the tokens that had to be read to put them there."""

    documents: Sequence[Document]
    vectors: StoredDocuments
    num_tokens_read: int = 0


def read_query(query: object, documents: object) -> str:
    """Read one query.

    Args:
        query: what the caller passed.
        documents: what the caller passed with it, for a hint.

    Raises:
        InvalidItemError: it is no str.
        InvalidTextError: it holds lone surrogates.
    """
    if not isinstance(query, str) and isinstance(documents, str):
        raise InvalidItemError("query and documents are the wrong way round: the query, a str, comes first")
    if isinstance(query, list | tuple):
        raise InvalidItemError("the query must be a str, this is a list. For several queries use rerank_many")
    return check_text(query, "the query")


def read_documents(documents: object, name: str, text_key: str | None = None) -> list[Document]:
    """Read and check one list of candidates.

    Raises:
        InvalidItemError: it is no list of documents, or an item is none; the message has its index.
        InvalidTextError: a text holds lone surrogates; the message has its index.
        InvalidArgumentError: text_key is no str.
    """
    candidates = as_documents(documents, name, text_key=text_key)
    for index, document in enumerate(candidates):
        check_text(document.text, f"{name}[{index}]")
    return candidates


def read_candidates(
    documents: object, name: str, store: EmbeddingStore | None, text_key: str | None = None
) -> list[Document] | StoredDocuments:
    """Read and check one list of candidates; with a store, refuse strings that are its ids rather than texts."""
    if isinstance(documents, StoredDocuments):
        return documents
    if store is None:
        return read_documents(documents, name, text_key)
    items = list_items(documents, name)
    candidates = read_documents(items, name, text_key)
    strings = [index for index, item in enumerate(items) if isinstance(item, str)]
    for index in np.flatnonzero(store.contains([candidates[index].text for index in strings])).tolist():
        raise InvalidArgumentError(
            f"{name}[{strings[index]}] is an id of the store, and strings are texts here. To rerank stored "
            "documents pass store.select(ids); if it is a text, pass Document(text)"
        )
    return candidates


def read_many(
    queries: object, documents_per_query: object, read: Callable[[object, str], Candidates]
) -> tuple[list[str], list[Candidates]]:
    """Read queries, and a list of candidates for each.

    Args:
        queries: texts, in any container that has an order.
        documents_per_query: as many lists, likewise; they are read one after the other.
        read: reads one list of candidates, given what errors call it.

    Raises:
        InvalidItemError: a container is none of queries or lists, or two queries share one iterator.
        InvalidTextError: a query holds lone surrogates; the message has its index.
        InvalidArgumentError: the two differ in length.
    """
    listed = list_items(queries, "queries", "queries")
    texts = [check_text(query, f"queries[{number}]") for number, query in enumerate(listed)]
    if isinstance(documents_per_query, Sequence):
        refuse_shared_iterators(documents_per_query, "documents_per_query")
    candidates = [
        read(documents, f"documents_per_query[{number}]")
        for number, documents in enumerate(each_item(documents_per_query, "documents_per_query", "lists"))
    ]
    if len(texts) != len(candidates):
        raise InvalidArgumentError(f"{len(texts)} queries, but {len(candidates)} lists of documents")
    return texts, candidates


def find_stored(
    encoder: TokenEncoder, candidates: Sequence[Sequence[Document]], options: RankOptions
) -> dict[int, StoredCandidates]:
    """The lists whose vectors come from a store, by their number; texts that a store lacks are encoded into it."""
    store = options.store
    stored: dict[int, StoredCandidates] = {}
    texts: list[str] = []
    for number, documents in enumerate(candidates):
        if isinstance(documents, StoredDocuments):
            documents.identity.check(ModelIdentity.of(encoder.checkpoint))
            stored[number] = StoredCandidates(documents, documents)
        elif store is not None:
            texts += [document.text for document in documents]
    if store is None:
        return stored
    with progress_bar(len(texts), "doc", options.show_progress) as bar:
        cached, first = store.encode_texts(texts, encoder, bar.update), 0
    for number, documents in enumerate(candidates):
        if number not in stored:
            places = np.arange(first, first + len(documents))
            read = int(cached.num_tokens_read[places].sum())
            stored[number] = StoredCandidates(documents, cached.documents.select(places), read)
            first += len(documents)
    return stored


def distinct_texts(candidates: Sequence[Sequence[str]]) -> tuple[list[str], list[Int64Vector]]:
    """Each text once, in order of first appearance, and for each list the positions of its texts among them."""
    number_of: dict[str, int] = {}
    positions = [
        np.array([number_of.setdefault(text, len(number_of)) for text in texts], np.int64) for texts in candidates
    ]
    return list(number_of), positions
