"""Batches of documents that are hard to tell apart, with queries for each of them.

A document is a passage or a piece of one, short or long, with or without its title. Its queries are questions that
people asked about it, its title, and sentences cut out of it: from a few words to a paragraph. Other queries are
paragraphs of passages that are alike but not in the batch: they name a topic, and no document is their answer.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from training.corpora import Passage, Source
from training.disguise import Disguise

# how often a batch is of each source
WEIGHTS = {"squad": 0.4, "medquad": 0.15, "pubmedqa": 0.1, "scifact": 0.35}
GROUPS = 8
GROUP_SIZE = 4
NEIGHBOURS = 24
MAX_QUESTIONS = 2
# how many groups have a query on their topic unless told otherwise, and its words
TOPICAL = 0.5
TOPICAL_LENGTHS = ((1.0, 20, 120),)
# how many batches have words replaced, and the fewest and the most of their different words
DISGUISED = 0.5
REPLACED = (0.3, 0.9)
# words of a document: (share of the documents, fewest, most)
LENGTHS = ((0.15, 8, 24), (0.6, 40, 100), (0.25, 80, 180))
# words of a query that is cut out of a text: the same
CROP_LENGTHS = ((0.5, 4, 12), (0.3, 10, 30), (0.2, 30, 90))
SENTENCE_END = re.compile(r"(?<=[.?!])\s+")


@dataclass(frozen=True)
class Batch:
    """Documents and the queries about them.

    Attributes:
        documents: texts.
        queries: texts.
        labels: the document that each query is about, or is alike to the one it is about.
        asked: whether a person asked the query; the others were cut out of texts.
    """

    documents: list[str]
    queries: list[str]
    labels: list[int]
    asked: list[bool]


class BatchMaker:
    """Makes batches, each from its number and the seed alone."""

    def __init__(
        self, sources: Sequence[Source], seed: int, disguise: Disguise | None = None, topical: float = TOPICAL
    ) -> None:
        """Find the neighbours of every passage.

        disguise: shows half of the batches in other words.
        topical: how many groups have a query on their topic, as a share.
        """
        self._sources = [source for source in sources if source.passages]
        self._seed = seed
        self._disguise = disguise
        self._topical = topical
        self._neighbours = {source.name: find_neighbours(source.passages) for source in self._sources}

    def make(self, number: int) -> Batch:
        """Make the batch of this number: GROUPS passages of one source, each with passages that BM25 finds alike."""
        draw = random.Random(f"{self._seed} {number}")  # noqa: S311 - reproducible, not secret
        source = draw.choices(self._sources, [WEIGHTS[source.name] for source in self._sources])[0]
        firsts = [draw.randrange(len(source.passages)) for _ in range(GROUPS)]
        places: dict[int, None] = {}  # in order, without repetition
        for place in firsts:
            alike = self._neighbours[source.name][place]
            places.update(dict.fromkeys([place, *draw.sample(alike, min(GROUP_SIZE - 1, len(alike)))]))
        batch = Batch([], [], [], [])
        for label, place in enumerate(places):
            document, queries = present(source.passages[place], draw)
            batch.documents.append(document)
            for query, asked in queries:
                batch.queries.append(query)
                batch.labels.append(label)
                batch.asked.append(asked)
        for label, place in enumerate(places):
            others = [other for other in self._neighbours[source.name][place] if other not in places]
            if place in firsts and others and happens(draw, self._topical):
                words = source.passages[draw.choice(others)].text.split()
                batch.queries.append(" ".join(cut(words, TOPICAL_LENGTHS, draw, from_start=happens(draw, 0.5))))
                batch.labels.append(label)
                batch.asked.append(False)
        if self._disguise is None or not happens(draw, DISGUISED):
            return batch
        replace = self._disguise.replacement(draw.uniform(*REPLACED), draw)
        documents, queries = ([replace(text) for text in texts] for texts in (batch.documents, batch.queries))
        return Batch(documents, queries, batch.labels, batch.asked)


def present(passage: Passage, draw: random.Random) -> tuple[str, list[tuple[str, bool]]]:
    """One way of showing a passage: a document, and queries each with whether a person asked it."""
    queries = [(query, True) for query in draw.sample(passage.queries, min(MAX_QUESTIONS, len(passage.queries)))]
    sentences = SENTENCE_END.split(passage.text)
    with_title = passage.title and happens(draw, 0.6)
    if passage.title and not with_title and happens(draw, 0.5):
        queries.append((passage.title, False))
    if len(sentences) > 1 and (not queries or happens(draw, 0.5)):
        first = draw.randrange(len(sentences))
        crop = cut(" ".join(sentences[first:]).split(), CROP_LENGTHS, draw, from_start=False)
        queries.append((" ".join(crop), False))
        if happens(draw, 0.5) and not any(asked for _, asked in queries):
            del sentences[first]  # the document must be found without the very words
    words = f"{passage.title} {' '.join(sentences)}" if with_title else " ".join(sentences)
    document = " ".join(cut(words.split(), LENGTHS, draw, from_start=happens(draw, 0.7)))
    return document, queries


def happens(draw: random.Random, share: float) -> bool:
    """True in this share of the cases."""
    return draw.random() < share


def cut(
    words: list[str], lengths: Sequence[tuple[float, int, int]], draw: random.Random, *, from_start: bool
) -> list[str]:
    """A run of words of a random length."""
    _, fewest, most = draw.choices(lengths, [share for share, _, _ in lengths])[0]
    length = draw.randint(fewest, most)
    start = 0 if from_start else draw.randint(0, max(0, len(words) - length))
    return words[start : start + length]


def find_neighbours(passages: Sequence[Passage]) -> list[list[int]]:
    """For each passage the places of others that BM25 finds for its first question or title."""
    import bm25s
    import Stemmer

    def tokenize(texts: list[str]) -> object:
        return bm25s.tokenize(texts, stopwords="en", stemmer=Stemmer.Stemmer("english"), show_progress=False)

    index = bm25s.BM25()
    index.index(tokenize([f"{passage.title} {passage.text}" for passage in passages]), show_progress=False)
    asked = [passage.queries[0] if passage.queries else passage.title or passage.text[:100] for passage in passages]
    found, _ = index.retrieve(tokenize(asked), k=min(NEIGHBOURS, len(passages)), show_progress=False)
    return [[int(place) for place in row if place != own] for own, row in enumerate(found)]
