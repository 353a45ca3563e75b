"""The map from score to probability: fitted right, kept in a file, applied once."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rank_rerank
from rank_rerank.errors import (
    CheckpointFormatError,
    FileFormatError,
    InvalidArgumentError,
    InvalidItemError,
    NonFiniteError,
)
from rank_rerank.scoring.calibration import (
    Calibration,
    expected_calibration_error,
    fit_calibration,
    mean_similarity,
)

TRUE = Calibration(slope=20, length_slope=-0.7, intercept=-8)


def sample(count, seed=0):
    """Scores whose labels come true as often as TRUE says."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(4, 40, count)
    scores = lengths * generator.uniform(0.2, 0.9, count)
    chances = np.array([TRUE.relevance(scores[i : i + 1], lengths[i])[0] for i in range(count)])
    return scores, lengths, generator.random(count) < chances


def test_the_fit_finds_the_map_that_made_the_labels():
    found = fit_calibration(*sample(20_000))
    assert found.slope == pytest.approx(TRUE.slope, rel=0.05)
    assert found.length_slope == pytest.approx(TRUE.length_slope, abs=0.1)
    assert found.intercept == pytest.approx(TRUE.intercept, abs=0.5)
    scores, lengths, labels = sample(5000, seed=1)
    probabilities = [found.relevance(scores[i : i + 1], lengths[i])[0] for i in range(5000)]
    assert expected_calibration_error(probabilities, labels) < 0.02
    assert found.num_pairs == 20_000


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=20), st.integers(1, 300))
def test_the_order_of_a_querys_documents_is_kept(scores, num_query_tokens):
    relevance = TRUE.relevance(np.array(scores), num_query_tokens)
    assert ((relevance >= 0) & (relevance <= 1)).all()
    order = np.argsort(scores, kind="stable")
    assert (np.diff(relevance[order]) >= 0).all()


def test_labels_that_scores_tell_apart_perfectly_still_have_a_fit():
    scores = np.concatenate([np.linspace(1, 2, 50), np.linspace(6, 7, 50)])
    found = fit_calibration(scores, np.full(100, 10), np.arange(100) >= 50)
    assert found.relevance(scores, 10)[[0, -1]].tolist() == pytest.approx([0, 1], abs=0.05)


def test_calibration_error_by_hand():
    assert expected_calibration_error([0.9, 0.9, 0.1, 0.1], [1, 0, 0, 0]) == pytest.approx((0.8 + 0.2) / 4)
    assert expected_calibration_error([1.0, 0.0], [True, False]) == 0


def test_documents_without_words_have_no_relevance():
    assert TRUE.relevance(np.array([-np.inf, 3]), 5)[0] == 0
    assert mean_similarity(np.array([-np.inf], np.float32), 5).tolist() == [0]


def test_a_file_keeps_the_map(tmp_path):
    found = replace(TRUE, num_pairs=7, calibration_error=0.01)
    found.save(tmp_path / "calibration.json")
    assert Calibration.read(tmp_path / "calibration.json") == found
    TRUE.save(tmp_path / "calibration.json")
    assert Calibration.read(tmp_path / "calibration.json") == TRUE
    with pytest.raises(FileFormatError):
        TRUE.save(tmp_path / "no" / "calibration.json")


@pytest.mark.parametrize("change", [{"slope": -1.0}, {"slope": "1"}, {"intercept": None}, {"slope": None}])
def test_a_damaged_file_is_refused(tmp_path, change):
    values = {"slope": 1.0, "length_slope": 0.0, "intercept": 0.0, **change}
    (tmp_path / "c.json").write_text(json.dumps({key: value for key, value in values.items() if value is not None}))
    with pytest.raises(CheckpointFormatError):
        Calibration.read(tmp_path / "c.json")


def test_bad_pairs():
    scores, lengths, labels = sample(100)
    with pytest.raises(InvalidArgumentError, match="one length"):
        fit_calibration(scores, lengths[:5], labels)
    with pytest.raises(InvalidArgumentError, match="both kinds"):
        fit_calibration(scores, lengths, np.ones(100))
    with pytest.raises(InvalidArgumentError, match="16 judged pairs"):
        fit_calibration(scores[:9], lengths[:9], labels[:9])
    with pytest.raises(InvalidArgumentError, match="do not go with"):
        fit_calibration(scores, lengths, ~labels)
    with pytest.raises(InvalidArgumentError, match="above 0"):
        fit_calibration(scores, 0 * lengths, labels)
    with pytest.raises(NonFiniteError):
        fit_calibration(np.where(labels, np.nan, scores), lengths, labels)


PAIRS = [
    (f"Where does the {animal} live?", f"{text} {number}", label)
    for number in range(4)
    for animal in ("whale", "camel", "penguin")
    for text, label in (
        (f"The {animal} lives far away, in its own place.", True),
        ("Bread is baked at dawn.", False),
    )
]


def test_a_reranker_is_calibrated_on_pairs(reranker):
    calibration = rank_rerank.calibrate(reranker, PAIRS, held_out=0.34)
    assert calibration.num_pairs == 16
    assert calibration.calibration_error is not None
    ours = replace(reranker, calibration=calibration)
    found, plain = (each.rerank(PAIRS[0][0], [PAIRS[0][1], PAIRS[1][1]]) for each in (ours, reranker))
    assert [hit.score for hit in found] == [hit.score for hit in plain]
    assert found[0].relevance > 0.5 > found[1].relevance
    # a reranker that is calibrated already is calibrated from its scores, not from its relevance
    assert rank_rerank.calibrate(ours, PAIRS, held_out=0.34) == calibration


def test_bad_input(reranker):
    with pytest.raises(InvalidArgumentError, match="held_out"):
        rank_rerank.calibrate(reranker, PAIRS, held_out=1)
    with pytest.raises(InvalidItemError, match=r"pairs\[1\]"):
        rank_rerank.calibrate(reranker, [PAIRS[0], ("a", "b")])
    with pytest.raises(InvalidItemError, match=r"pairs\[0\]"):
        rank_rerank.calibrate(reranker, [("a", 3, True)])


def test_the_bundled_model_ships_a_calibration(reranker):
    assert reranker.calibration is not None
    assert reranker.calibration.calibration_error < 0.05
    ranking = reranker.rerank("Who wrote Hamlet?", ["Shakespeare wrote Hamlet.", "Bread is baked at dawn.", ""])
    assert ranking[0].relevance > 0.5 > ranking[1].relevance > ranking[2].relevance == 0
    query = reranker.encoder.encode_query("Who wrote Hamlet?")
    scores = np.array([hit.score for hit in ranking])
    assert [hit.relevance for hit in ranking] == reranker.calibration.relevance(scores, query.num_tokens).tolist()
