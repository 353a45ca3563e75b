"""int8 documents scored as whole numbers: the exact integers on every path, also where sums of 16 bits just fit."""

from itertools import pairwise

import numpy as np
import pytest

from rank_rerank.kernels.processor import usable_vector_paths
from rank_rerank.scoring.compiled.maxsim_numba import maxsim_numba
from rank_rerank.scoring.compiled.query_panels import pack_query
from rank_rerank.scoring.document_view import DocumentView

PATHS = [path for path in usable_vector_paths() if path.architecture == "x86"]
LENGTHS = (1, 2, 3, 5, 6, 7, 13)
# four numbers that are added in 16 bits: they fit, just, and by one they do not
JUST_FITS, TOO_LARGE = (127, 127, 1, 0), (127, 127, 1, 1)

pytestmark = pytest.mark.skipif(not PATHS, reason="this processor is of another family")


@pytest.fixture(params=PATHS, ids=lambda path: path.name)
def path(request):
    return request.param


def scores_of(path, query, documents, lengths=LENGTHS):
    """One query of int8 numbers against documents with one scale, which is 1."""
    offsets = np.cumsum([0, *lengths])
    scale = np.ones(len(lengths), np.float32)
    dim = documents.shape[1]
    view = DocumentView(
        storage="int8", dim=dim, row_stride=dim, addresses=documents.ctypes.data + offsets[:-1] * dim,
        lengths=np.array(lengths), scale_addresses=scale.ctypes.data + 4 * np.arange(len(lengths)),
    )  # fmt: skip
    panels = pack_query(query.astype(np.float32), np.array([0, len(query)]), "int8", path)
    found = maxsim_numba(panels, view, np.ones(len(query), np.float32), num_threads=1, path=path).scores[0]
    products = query.astype(np.int64) @ documents.astype(np.int64).T
    expected = [products[:, first:last].max(axis=1).sum() for first, last in pairwise(offsets)]
    return found, np.array(expected, np.float32)


@pytest.mark.parametrize("dim", [1, 3, 4, 7, 8, 12, 30, 32, 40, 64, 96, 384])
def test_whole_numbers_are_scored_exactly(path, dim):
    random = np.random.default_rng(dim)
    documents = random.choice([-128, -127, -1, 0, 1, 127], (sum(LENGTHS), dim)).astype(np.int8)
    for num_tokens in (1, 8, 9, 17, 33):
        for smallest in (-127, -128):
            query = random.integers(smallest, 128, (num_tokens, dim)).astype(np.int8)
            query[0, -1] = smallest
            found, expected = scores_of(path, query, documents)
            assert np.array_equal(found, expected), (num_tokens, smallest)


@pytest.mark.parametrize("four", [JUST_FITS, TOO_LARGE])
def test_sums_of_the_largest_numbers_are_not_cut_off(path, four):
    first, second, third, last = four
    # neighbors of one step, then those of the next one
    query = np.tile(np.array([first, third, 0, 0, second, last, 0, 0], np.int8), (9, 4))
    for number in (-128, 127):
        documents = np.full((sum(LENGTHS), 32), number, np.int8)
        for sign in (1, -1):
            found, expected = scores_of(path, (sign * query).astype(np.int8), documents)
            assert np.array_equal(found, expected), (number, sign)


def test_steps_that_fit_come_first_in_a_panels_order():
    [path] = [each for each in PATHS if each.signs_bytes] or [None]
    if path is None:
        pytest.skip("this processor has no AVX2")
    query = np.zeros((17, 32), np.float32)
    query[3, [0, 1, 4, 5]] = TOO_LARGE
    query[16, [8, 9, 12, 13]] = TOO_LARGE
    query[16, [16, 17, 20, 21]] = JUST_FITS
    order = pack_query(query, np.array([0, 17]), "int8", path).order
    assert order[0].tolist() == [3, 0, 1, 2, 3, 0]  # of the first two registers, which are multiplied together
    assert order[2].tolist() == [3, 0, 0, 2, 3, 1]
    query[0, 31] = -128
    assert pack_query(query, np.array([0, 17]), "int8", path).order[:, 1].tolist() == [1, 1, 1]
