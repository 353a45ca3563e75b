"""Queries with their candidates as items to rerank."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rank_rerank.devices import import_optional
from rank_rerank.distributed.corpus_items import Columns, as_items
from rank_rerank.distributed.items import Item, Rejected
from rank_rerank.distributed.saved_plan import digest_of_files
from rank_rerank.distributed.sources import find_all_files, read_records
from rank_rerank.documents import Document
from rank_rerank.errors import FileFormatError
from rank_rerank.evaluation.corpus import CandidateTexts, read_texts, texts_of
from rank_rerank.evaluation.runs import Run, read_run
from rank_rerank.evaluation.text_files import format_of
from rank_rerank.storage.stores import manifest_files, open_stores

QUERY_NAMES, DOCUMENT_NAMES = (
    ("query_id", "query-id", "qid", "query"),
    ("document_id", "doc_id", "docno", "docid", "corpus-id", "id"),
)
SCORE_NAMES = ("score", "rank")


@dataclass(frozen=True)
class CandidateSource:
    """Where the parts of a reranking are.

    Attributes:
        run: a TREC run, or Parquet with columns of the query's id, the document's id, and a score or rank.
        corpus: stores of the documents, or files and folders of their texts.
        queries: a file of queries, as in BEIR's or MS MARCO's layout.
        is_stored: the corpus is stores.
        columns: of the corpus, where it is texts.
    """

    run: Path
    corpus: tuple[Path, ...]
    queries: Path
    is_stored: bool
    columns: Columns

    def items(self) -> Iterator[Item | Rejected]:
        """Each query of the run with its candidates, best first.

        Raises:
            FileFormatError: a file cannot be read.
        """
        run = read_candidates(self.run)
        texts = {query.id_text: query.text for _, query in read_texts(self.queries)}
        known = _Stored(self.corpus) if self.is_stored else _Texts(self._gather(run))
        for query, ranked in run.rankings.items():
            source = f"{self.run}, query {query!a}"
            if query not in texts:
                yield Rejected(source, query, f"the query has no text in {self.queries.name}")
                continue
            missing = known.missing(ranked.ids)
            for identifier in missing:
                yield Rejected(source, query, f"its candidate {identifier!a} is not in the corpus")
            gone = {*missing}
            ids = [identifier for identifier in ranked.ids if identifier not in gone]
            yield Item(query, texts[query], known.data(ids), source)

    def digest(self) -> str:
        """A digest of all that the items come from: files by their content, stores by their manifests, which say all.

        Raises:
            FileFormatError: a file cannot be read.
        """
        facts = [repr(self.columns), str(self.is_stored)]
        return digest_of_files(lambda: [self.run, self.queries, *self._corpus_files()], facts)

    def _corpus_files(self) -> Sequence[Path]:
        if not self.is_stored:
            return find_all_files(self.corpus)
        return [file for folder in self.corpus for file in manifest_files(folder)]

    def _gather(self, run: Run) -> CandidateTexts:
        wanted = {*run.ids()}
        items = as_items(read_records(self.corpus), self.columns)
        return texts_of(Document(item.text, item.id) for item in items if isinstance(item, Item) and item.id in wanted)


def read_candidates(path: Path) -> Run:
    """Read a run.

    Raises:
        FileFormatError: it cannot be read.
        MissingDependencyError: pyarrow is needed for Parquet and not installed.
    """
    return _read_parquet(path) if format_of(path) == "parquet" else read_run(path)


def _read_parquet(path: Path) -> Run:
    import_optional("pyarrow", "arrow", f"Reading {path.name}")
    found: dict[str, dict[str, float]] = {}
    names: Sequence[str] | None = None
    for record in read_records([path]):
        values = record.values or {}
        names = names or _columns(path, [*values])
        query, document = str(values[names[0]]), str(values[names[1]])
        scores = found.setdefault(query, {})
        if document in scores:
            raise FileFormatError(f"{record.source}: the document {document!a} stood above already for this query")
        value = float(values[names[2]]) if len(names) == len(("query", "document", "score")) else -float(len(scores))
        scores[document] = -value if names[-1] == "rank" else value
    if not found:
        raise FileFormatError(f"{path}: the run is empty. Check the path")
    return Run.of(path.stem, found)


def _columns(path: Path, there: Sequence[str]) -> Sequence[str]:
    """The columns of the query, the document and, where there is one, the score or rank."""
    chosen = [
        next((name for name in names if name in there), None) for names in (QUERY_NAMES, DOCUMENT_NAMES, SCORE_NAMES)
    ]
    if chosen[0] is None or chosen[1] is None:
        raise FileFormatError(
            f'{path} needs the columns "query_id" and "document_id", and perhaps "score" or "rank"; it has '
            f"{', '.join(there)}"
        )
    return [name for name in chosen if name is not None]


class _Texts:
    """A corpus of texts, which travel with their queries."""

    def __init__(self, texts: CandidateTexts) -> None:
        self._texts = texts

    def missing(self, ids: Sequence[str]) -> list[str]:
        return self._texts.missing(ids)

    def data(self, ids: Sequence[str]) -> str:
        return json.dumps([[document.id, document.text] for document in self._texts.read(ids)])


class _Stored:
    """Stores, which workers open themselves."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._stores = open_stores(folders)

    def missing(self, ids: Sequence[str]) -> list[str]:
        there = self._stores.contains(ids)
        return [identifier for identifier, is_there in zip(ids, there.tolist(), strict=True) if not is_there]

    def data(self, ids: Sequence[str]) -> str:
        """The ids, with a digest of what is stored under them: a changed document is ranked anew."""
        digest = hashlib.sha256()
        for group in self._stores.select(ids).groups():
            arrays = group.segment.arrays
            digest.update(group.indices.tobytes())
            digest.update(arrays.get("checksums", arrays["text_digests"])[group.rows].tobytes())
        return json.dumps([ids, digest.hexdigest()])
