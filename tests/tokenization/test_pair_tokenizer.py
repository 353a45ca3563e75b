import copy

import pytest

from rank_rerank.checkpoints.find import bundled_folder
from rank_rerank.errors import CheckpointFormatError, EmptyQueryError
from rank_rerank.tokenization.pair_tokenizer import PairTokenizer

FILE = bundled_folder() / "tokenizer.json"
CLS, SEP = 101, 102


def test_a_pair_is_written_by_the_template():
    batch = PairTokenizer(FILE, 64).tokenize("Hello", ["world world", "", "hello"]).batch
    assert batch.token_ids.tolist() == [CLS, 7592, SEP, 2088, 2088, SEP, CLS, 7592, SEP, 7592, SEP]
    assert batch.token_types.tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1]
    assert batch.offsets.tolist() == [0, 6, 6, 11]
    assert batch.attention_mask.all()


@pytest.mark.parametrize(
    ("query", "document", "kept_query", "kept_document"),
    [(3, 4, 3, 4), (3, 50, 3, 14), (12, 5, 12, 5), (12, 50, 8, 9), (50, 2, 15, 2), (50, 50, 8, 9)],
)
def test_the_document_is_cut_and_the_query_only_above_half(query, document, kept_query, kept_document):
    pairs = PairTokenizer(FILE, 20).tokenize("one " * query, ["two " * document])
    ids = pairs.batch.token_ids.tolist()
    assert (ids.count(2028), ids.count(2048)) == (kept_query, kept_document)
    assert pairs.query_truncated == (kept_query < query)
    assert pairs.batch.truncated.tolist() == [kept_document < document]
    assert len(ids) <= 20
    assert (ids[0], ids[-1]) == (CLS, SEP)


def test_a_query_without_words_is_refused():
    with pytest.raises(EmptyQueryError, match="the query has no words"):
        PairTokenizer(FILE, 20).tokenize(" \n", ["a"])


def test_control_tokens_in_texts_are_words():
    ids = PairTokenizer(FILE, 64).tokenize("[SEP] x", ["[CLS] [MASK]"]).batch.token_ids.tolist()
    assert (ids.count(SEP), ids.count(CLS), 103 in ids) == (2, 1, False)


def test_no_room_is_refused():
    with pytest.raises(CheckpointFormatError, match="no room"):
        PairTokenizer(FILE, 4)


def test_a_copy_and_lower_casing():
    tokenizer = copy.copy(PairTokenizer(FILE, 64, do_lower_case=True, has_token_types=False))
    batch = tokenizer.tokenize("HELLO", ["World"]).batch
    assert batch.token_ids.tolist() == [CLS, 7592, SEP, 2088, SEP]
    assert batch.token_types is None
