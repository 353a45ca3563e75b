"""Corpus: the documents of a collection, read as a stream; and CandidateTexts, those of them that are needed.

A corpus may be larger than memory. One pass keeps, of every id, a key of 64 bits (to find ids that come twice), and
writes the texts that are wanted into a temporary file, where they are found by a binary search of 16 bytes per text.
"""

import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from tqdm import tqdm

from rank_rerank.arrays import AnyArray, Int64Matrix, UInt64Vector
from rank_rerank.documents import Document
from rank_rerank.errors import FileFormatError, UnknownIdError
from rank_rerank.evaluation.text_files import Location, check_unicode, format_of, read_lines, read_objects, read_rows
from rank_rerank.storage.key_index import KeyIndex, keys_of

CHUNK_DOCUMENTS = 4096
ID_NAMES = ("_id", "id", "docid", "doc_id", "docno", "pid", "document_id")
TEXT_NAMES = ("text", "body", "contents", "passage")
# columns of a table without a header: id and text; with a title; with the address as in MS MARCO's documents
COLUMNS_OF_COUNT = {2: ("id", "text"), 3: ("id", "title", "text"), 4: ("id", "", "title", "text")}


def read_texts(path: Path) -> Iterator[tuple[Location, Document]]:
    """Documents or queries of one file: JSON lines, a table with tabs, or Parquet, by its suffix.

    JSON objects and tables with a header have an id ("_id", "id", "docid", …), a "text" and perhaps a "title", which is
    put in front of the text. A table without a header has an id and a text, a title between them if there are three
    columns, and an address and a title if there are four.

    Raises:
        FileFormatError: the file cannot be read, or a line has no usable id or text; the message names the line.
    """
    if format_of(path) in ("tsv", "txt"):
        yield from _read_table(path)
        return
    rows = read_rows(path, (*ID_NAMES, *TEXT_NAMES, "title")) if format_of(path) == "parquet" else read_objects(path)
    for location, values in rows:
        yield location, _as_document(location, values)


def _as_document(location: Location, values: dict[str, Any]) -> Document:
    found_id = next((values[name] for name in ID_NAMES if values.get(name) is not None), None)
    text = next((values[name] for name in TEXT_NAMES if values.get(name) is not None), None)
    title = values.get("title")
    if isinstance(found_id, int) and not isinstance(found_id, bool):
        found_id = str(found_id)
    if not isinstance(found_id, str) or not isinstance(text, str) or not isinstance(title, str | None):
        location.refuse('an object with "_id" (or "id"), "text" and perhaps "title" is needed')
    return _checked(location, found_id, f"{title} {text}".strip() if title else text)


def _read_table(path: Path) -> Iterator[tuple[Location, Document]]:
    columns: Sequence[str] | None = None
    for location, line in read_lines(path):
        fields = line.split("\t")
        if columns is None:
            columns = COLUMNS_OF_COUNT.get(len(fields), ())
            names = [name.strip().lower() for name in fields]
            if names[0] in ID_NAMES or names[0] in ("qid", "query_id", "query-id"):
                columns = ["id" if number == 0 else name for number, name in enumerate(names)]
                columns = ["text" if name in (*TEXT_NAMES, "query") else name for name in columns]
                if "text" not in columns:
                    location.refuse('the header names no column "text"')
                continue
            if not columns:
                location.refuse(f"2 to 4 columns with tabs between are needed, this has {len(fields)}")
        if len(fields) != len(columns):
            location.refuse(f"{len(columns)} columns with tabs between are needed, this has {len(fields)}")
        values = dict(zip(columns, fields, strict=True))
        yield location, _checked(location, values["id"], f"{values.get('title', '')} {values['text']}".strip())


def _checked(location: Location, identifier: str, text: str) -> Document:
    if not identifier or identifier.split() != [identifier]:
        location.refuse("the id is empty or holds white space, so it could not stand in a TREC run")
    return Document(check_unicode(text, location, "text"), check_unicode(identifier, location, "id"))


@dataclass(frozen=True)
class Corpus:
    """Documents in files, read again each time they are asked for.

    Attributes:
        paths: the files, in order.
        made: documents that were read already, of a file that holds them beside its queries; then there are no files.
    """

    paths: tuple[Path, ...]
    made: "CandidateTexts | None" = None

    def stream(self) -> Iterator[tuple[Location, Document]]:
        """Every document, one by one.

        Raises:
            FileFormatError: as for read_texts.
        """
        for path in self.paths:
            yield from read_texts(path)

    def gather(self, wanted: Iterable[str] | None, *, show_progress: bool | None = False) -> "CandidateTexts":
        """Read the whole corpus once and keep the texts of some documents.

        Args:
            wanted: ids; None for all.
            show_progress: a bar on a terminal (None), always (True) or never.

        Raises:
            FileFormatError: as for read_texts, or an id comes twice.
        """
        if self.made is not None:
            return self.made
        gathering = _Gathering(wanted)
        stream = self.stream()
        # tqdm shows a bar on a terminal only where it is told None
        disable = None if show_progress is None else not show_progress
        with tqdm(unit="doc", desc="corpus", disable=disable, leave=False) as bar:
            while chunk := list(islice(stream, CHUNK_DOCUMENTS)):
                gathering.read([document for _, document in chunk])
                bar.update(len(chunk))
        if gathering.has_twice():
            self._refuse_twice()
        return gathering.finish()

    def _refuse_twice(self) -> None:
        """Name the second document with an id; two different ids may have one key, which is no fault."""
        seen: set[str] = set()
        for location, document in self.stream():
            if document.id_text in seen:
                location.refuse(f"the id {document.id!a} stood above already. Give each document an id of its own")
            seen.add(document.id_text)


