"""The map from score to probability: fitted right, kept in a file, applied once."""

import json
from dataclasses import replace

import numpy as np
import pytest
from example_counts import examples
from hypothesis import given
from hypothesis import strategies as st

import rank_rerank
from rank_rerank.calibration.calibration import Calibration, mean_similarity
from rank_rerank.calibration.combination import Combination
from rank_rerank.calibration.fitting import expected_calibration_error, fit_calibration
from rank_rerank.calibration.isotonic import fit_steps
from rank_rerank.calibration.unlabelled import fit_unlabelled_calibration, guess_answers
from rank_rerank.errors import (
    CheckpointFormatError,
    FileFormatError,
    InvalidArgumentError,
    InvalidItemError,
    NonFiniteError,
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


@pytest.mark.parametrize("number", [float, np.float32, np.float64, np.longdouble])
def test_numbers_of_numpys_are_kept_as_pythons(tmp_path, number):
    weights = Combination(*map(number, (1, 0, 1, 0.5)), slope=number(2), intercept=number(-1), num_queries=np.int64(3))
    steps = ([number(level), number(level / 4)] for level in range(3))
    found = Calibration(number(2), number(0.5), number(0), np.int32(7), number(0.25), steps, weights)
    assert found.steps == ((0, 0), (1, 0.25), (2, 0.5))
    found.save(tmp_path / "calibration.json")
    assert Calibration.read(tmp_path / "calibration.json") == found


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
    with pytest.raises(InvalidArgumentError, match="16 pairs"):
        fit_calibration(scores[:9], lengths[:9], labels[:9])
    with pytest.raises(InvalidArgumentError, match="do not go with"):
        fit_calibration(scores, lengths, ~labels)
    with pytest.raises(InvalidArgumentError, match="above 0"):
        fit_calibration(scores, 0 * lengths, labels)
    with pytest.raises(NonFiniteError):
        fit_calibration(np.where(labels, np.nan, scores), lengths, labels)


def curved(count, seed):
    """Scores of one length whose chance is a step and a ramp, which no sigmoid follows."""
    generator = np.random.default_rng(seed)
    scores = generator.uniform(2, 9, count)
    chances = np.where(scores < 5, 0.3, 0.35 + (scores - 5) / 8)
    return scores, np.full(count, 10), generator.random(count) < chances


def test_an_isotonic_map_follows_a_curve_that_is_no_sigmoid():
    fitted, tested = curved(6000, 0), curved(6000, 1)
    errors = {
        method: expected_calibration_error(fit_calibration(*fitted, method).relevance(tested[0], 10), tested[2])
        for method in ("platt", "isotonic")
    }
    assert errors["isotonic"] < 0.02 < errors["platt"]


@examples(300)
@given(st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=9))
def test_steps_are_the_nearest_nondecreasing_ones(pairs):
    """Pooling finds the minimum, which the minimax formula of isotonic regression gives directly."""
    places, labels = np.array([place for place, _ in pairs], float), np.array([label for _, label in pairs], float)
    steps = fit_steps(places, labels)
    middles, heights = np.array(steps).T
    assert (np.diff(middles) > 0).all()
    assert (np.diff(heights) > 0).all()
    distinct = np.unique(places)
    expected = [
        max(
            min(labels[(places >= low) & (places <= high)].mean() for high in distinct[distinct >= place])
            for low in distinct[distinct <= place]
        )
        for place in distinct
    ]
    assert sorted(set(np.round(expected, 9))) == np.round(heights, 9).tolist()
    for height, middle in zip(heights, middles, strict=True):
        members = [place for place in places if abs(expected[np.searchsorted(distinct, place)] - height) < 1e-9]
        assert middle == pytest.approx(np.mean(members))


def test_an_isotonic_map_keeps_the_order_and_is_kept_in_a_file(tmp_path):
    found = replace(fit_calibration(*sample(3000), "isotonic"), calibration_error=0.02)
    scores = np.linspace(-50, 50, 200)
    relevance = found.relevance(np.append(-np.inf, scores), 12)
    assert relevance[0] == 0
    assert (np.diff(relevance) >= 0).all()
    assert ((relevance >= 0) & (relevance <= 1)).all()
    found.save(tmp_path / "calibration.json")
    assert Calibration.read(tmp_path / "calibration.json") == found
    assert len(found.steps) > 3
    TRUE.save(tmp_path / "plain.json")
    assert "steps" not in (tmp_path / "plain.json").read_text()


