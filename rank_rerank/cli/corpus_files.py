"""Read documents to store from files, one by one: a corpus may be larger than the memory."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from rank_rerank.cli.candidate_files import Candidate, FileFormat, stream_candidates
from rank_rerank.cli.text_files import name_of
from rank_rerank.documents import Document
from rank_rerank.errors import FileFormatError, InputError
from rank_rerank.storage.store_inputs import check_id


def stream_corpus(paths: Sequence[str], file_format: FileFormat | None = None) -> Iterator[Document]:
    """Read documents; one without an id gets its file and line as id, as in ``notes.txt:12``.

    Args:
        paths: files; "-" for standard input.
        file_format: how to read them; None to go by the file's suffix.

    Raises:
        FileFormatError: a file is missing, not UTF-8, or has a line that is not a document with a usable id.
    """
    for candidate in stream_candidates(paths, file_format):
        yield _with_id(candidate)


def _with_id(candidate: Candidate) -> Document:
    place = f"{candidate.file}:{candidate.line}"
    document = candidate.document
    try:
        # a store's ids are texts: a whole number of a JSON file is stored by its digits
        return replace(document, id=check_id(place if document.id is None else document.id_text, "the id"))
    except InputError as error:
        raise FileFormatError(f"{name_of(candidate.file)}, line {candidate.line}: {error}") from None


def read_ids(path: str) -> list[tuple[str, int]]:
    """Read ids, one per line, with their line numbers.

    Raises:
        FileFormatError: the file is missing, not UTF-8, or has an empty line.
    """
    return [(candidate.document.text, candidate.line) for candidate in stream_candidates([path], FileFormat("lines"))]
