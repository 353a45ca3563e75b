import numpy as np
import pytest

from rank_rerank.documents import Document
from rank_rerank.rankings import RankedDocument, Ranking


def ranking_of(relevance, ids=None):
    """Hits from best to worst, whose indices are the places in ``relevance``."""
    documents = [Document(f"text {i}", ids and ids[i]) for i in range(len(relevance))]
    order = np.argsort(-np.asarray(relevance), kind="stable")
    hits = tuple(
        RankedDocument(int(i), 10 * float(relevance[i]), float(relevance[i]), documents[i], truncated=False)
        for i in order
    )
    return Ranking("q", hits)


@pytest.fixture
def make_ranking():
    return ranking_of
