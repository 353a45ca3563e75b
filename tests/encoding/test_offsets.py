"""Offsets and indices of any kind are read as they are meant, or refused; nothing wraps around."""

import copy
import pickle  # noqa: TID251 - of our own bytes

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rank_rerank.encoding.offsets import check_indices, check_offsets, rows_of_texts
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.errors import InvalidArgumentError, InvalidItemError, RankRerankError, ShapeError
from rank_rerank.scoring.maxsim import maxsim
from rank_rerank.scoring.packed_documents import PackedDocuments

VECTORS = np.ones((5, 4), np.float32)
DTYPES = st.one_of(
    arrays.integer_dtypes(endianness="?"), arrays.unsigned_integer_dtypes(endianness="?"), arrays.floating_dtypes()
)
ANY_ARRAY = arrays.arrays(DTYPES, st.integers(0, 6))
# what an honest program could mean, with a number changed
NEARLY = st.lists(st.integers(0, 5), min_size=1, max_size=6).map(sorted).map(lambda each: [0, *each, 5])


@given(ANY_ARRAY)
def test_any_array_is_refused_or_ascends_from_0_to_the_end(values):
    try:
        offsets = check_offsets(values, 5)
    except RankRerankError:
        return
    meant = [int(value) for value in values]
    assert offsets.tolist() == meant == sorted(meant)
    assert (meant[0], meant[-1]) == (0, 5)


@given(NEARLY, st.data())
def test_one_number_that_is_out_of_order_is_refused_whatever_its_dtype(right, data):
    index = data.draw(st.integers(0, len(right) - 1))
    wrong = data.draw(st.integers(-(1 << 63), (1 << 64) - 1))
    values = [*right[:index], wrong, *right[index + 1 :]]
    if values == sorted(values) and values[0] == 0 and values[-1] == 5:
        assert check_offsets(values, 5).tolist() == values
        return
    for make in (lambda: values, lambda: np.array(values, np.uint64), lambda: np.array(values, object)):
        try:
            made = make()
        except OverflowError:
            continue
        with pytest.raises(RankRerankError):
            TokenEmbeddings(VECTORS, made)


@pytest.mark.parametrize(
    "offsets",
    [
        np.array([0, 7, 3, 5], np.uint64),
        np.array([0, (1 << 63) - 1, -2, 5]),
        np.array([0, -(1 << 63), (1 << 63) - 1, 5]),
        np.array([0, 255, 5], np.uint8),
        np.array([0, 1 << 62, 5]),
        np.array([0, 5, 6, 9, 5])[::2],
    ],
)
def test_offsets_that_wrap_around_are_refused(offsets):
    with pytest.raises(ShapeError, match="offsets"):
        TokenEmbeddings(VECTORS, offsets)


@pytest.mark.parametrize(
    "offsets",
    [[0.0, 2.0, 5.0], [0, 2.5, 5], [False, True], ["0", "5"], np.array([0, 5], object), None, 5, "05", {0: 5}],
)
def test_offsets_that_are_no_whole_numbers_are_refused(offsets):
    with pytest.raises((InvalidItemError, ShapeError)):
        TokenEmbeddings(VECTORS, offsets)


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">i4", "u8", "i8"])
def test_whole_numbers_of_any_dtype_are_read(dtype):
    spread = np.array([0, 9, 2, 9, 5, 9], dtype)[::2]
    embeddings = TokenEmbeddings(VECTORS, spread)
    assert embeddings.offsets.dtype == np.int64
    assert [len(each) for each in embeddings] == [2, 3]


def test_offsets_cannot_be_changed_after_they_were_checked():
    offsets = np.array([0, 2, 5])
    embeddings = TokenEmbeddings(VECTORS, offsets)
    offsets[1] = 1 << 40
    assert embeddings.offsets.tolist() == [0, 2, 5]
    with pytest.raises(ValueError, match="read-only"):
        embeddings.offsets[1] = 3
    with pytest.raises(ValueError, match="WRITEABLE"):
        embeddings.offsets.flags.writeable = True
    assert TokenEmbeddings(VECTORS, embeddings.offsets).offsets is embeddings.offsets


@pytest.mark.parametrize("change", [[0, 1 << 40, 5], [0, -3, 5], [0, 5, 2], [1 << 62, 2, 5], [0, 2, 6]])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])  # noqa: S301
def test_a_copy_cannot_be_changed_either_and_offsets_put_in_by_force_reach_no_kernel(copied, change):
    embeddings = copied(TokenEmbeddings(VECTORS, [0, 2, 5], [True, False]))
    assert embeddings.truncated.tolist() == [True, False]
    with pytest.raises(ValueError, match="WRITEABLE"):
        embeddings.offsets.flags.writeable = True
    object.__setattr__(embeddings, "offsets", np.array(change, np.int64))
    for documents in (embeddings, PackedDocuments(embeddings, candidates=[1, 0])):
        for kernel in ("numba", "reference"):
            with pytest.raises(ShapeError, match="changed after"):
                maxsim(VECTORS[:1], documents, kernel=kernel)


