import copy
import json
import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from example_counts import examples
from hypothesis import given
from hypothesis import strategies as st

from rank_rerank.checkpoints.checkpoint import EncodingSettings
from rank_rerank.checkpoints.find import bundled_folder
from rank_rerank.errors import CheckpointFormatError, EmptyQueryError
from rank_rerank.tokenization.tokenizer import Tokenizer

TOKENIZER_FILE = bundled_folder() / "tokenizer.json"
CLS, SEP, MASK, UNK, PAD = 101, 102, 103, 100, 0


def tokenizer_with(**options):
    return Tokenizer(TOKENIZER_FILE, EncodingSettings(**options))


@pytest.fixture(scope="module")
def plain_tokenizer():
    """One for all examples: reading its file takes as long as tokenizing a thousand of them."""
    return tokenizer_with()


def test_a_document_is_its_words_between_cls_and_sep():
    batch = tokenizer_with().tokenize_documents(["Hello World"])
    assert batch.token_ids.tolist() == [CLS, 7592, 2088, SEP]
    assert batch.character_spans.tolist() == [[0, 0], [0, 5], [6, 11], [0, 0]]
    assert batch.attention_mask.all()
    assert batch.scoring_mask.all()


def test_many_texts_are_packed_in_their_order():
    batch = tokenizer_with().tokenize_documents(["a", "", "b c", " \t\n", "\x00\x01"])
    assert batch.offsets.tolist() == [0, 3, 3, 7, 7, 7]
    assert batch.truncated.tolist() == [False] * 5


def test_markers_stand_behind_cls_by_id_as_in_colbertv2():
    tokenizer = tokenizer_with(query_prefix="[unused0]", document_prefix="[unused1]")
    assert tokenizer.tokenize_queries(["hello"]).token_ids.tolist() == [CLS, 1, 7592, SEP]
    assert tokenizer.tokenize_documents(["hello"]).token_ids.tolist() == [CLS, 2, 7592, SEP]


def test_a_marker_written_in_a_text_is_text():
    ids = tokenizer_with(document_prefix="[unused1]").tokenize_documents(["[unused1] [Q]"]).token_ids.tolist()
    assert ids[1] == 2
    assert 2 not in ids[2:]


def test_a_marker_that_is_not_in_the_vocabulary_is_refused():
    with pytest.raises(CheckpointFormatError, match="no marker"):
        tokenizer_with(query_prefix="[Q] ")


@pytest.mark.parametrize("attend", [False, True])
def test_query_expansion_fills_with_masks_that_are_scored(attend):
    tokenizer = tokenizer_with(
        query_prefix="[unused0]", query_length=8, do_query_expansion=True, attend_to_expansion_tokens=attend
    )
    batch = tokenizer.tokenize_queries(["hello world", "one two three four five six seven"])
    assert batch.offsets.tolist() == [0, 8, 16]
    assert batch.token_ids[:8].tolist() == [CLS, 1, 7592, 2088, SEP, MASK, MASK, MASK]
    assert batch.attention_mask[:8].tolist() == [True] * 5 + [attend] * 3
    assert batch.scoring_mask.all()
    assert batch.truncated.tolist() == [False, True]


def test_special_tokens_survive_truncation_and_the_length_counts_them():
    batch = tokenizer_with(document_length=6, document_prefix="[unused1]").tokenize_documents(["a b c d e f", "a b c"])
    assert batch.token_ids[:6].tolist()[:2] == [CLS, 2]
    assert batch.lengths.tolist() == [6, 6]
    assert batch.token_ids[5] == SEP
    assert batch.truncated.tolist() == [True, False]


def test_the_skiplist_leaves_words_of_documents_out_and_never_those_of_queries():
    tokenizer = tokenizer_with(skiplist_words=(",", ".", "notaword-zzz"))
    batch = tokenizer.tokenize_documents(["a, b. \U0001f9ff"])
    assert batch.scoring_mask.tolist() == [True, True, False, True, False, True, True]
    assert batch.token_ids[5] == UNK, "an unknown skiplist word must not silence unknown words of documents"
    assert tokenizer.tokenize_queries(["a, b."]).scoring_mask.all()


def test_truncation_frozen_in_the_file_is_reset():
    assert json.loads(TOKENIZER_FILE.read_text(encoding="utf-8"))["truncation"]["max_length"] == 128
    assert tokenizer_with(document_length=400).tokenize_documents(["word " * 300]).lengths.tolist() == [302]


@examples(300)
@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    st.sampled_from(["[MASK]", "[SEP]", "[CLS]", "[PAD]", "[UNK]", "[mask]"]),
    st.integers(0, 30),
)
def test_no_text_becomes_a_control_token(plain_tokenizer, text, special, position):
    hostile = text[:position] + special + text[position:]
    batch = plain_tokenizer.tokenize_documents([hostile])
    assert batch.num_tokens == 0 or not {CLS, SEP, MASK, PAD} & set(batch.token_ids[1:-1].tolist())


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_spans_ascend_and_lie_in_the_text(plain_tokenizer, text):
    batch = plain_tokenizer.tokenize_documents([text])
    spans = batch.character_spans
    assert (spans[:, 0] <= spans[:, 1]).all()
    assert (np.diff(spans[1:-1], axis=0) >= 0).all()
    assert (spans <= len(text)).all()


@pytest.mark.parametrize("query", ["", " ", "\n\t", "\x00", "\u200b"])
def test_a_query_without_words_is_refused(query):
    with pytest.raises(EmptyQueryError, match="the query has no words"):
        tokenizer_with().tokenize_queries([query])
    with pytest.raises(EmptyQueryError, match=r"queries\[1\]"):
        tokenizer_with().tokenize_queries(["fine", query], ["queries[0]", "queries[1]"])


def test_truncation_is_said_once(caplog):
    tokenizer = tokenizer_with(document_length=5)
    with caplog.at_level(logging.WARNING, "rank_rerank"):
        tokenizer.tokenize_documents(["a b c d e", "a"])
        tokenizer.tokenize_documents(["secret b c d e"])
    assert [record.getMessage()[:19] for record in caplog.records] == ["1 of 2 documents ar"]
    assert "secret" not in caplog.text


def test_no_texts_give_no_tokens():
    batch = tokenizer_with().tokenize_documents([])
    assert (batch.num_texts, batch.num_tokens, batch.character_spans.shape) == (0, 0, (0, 2))


def test_32_threads_get_what_one_gets():
    tokenizer = tokenizer_with()
    texts = [f"text number {number} about topic {number % 7}" for number in range(200)]
    alone = [tokenizer.tokenize_documents([text]).token_ids.tolist() for text in texts]
    with ThreadPoolExecutor(32) as pool:
        for ids in pool.map(lambda _: tokenizer.tokenize_documents(texts), range(64)):
            assert [
                ids.token_ids[a:b].tolist() for a, b in zip(ids.offsets[:-1], ids.offsets[1:], strict=True)
            ] == alone


def test_a_copy_in_another_process_tokenizes_alike():
    tokenizer = tokenizer_with(query_prefix="[unused0]")
    duplicate = copy.copy(tokenizer)
    assert np.array_equal(
        duplicate.tokenize_queries(["hello"]).token_ids, tokenizer.tokenize_queries(["hello"]).token_ids
    )


@pytest.mark.parametrize("content", ["", "{}", "not json", '{"version": "1.0"}'])
def test_a_damaged_tokenizer_is_refused(tmp_path, content):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(CheckpointFormatError, match=r"tokenizer\.json"):
        Tokenizer(tmp_path / "tokenizer.json", EncodingSettings())
