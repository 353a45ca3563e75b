"""Collection: queries, judgements, documents and perhaps candidates, read from the layouts that others write.

- a folder in BEIR's layout: ``corpus.jsonl``, ``queries.jsonl``, ``qrels/test.tsv`` or ``qrels.tsv``, plain or .gz;
- a folder in NanoBEIR's layout: ``corpus/``, ``queries/`` and ``qrels/`` with Parquet files;
- MS MARCO's files in one folder: ``collection.tsv``, ``queries.dev.small.tsv``, ``qrels.dev.small.tsv``;
- TREC's judgements beside texts in JSON lines, tables with tabs or Parquet;
- one file of JSON lines with ``query``, ``documents`` and ``relevant``: see labelled_candidates.py.

A folder may bring its candidates in ``candidates.trec``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rank_rerank.arguments import check_path, is_file, is_folder
from rank_rerank.errors import FileFormatError, InvalidArgumentError
from rank_rerank.evaluation.corpus import CandidateTexts, Corpus, read_texts
from rank_rerank.evaluation.labelled_candidates import read_labelled_candidates
from rank_rerank.evaluation.qrels import Qrels, read_qrels, write_qrels
from rank_rerank.evaluation.runs import Run, read_run, write_run
from rank_rerank.evaluation.text_files import find_file
from rank_rerank.storage.output_file import open_output
from rank_rerank.tokenization.texts import check_text

CORPUS_NAMES = ("corpus.jsonl", "corpus.tsv", "corpus.parquet", "collection.tsv", "collection.jsonl", "documents.jsonl")
QUERY_NAMES = ("queries.jsonl", "queries.tsv", "queries.parquet", "topics.tsv")
QREL_NAMES = ("qrels.tsv", "qrels.txt", "qrels.trec", "qrels", "qrels.parquet")
CANDIDATES_NAME = "candidates.trec"


@dataclass(frozen=True)
class CollectionFiles:
    """Where the parts of a collection are; what is None is looked for in the folder.

    Attributes:
        folder: of the collection, or a file of labelled candidates.
        split: of the queries and judgements: "test", "dev" …; None for "test", or the only one there is.
        corpus: the documents.
        queries: the queries.
        qrels: the judgements.

    Raises:
        InvalidArgumentError: a path is none, or split no part of a file's name.
        InvalidItemError: split is no str.
    """

    folder: Path
    split: str | None = None
    corpus: Path | None = None
    queries: Path | None = None
    qrels: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", check_path(self.folder, "folder"))
        for name in ("corpus", "queries", "qrels"):
            if (path := getattr(self, name)) is not None:
                object.__setattr__(self, name, check_path(path, name))
        if self.split is not None and set(check_text(self.split, "split")) & set("/\\\0"):
            raise InvalidArgumentError("split must be a plain word, as in a file's name")

    def corpus_paths(self) -> tuple[Path, ...]:
        """The files of documents."""
        return self._choose(self.corpus, "corpus", CORPUS_NAMES)

    def query_paths(self) -> tuple[Path, ...]:
        """The files of queries."""
        names = [*self._split_names("queries", ("jsonl", "tsv", "parquet")), *QUERY_NAMES]
        return self._choose(self.queries, "queries", names)

    def qrel_paths(self) -> tuple[Path, ...]:
        """The files of judgements."""
        inside = [f"qrels/{name}" for name in self._split_names("", ("tsv", "txt", "trec", "jsonl", "parquet"))]
        names = [*inside, *self._split_names("qrels", ("tsv", "txt", "trec"))]
        return self._choose(self.qrels, "qrels", names if self.split else [*names, *QREL_NAMES])

    def _split_names(self, stem: str, ends: tuple[str, ...]) -> list[str]:
        """Names like "queries.dev.tsv", "queries-dev.tsv" or "dev.tsv"; without a split those of BEIR and MS MARCO."""
        splits = [self.split] if self.split else ["test", "dev.small", "dev"]
        starts = [f"{stem}.", f"{stem}-"] if stem else [""]
        return [f"{start}{split}.{end}" for split in splits for start in starts for end in ends]

    def _choose(self, given: Path | None, what: str, names: list[str] | tuple[str, ...]) -> tuple[Path, ...]:
        if given is not None:
            if not is_file(given):
                raise FileFormatError(f"{given} cannot be read: there is no such file. Check the path")
            return (given,)
        if found := find_file(self.folder, names):
            return (found,)
        # NanoBEIR: a folder of parts
        inside = self.folder / what
        parts = sorted(each for each in inside.glob("*") if each.suffix in (".parquet", ".jsonl", ".tsv"))
        if what == "qrels" and len(parts) > 1 and not all(part.suffix == ".parquet" for part in parts):
            raise FileFormatError(f"{inside} holds several splits: choose one of them with --split, or split=")
        if not parts:
            raise FileFormatError(
                f"{self.folder} cannot be read as a collection: it has none of {', '.join(names[:6])} … (also with "
                f".gz). Check the path, or say which file holds the {what}"
            )
        return tuple(parts)


@dataclass(frozen=True)
class Collection:
    """What rankings are judged by.

    Attributes:
        name: of the folder or file.
        queries: the text of each judged query by its id.
        qrels: for each of these queries the grades of judged documents; above 0 is relevant.
        corpus: the documents.
        candidates: what is to be reranked, where the collection brings it; None for BM25's best.
        notices: what was noticed: queries without judgements, judgements without queries, and so on.
        paths: the files it was read from.
    """

    name: str
    queries: dict[str, str]
    qrels: Qrels
    corpus: Corpus
    candidates: Run | None = None
    notices: tuple[str, ...] = ()
    paths: tuple[Path, ...] = ()

    def select(self, queries: Mapping[str, str] | list[str]) -> "Collection":
        """The same collection with some of its queries."""
        chosen = {key: self.queries[key] for key in queries}
        return replace(self, queries=chosen, qrels={key: self.qrels[key] for key in chosen})


def read_collection(
    source: str | Path | CollectionFiles, *, split: str | None = None, candidates: str | Path | Run | None = None
) -> Collection:
    """Read the queries and judgements of a collection; its documents are read when they are needed.

    Args:
        source: a folder, a file of labelled candidates, or where the parts are.
        split: of the judgements; None for "test", or the only one there is.
        candidates: a run to rerank, instead of one that the collection brings.

    Raises:
        FileFormatError: a file is missing or damaged, an id comes twice, or no query is judged; the message names
            file and line.
        MissingDependencyError: pyarrow is needed for Parquet and not installed.
    """
    files = source if isinstance(source, CollectionFiles) else CollectionFiles(check_path(source, "source"), split)
    if is_file(files.folder) and files.qrels is None:
        collection = _from_labelled(files.folder)
    elif is_folder(files.folder) or files.qrels is not None:
        collection = _from_files(files)
    else:
        raise FileFormatError(f"{files.folder}: there is no such folder or file. Check the path")
    if candidates is None:
        return collection
    run = candidates if isinstance(candidates, Run) else read_run(check_path(candidates, "candidates"))
    return replace(collection, candidates=run)


def _from_labelled(path: Path) -> Collection:
    found = read_labelled_candidates(path)
    collection = Collection(
        path.name, found.queries, found.qrels, Corpus((), found.texts), found.candidates, (), (path,)
    )
    return _judged(collection, found.queries, found.qrels, [])


def _from_files(files: CollectionFiles) -> Collection:
    qrel_paths, query_paths, corpus_paths = files.qrel_paths(), files.query_paths(), files.corpus_paths()
    qrels, notices = read_qrels(qrel_paths)
    queries: dict[str, str] = {}
    for path in query_paths:
        for location, query in read_texts(path):
            if query.id_text in queries:
                location.refuse(f"the query {query.id!a} stood above already. Give each query an id of its own")
            queries[query.id_text] = query.text
    found = find_file(files.folder, [CANDIDATES_NAME]) if is_folder(files.folder) else None
    collection = Collection(
        name=files.folder.resolve().name,
        queries={},
        qrels={},
        corpus=Corpus(corpus_paths),
        candidates=None if found is None else read_run(found),
        paths=(*qrel_paths, *query_paths, *corpus_paths),
    )
    return _judged(collection, queries, qrels, notices)


def _judged(collection: Collection, queries: dict[str, str], qrels: Qrels, notices: list[str]) -> Collection:
    """The collection with the queries that can be judged; how many others there are is reported."""
    judged = {key: text for key, text in queries.items() if key in qrels}
    wordless = [key for key, text in judged.items() if not text.strip()]
    unknown = [key for key in qrels if key not in queries]
    for key in wordless:
        del judged[key]
    if not judged:
        raise FileFormatError(
            f"{collection.name}: no query with text is judged: of {len(queries)} queries and {len(qrels)} judged ids "
            "none is the same. Check that queries and judgements are of one split"
        )
    for count, words in (
        (len(queries) - len(judged) - len(wordless), "queries are not judged, and left out"),
        (len(wordless), "judged queries have no words, and are left out"),
        (
            len(unknown),
            f"judged queries have no text, and are left out; the first is {unknown[0]!a}" if unknown else "",
        ),
        (
            sum(not any(grade > 0 for grade in qrels[key].values()) for key in judged),
            "judged queries have no relevant document, and count 0",
        ),
    ):
        if count:
            notices.append(f"{collection.name}: {count} {words}")
    return replace(
        collection, queries=judged, qrels={key: qrels[key] for key in judged}, notices=(*collection.notices, *notices)
    )


def write_collection(collection: Collection, folder: Path, texts: CandidateTexts | None = None) -> None:
    """Write a collection in BEIR's layout, with its candidates in ``candidates.trec``.

    Args:
        collection: what to write.
        folder: made where it is missing; what it holds of these names is replaced.
        texts: the documents to write; None for the whole corpus.

    Raises:
        FileFormatError: a file cannot be written.
        InvalidArgumentError: an id cannot stand in such files.
    """
    try:
        (folder / "qrels").mkdir(parents=True, exist_ok=True)
        kept = collection.corpus.gather(None) if texts is None else texts
        with open_output(folder / "corpus.jsonl") as file:
            for document in kept.stream():
                file.write(_line({"_id": document.id, "title": "", "text": document.text}))
        with open_output(folder / "queries.jsonl") as file:
            file.writelines(_line({"_id": key, "text": text}) for key, text in collection.queries.items())
    except OSError as error:
        raise FileFormatError(f"{folder} cannot be written: {error.strerror}") from error
    write_qrels(collection.qrels, folder / "qrels" / "test.tsv")
    if collection.candidates is not None:
        write_run(collection.candidates, folder / CANDIDATES_NAME)


def _line(values: dict[str, Any]) -> bytes:
    return json.dumps(values).encode() + b"\n"