@pytest.mark.parametrize("wrong", [-1, 2, 1 << 40, -(1 << 63)])
def test_candidates_are_copied_and_checked_again(wrong):
    candidates = np.array([1, 0])
    packed = PackedDocuments(TokenEmbeddings(VECTORS, [0, 2, 5]), candidates=candidates)
    candidates[0] = wrong
    assert maxsim(VECTORS[:1], packed).tolist() == [4, 4]
    packed.candidates[0] = wrong
    with pytest.raises(ShapeError, match="changed after"):
        maxsim(VECTORS[:1], packed)


@given(st.lists(st.integers(-(1 << 63), (1 << 64) - 1), max_size=4))
def test_indices_are_from_0_to_the_count(indices):
    if all(0 <= index < 3 for index in indices):
        assert check_indices(indices, 3, "indices").tolist() == indices
    else:
        with pytest.raises((InvalidArgumentError, InvalidItemError, ShapeError), match="indices"):
            check_indices(indices, 3, "indices")


def test_rows_of_texts_are_those_of_the_offsets():
    starts, lengths = rows_of_texts(np.array([0, 2, 2, 5]), np.array([2, 0, 1]), 5)
    assert (starts.tolist(), lengths.tolist()) == ([2, 0, 2], [3, 2, 0])


SLICES = [slice(None), slice(1, 3), slice(0, 0), slice(2, None), slice(3, 1), slice(None, None, 2), slice(-2, None),
          slice(1, 99), slice(0, -1), slice(None, None, -1)]  # fmt: skip


@pytest.mark.parametrize("chosen", SLICES)
def test_rows_of_a_slice_are_those_of_its_texts(chosen):
    offsets = np.array([0, 2, 2, 5, 9])
    starts, lengths = rows_of_texts(offsets, chosen, 9)
    texts = range(4)[chosen]
    assert starts.tolist() == [offsets[text] for text in texts]
    assert lengths.tolist() == [offsets[text + 1] - offsets[text] for text in texts]


@pytest.mark.parametrize("chosen", [slice(None), slice(1, 3), slice(None, None, 2), np.arange(3)])
@pytest.mark.parametrize("changed", [[-1, 2, 4, 9], [0, 4, 2, 9], [0, 2, 4, 99], [0, 99, 4, 9], [0, 2, -(2**63), 9]])
def test_offsets_changed_later_lead_nowhere(chosen, changed):
    """What is given lies within the rows, or nothing is given."""
    try:
        starts, lengths = rows_of_texts(np.array(changed), chosen, 9)
    except ShapeError:
        return
    assert (starts >= 0).all()
    assert (lengths >= 0).all()
    assert (starts + lengths <= 9).all()


@pytest.mark.parametrize("truncated", [np.zeros((2, 1), np.bool_), [True], [0.5, 1], "ab", [None, True], 1])
def test_truncated_is_one_flag_per_text(truncated):
    with pytest.raises((ShapeError, InvalidItemError), match="truncated"):
        TokenEmbeddings(VECTORS, [0, 2, 5], truncated)


@pytest.mark.parametrize("spans", [np.zeros((5, 3), np.int32), np.zeros(5, np.int32), np.zeros((5, 2)), "ab", None])
def test_character_spans_are_two_numbers_per_token(spans):
    if spans is None:
        assert TokenEmbeddings(VECTORS, [0, 5], None, spans).character_spans is None
        return
    with pytest.raises((ShapeError, InvalidItemError), match="character_spans"):
        TokenEmbeddings(VECTORS, [0, 5], None, spans)


@pytest.mark.parametrize(
    "vectors", [[[1.0]], None, "ab", 3, np.array([["a"]]), np.ma.ones((5, 2)), np.ones((5, 2), complex), object()]
)
def test_vectors_that_are_no_array_of_numbers_are_refused(vectors):
    with pytest.raises(InvalidItemError, match="vectors"):
        TokenEmbeddings(vectors, [0, 5])


@pytest.mark.parametrize("index", ["a", 1.0, None, slice(0, 1), np.array([0, 1])])
def test_an_index_that_is_no_whole_number_is_refused(index):
    with pytest.raises(InvalidItemError, match="select"):
        TokenEmbeddings(VECTORS, [0, 5])[index]
