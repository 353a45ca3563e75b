"""Queries with their candidates and labels, one JSON object per line: what an application can log by itself.

``{"query": "…", "documents": ["…", {"id": "a", "text": "…"}], "relevant": [1]}``

"relevant" holds indices of documents (from 0), or their ids, or an object of grades by id. "query_id" and the ids of
documents are optional: a query is then called after its line, a document after its text, so that a text which several
queries share is one document. The order of "documents" is the first stage's.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from rank_rerank.documents import Document
from rank_rerank.errors import FileFormatError
from rank_rerank.evaluation.corpus import CandidateTexts, texts_of
from rank_rerank.evaluation.qrels import MAX_GRADE, Qrels
from rank_rerank.evaluation.runs import RankedIds, Run
from rank_rerank.evaluation.text_files import Location, check_unicode, read_objects

ID_DIGITS = 16


@dataclass
class LabelledCandidates:
    """What such a file holds.

    Attributes:
        queries: texts by id.
        qrels: grades of the documents that are marked as relevant.
        candidates: the documents of each query in the order of the file.
        texts: of all documents.
    """

    queries: dict[str, str]
    qrels: Qrels
    candidates: Run
    texts: CandidateTexts


@dataclass
class _Reading:
    queries: dict[str, str] = field(default_factory=dict[str, str])
    qrels: Qrels = field(default_factory=Qrels)
    rankings: dict[str, RankedIds] = field(default_factory=dict[str, RankedIds])
    # the digest of each document's text, to tell one id with two texts
    digests: dict[str, bytes] = field(default_factory=dict[str, bytes])


def read_labelled_candidates(path: Path) -> LabelledCandidates:
    """Read the file.

    Raises:
        FileFormatError: a line is not of this form, a query's id comes twice, a document comes twice in one list, or
            one id has two texts; the message names the line.
    """
    reading = _Reading()
    texts = texts_of(_documents(path, reading))
    if not reading.queries:
        raise FileFormatError(f"{path}: no query is there. Check the path")
    return LabelledCandidates(reading.queries, reading.qrels, Run("as listed", reading.rankings, (), path), texts)


def _documents(path: Path, reading: _Reading) -> Iterator[Document]:
    """The documents of all lines, each once; queries and labels are put down on the way."""
    for location, values in read_objects(path):
        query, listed = values.get("query"), values.get("documents")
        if not isinstance(query, str) or not isinstance(listed, list) or "relevant" not in values:
            location.refuse('an object with "query", "documents" (a list) and "relevant" is needed')
        key = str(values.get("query_id", values.get("_id", location.line)))
        if key in reading.queries or key.split() != [key]:
            location.refuse("the query's id stood above already, is empty or holds white space")
        documents = [
            _as_document(item, f"documents[{index}]", location) for index, item in enumerate(cast("list[Any]", listed))
        ]
        ids = [document.id_text for document in documents]
        if len(set(ids)) != len(ids):
            location.refuse("a document is there twice. Keep one of the two")
        reading.queries[key] = check_unicode(query, location, "query")
        reading.rankings[key] = RankedIds(tuple(ids), -np.arange(len(ids), dtype=np.float64))
        reading.qrels[key] = _grades(values["relevant"], ids, location)
        for document in documents:
            digest = hashlib.blake2b(document.text.encode(), digest_size=ID_DIGITS).digest()
            known = reading.digests.setdefault(document.id_text, digest)
            if known is digest:
                yield document
            elif known != digest:
                location.refuse(f"the document {document.id!a} had another text above. Give each text an id of its own")


def _as_document(item: object, name: str, location: Location) -> Document:
    values: dict[str, Any] = {"text": item} if isinstance(item, str) else cast("dict[str, Any]", item)
    if not isinstance(item, str | dict) or not isinstance(values.get("text"), str):
        location.refuse(f'{name} must be a string or an object with "text"')
    title = values.get("title")
    text = check_unicode(f"{title} {values['text']}" if title else values["text"], location, name)
    made = hashlib.blake2b(text.encode(), digest_size=ID_DIGITS // 2).hexdigest()
    identifier = str(values.get("id", values.get("_id", made)))
    if identifier.split() != [identifier]:
        location.refuse(f"the id of {name} is empty or holds white space")
    return Document(text, check_unicode(identifier, location, f"the id of {name}"))


def _grades(relevant: object, ids: list[str], location: Location) -> dict[str, int]:
    """Grades by id; indices are told from ids by their type."""
    if isinstance(relevant, dict):
        grades = cast("dict[str, Any]", relevant)
        if not all(type(grade) is int and abs(grade) <= MAX_GRADE for grade in grades.values()):
            location.refuse('the grades in "relevant" must be whole numbers')
        return dict(grades)
    if not isinstance(relevant, list):
        location.refuse('"relevant" must be a list of indices or ids, or an object of grades')
    grades: dict[str, Any] = {}
    for item in cast("list[Any]", relevant):
        if type(item) is int and 0 <= item < len(ids):
            grades[ids[item]] = 1
        elif isinstance(item, str):
            grades[item] = 1
        else:
            location.refuse(f'"relevant" holds something else than ids and indices from 0 to {len(ids) - 1}')
    return grades
