"""Hits of a store are read together: each segment is checked once for all of them."""

import numpy as np
import pytest
from small_stores import IDENTITY, embeddings_of

from rank_rerank.encoding.compression import Compression
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.rankings.ranking import Ranking, ScoredDocuments
from rank_rerank.storage.array_file import MappedFile
from rank_rerank.storage.embedding_store import EmbeddingStore

NUM_DOCUMENTS = 150


@pytest.fixture
def store(tmp_path):
    written = EmbeddingStore.create(tmp_path / "s", IDENTITY, Compression("float32"))
    for first in (0, 50, 100):
        ids = [f"d{number}" for number in range(first, first + 50)]
        metadata = [{"number": number} for number in range(first, first + 50)]
        texts = [f"text {identifier}" for identifier in ids]
        written.add(ids, embeddings=embeddings_of(50, seed=first), texts=texts, metadata=metadata)
    return EmbeddingStore.open(tmp_path / "s", read_only=True)


def scored(count: int) -> ScoredDocuments:
    return ScoredDocuments(np.arange(count, dtype=np.float32), np.zeros(count, np.float32), np.zeros(count, np.bool_))


def test_a_ranking_looks_at_each_file_a_few_times(store, monkeypatch):
    numbers = np.random.default_rng(0).permutation(NUM_DOCUMENTS)
    candidates = store.select([f"d{number}" for number in numbers])
    looks = []
    check_length = MappedFile.check_length
    monkeypatch.setattr(MappedFile, "check_length", lambda self: looks.append(1) or check_length(self))
    ranking = Ranking("q").filled(candidates, scored(NUM_DOCUMENTS), None)
    assert len(looks) <= 3 * 3  # ids, texts and metadata of three segments
    assert [hit.metadata["number"] for hit in ranking] == numbers[::-1].tolist()
    assert [hit.text for hit in ranking] == [f"text {hit.id}" for hit in ranking]


def test_documents_together_are_those_one_by_one(store):
    candidates = store.select(["d7", "d120", "d7", "d60"])
    chosen = [3, 0, 2, 1, 0]
    assert candidates.read_many(chosen) == [candidates[index] for index in chosen]
    assert candidates.read_many([]) == []
    assert list(candidates) == [candidates[index] for index in range(4)]
    for wrong in ([4], [-1]):
        with pytest.raises(InvalidArgumentError, match="from 0 to 3"):
            candidates.read_many(wrong)


def test_scores_stay_with_their_documents(store):
    candidates = store.select([f"d{number}" for number in range(100)], scores=np.arange(100.0))
    assert [document.score for document in candidates] == list(range(100))
    assert [document.score for document in candidates.read_many([99, 3])] == [99, 3]
