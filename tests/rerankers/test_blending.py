"""First-stage scores blended with the model's: when, how, and what is said of it."""

import asyncio
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rank_rerank import Blend, CascadeReranker, CascadeStage, Document, EmbeddingStore
from rank_rerank.calibration.combination import FIXED, Combination, standardized
from rank_rerank.errors import InvalidArgumentError, InvalidItemError, NonFiniteError
from rank_rerank.rerankers import RerankRequest, answer
from rank_rerank.rerankers.blending import FirstStage
from rank_rerank.serving.costs import Meter
from rank_rerank.serving.piece_costs import Pace
from rank_rerank.serving.windows import rank_in_pieces

QUERY = "What is the capital of France?"
TEXTS = [
    "The capital of Germany is Berlin, and its largest city too.",
    "Paris is the capital and largest city of France.",
    "Bananas are rich in potassium.",
    "France borders Spain, and Madrid is the capital of Spain. " * 12,
    "",
]
SCORES = [12.0, 9.5, 8.0, 7.5, 1.0]
COMBINATION = Combination(0.5, 0.5, 0.2, 0.05, slope=14.0, length_slope=0.5, intercept=-12.0)


@pytest.fixture(scope="module")
def blending(reranker):
    """The bundled model with weights of this test's own."""
    return replace(reranker, calibration=replace(reranker.calibration, combination=COMBINATION))


def candidates(scores=SCORES):
    return [{"text": text, "score": score} for text, score in zip(TEXTS, scores, strict=True)]


def order(ranking):
    return [hit.index for hit in ranking]


def test_hits_of_a_search_are_blended_and_the_score_stays_the_models(blending):
    plain, found = (blending.rerank(QUERY, candidates(), blend=each) for each in (None, "auto"))
    assert found.is_blended
    assert not plain.is_blended
    assert {hit.index: hit.score for hit in found} == {hit.index: hit.score for hit in plain}
    blended = [hit.blended_score for hit in found]
    assert blended == sorted(blended, reverse=True)
    assert blended[-1] == -math.inf
    assert found[-1].score == -math.inf
    relevance = [hit.relevance for hit in found]
    assert relevance == sorted(relevance, reverse=True)
    assert relevance[-1] == 0


def test_the_blended_score_is_what_the_formula_says(blending):
    found = blending.rerank(QUERY, candidates(SCORES))
    query = blending.encoder.encode_query(QUERY)[0]
    deviations = standardized(np.array(SCORES[:4]))  # the empty document has no part in the scale
    for hit in found[:4]:
        vectors = blending.encoder.encode_document(hit.text)[0]
        similarities = query @ vectors.T
        starts = range(0, max(1, len(vectors) - 48), 48)
        windows = [similarities[:, start : start + 96].max(axis=1).mean() for start in starts]
        means = [each.mean(axis=0) / np.linalg.norm(each.mean(axis=0)) for each in (query, vectors)]
        assert hit.best_window == pytest.approx(max(windows), abs=1e-5)
        assert hit.cosine == pytest.approx(means[0] @ means[1], abs=1e-5)
        wanted = 0.5 * hit.score / len(query) + 0.5 * max(windows) + 0.2 * hit.cosine + 0.05 * deviations[hit.index]
        assert hit.blended_score == pytest.approx(wanted, abs=1e-4)
        logit = 14 * hit.blended_score + 0.5 * math.log(len(query)) - 12
        assert hit.relevance == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-5)


@pytest.mark.parametrize(
    ("scores", "is_blended"),
    [
        (SCORES, True),
        ([5, 5, 4, 4, 4], True),
        ([-1.0, -2.0, -3.0, -4.0, -5.0], True),
        ([1e300, 1.0, 1.0, 0.0, -1e300], True),
        ([1.0, 2.0, 3.0, 4.0, 5.0], False),  # distances, or by chance
        ([12.0, 9.5, None, 7.5, 1.0], False),
        ([12.0, 9.5, math.nan, 7.5, 1.0], False),
        ([math.inf, 9.5, 8.0, 7.5, 1.0], False),
        ([3.0] * 5, False),
        ([True, True, False, False, False], False),
        (["12", "9", "8", "7", "1"], False),
        ([None] * 5, False),
    ],
)
def test_what_auto_takes_for_the_scores_of_a_search(blending, scores, is_blended):
    found = blending.rerank(QUERY, candidates(scores))
    assert found.is_blended == is_blended
    if not is_blended:
        assert order(found) == order(blending.rerank(QUERY, TEXTS))
        assert found[0].blended_score is None
        assert found[0].relevance == blending.rerank(QUERY, TEXTS)[0].relevance


