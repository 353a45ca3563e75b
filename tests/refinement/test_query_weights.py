import numpy as np
import pytest

import rank_rerank
from rank_rerank.errors import InputError, InvalidArgumentError
from rank_rerank.refinement import TokenStatistics

CORPUS = ["the cat sat", "the dog sat", "the zebra ran", "the cow ran", "the"]


@pytest.fixture(scope="module")
def encoder():
    return rank_rerank.TokenEncoder.from_pretrained()


@pytest.fixture(scope="module")
def statistics(encoder):
    return TokenStatistics.fit(encoder, iter(CORPUS))


def test_documents_are_counted(encoder, statistics):
    ids = {word: int(encoder.tokenizer.tokenize_queries([word]).token_ids[1]) for word in ("the", "sat", "zebra")}
    assert statistics.num_documents == 5
    assert [int(statistics.document_frequencies[ids[word]]) for word in ("the", "sat", "zebra")] == [5, 2, 1]


@pytest.mark.parametrize("formula", ["idf", "bm25"])
def test_rare_tokens_weigh_more(encoder, statistics, formula):
    weights = statistics.weights(encoder, "the zebra sat", formula)
    start, the, zebra, sat, end = weights.tolist()
    assert start == end == the < sat < zebra
    assert weights.mean() == pytest.approx(1, abs=1e-6)
    ratio = {"idf": np.log(6 / 2) / np.log(6 / 3), "bm25": np.log1p(4.5 / 1.5) / np.log1p(3.5 / 2.5)}[formula]
    assert zebra / sat == pytest.approx(ratio, rel=1e-5)


def test_weights_change_the_score_as_the_formula_says(encoder, statistics):
    query, documents = encoder.encode_query("the zebra sat"), encoder.encode_documents(CORPUS)
    weights = statistics.weights(encoder, "the zebra sat")
    plain = np.array([(query.vectors @ document.T).max(axis=1) for document in documents])
    found = rank_rerank.maxsim(query, documents, query_weights=weights)
    assert found == pytest.approx(plain @ weights, abs=1e-4)


def test_tokens_never_seen_and_corpora_that_tell_nothing(encoder):
    statistics = TokenStatistics.fit(encoder, ["zebra"])
    assert statistics.weights(encoder, "zebra").tolist() == [1, 1, 1]
    assert TokenStatistics.fit(encoder, ["a"] * 300).weights(encoder, "zebra").argmax() == 1
    with pytest.raises(InvalidArgumentError, match="at least one text"):
        TokenStatistics.fit(encoder, [])
    with pytest.raises(InvalidArgumentError, match="formula"):
        statistics.weights(encoder, "zebra", "tf")


@pytest.mark.parametrize(
    ("num_documents", "frequencies"),
    [(0, [0]), (-1, [0]), ("a", [1]), (3, None), (3, [1.5]), (3, [[1]]), (3, [4]), (3, [-1])],
)
def test_counts_that_cannot_be_are_refused(num_documents, frequencies):
    with pytest.raises(InputError):
        TokenStatistics(num_documents, frequencies)


def test_counts_may_be_a_list(encoder):
    counts = [3] * 20_000
    assert TokenStatistics(3, counts).weights(encoder, "a capital").tolist() == pytest.approx(
        TokenStatistics(3, np.array(counts, np.uint8)).weights(encoder, "a capital").tolist()
    )
