"""What MaxSim must be, stated as properties and tried on every kernel."""

import numpy as np
import pytest
from example_counts import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from maxsim_cases import FAMILIES, Case, cases, make_case
from maxsim_kernels import ZERO_PADDING, KernelUnderTest

from rank_rerank.scoring.maxsim_reference import maxsim_reference

EXAMPLES = examples(8, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def assert_agrees(kernel: KernelUnderTest, case: Case, weights=None) -> None:
    scores, expected = kernel.scores(case, weights), kernel.expected(case, weights)
    assert scores.dtype == np.float32
    assert scores.shape == (len(case.documents),)
    is_empty = np.array([len(document) == 0 for document in case.documents], bool)
    assert np.array_equal(scores == -np.inf, is_empty)
    errors = np.abs(scores[~is_empty] - expected[~is_empty])
    assert (errors <= kernel.bounds(case, weights)[~is_empty]).all()


def case_for(kernel: KernelUnderTest, data, **options) -> Case:
    return data.draw(cases(kernel.dim_multiple, **options))


@EXAMPLES
@given(data=st.data())
def test_scores_agree_with_the_reference(kernel, data):
    assert_agrees(kernel, case_for(kernel, data))


@EXAMPLES
@given(data=st.data())
def test_weighted_scores_agree_with_the_reference(kernel, data):
    case = case_for(kernel, data)
    weights = np.random.default_rng(0).uniform(-1, 2, len(case.query)).astype(np.float32)
    assert_agrees(kernel, case, weights)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_of_numbers_agrees_with_the_reference(kernel, family):
    assert_agrees(kernel, make_case(family, 1, 8 if kernel.dim_multiple == 8 else 7, [1, 0, 13], seed=7))
    assert_agrees(kernel, make_case(family, 65, 128, [40, 0, 128], seed=8))


def test_long_documents_agree_with_the_reference(kernel):
    assert_agrees(kernel, make_case("unit", 33, 16, [511, 8192, 0, 512, 513], seed=1))


def test_wide_vectors_agree_with_the_reference(kernel):
    assert_agrees(kernel, make_case("unit", 17, 1024, [5, 33], seed=2))


def test_errors_stay_within_the_contract(kernel):
    """Per query token, against float64 on the vectors before they were stored (unit vectors, dim 128)."""
    allowed = {"float32": 1e-6, "float16": 1e-3, "bfloat16": 4e-3, "int8-tokens": 4e-3, "int8-documents": 6e-3}
    if kernel.storage not in allowed:
        return
    case = make_case("unit", 32, 128, [20, 180, 300, 33, 7], seed=9)
    errors = np.abs(kernel.scores(case) - maxsim_reference(case.query, case.documents)) / 32
    assert errors.max() <= allowed[kernel.storage]
    if kernel.rounds_the_query:
        assert errors.mean() <= 1e-3


def test_small_integers_are_exactly_right(kernel):
    for dim in (8, 16, 40, 128):
        case = make_case("integers", 32, dim, [1, 3, 12, 13, 50], seed=dim)
        query, documents = kernel.query(case).astype(int), case.documents
        if kernel.storage in {"signs", "bits"}:
            documents = [np.where(document > 0, 1, -1) for document in documents]
        expected = [(query @ document.astype(int).T).max(axis=1).sum() for document in documents]
        assert kernel.scores(case).tolist() == expected


@EXAMPLES
@given(data=st.data())
def test_score_of_a_document_does_not_depend_on_the_others(kernel, data):
    case = case_for(kernel, data, min_documents=1)
    alone = [kernel.scores(Case(case.query, [document]))[0] for document in case.documents]
    assert_same(kernel, case, kernel.scores(case), alone)


@EXAMPLES
@given(data=st.data())
def test_order_of_documents_and_tokens_does_not_matter(kernel, data):
    case = case_for(kernel, data, min_documents=1)
    reverse = Case(case.query, [document[::-1] for document in reversed(case.documents)])
    assert_same(kernel, case, kernel.scores(case), kernel.scores(reverse)[::-1])


@EXAMPLES
@given(data=st.data())
def test_one_more_token_never_lowers_a_score(kernel, data):
    case = case_for(kernel, data, min_documents=1)
    if kernel.storage == "int8-documents":
        case = Case(case.query, [document[:1] for document in case.documents])  # a scale may change with a token
    # a document of whole numbers has the int8 scale 1, and another one once half a number is in it
    half = np.trunc if kernel.storage == "int8-documents" else np.asarray
    longer = [np.concatenate([document, half(document[:1] * 0.5)]) for document in case.documents]
    slack = 0 if kernel.is_bit_exact else 2 * kernel.bounds(case)
    assert (kernel.scores(Case(case.query, longer)) >= kernel.scores(case) - slack).all()


@EXAMPLES
@given(data=st.data())
def test_a_token_said_twice_changes_nothing(kernel, data):
    case = case_for(kernel, data, min_documents=1)
    twice = [np.concatenate([document, document]) for document in case.documents]
    assert_same(kernel, case, kernel.scores(case), kernel.scores(Case(case.query, twice)))


@EXAMPLES
@given(data=st.data())
def test_a_query_cut_in_two_adds_up(kernel, data):
    case = case_for(kernel, data, min_documents=1)
    cut = len(case.query) // 2
    parts = [kernel.scores(Case(half, case.documents)) for half in (case.query[:cut], case.query[cut:])]
    has_tokens = [len(document) > 0 for document in case.documents]
    whole, left, right = (scores[has_tokens].astype(np.float64) for scores in (kernel.scores(case), *parts))
    rounding = 2.0**-23 * (np.abs(left) + np.abs(right) + np.abs(whole)) + 2.0**-148
    rounding += 0 if kernel.is_bit_exact and kernel.kernel != "triton" else 2 * kernel.bounds(case)[has_tokens]
    assert (np.abs(whole - left - right) <= rounding).all()


def test_a_unit_vector_is_most_similar_to_itself(kernel):
    case = make_case("unit", 32, 128, [32], seed=3)
    scores = kernel.scores(Case(case.query, [case.query, case.documents[0]]))
    assert scores[0] > scores[1]
    if kernel.storage == "float32":
        assert scores[0] == pytest.approx(32, abs=32e-6)


@pytest.mark.parametrize(
    "check",
    [
        test_scores_agree_with_the_reference,
        test_score_of_a_document_does_not_depend_on_the_others,
    ],
)
def test_the_properties_catch_a_kernel_that_pads_with_zeros(check):
    quiet = settings(max_examples=200, report_multiple_bugs=False, print_blob=False)
    inner = check.hypothesis.inner_test
    with pytest.raises(AssertionError):
        quiet(given(data=st.data())(lambda data: inner(ZERO_PADDING, data)))()


def test_fixed_cases_catch_a_kernel_that_pads_with_zeros():
    with pytest.raises(AssertionError):
        assert_agrees(ZERO_PADDING, make_case("negative", 4, 16, [1, 3], seed=0))


def assert_same(kernel: KernelUnderTest, case: Case, left, right) -> None:
    """The same bits, where a kernel promises that; otherwise within twice what rounding allows."""
    left, right = np.asarray(left, np.float32), np.asarray(right, np.float32)
    if kernel.is_bit_exact:
        assert left.tobytes() == right.tobytes()
        return
    has_tokens = np.isfinite(left)
    assert np.array_equal(has_tokens, np.isfinite(right))
    assert (np.abs(left[has_tokens] - right[has_tokens]) <= 2 * kernel.bounds(case)[has_tokens]).all()