def test_auto_leaves_other_models_alone_and_a_blend_has_fixed_weights_for_them(reranker):
    other = replace(reranker, calibration=None)
    assert not other.rerank(QUERY, candidates()).is_blended
    found = other.rerank(QUERY, candidates(), blend=Blend())
    assert found.is_blended
    parts = [standardized(np.array([getattr(hit, name) for hit in found[:4]])) for name in ("score", "cosine")]
    first = standardized(np.array([SCORES[hit.index] for hit in found[:4]]))
    wanted = FIXED.maxsim * parts[0] + FIXED.cosine * parts[1] + FIXED.first_stage * first
    np.testing.assert_allclose([hit.blended_score for hit in found[:4]], wanted, atol=1e-4)
    # no probabilities were fitted for it
    assert found[0].relevance == other.rerank(QUERY, TEXTS)[0].relevance


def first_stage(documents, blend):
    return FirstStage.of(documents, blend, COMBINATION).scores.tolist()


@pytest.mark.parametrize(
    ("scores", "blend", "wanted"),
    [
        ([3.0, None, 5.0], Blend(), [3, 3, 5]),
        ([3.0, None, 5.0], Blend(lower_is_better=True), [-3, -5, -5]),
        ([3.0, 3.0, 3.0], Blend(), [3, 3, 3]),
        ([3.0, 1.0, 5.0], Blend(by_rank=True), [-math.log(1), -math.log(2), -math.log(3)]),
        ([None, None, None], Blend(by_rank=True), [-math.log(1), -math.log(2), -math.log(3)]),
        ([7.0], Blend(), [7]),
    ],
)
def test_scores_as_a_blend_reads_them(scores, blend, wanted):
    documents = [Document("text", score=score) for score in scores]
    np.testing.assert_allclose(first_stage(documents, blend), wanted)


def test_a_score_under_another_name():
    documents = [Document("text", metadata={"_distance": value}) for value in (0.5, "x", 0.1, math.inf)]
    blend = Blend(score_key="_distance", lower_is_better=True)
    assert first_stage(documents, blend) == [-0.5, -0.5, -0.1, -0.5]


def test_one_candidate_constant_scores_and_none(blending):
    [hit] = blending.rerank(QUERY, [{"text": TEXTS[1], "score": 3.0}], blend=Blend())
    assert math.isfinite(hit.blended_score)
    constant = blending.rerank(QUERY, candidates([3.0] * 5), blend=Blend())
    without = blending.rerank(QUERY, candidates(), blend=Blend({"maxsim": 1}))
    assert order(without) == order(blending.rerank(QUERY, TEXTS))
    assert constant.is_blended
    assert len(blending.rerank(QUERY, [], blend=Blend())) == 0
    with pytest.raises(InvalidItemError, match=r'documents has a number as its "score", so there is nothing to blend'):
        blending.rerank(QUERY, TEXTS, blend=Blend())
    with pytest.raises(InvalidItemError, match=r'documents_per_query\[0\] has a number as its "x"'):
        blending.rerank_many([QUERY], [candidates()], blend=Blend(score_key="x"))


def test_equal_blended_scores_keep_the_callers_order(blending):
    documents = [Document(TEXTS[1], number, score=1.0) for number in range(5)] + [Document(TEXTS[1], 9, score=0.5)]
    assert [hit.id for hit in blending.rerank(QUERY, documents)] == [0, 1, 2, 3, 4, 9]


