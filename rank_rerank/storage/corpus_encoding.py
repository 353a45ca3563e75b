"""Encode a corpus into a store as a stream: bounded memory, a progress bar, and a restart that goes on where it was."""

from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass, field
from itertools import islice
from time import monotonic

import numpy as np

from rank_rerank.documents import Document, as_document, each_item
from rank_rerank.encoding.token_embeddings import TokenEmbeddings, offsets_of_lengths
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.errors import DuplicateIdError, InvalidArgumentError
from rank_rerank.storage.key_index import digests_of, keys_of, keys_of_digests
from rank_rerank.storage.snapshot import Snapshot, show_id
from rank_rerank.storage.store_inputs import NewDocuments, check_id, check_metadata
from rank_rerank.tokenization.texts import check_text

# documents looked up and encoded together
CHUNK_DOCUMENTS = 64
# a commit costs some flushes of the disk: often enough to lose little, seldom enough not to be noticed
COMMIT_BYTES = 64 << 20
COMMIT_SECONDS = 30.0


@dataclass
class EncodeReport:
    """What encoding a corpus did.

    Attributes:
        num_added: documents with new ids.
        num_updated: documents whose text had changed.
        num_skipped: documents that were there already.
        num_truncated: of those encoded, how many were longer than the model reads.
        num_tokens: vectors that the model gave.
    """

    num_added: int = 0
    num_updated: int = 0
    num_skipped: int = 0
    num_truncated: int = 0
    num_tokens: int = 0


def encode_corpus(
    snapshot: Snapshot,
    put: Callable[[NewDocuments], Snapshot],
    encoder: TokenEncoder,
    documents: Iterable[object],
    *,
    show_progress: bool | None = None,
) -> EncodeReport:
    """Encode what a store lacks; see EmbeddingStore.encode.

    Args:
        snapshot: of the store.
        put: commits documents and gives the snapshot after it.
        encoder: the store's model.
        documents: as they come.
        show_progress: None for on a terminal only.
    """
    from tqdm import tqdm  # noqa: PLC0415 - most processes show no bar

    run = _Run(snapshot, put, encoder)
    total = len(documents) if isinstance(documents, Sized) else None
    disable = None if show_progress is None else not show_progress
    with tqdm(total=total, unit="doc", disable=disable, leave=False) as bar:
        try:
            for chunk in _chunks(documents):
                run.encode(chunk)
                bar.update(len(chunk))
        except BaseException:
            # Ctrl-C or a damaged document: what is done is kept; a second Ctrl-C ends that too
            run.commit()
            raise
        run.commit()
    return run.report


@dataclass
class _Run:
    """One corpus on its way into a store."""

    snapshot: Snapshot
    put: Callable[[NewDocuments], Snapshot]
    encoder: TokenEncoder
    report: EncodeReport = field(default_factory=EncodeReport)
    documents: list[Document] = field(default_factory=list[Document])
    windows: list[TokenEmbeddings] = field(default_factory=list[TokenEmbeddings])
    # 64-bit keys of ids and texts: about a hundred bytes per document
    seen: dict[int, int] = field(default_factory=dict[int, int])
    last_commit: float = field(default_factory=monotonic)

    def encode(self, chunk: list[Document]) -> None:
        """Encode those of some documents that the store lacks."""
        texts = digests_of([document.text for document in chunk])
        fresh = self._first_times(chunk, keys_of_digests(texts).tolist())
        places = self.snapshot.find_ids([document.id_text for document in chunk])
        wanted: list[Document] = []
        for index in fresh:
            segment, row = int(places.segments[index]), int(places.rows[index])
            if segment >= 0 and self.snapshot.segments[segment].has_digest(row, texts[index].tobytes()):
                continue
            self.report.num_updated += segment >= 0
            self.report.num_added += segment < 0
            wanted.append(chunk[index])
        self.report.num_skipped += len(chunk) - len(wanted)
        if wanted:
            self._encode(wanted)
        if self._is_due():
            self.commit()

    def commit(self) -> None:
        """Write what is encoded."""
        documents, windows = self.documents, self.windows
        self.documents, self.windows, self.last_commit = [], [], monotonic()
        if not documents:
            return
        offsets = offsets_of_lengths(np.concatenate([np.diff(window.offsets) for window in windows]))
        embeddings = TokenEmbeddings(
            np.concatenate([window.vectors for window in windows]),
            offsets,
            np.concatenate([window.truncated for window in windows if window.truncated is not None]),
        )
        metadata = check_metadata([document.metadata for document in documents], len(documents))
        ids = [document.id_text for document in documents]
        self.snapshot = self.put(NewDocuments(ids, embeddings, [document.text for document in documents], metadata))

    def _encode(self, wanted: list[Document]) -> None:
        window = self.encoder.encode_documents([document.text for document in wanted])
        truncated = np.zeros(len(wanted), np.bool_) if window.truncated is None else window.truncated
        self.documents += wanted
        self.windows.append(TokenEmbeddings(window.vectors, window.offsets, truncated))
        self.report.num_truncated += int(truncated.sum())
        self.report.num_tokens += window.num_tokens

    def _is_due(self) -> bool:
        num_bytes = sum(window.vectors.nbytes for window in self.windows)
        return num_bytes >= COMMIT_BYTES or monotonic() - self.last_commit >= COMMIT_SECONDS

    def _first_times(self, chunk: list[Document], text_keys: list[int]) -> list[int]:
        """The indices of documents that did not come before."""
        id_keys = keys_of([document.id_text.encode() for document in chunk]).tolist()
        fresh: list[int] = []
        for index, (id_key, text_key) in enumerate(zip(id_keys, text_keys, strict=True)):
            if id_key not in self.seen:
                fresh.append(index)
            if self.seen.setdefault(id_key, text_key) != text_key:
                raise DuplicateIdError(
                    f"the id {show_id(chunk[index].id_text)} comes twice, with different texts. Give each document "
                    "an id of its own"
                )
        return fresh


def _chunks(documents: Iterable[object]) -> Iterator[list[Document]]:
    """Checked documents, some at a time; their iterable is read no further than needed."""
    items, first = each_item(documents, "documents"), 0
    while batch := list(islice(items, CHUNK_DOCUMENTS)):
        yield [_check(item, f"documents[{first + index}]") for index, item in enumerate(batch)]
        first += len(batch)


def _check(item: object, name: str) -> Document:
    document = as_document(item, name)
    if document.id is None:
        raise InvalidArgumentError(f'{name} has no id. Give each document an "id", by which it is found again')
    check_text(document.text, name)
    check_id(document.id, f"the id of {name}")  # of a store ids are of type str
    check_metadata([document.metadata], 1, name)
    return document
