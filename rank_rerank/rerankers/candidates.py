"""Candidates of a reranker: checked, found in a store, told apart by their texts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rank_rerank.arrays import Int64Vector
from rank_rerank.documents import Document, as_documents
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.storage.model_identity import ModelIdentity
from rank_rerank.storage.stored_documents import StoredDocuments
from rank_rerank.tokenization.texts import check_text


@dataclass(frozen=True)
class StoredCandidates:
    """The candidates of one query that lie in a store, and the tokens that had to be read to put them there."""

    documents: Sequence[Document]
    vectors: StoredDocuments
    num_tokens_read: int = 0


def read_candidates(
    documents: Iterable[object], name: str, store: EmbeddingStore | None
) -> list[Document] | StoredDocuments:
    """Check one list of candidates; with a store, refuse strings that are its ids rather than texts."""
    if isinstance(documents, StoredDocuments):
        return documents
    items = documents if isinstance(documents, str | bytes | Mapping | Document) else _as_list(documents)
    candidates = as_documents(items, name)
    for index, document in enumerate(candidates):
        check_text(document.text, f"{name}[{index}]")
    if store is not None:
        strings = [index for index, item in enumerate(items) if isinstance(item, str)]
        for index in np.flatnonzero(store.contains([candidates[index].text for index in strings])).tolist():
            raise InvalidArgumentError(
                f"{name}[{strings[index]}] is an id of the store, and strings are texts here. To rerank stored "
                "documents pass store.select(ids); if it is a text, pass Document(text)"
            )
    return candidates


def _as_list(documents: Iterable[object]) -> Iterable[object]:
    return list(documents) if isinstance(documents, Iterable) else documents  # pyright: ignore[reportUnnecessaryIsInstance]


def find_stored(
    encoder: TokenEncoder, candidates: Sequence[Sequence[Document]], store: EmbeddingStore | None
) -> dict[int, StoredCandidates]:
    """The lists whose vectors come from a store, by their number; texts that a store lacks are encoded into it."""
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
    cached, first = store.encode_texts(texts, encoder), 0
    for number, documents in enumerate(candidates):
        if number not in stored:
            places = np.arange(first, first + len(documents))
            read = int(cached.num_tokens_read[places].sum())
            stored[number] = StoredCandidates(documents, cached.documents.select(places), read)
            first += len(documents)
    return stored


def distinct_texts(candidates: Sequence[Sequence[Document]]) -> tuple[list[str], list[Int64Vector]]:
    """Each text once, in order of first appearance, and for each list the positions of its texts among them."""
    number_of: dict[str, int] = {}
    positions = [
        np.array([number_of.setdefault(document.text, len(number_of)) for document in documents], np.int64)
        for documents in candidates
    ]
    return list(number_of), positions