class _Gathering:
    """A corpus on its way through: keys of all ids, texts of those that are wanted."""

    def __init__(self, wanted: Iterable[str] | None) -> None:
        self._wanted = None if wanted is None else np.unique(keys_of([key.encode() for key in wanted]))
        self._file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as this or the texts
        self._closing = weakref.finalize(self, self._file.close)
        self._keys: list[UInt64Vector] = []
        self._kept: list[UInt64Vector] = []
        self._sizes: list[Int64Matrix] = []
        self._num_empty = 0

    def read(self, documents: Sequence[Document]) -> None:
        """Look at some documents."""
        keys = keys_of([document.id_text.encode() for document in documents])
        self._keys.append(keys)
        self._num_empty += sum(not document.text.strip() for document in documents)
        indices = np.arange(len(keys)) if self._wanted is None else np.flatnonzero(_is_among(keys, self._wanted))
        self._kept.append(keys[indices])
        sizes = np.zeros((len(indices), 2), np.int64)
        for row, index in enumerate(indices.tolist()):
            identifier, text = documents[index].id_text.encode(), documents[index].text.encode()
            self._file.write(identifier + text)
            sizes[row] = len(identifier), len(text)
        self._sizes.append(sizes)

    def has_twice(self) -> bool:
        """Whether a key comes twice."""
        keys = np.sort(np.concatenate(self._keys)) if self._keys else np.zeros(0, np.uint64)
        return bool((keys[1:] == keys[:-1]).any())

    def finish(self) -> "CandidateTexts":
        """The texts that were kept."""
        keys = np.concatenate(self._kept) if self._kept else np.zeros(0, np.uint64)
        sizes = np.concatenate(self._sizes) if self._sizes else np.zeros((0, 2), np.int64)
        num_documents = sum(map(len, self._keys))
        self._closing.detach()
        return CandidateTexts(
            KeyIndex.build(keys, np.arange(len(keys))), sizes, self._file, num_documents, self._num_empty
        )


def _is_among(keys: UInt64Vector, ascending: UInt64Vector) -> AnyArray:
    if not len(ascending):
        return np.zeros(len(keys), np.bool_)
    found = np.minimum(np.searchsorted(ascending, keys), len(ascending) - 1)
    return ascending[found] == keys


@dataclass(eq=False)
class CandidateTexts:
    """Texts in a temporary file, found by id; the file is gone with the object.

    Attributes:
        index: keys of the ids.
        sizes: [num_texts, 2] bytes of id and text.
        file: ids and texts, one after the other.
        num_documents: of the whole corpus.
        num_empty: documents of the corpus without a word.
    """

    index: KeyIndex
    sizes: Int64Matrix
    file: BinaryIO
    num_documents: int
    num_empty: int
    starts: AnyArray = field(init=False)

    def __post_init__(self) -> None:
        # before the file's own end, which would be warned of
        weakref.finalize(self, self.file.close)
        self.starts = np.concatenate([[0], np.cumsum(self.sizes.sum(axis=1))]).astype(np.int64)

    def __len__(self) -> int:
        return len(self.sizes)

    def missing(self, ids: Sequence[str]) -> list[str]:
        """Those of some ids that no text is kept for, in their order."""
        rows = self._rows(ids)
        return [identifier for identifier, row in zip(ids, rows, strict=True) if row < 0]

    def read(self, ids: Sequence[str]) -> list[Document]:
        """Documents by id, in the order given.

        Raises:
            UnknownIdError: no text is kept for an id.
        """
        documents: list[Document] = []
        for identifier, row in zip(ids, self._rows(ids), strict=True):
            if row < 0:
                raise UnknownIdError(f"the corpus has no document {identifier!a}")
            documents.append(Document(self._read(row)[1], identifier))
        return documents

    def stream(self) -> Iterator[Document]:
        """Every document that is kept, in the order of the corpus."""
        for row in range(len(self)):
            identifier, text = self._read(row)
            yield Document(text, identifier)

    def _read(self, row: int) -> tuple[str, str]:
        id_bytes, text_bytes = self.sizes[row].tolist()
        self.file.seek(int(self.starts[row]))
        content = self.file.read(id_bytes + text_bytes)
        if len(content) != id_bytes + text_bytes:
            raise FileFormatError("the temporary file of texts was cut: is the disk for temporary files full?")
        return content[:id_bytes].decode(), content[id_bytes:].decode()

    def _rows(self, ids: Sequence[str]) -> list[int]:
        """The row of each id, −1 where there is none; ids with one key are told apart by the ids themselves."""
        rows = [-1] * len(ids)
        positions, found = self.index.find(keys_of([identifier.encode("utf-8", "replace") for identifier in ids]))
        for position, row in zip(positions.tolist(), found.tolist(), strict=True):
            self.file.seek(int(self.starts[row]))
            if self.file.read(int(self.sizes[row, 0])) == ids[position].encode("utf-8", "replace"):
                rows[position] = row
        return rows


def texts_of(documents: Iterable[Document]) -> CandidateTexts:
    """Documents that are at hand already, as the texts of a corpus; of equal ids the first is found."""
    gathering = _Gathering(None)
    items = iter(documents)
    while chunk := list(islice(items, CHUNK_DOCUMENTS)):
        gathering.read(chunk)
    return gathering.finish()
