"""What every adapter must keep: ids, metadata, order, scores to the bit, and the caller's objects as they are."""

import copy
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

QUERY = "Which capital lies in France?"
WORDS = ["paris", "capital", "france", "banana", "Zürich", "東京", "🦀", "e\u0301t\u00e9", "", "  ", "the"]

quick = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@dataclass(frozen=True)
class Given:
    """A document as a framework is given it."""

    text: str
    id: str
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Got:
    """A document as a framework got it back."""

    text: str
    id: str
    metadata: dict[str, Any]
    relevance: float | None = None
    score: float | None = None


_texts = st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join)
_metadata = st.dictionaries(
    st.sampled_from(["source", "page", "ünï"]), st.one_of(st.none(), st.integers(), st.text(max_size=5)), max_size=3
)
# duplicates of texts are common; ids are distinct
documents = st.lists(st.tuples(_texts, _metadata), max_size=12).map(
    lambda pairs: [Given(text, f"id-{number}", metadata) for number, (text, metadata) in enumerate(pairs)]
)
top_ks = st.one_of(st.none(), st.integers(1, 15))

THOUSAND = [Given(f"{WORDS[number % len(WORDS)]} number {number % 300}", f"id-{number}", {}) for number in range(1000)]


def assert_as_reranked(reranker, given, got, top_k=None, query=QUERY):
    """Documents that came back are those of rerank, in its order, with its scores to the bit."""
    ranking = reranker.rerank(query, [each.text for each in given], top_k=top_k)
    assert [each.id for each in got] == [given[hit.index].id for hit in ranking]
    assert [each.text for each in got] == [hit.text for hit in ranking]
    for each, hit in zip(got, ranking, strict=True):
        assert each.metadata == given[hit.index].metadata
        assert each.relevance in (None, hit.relevance)
        assert each.score in (None, hit.score, hit.json_score)
        assert each.relevance is not None or each.score is not None or hit.json_score is None


class Unchanged:
    """Objects that must be after the work what they were before."""

    def __init__(self, objects):
        self._objects, self._before = objects, copy.deepcopy(objects)

    def __enter__(self):
        return self._objects

    def __exit__(self, *_):
        assert self._objects == self._before
