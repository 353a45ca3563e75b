"""JudgedCollection: documents, queries and judgements of a folder in BEIR's layout, with candidates to rerank."""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from rank_rerank.checkpoints.json_files import parse_json
from rank_rerank.devices import import_optional
from rank_rerank.documents import Document
from rank_rerank.errors import CheckpointFormatError, FileFormatError

PURPOSE = "Judging an export on a collection"
NUM_CANDIDATES = 100
# a run in TREC's format: query, "Q0", document, rank, score, name
CANDIDATES_FILE = "candidates.trec"
QRELS_FILES = ("qrels/test.tsv", "qrels.tsv")


@dataclass(frozen=True)
class JudgedCollection:
    """What a ranking is judged by.

    Attributes:
        queries: the text of each judged query by its id.
        documents: the candidates, and no others, by their ids.
        qrels: for each query the grades of judged documents; above 0 is relevant.
        candidates: for each query the ids of the documents to be reranked.
    """

    queries: dict[str, str]
    documents: dict[str, Document]
    qrels: dict[str, dict[str, int]]
    candidates: dict[str, list[str]]

    @classmethod
    def read(cls, folder: Path) -> "JudgedCollection":
        """Read a folder: corpus.jsonl, queries.jsonl and qrels/test.tsv, the first two also with .gz at the end.

        The candidates are those of candidates.trec where the folder has it, else BM25's best 100 (English stems).

        Raises:
            FileFormatError: a file is missing or damaged, or nothing in it is judged.
            MissingDependencyError: the evaluation extra is not installed.
        """
        import_optional("ir_measures", "evaluation", PURPOSE)
        qrels = _read_qrels(folder)
        texts = {key: document.text for key, document in _read_documents(folder, "queries.jsonl").items()}
        queries = {key: text for key, text in texts.items() if key in qrels and text.strip()}
        if not queries:
            raise FileFormatError(f"{folder}: no query of queries.jsonl is judged in {' or '.join(QRELS_FILES)}")
        documents = _read_documents(folder, "corpus.jsonl")
        if (folder / CANDIDATES_FILE).is_file():
            candidates = _read_candidates(folder / CANDIDATES_FILE, queries, documents)
        else:
            candidates = _search(queries, documents)
        found = {document for listed in candidates.values() for document in listed}
        documents = {key: document for key, document in documents.items() if key in found}
        return cls(queries, documents, {key: qrels[key] for key in queries}, candidates)

    def ndcg_at_10(self, rankings: dict[str, list[str]]) -> float:
        """The mean nDCG@10 of rankings: for each query its documents' ids, best first.

        Raises:
            MissingDependencyError: the evaluation extra is not installed.
        """
        measures = import_optional("ir_measures", "evaluation", PURPOSE)
        run = {
            query: {document: float(-rank) for rank, document in enumerate(ranking)}
            for query, ranking in rankings.items()
        }
        measure = measures.nDCG @ 10
        return float(measures.calc_aggregate([measure], self.qrels, run)[measure])


def _read_documents(folder: Path, name: str) -> dict[str, Document]:
    documents: dict[str, Document] = {}
    for number, line in _lines(folder, name):
        where = f"{folder / name}, line {number}"
        try:
            values: Any = parse_json(line.encode("utf-8", "surrogatepass"), where)
        except CheckpointFormatError as error:
            raise FileFormatError(str(error)) from None
        key, text, title = (values.get(key) if isinstance(values, dict) else None for key in ("_id", "text", "title"))
        if not isinstance(key, str) or not isinstance(text, str) or not isinstance(title, str | None):
            raise FileFormatError(f'{where}: an object with "_id", "text" and perhaps "title" is needed')
        documents[key] = Document(f"{title} {text}".strip() if title else text, id=key)
    return documents


def _read_qrels(folder: Path) -> dict[str, dict[str, int]]:
    name = next((name for name in QRELS_FILES if (folder / name).is_file()), QRELS_FILES[0])
    qrels: dict[str, dict[str, int]] = {}
    for number, line in _lines(folder, name):
        parts = line.rstrip("\r\n").split("\t")
        if number == 1 and parts[-1] == "score":
            continue
        if len(parts) != 3 or not parts[2].lstrip("-").isdecimal():  # noqa: PLR2004 - query, document, grade
            raise FileFormatError(f"{folder / name}, line {number}: query, document and grade are needed, with tabs")
        qrels.setdefault(parts[0], {})[parts[1]] = int(parts[2])
    return qrels


def _read_candidates(path: Path, queries: dict[str, str], documents: dict[str, Document]) -> dict[str, list[str]]:
    candidates: dict[str, list[str]] = {key: [] for key in queries}
    for number, line in _lines(path.parent, path.name):
        parts = line.split()
        if len(parts) != 6 or parts[2] not in documents:  # noqa: PLR2004 - of TREC's format
            raise FileFormatError(f"{path}, line {number}: six fields are needed, the third a document of corpus.jsonl")
        if parts[0] in candidates and parts[2] not in candidates[parts[0]]:
            candidates[parts[0]].append(parts[2])
    return candidates


def _search(queries: dict[str, str], documents: dict[str, Document]) -> dict[str, list[str]]:
    """BM25's best documents for each query."""
    bm25s = import_optional("bm25s", "evaluation", PURPOSE)
    stemmer = import_optional("Stemmer", "evaluation", PURPOSE).Stemmer("english")

    def tokens(texts: list[str]) -> Any:
        return bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False)

    ids = list(documents)
    index = bm25s.BM25()
    index.index(tokens([document.text for document in documents.values()]), show_progress=False)
    num_found = min(NUM_CANDIDATES, len(ids))
    positions, _ = index.retrieve(tokens(list(queries.values())), k=num_found, show_progress=False)
    return {key: [ids[position] for position in row.tolist()] for key, row in zip(queries, positions, strict=True)}


def _lines(folder: Path, name: str) -> Iterator[tuple[int, str]]:
    """The lines of a file that are not empty, with their numbers."""
    path = folder / name
    packed = path.with_name(f"{path.name}.gz")
    path = packed if packed.is_file() and not path.is_file() else path
    try:
        with _open(path) as file:
            yield from ((number, line) for number, line in enumerate(file, start=1) if line.strip())
    except (OSError, EOFError) as error:
        raise FileFormatError(f"{path} cannot be read: a folder of the BEIR layout has it. Check the path") from error
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{path} is not UTF-8. Convert it") from error


def _open(path: Path) -> TextIO:
    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")
