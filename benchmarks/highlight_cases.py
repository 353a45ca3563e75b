"""Documents in which the passage that answers a query is known, though no collection here marks it.

The collections have no answer spans. So each document is made: the paragraph that answers the query, put at a random
place among paragraphs that are about the same thing. Where the answer is, is then known by the paragraph.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from workloads import Collection, read_collection, read_json_lines

# a question of MedQuAD is one of a few forms, filled with what it is about
_MEDQUAD_FORM = re.compile(
    r"(?:What is \(are\)|What causes|How to (?:diagnose|prevent)|Is|Do you have information about"
    r"|What (?:is|are) the [a-z ]+? (?:of|for|to|in|with)|Who is at risk for|How many people are affected by"
    r"|What to do for) (?P<topic>.+?) ?\?+"
)
MAX_PARAGRAPH_WORDS = 130


@dataclass(frozen=True)
class Case:
    """A query and a document made of paragraphs.

    Attributes:
        query: the question.
        text: the paragraphs, one space between them.
        paragraphs: half-open spans of code points.
        gold: which of them answers the query.
        topic: what all of them are about; halves are split by it.
    """

    query: str
    text: str
    paragraphs: tuple[tuple[int, int], ...]
    gold: int
    topic: str

    @property
    def answer(self) -> tuple[int, int]:
        """Where the paragraph is that answers the query."""
        return self.paragraphs[self.gold]


def squad_cases(data: Path, count: int, num_paragraphs: int = 3) -> list[Case]:
    """SQuAD's questions, each with its paragraph among others of the same article."""
    titles = {line["_id"]: line["title"] for line in read_json_lines(data / "squad" / "corpus.jsonl.gz")}
    lines = read_json_lines(data / "squad" / "corpus.jsonl.gz")
    squad = read_collection(data, "squad")
    paragraphs = {line["_id"]: line["text"] for line in lines}
    return _make_cases(squad, paragraphs, lambda _, document_id: titles[document_id], count, num_paragraphs)


def medquad_cases(data: Path, count: int, num_paragraphs: int = 3) -> list[Case]:
    """MedQuAD's questions, each with its answer among answers to other questions about the same disease."""
    medquad = read_collection(data, "medquad")

    def topic_of(query: str, _: str) -> str | None:
        form = _MEDQUAD_FORM.fullmatch(query)
        return form["topic"].lower() if form else None

    return _make_cases(medquad, medquad.documents, topic_of, count, num_paragraphs)


def _make_cases(
    collection: Collection,
    paragraphs: dict[str, str],
    topic_of: Callable[[str, str], str | None],
    count: int,
    num_paragraphs: int,
) -> list[Case]:
    """Draw queries in a seeded order, and for each the paragraphs around its answer and their order."""
    generator = random.Random(7)  # noqa: S311 - a sample
    topics: dict[str, tuple[str, str]] = {}  # query id: topic, answer
    members: dict[str, dict[str, None]] = {}
    for query_id, judged in collection.qrels.items():
        for document_id in judged:
            topic = topic_of(collection.queries[query_id], document_id)
            if topic is not None and len(paragraphs[document_id].split()) <= MAX_PARAGRAPH_WORDS:
                topics[query_id] = (topic, document_id)
                members.setdefault(topic, {})[document_id] = None
    cases: list[Case] = []
    query_ids = sorted(topics)
    generator.shuffle(query_ids)
    for query_id in query_ids:
        topic, answer = topics[query_id]
        others = [key for key in members[topic] if key not in collection.qrels[query_id]]
        if len(others) >= num_paragraphs - 1:
            chosen = [answer, *generator.sample(others, num_paragraphs - 1)]
            generator.shuffle(chosen)
            cases.append(
                _join(collection.queries[query_id], [paragraphs[key] for key in chosen], chosen.index(answer), topic)
            )
        if len(cases) == count:
            break
    return cases


def _join(query: str, texts: Sequence[str], gold: int, topic: str) -> Case:
    spans: list[tuple[int, int]] = []
    start = 0
    for text in texts:
        spans.append((start, start + len(text)))
        start += len(text) + 1
    return Case(query, " ".join(texts), tuple(spans), gold, topic)