def test_a_documents_score_must_be_a_number():
    assert Document("a", score=math.nan).score is None
    assert Document("a", score=np.float32(1.5)).score == 1.5
    assert type(Document("a", score=3).score) is float
    with pytest.raises(NonFiniteError):
        Document("a", score=math.inf)
    for value in ("1", True, 1j):
        with pytest.raises(InvalidItemError, match="score must be a number"):
            Document("a", score=value)


@pytest.mark.parametrize(
    "arguments",
    [
        {"weights": {"maxsim": -1}},
        {"weights": {"bm25": 1}},
        {"weights": {"maxsim": math.nan}},
        {"weights": {"maxsim": 0}},
        {"weights": {"maxsim": 1e308, "cosine": 1e308}},
        {"weights": {"maxsim": 5e-324}},
        {"weights": {"first_stage": 1e-31, "cosine": 0}},
        {"weights": [1, 2]},
        {"score_key": 3},
        {"by_rank": True, "lower_is_better": True},
        {"by_rank": True, "score_key": "x"},
    ],
)
def test_what_no_blend_can_be(arguments):
    with pytest.raises(InvalidArgumentError):
        Blend(**arguments)


@pytest.mark.parametrize("blend", ["always", True, 0.5, {"maxsim": 1}])
def test_blend_must_be_a_rule(reranker, blend):
    with pytest.raises(InvalidArgumentError, match="blend"):
        reranker.rerank(QUERY, TEXTS, blend=blend)


def test_many_queries_threads_and_top_k_give_the_same(blending):
    alone = blending.rerank(QUERY, candidates())
    other = [{"text": text, "score": 1 / (1 + number)} for number, text in enumerate(reversed(TEXTS))]
    many = blending.rerank_many([QUERY, "potassium in fruit"], [candidates(), other])
    assert many[0].to_dict() == alone.to_dict()
    assert many[1].to_dict() == blending.rerank("potassium in fruit", other).to_dict()
    assert blending.rerank(QUERY, candidates(), top_k=2).to_dict()["results"] == alone.to_dict()["results"][:2]
    assert asyncio.run(blending.arerank(QUERY, candidates())).to_dict() == alone.to_dict()


@pytest.mark.parametrize("spans", [False, 2, True])
@pytest.mark.parametrize("long_documents", ["truncate", "chunk"])
def test_a_list_ranked_in_pieces_is_blended_as_a_whole(blending, spans, long_documents):
    request = RerankRequest(QUERY, candidates(), spans=spans, long_documents=long_documents)
    pieces = rank_in_pieces(blending, request, Pace(Meter(1.0), 512))
    try:
        while True:
            next(pieces)
    except StopIteration as end:
        found = end.value
    assert found.is_blended
    assert found.to_dict() == answer(blending, request).to_dict()


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_stored_documents_are_blended_with_the_scores_they_are_selected_with(blending, tmp_path, dtype):
    from rank_rerank import Compression

    store = EmbeddingStore.create(tmp_path / "s", blending.encoder, Compression(dtype))
    ids = list("abcde")
    store.add(ids, texts=TEXTS)
    found = blending.rerank(QUERY, store.select(ids, SCORES))
    wanted = blending.rerank(QUERY, candidates())
    assert order(found) == order(wanted)
    assert [hit.document.score for hit in found] == [hit.document.score for hit in wanted]
    for name in ("blended_score", "best_window", "cosine"):
        values, expected = ([getattr(hit, name) for hit in each[:4]] for each in (found, wanted))
        np.testing.assert_allclose(values, expected, atol=1e-3 if dtype == "float32" else 1e-2)
    assert not blending.rerank(QUERY, store.select(ids)).is_blended
    cached = blending.rerank(QUERY, candidates(), store=store)
    assert [hit.blended_score for hit in cached] == [hit.blended_score for hit in found]
    with pytest.raises(NonFiniteError):
        store.select(["a"], [math.inf])


def test_a_cascade_blends_its_first_stage_only(blending):
    cascade = CascadeReranker(blending, [CascadeStage(blending, keep=3)])
    first, found = blending.rerank(QUERY, candidates()), cascade.rerank(QUERY, candidates())
    assert sorted(order(found)[:3]) == sorted(order(first)[:3])
    scores = [hit.score for hit in found[:3]]
    assert scores == sorted(scores, reverse=True)
    assert [hit.blended_score is None for hit in found] == [True, True, True, False, False]


