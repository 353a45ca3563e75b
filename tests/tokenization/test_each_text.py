"""Documents that are tokenized on several threads."""

import copy
import gc
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from rank_rerank.checkpoints.find import bundled_folder
from rank_rerank.errors import CheckpointFormatError
from rank_rerank.tokenization import text_cutting
from rank_rerank.tokenization.each_text import tokenize_each
from rank_rerank.tokenization.pair_tokenizer import PairTokenizer
from rank_rerank.tokenization.tokenizer import Tokenizer
from rank_rerank.tokenization.tokenizer_file import encode_bare, encode_shared, open_tokenizer

FILE = bundled_folder() / "tokenizer.json"
TEXTS = ["", "one", "two words", "İstanbul " * 700, "🐘 elephant", "x" * 5000, "word " * 30_000, "日本語"] * 3


@pytest.fixture
def fast_switches() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("fast_switches")
def test_threads_change_no_token(encoder):
    settings = encoder.checkpoint.settings
    alone, shared = Tokenizer(FILE, settings, 1), Tokenizer(FILE, settings, 4)
    expected, found = alone.tokenize_documents(TEXTS), shared.tokenize_documents(TEXTS)
    for name in ("token_ids", "scoring_mask", "character_spans", "offsets", "truncated", "unknown_words"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name
    pairs = [PairTokenizer(FILE, 128, num_threads=count).tokenize("a query", TEXTS).batch for count in (1, 4)]
    assert np.array_equal(pairs[0].token_ids, pairs[1].token_ids)
    assert np.array_equal(pairs[0].offsets, pairs[1].offsets)


def test_a_copy_keeps_its_number_of_threads(encoder):
    again = copy.deepcopy(Tokenizer(FILE, encoder.checkpoint.settings, 3))
    assert again._num_threads == 3
    pairs = copy.deepcopy(PairTokenizer(FILE, 99, do_lower_case=True, num_threads=2))
    assert (pairs._num_threads, pairs._do_lower_case, pairs._room) == (2, True, 96)


@pytest.mark.parametrize(("num_texts", "num_threads"), [(5, 1), (1, 4)])
def test_what_is_alone_stays_on_the_calling_thread(num_texts, num_threads):
    def tell(text, *, is_shared):
        return text, threading.get_ident(), is_shared

    found = tokenize_each(tell, ["text"] * num_texts, num_threads)
    assert set(found) == {("text", threading.get_ident(), False)}


def test_a_failure_is_raised():
    def fail(text, *, is_shared):
        raise CheckpointFormatError(f"{is_shared}")

    with pytest.raises(CheckpointFormatError, match="True"):
        tokenize_each(fail, ["a"] * 8, 3)


@pytest.mark.parametrize("tokenize", [encode_shared, encode_bare])
def test_other_threads_run_while_a_text_that_is_shared_is_tokenized(tokenize):
    """Nobody is interrupted here, so that another thread runs when this one gives it a turn, and not before."""
    tokenizer, text = open_tokenizer(FILE), "several words of a long text " * 2000
    is_begun, has_run = threading.Event(), []

    def run() -> None:
        is_begun.wait()
        has_run.append(True)

    before = sys.getswitchinterval()
    thread = threading.Thread(target=run)
    # what other tests have left is not closed meanwhile, for which this thread would give a turn
    gc.collect()
    gc.disable()
    # before the thread is there, which then asks for no turn by the old interval: it is started when it waits
    sys.setswitchinterval(1000)
    try:
        thread.start()
        is_begun.set()
        for _ in range(100 if tokenize is encode_shared else 3):
            ids = tokenize(tokenizer, text).ids
            if has_run:
                break
        assert bool(has_run) is (tokenize is encode_shared)
    finally:
        sys.setswitchinterval(before)
        gc.enable()
        thread.join()
    assert ids == encode_bare(tokenizer, text).ids


@pytest.mark.parametrize("text", ["word " * 4000, "extraordinarily " * 900, "日本" * 4000, "-" * 9000, "a" * 9000])
@pytest.mark.parametrize("max_tokens", [1, 7, 180, 512])
def test_reading_less_at_first_changes_no_token(monkeypatch, text, max_tokens):
    tokenizer = open_tokenizer(FILE)
    found = text_cutting.encode_beginning(tokenizer, text, max_tokens)
    monkeypatch.setattr(text_cutting, "CHARACTERS_PER_TOKEN", 32)
    expected = text_cutting.encode_beginning(tokenizer, text, max_tokens)
    assert np.array_equal(found.token_ids, expected.token_ids)
    assert np.array_equal(found.character_spans, expected.character_spans)
    assert found.truncated == expected.truncated
