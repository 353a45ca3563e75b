import numpy as np
import pytest
from training import token_weights
from training.token_weights import LEAST, POWER, TokenWeights

from rank_rerank.tokenization.token_batch import TokenBatch

PIECES = ["the", "river", "bank", ",", "unseen"]


class Tokens:
    """A tokenizer of texts that are lists of token ids."""

    def tokenize_documents(self, texts):
        return batch(*texts)

    def token_strings(self, token_ids):
        return [PIECES[token] for token in token_ids]


def batch(*texts):
    ids = np.array([token for text in texts for token in text], dtype=np.int64)
    offsets = np.cumsum([0, *(len(text) for text in texts)])
    ones = np.ones(len(ids), dtype=bool)
    return TokenBatch(ids, ones, ones, np.zeros((len(ids), 2), np.int32), offsets, np.zeros(len(texts), dtype=bool))


def weights_of(*texts):
    return TokenWeights(Tokens(), texts).of(batch([0, 1, 2, 3, 4]))


def test_rare_tokens_count_for_more_and_punctuation_for_nothing():
    texts = [[0, 3, 0]] * 50 + [[0, 1]] * 5 + [[0, 2]]
    the, river, bank, comma, unseen = weights_of(*texts)
    assert 0 < the < river < bank < unseen
    assert comma == 0
    idf = np.log(57 / np.array([6, 2, 1]))
    np.testing.assert_allclose(np.array([river, bank, unseen]) / the, (idf / LEAST) ** POWER, rtol=1e-6)


def test_documents_are_counted_over_all_parts_and_the_mean_over_their_tokens_is_one(monkeypatch):
    texts = [[0, 1, 1, 3], [0, 2], [0], []]
    weights = weights_of(*texts)
    monkeypatch.setattr(token_weights, "PART", 1)
    np.testing.assert_array_equal(weights_of(*texts), weights)
    assert np.mean(weights[[0, 1, 1, 3, 0, 2, 0]]) == pytest.approx(1)
    assert weights.dtype == np.float32


def test_without_documents_every_word_counts_alike():
    np.testing.assert_allclose(weights_of(), [LEAST, LEAST, LEAST, 0, LEAST])