def test_the_ranking_says_so(blending):
    found = blending.rerank(QUERY, candidates())
    assert "blended with the first stage's scores" in repr(found)
    values = json.loads(json.dumps(found.to_dict()))
    assert values["is_blended"] is True
    assert values["results"][0]["blended_score"] == found[0].blended_score
    assert values["results"][0]["first_stage_score"] == SCORES[found[0].index]
    assert values["results"][-1]["blended_score"] is None
    in_file = [float(line.split()[4]) for line in found.to_trec("q").splitlines()]
    assert in_file == sorted(in_file, reverse=True)
    assert in_file[0] == pytest.approx(found[0].blended_score)
    plain = blending.rerank(QUERY, TEXTS)
    assert "blended" not in json.dumps(plain.to_dict()) + repr(plain)


@example([0.0, 5e-324], 1.0, 0.0)
@example([-8.886448e-318, -8.886443e-318], 1.0, 0.0)
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20),
    st.floats(1e-3, 1e3),
    st.floats(-1e3, 1e3),
)
def test_standardized_scores_are_finite_and_keep_the_order(values, factor, shift):
    array = np.array(values)
    found = standardized(array)
    assert np.isfinite(found).all()
    assert np.abs(found).max() <= 4
    ranks = np.argsort(array, kind="stable")
    assert (np.diff(found[ranks]) >= 0).all()
    small = np.clip(array, -1e3, 1e3)
    if np.ptp(small) > 1:
        np.testing.assert_allclose(standardized(factor * small + shift), standardized(small), atol=1e-6)


def test_weights_are_fitted_to_pairs_that_bring_scores(blending):
    """A search whose scores tell the answer, beside texts that hardly do, gets the weight."""
    import rank_rerank

    topics = ["bananas", "rivers", "castles", "trains", "violins", "whales", "maps", "bridges", "clouds", "lamps"]
    pairs = []
    for number, topic in enumerate(topics + [f"old {topic}" for topic in topics]):
        for other in range(4):
            is_answer = other == number % 4
            text = f"A text about {topic}" + ("." if is_answer else f" and other things, number {other}.")
            pairs.append((f"what of {topic}", Document(text, score=9.0 if is_answer else 1.0), is_answer))
    fitted = rank_rerank.calibrate(blending, pairs, held_out=0).combination
    assert fitted.num_queries == 20
    assert fitted.first_stage > 0.1
    assert fitted.slope > 0
    assert rank_rerank.calibrate(blending, pairs, held_out=0).combination == fitted
    plain = [(query, document.text, label) for query, document, label in pairs]
    kept = rank_rerank.calibrate(blending, plain, held_out=0).combination
    assert (kept.first_stage, kept.slope) == (COMBINATION.first_stage, None)


def test_a_combination_is_kept_in_a_calibrations_file(blending, tmp_path):
    from rank_rerank.calibration import Calibration

    for combination in (COMBINATION, FIXED, None):
        calibration = replace(blending.calibration, combination=combination)
        calibration.save(tmp_path / "calibration.json")
        assert Calibration.read(tmp_path / "calibration.json") == calibration


def test_relevance_of_fixed_weights_falls_with_the_blended_score(reranker):
    found, plain = (reranker.rerank(QUERY, candidates(), blend=blend) for blend in ("auto", None))
    assert found.is_blended
    assert [hit.relevance for hit in found] == sorted((hit.relevance for hit in plain), reverse=True)


@pytest.mark.parametrize("size", [1e-30, 1e-9, 1e30])
def test_only_ratios_of_weights_matter_to_the_order(reranker, size):
    weights = {"maxsim": 0.5, "best_window": 0.25, "cosine": 0.125, "first_stage": 1.0}
    expected = reranker.rerank(QUERY, candidates(), blend=Blend(weights=weights))
    scaled = Blend(weights={name: size * weight for name, weight in weights.items()})
    found = reranker.rerank(QUERY, candidates(), blend=scaled)
    assert order(found) == order(expected)
    assert all(math.isfinite(hit.blended_score) for hit in found if hit.text)
