import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank_rerank.errors import InvalidArgumentError, InvalidItemError, NonFiniteError
from rank_rerank.refinement import blend, fuse

METHODS = ["rrf", "isr", "borda", "comb_sum", "comb_mnz"]
NORMALIZATIONS = ["min_max", "z_score", "distribution", "none"]


def scores_of(fused):
    return {document.key: document.score for document in fused}


def test_reciprocal_rank_fusion_by_hand():
    fused = fuse([["a", "b", "c"], ["c", "a"]], weights=[1, 2])
    assert scores_of(fused) == pytest.approx({"a": 1 / 61 + 2 / 62, "c": 1 / 63 + 2 / 61, "b": 1 / 62}, rel=1e-12)
    assert [document.key for document in fused] == ["c", "a", "b"]
    assert fused[0].ranks == (3, 1)
    assert fused[2].ranks == (2, None)


def test_inverse_square_ranks_by_hand():
    assert scores_of(fuse([["a", "b"], ["a"]], "isr")) == {"a": 2 * 2.0, "b": 0.25}


def test_borda_shares_what_a_ranking_has_left():
    # four documents: 3, 2, 1, 0 points; the second ranking leaves 2 + 1 + 0 for three documents
    assert scores_of(fuse([["a", "b", "c", "d"], ["d"]], "borda")) == {
        "a": (3 + 1) / 4,
        "b": (2 + 1) / 4,
        "c": (1 + 1) / 4,
        "d": (0 + 3) / 4,
    }


def test_score_fusions_by_hand():
    first, second = {"a": 10.0, "b": 5.0, "c": 0.0}, {"b": 0.4, "c": 0.2}
    assert scores_of(fuse([first, second], "comb_sum")) == {"b": 1.5, "a": 1.0, "c": 0.0}
    assert scores_of(fuse([first, second], "comb_mnz")) == {"b": 3.0, "a": 1.0, "c": 0.0}
    assert scores_of(fuse([first, second], "comb_sum", weights=[1, 0.5], normalization="none")) == {
        "a": 10.0,
        "b": 5.2,
        "c": 0.1,
    }
    z = math.sqrt(1.5)
    assert scores_of(fuse([first, second], "comb_sum", normalization="z_score")) == pytest.approx(
        {"a": z - 1, "b": 1, "c": -z - 1}
    )
    assert scores_of(fuse([first], "comb_sum", normalization="distribution")) == pytest.approx(
        {"a": (z / 3 + 1) / 2, "b": 0.5, "c": (1 - z / 3) / 2}
    )


def test_scores_that_are_all_the_same_say_that_a_document_was_found():
    assert scores_of(fuse([{"a": 3.0, "b": 3.0}, {"c": 1.0}], "comb_sum")) == {"a": 1, "b": 1, "c": 1}


rankings = st.lists(
    st.dictionaries(st.sampled_from("abcdefgh"), st.floats(-100, 100), min_size=0, max_size=8), min_size=1, max_size=4
)


@given(rankings, st.sampled_from(METHODS), st.sampled_from(NORMALIZATIONS))
def test_every_document_is_there_once_and_in_order(lists, method, normalization):
    fused = fuse(lists, method, normalization=normalization)
    assert sorted(document.key for document in fused) == sorted({key for ranked in lists for key in ranked})
    assert [document.score for document in fused] == sorted((document.score for document in fused), reverse=True)
    assert fuse(lists, method, normalization=normalization, top_k=2) == fused[:2]


@given(rankings, st.sampled_from(METHODS), st.sampled_from(NORMALIZATIONS[:3]))
def test_a_ranking_fused_with_itself_keeps_its_order(lists, method, normalization):
    distinct = {key: float(place) for place, key in enumerate(lists[0])}
    order = sorted(distinct, key=lambda key: -distinct[key])
    assert [document.key for document in fuse([distinct] * 3, method, normalization=normalization)] == order


@given(rankings, st.floats(0.01, 100), st.floats(-50, 50))
def test_scale_and_shift_of_scores_do_not_matter(lists, scale, shift):
    whole = [{key: float(round(score)) for key, score in ranked.items()} for ranked in lists]
    moved = [{key: scale * score + shift for key, score in ranked.items()} for ranked in whole]
    for normalization in NORMALIZATIONS[:3]:
        before = scores_of(fuse(whole, "comb_sum", normalization=normalization))
        after = scores_of(fuse(moved, "comb_sum", normalization=normalization))
        assert after == pytest.approx(before, abs=1e-6)