@pytest.mark.parametrize("steps", [[[1, 0.5], [0, 0.6]], [[0, 0.6], [1, 0.5]], [[0, 2]], [[0]], "ab", [[0, "x"]], 3])
def test_damaged_steps_are_refused(tmp_path, steps):
    values = {"slope": 1.0, "length_slope": 0.0, "intercept": 0.0, "steps": steps}
    (tmp_path / "c.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointFormatError, match="steps"):
        Calibration.read(tmp_path / "c.json")


def unlabelled(num_queries, share, seed):
    """Scores of five candidates a query, of which one answers a share of the queries."""
    generator = np.random.default_rng(seed)
    queries = np.repeat(np.arange(num_queries), 5)
    lengths = np.repeat(generator.integers(8, 20, num_queries), 5)
    labels = np.tile([True, False, False, False, False], num_queries) & np.repeat(
        generator.random(num_queries) < share, 5
    )
    means = np.where(labels, generator.normal(0.65, 0.08, len(labels)), generator.normal(0.4, 0.08, len(labels)))
    return means * lengths, lengths, queries, labels


@pytest.mark.parametrize("share", [0.95, 0.5])
def test_without_labels_the_map_is_that_of_the_labels(share):
    scores, lengths, queries, labels = unlabelled(2000, share, seed=3)
    guessed = guess_answers(scores / lengths, queries)
    assert np.bincount(queries, guessed).max() <= 1 + 1e-9
    assert np.bincount(queries, guessed).mean() == pytest.approx(share, abs=0.03)
    found = fit_unlabelled_calibration(scores, lengths, queries)
    tested = unlabelled(2000, share, seed=4)
    errors = [
        expected_calibration_error(
            np.array([each.relevance(tested[0][i : i + 1], tested[1][i])[0] for i in range(10_000)]), tested[3]
        )
        for each in (found, fit_calibration(scores, lengths, labels))
    ]
    assert errors[0] < errors[1] + 0.01
    assert errors[0] < 0.03


def test_bad_pairs_without_labels():
    scores, lengths, queries, _ = unlabelled(20, 0.9, seed=0)
    with pytest.raises(InvalidArgumentError, match="one length"):
        fit_unlabelled_calibration(scores, lengths, queries[1:])
    with pytest.raises(InvalidArgumentError, match="two candidates"):
        fit_unlabelled_calibration(scores, lengths, np.arange(len(scores)))
    with pytest.raises(InvalidArgumentError, match="scores that differ"):
        fit_unlabelled_calibration(0 * scores, lengths, queries)
    with pytest.raises(InvalidArgumentError, match="16 pairs"):
        fit_unlabelled_calibration(scores[:15], lengths[:15], queries[:15])


PAIRS = [
    (f"Where does the {animal} live?", f"{text} {number}", label)
    for number in range(4)
    for animal in ("whale", "camel", "penguin")
    for text, label in (
        (f"The {animal} lives far away, in its own place.", True),
        ("Bread is baked at dawn.", False),
    )
]


ANIMALS = {
    animal: [
        (f"The {animal} lives in {place}.", True),
        (f"A {other} eats bread.", False),
        ("The ship sails at dawn.", False),
        ("Taxes were raised again.", False),
    ]
    for animal, other, place in (
        ("whale", "dog", "the sea"),
        ("camel", "cat", "the desert"),
        ("penguin", "hen", "the Antarctic"),
        ("lion", "cow", "the savannah"),
        ("trout", "pig", "mountain rivers"),
        ("monkey", "duck", "the trees of the jungle"),
    )
}


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


def test_a_reranker_is_calibrated_without_labels(reranker):
    judged = [(f"Where does the {animal} live?", text, label) for animal, texts in ANIMALS.items()
              for text, label in texts]  # fmt: skip
    found = rank_rerank.calibrate(reranker, [(query, text, None) for query, text, _ in judged])
    assert found.num_pairs == len(judged)
    assert found.calibration_error is None
    ours = replace(reranker, calibration=found)
    for query, text, label in judged:
        assert (ours.rerank(query, [text])[0].relevance > 0.5) == label
    with pytest.raises(InvalidArgumentError, match="to all pairs, or to none"):
        rank_rerank.calibrate(reranker, [*PAIRS, ("a", "b", None)])
    with pytest.raises(InvalidArgumentError, match='method="platt" only'):
        rank_rerank.calibrate(reranker, [("a", "b", None)], method="isotonic")


def test_a_calibration_may_lie_in_a_store(reranker, tmp_path):
    store = rank_rerank.EmbeddingStore.create(tmp_path / "store", reranker.encoder)
    store.add(["a", "b"], texts=["Whales live in the sea.", "Bread is baked."])
    TRUE.save(tmp_path / "store" / "calibration.json")
    store.delete(["b"])
    store.compact()
    opened = rank_rerank.EmbeddingStore.open(tmp_path / "store")
    assert opened.verify().is_sound
    ours = replace(reranker, calibration=Calibration.read(tmp_path / "store" / "calibration.json"))
    [hit] = ours.rerank("Where do whales live?", opened.select(["a"]))
    length = reranker.encoder.encode_query("Where do whales live?").num_tokens
    assert hit.relevance == TRUE.relevance(np.array([hit.score], np.float32), length)[0]


def test_bad_input(reranker):
    with pytest.raises(InvalidArgumentError, match="method"):
        rank_rerank.calibrate(reranker, PAIRS, method="spline")
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
