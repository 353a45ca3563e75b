import itertools

import pytest
from example_counts import examples
from hypothesis import example, given
from hypothesis import strategies as st

from rank_rerank import Chunking
from rank_rerank.encoding.chunking import split_text
from rank_rerank.errors import InvalidArgumentError

SENTENCE = "The quick brown fox jumps over the lazy dog, and nobody wonders why. "


def split(encoder, text, length=64, overlap=8):
    tokenizer = encoder.tokenizer
    return split_text(tokenizer, text, min(length, encoder.checkpoint.settings.document_length), overlap)


def test_a_short_text_is_one_chunk(encoder):
    assert split(encoder, SENTENCE) == [(0, len(SENTENCE))]
    assert split(encoder, "") == [(0, 0)]
    assert split(encoder, "   ") == [(0, 3)]


def test_chunks_are_read_whole_end_with_sentences_and_repeat_a_little(encoder):
    text = SENTENCE * 200
    chunks = split(encoder, text, overlap=30)
    assert len(chunks) > 5
    assert (chunks[0][0], chunks[-1][1]) == (0, len(text))
    for start, end in chunks:
        assert len(encoder.tokenizer.read_document(text[start:end]).token_ids) <= 64
    for (start, end), (following, _) in itertools.pairwise(chunks):
        assert start < following < end
        assert text[:end].endswith("why.")
    without = split(encoder, text, overlap=0)
    assert all(end == following for (_, end), (following, _) in itertools.pairwise(without))


def test_a_text_without_sentences_is_cut_between_words(encoder):
    text = "unphotosynthesizable antidisestablishmentarianism " * 200
    for _, end in split(encoder, text)[:-1]:
        assert text[end : end + 1] in (" ", "")


@pytest.mark.parametrize(
    "text", ["x" * 50_000, " " * 60_000 + "word " * 2000, "a" + " " * 100_000 + "b", "東京" * 5000]
)
def test_unusual_texts_are_covered(encoder, text):
    chunks = split(encoder, text, length=512)
    covered = set()
    for start, end in chunks:
        assert start < end
        covered.update(range(start, end))
    assert not [place for place in range(len(text)) if place not in covered and not text[place].isspace()]


@examples(30)
@example("0000씽:0000" * 150, 0)  # the limit falls within the three tokens of one character
@example("씽" * 600, 0)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30).map(lambda text: text * 150), st.integers(0, 200))
def test_every_word_is_in_a_chunk_that_is_read_whole(encoder, text, overlap):
    chunks = split(encoder, text, length=512, overlap=overlap)
    assert chunks[-1][1] == len(text)
    previous = 0
    for start, end in chunks:
        assert start <= previous
        assert end >= start
        assert not encoder.tokenizer.read_document(text[start:end]).truncated
        previous = end


@pytest.mark.parametrize("options", [{"overlap": -1}, {"score": "mean"}, {"length": 15}, {"length": 99.5}])
def test_bad_options(options):
    with pytest.raises(InvalidArgumentError):
        Chunking(**options)
