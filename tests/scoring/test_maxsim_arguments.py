"""Every pair of things that can be passed to MaxSim is scored finitely, or refused by a typed error."""

import itertools

import numpy as np
import pytest

from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.errors import InvalidArgumentError, InvalidItemError, RankRerankError, ShapeError
from rank_rerank.scoring.maxsim import maxsim, maxsim_many, maxsim_matches, maxsim_top_k
from rank_rerank.scoring.packed_documents import PackedDocuments

MATRIX = np.ones((3, 8), np.float32)
PACKED = TokenEmbeddings.from_list([MATRIX, MATRIX[:0], MATRIX[:2]])
ROUNDED = TokenEmbeddings(MATRIX.astype(np.int8), [0, 3])


def things():
    """What a program may hold by mistake, or on purpose."""
    values = [
        None,
        3,
        "ab",
        b"ab",
        {},
        set(),
        object(),
        [[1, 2]],
        np.nan,
        [],
        range(3),
        memoryview(b"abc"),
        ["a"],
        [None],
    ]
    values += [
        np.empty((3, 0)),
        np.empty((0, 8)),
        np.empty((2, 3, 0)),
        np.ones((2, 3, 8)),
        np.ones(8),
        np.ones((1,) * 5),
    ]
    values += [
        MATRIX,
        MATRIX[::-1, ::-1],
        np.broadcast_to(MATRIX[:1], (4, 8)),
        MATRIX.astype(">f4"),
        np.ma.array(MATRIX),
    ]
    values += [
        MATRIX.astype(dtype) for dtype in (complex, bool, object, str, "M8[s]", "V8", np.longdouble, np.uint8, int)
    ]
    values += [np.full((3, 8), size) for size in (3e30, 1e300, np.inf, np.nan)]
    values += [np.full((3, 8), 3e30, np.float32), np.zeros((2, 2), [("a", "i4")])]
    values += [[MATRIX, None], [[], MATRIX], [np.empty((3, 0))], [MATRIX, MATRIX[:, :3]], [MATRIX.astype(np.int8)] * 2]
    values += [PACKED, TokenEmbeddings.from_list([]), TokenEmbeddings(np.empty((3, 0)), [0, 3]), ROUNDED]
    return [*values, PackedDocuments(PACKED), PackedDocuments(ROUNDED, np.full(3, 3e38, np.float32)), *tensors()]


def tensors():
    try:
        import torch
    except ImportError:
        return []
    matrix = torch.ones(3, 8)
    made = [matrix, matrix.to_sparse(), matrix.to(torch.complex64), matrix.requires_grad_(), torch.ones(2, 3, 8)]
    return [*made, torch.ones(2, 3, 8, device="meta"), [matrix], [matrix, None], torch.full((1, 3, 8), 3e30)]


def reference(query, documents):
    return maxsim(query, documents, kernel="reference")


def best_two(query, documents):
    return maxsim_top_k(query, documents, 2)


@pytest.mark.parametrize("score", [maxsim, maxsim_many, maxsim_matches, best_two, reference])
def test_any_two_things_give_finite_scores_or_a_typed_error(score):
    answered = 0
    for query, documents in itertools.product(things(), repeat=2):
        try:
            found = score(query, documents)
        except RankRerankError:
            continue
        scores = np.asarray(getattr(found, "scores", found))
        assert not np.isnan(scores).any()
        assert not (scores == np.inf).any()
        answered += 1
    assert answered > 20


@pytest.mark.parametrize("value", ["2", 2.0, True, 0, -1, 257, 10**30, [], object(), np.float64(2), np.ones(2)])
def test_numbers_that_are_none_are_refused(value):
    for option in ("num_threads", "kernel"):
        with pytest.raises(InvalidArgumentError, match=option):
            maxsim(MATRIX, PACKED, **{option: value})
    if not isinstance(value, int) or value < 1 or value is True:
        with pytest.raises(InvalidArgumentError, match="top_k"):
            maxsim_top_k(MATRIX, PACKED, value)


def test_whole_numbers_of_numpy_are_numbers():
    expected = maxsim(MATRIX, PACKED)
    assert maxsim(MATRIX, PACKED, num_threads=np.int64(2)).tobytes() == expected.tobytes()
    assert maxsim_top_k(MATRIX, PACKED, np.uint8(1)).indices.tolist() == [0]
    assert maxsim_top_k(MATRIX, PACKED, 10**30).indices.tolist() == [0, 2, 1]


@pytest.mark.parametrize(
    "documents", [[np.empty((2, 0))], np.empty((1, 2, 0)), TokenEmbeddings(np.empty((2, 0)), [0, 2])]
)
@pytest.mark.parametrize("kernel", ["numba", "reference", "torch"])
def test_vectors_without_a_number_are_refused(documents, kernel):
    if kernel == "torch":
        documents = pytest.importorskip("torch").empty((1, 2, 0))
    with pytest.raises(ShapeError, match="dim 0"):
        maxsim(np.empty((3, 0), np.float32), documents, kernel=kernel)


@pytest.mark.parametrize("value", [None, "ab", 3, {}, MATRIX, [MATRIX]])
def test_packed_documents_are_of_token_embeddings(value):
    with pytest.raises(InvalidItemError, match="TokenEmbeddings"):
        PackedDocuments(value)


@pytest.mark.parametrize(
    "scales", ["ab", 3, [1.0, 1.0], [1, 2, None], [1, 2, 1e300], [1, 2, -1], [1j, 1, 1], [[1, 2, 3]]]
)
def test_scales_of_any_kind_are_refused_or_become_float32(scales):
    for name in ("token_scales", "document_scales"):
        with pytest.raises(RankRerankError):
            PackedDocuments(ROUNDED, **{name: scales})
    assert PackedDocuments(ROUNDED, [1, 2, 3]).token_scales.dtype == np.float32


def test_scales_that_were_changed_in_length_reach_no_kernel():
    packed = PackedDocuments(ROUNDED, np.ones(3, np.float32))
    object.__setattr__(packed, "token_scales", np.ones(2, np.float32))
    with pytest.raises(ShapeError, match="scales"):
        maxsim(MATRIX, packed)
