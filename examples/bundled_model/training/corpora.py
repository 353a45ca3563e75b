"""The texts that the bundled model is trained and chosen on, and the wall between them and every test query."""

import gzip
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HELD_OUT_PERCENT = 5
# a training query this alike to a test query, by the share of their words, is left out
MAX_OVERLAP = 0.6
TEST_SETS = ("scifact", "cranfield", "cisi")
WORD = re.compile(r"\w+")


@dataclass
class Passage:
    """A document with the questions that people asked about it.

    Attributes:
        title: may be empty.
        text: its body.
        queries: texts it answers.
    """

    title: str
    text: str
    queries: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Source:
    """A training set.

    Attributes:
        name: of its folder.
        passages: to train on.
        held_out: to choose on; never trained on.
    """

    name: str
    passages: list[Passage]
    held_out: list[Passage]


def read_sources(data: Path) -> list[Source]:
    """Read every training set; what is held out depends on the texts alone.

    SQuAD is held out by article, so that no held-out question is about an article that was trained on. Claims of
    SciFact's train split are trained on or chosen on by halves, and left out altogether where they share a relevant
    document with a test claim: the splits contain the same claim affirmed and denied.
    """
    wall = TestQueries.of(data)
    return [
        _read(data, "squad", wall, lambda passage: passage.title),
        _read(data, "medquad", wall, lambda passage: passage.text),
        _read(data, "pubmedqa", wall, lambda passage: passage.text),
        read_scifact(data, wall),
    ]


def read_scifact(data: Path, wall: "TestQueries") -> Source:
    """Abstracts with half of the train claims that are not about a test claim's abstract; the other half is held out.

    Every abstract is in ``passages`` - a benchmark's documents are what a user would have - and those of held-out
    claims are in ``held_out`` too, with those claims alone.
    """
    documents, queries = read_documents(data / "scifact"), read_texts(data / "scifact" / "queries-train.jsonl.gz")
    qrels = read_qrels(data / "scifact" / "qrels-train.tsv")
    tested = {key for keys in read_qrels(data / "scifact" / "qrels.tsv").values() for key in keys}
    held_out = {key: Passage(passage.title, passage.text) for key, passage in documents.items()}
    for query, keys in qrels.items():
        if tested.isdisjoint(keys) and not wall.knows(queries[query]):
            for key in keys:
                (held_out if checksum(queries[query]) % 2 else documents)[key].queries.append(queries[query])
    return Source("scifact", list(documents.values()), [passage for passage in held_out.values() if passage.queries])


def _read(data: Path, name: str, wall: "TestQueries", group: Any) -> Source:
    documents, queries = read_documents(data / name), read_texts(data / name / "queries.jsonl.gz")
    for query, keys in read_qrels(data / name / "qrels.tsv").items():
        if not wall.knows(queries[query]):
            for key in keys:
                documents[key].queries.append(queries[query])
    parts: tuple[list[Passage], list[Passage]] = ([], [])
    for passage in documents.values():
        parts[checksum(group(passage)) % 100 < HELD_OUT_PERCENT].append(passage)
    return Source(name, *parts)


@dataclass(frozen=True)
class TestQueries:
    """Every query that the model will be judged on.

    A text that shares more than MAX_OVERLAP of its words with a query has at least one of the query's rarest words, as
    many of them as may be missing and one more. So only the queries with such a word are compared.
    """

    by_rare_word: dict[str, list[frozenset[str]]]

    @classmethod
    def of(cls, data: Path) -> "TestQueries":
        """Read the test queries of all sets."""
        paths = [data / name / "queries.jsonl.gz" for name in TEST_SETS]
        return cls.of_words([words_of(text) for path in paths for text in read_texts(path).values()])

    @classmethod
    def of_words(cls, queries: Sequence[frozenset[str]]) -> "TestQueries":
        """Index queries that are given by their words."""
        counts = Counter(word for words in queries for word in words)
        by_rare_word: dict[str, list[frozenset[str]]] = {}
        for words in queries:
            rarest = sorted(words, key=lambda word: (counts[word], word))
            for word in rarest[: len(words) - int(MAX_OVERLAP * len(words))]:
                by_rare_word.setdefault(word, []).append(words)
        return cls(by_rare_word)

    def knows(self, text: str) -> bool:
        """Whether a text is a test query, or close to one."""
        words = words_of(text)
        others = (other for word in words for other in self.by_rare_word.get(word, ()))
        return any(len(words & other) > MAX_OVERLAP * len(words | other) for other in others)


def words_of(text: str) -> frozenset[str]:
    """The different words of a text, in lower case."""
    return frozenset(WORD.findall(text.lower()))


def checksum(text: str) -> int:
    """A number that is the same on every machine."""
    return zlib.crc32(text.encode())


def read_documents(folder: Path) -> dict[str, Passage]:
    """The documents of a collection in BEIR's layout, by id."""
    return {
        line["_id"]: Passage(line["title"].strip(), line["text"].strip())
        for line in read_json_lines(folder / "corpus.jsonl.gz")
    }


def read_texts(path: Path) -> dict[str, str]:
    """The queries of a collection, by id."""
    return {line["_id"]: line["text"] for line in read_json_lines(path)}


def read_qrels(path: Path) -> dict[str, list[str]]:
    """The relevant documents of each query."""
    qrels: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        query, document, score = line.split("\t")
        if int(score) > 0:
            qrels.setdefault(query, []).append(document)
    return qrels


def read_json_lines(path: Path) -> Iterable[dict[str, Any]]:
    """Read a compressed JSON-lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
