"""Queries of a source, asked and cut out of its passages, with what BM25 finds for them."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from training.batches import SENTENCE_END, cut
from training.bundle import LIST_LENGTH
from training.corpora import HELD_OUT_PERCENT, Passage, TestQueries, checksum

# words of queries that are cut out of passages: (share, fewest, most)
CROP_LENGTHS = ((0.4, 4, 14), (0.6, 20, 90))
# how many of them are to find other passages than the one they were cut from
TOPICAL = 0.6
# passages asked of BM25 for a list, some of which may not be shown
FOUND = 3 * LIST_LENGTH
BM25 = {"k1": 0.9, "b": 0.4}


@dataclass(frozen=True)
class SourcePlan:
    """What is taken of a source.

    Attributes:
        name: of its folder.
        train: asked queries to train on, at most.
        crops: queries cut out of passages to train on, at most.
        held_back: asked queries to choose on, at most.
        prefixes: beginnings of the ids of documents that may be trained on; empty: all.
        forbidden: parts of ids of documents that may not.
    """

    name: str
    train: int
    crops: int
    held_back: int
    prefixes: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()

    def permits(self, document: str) -> bool:
        """Whether the licence of a document lets it be trained on."""
        return document.startswith(self.prefixes or "") and not any(part in document for part in self.forbidden)


@dataclass
class ListedQuery:
    """A query with its list.

    Attributes:
        text: its words.
        held_back: whether it is for choosing.
        relevant: passages that answer it.
        hidden: a passage that it must not find.
        found: passages, best first.
        scores: BM25's.
    """

    text: str
    held_back: bool
    relevant: set[int]
    hidden: int = -1
    found: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)


def draw_queries(
    plan: SourcePlan, passages: Sequence[Passage], held: Sequence[bool], wall: TestQueries
) -> list[ListedQuery]:
    """The queries of a source; what is asked about a held-back passage is held back with it."""
    draw = random.Random(f"lists {plan.name}")  # noqa: S311 - reproducible, not secret
    by_text: dict[str, set[int]] = {}
    for index, passage in enumerate(passages):
        for query in passage.queries:
            by_text.setdefault(query, set()).add(index)
    asked = [
        ListedQuery(text, any(held[index] for index in relevant), relevant)
        for text, relevant in by_text.items()
        if not wall.knows(text)
    ]
    draw.shuffle(asked)
    train = [query for query in asked if not query.held_back][: plan.train]
    chosen_on = [query for query in asked if query.held_back][: plan.held_back]
    free = [index for index, is_held in enumerate(held) if not is_held]
    cropped = draw.sample(free, min(plan.crops, len(free)))
    crops = [crop(index, passages[index], draw) for index in cropped]
    return [*train, *chosen_on, *(query for query in crops if not wall.knows(query.text))]


def crop(index: int, passage: Passage, draw: random.Random) -> ListedQuery:
    """Some words of a passage from the start of a sentence on, which are to find it, or others of its topic."""
    sentences = SENTENCE_END.split(passage.text)
    words = " ".join(sentences[draw.randrange(len(sentences)) :]).split()
    text = " ".join(cut(words, CROP_LENGTHS, draw, from_start=True))
    topical = draw.random() < TOPICAL
    return ListedQuery(text, held_back=False, relevant=set(), hidden=index if topical else -1)


def find_lists(queries: Sequence[ListedQuery], passages: Sequence[Passage], held: Sequence[bool]) -> None:
    """Fill in what BM25 finds. No list to train on shows a held-back passage; each shows an answer, if there is one."""
    import bm25s
    import Stemmer

    def tokenize(texts: list[str]) -> list[list[str]]:
        stemmer = Stemmer.Stemmer("english")
        return bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False, return_ids=False)

    index = bm25s.BM25(**BM25)
    index.index(tokenize([f"{passage.title} {passage.text}".strip() for passage in passages]), show_progress=False)
    depth = min(FOUND, len(passages))
    for start in range(0, len(queries), 1000):
        part = queries[start : start + 1000]
        found, scores = index.retrieve(tokenize([query.text for query in part]), k=depth, show_progress=False)
        for query, row, row_scores in zip(part, found.tolist(), scores.tolist(), strict=True):
            _take(query, row, row_scores, held)


def _take(query: ListedQuery, found: list[int], scores: list[float], held: Sequence[bool]) -> None:
    shown = [
        (index, score)
        for index, score in zip(found, scores, strict=True)
        if score > 0 and index != query.hidden and (query.held_back or not held[index])
    ]
    kept = shown[:LIST_LENGTH]
    answers = [pair for pair in shown if pair[0] in query.relevant]
    if not query.held_back and answers and answers[0] not in kept:
        kept[-1] = answers[0]
    query.found = [index for index, _ in kept]
    query.scores = [score for _, score in kept]


def held_passages(passages: Sequence[Passage], trainable: Sequence[bool]) -> list[bool]:
    """Which passages are not trained on: one in twenty, and those that may not be."""
    return [
        not may or checksum(passage.text) % 100 < HELD_OUT_PERCENT
        for passage, may in zip(passages, trainable, strict=True)
    ]


def score_steps(scores: Sequence[float], steps: int) -> "np.ndarray[tuple[int], np.dtype[np.uint8]]":
    """Scores as shares of the best one, in whole steps."""
    return np.rint(np.array(scores) / max(scores) * steps).astype(np.uint8)