def test_rankings_are_told_apart_by_id_and_empty_documents_are_absent(make_ranking):
    ranking = make_ranking([0.3, 0.9, -math.inf], ids=["x", "y", "z"])
    fused = fuse([ranking, ["x"]], "isr")
    assert scores_of(fused) == {"x": 2 * (0.25 + 1), "y": 1.0}
    assert scores_of(fuse([make_ranking([0.3, 0.9])], "isr")) == {1: 1.0, 0: 0.25}


def test_blending_with_the_first_stage(make_ranking):
    ranking = make_ranking([0.9, 0.5, 0.1], ids=["a", "b", "c"])
    first_stage = [1.0, 2.0, 3.0]
    assert [document.key for document in blend(ranking, first_stage, weight=0)] == ["a", "b", "c"]
    assert [document.key for document in blend(ranking, first_stage, weight=1)] == ["c", "b", "a"]
    assert scores_of(blend(ranking, first_stage, weight=0.25)) == pytest.approx({"a": 0.75, "b": 0.5, "c": 0.25})
    with pytest.raises(InvalidArgumentError, match="has 2 scores"):
        blend(ranking, first_stage[:2])
    with pytest.raises(InvalidArgumentError, match="weight"):
        blend(ranking, first_stage, weight=2)


def test_nothing_to_fuse():
    assert fuse([]) == []
    assert fuse([[], {}], "borda") == []


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ([["a"]], {"method": "sum"}, InvalidArgumentError, 'method must be one of "rrf"'),
        ([["a"]], {"normalization": "l2"}, InvalidArgumentError, "min_max"),
        ([["a"]], {"weights": [1, 2]}, InvalidArgumentError, "1 numbers"),
        ([["a"]], {"weights": [-1]}, InvalidArgumentError, "not negative"),
        ([["a"]], {"rrf_k": -1}, InvalidArgumentError, "rrf_k"),
        ([["a"]], {"rrf_k": math.nan}, InvalidArgumentError, "rrf_k"),
        ([["a"]], {"top_k": 0}, InvalidArgumentError, "top_k"),
        ([["a"]], {"method": "comb_sum"}, InvalidItemError, "has no scores"),
        (["ab"], {}, InvalidItemError, r"rankings\[0\] must be"),
        ([["a"], 3], {}, InvalidItemError, r"rankings\[1\] must be"),
        ([["a", "a"]], {}, InvalidItemError, "twice"),
        ([[["a"]]], {}, InvalidItemError, "tell documents apart"),
        ([{"a": "1"}], {}, InvalidItemError, "numbers"),
        ([{"a": math.nan}], {}, NonFiniteError, "NaN"),
        ([{"a": math.inf}], {}, NonFiniteError, "infinite"),
    ],
)
def test_bad_input(arguments, options, error, message):
    with pytest.raises(error, match=message):
        fuse(arguments, **options)


def test_scores_of_several_stages_are_not_added_up(make_ranking):
    ranking = make_ranking([0.9, 0.5, 0.4])
    staged = replace(ranking, hits=tuple(replace(hit, stage=number > 0) for number, hit in enumerate(ranking)))
    for method in ("comb_sum", "comb_mnz"):
        with pytest.raises(InvalidItemError, match="several stages of a cascade"):
            fuse([ranking, staged], method)
    with pytest.raises(InvalidItemError, match="several stages"):
        blend(staged, [1, 2, 3])
    for method in ("rrf", "isr", "borda"):
        assert fuse([ranking, staged], method) == fuse([ranking, ranking], method)
    assert fuse([staged[1:]], "comb_sum") == fuse([ranking[1:]], "comb_sum")  # these are of one stage


def test_an_index_is_not_taken_for_an_id_that_is_a_number(make_ranking):
    numbered, named = make_ranking([0.9, 0.5], [1, 0]), make_ranking([0.9, 0.5], ["1", "0"])
    unnamed = make_ranking([0.9, 0.5])
    for rankings in ([numbered, unnamed], [unnamed, numbered], [make_ranking([0.9, 0.5], [1, None])]):
        with pytest.raises(InvalidItemError, match="Give every document an id"):
            fuse(rankings)
    assert [document.key for document in fuse([named, unnamed])] == ["1", 0, "0", 1]
    assert [document.ranks for document in fuse([numbered, numbered])] == [(1, 1), (2, 2)]
