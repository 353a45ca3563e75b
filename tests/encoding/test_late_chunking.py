"""Chunks that are encoded within their text: which vectors each gets."""

import numpy as np
import pytest

from rank_rerank import Chunking
from rank_rerank.encoding import chunk_spans, encode_in_context
from rank_rerank.errors import InvalidArgumentError, InvalidItemError

SENTENCES = [f"Sentence number {number} speaks of the harbor and its {number * 7} boats." for number in range(120)]
TEXT = " ".join(SENTENCES)


def test_a_text_that_is_read_at_once_is_cut_out_of_one_window(encoder):
    text = " ".join(SENTENCES[:6])
    middle = text.index("Sentence number 3")
    found = encode_in_context(encoder, text, [(0, middle), (middle, len(text))])
    whole = encoder.encode_document(text)
    is_marker = whole.character_spans[:, 1] == whole.character_spans[:, 0]
    for number, mask in enumerate((whole.character_spans[:, 0] < middle, whole.character_spans[:, 0] >= middle)):
        assert found[number].tobytes() == whole.vectors[mask | is_marker].tobytes()
    # a chunk by itself has as many vectors, and others, as it lacks what stands around it
    alone = encoder.encode_document(text[middle:]).vectors
    assert alone.shape == found[1].shape
    assert 0.5 < (alone * found[1]).sum(axis=1)[1:].mean() < 0.99


def test_every_word_of_each_chunk_has_its_vectors_once(encoder):
    spans = chunk_spans(encoder, TEXT, Chunking(length=64, overlap=0))
    found = encode_in_context(encoder, TEXT, spans)
    assert len(found) == len(spans) > 20
    assert not found.truncated.any()
    for number, (start, end) in enumerate(spans):
        rows = slice(found.offsets[number], found.offsets[number + 1])
        here = found.character_spans[rows]
        alone = encoder.encode_document(TEXT[start:end]).character_spans
        assert sorted(map(tuple, here.tolist())) == sorted(map(tuple, alone.tolist()))


def test_windows_are_as_long_as_the_model_reads(encoder, monkeypatch):
    read = []
    encode = type(encoder).encode_document

    def counting(self, document):
        read.append(document)
        return encode(self, document)

    monkeypatch.setattr(type(encoder), "encode_document", counting)
    spans = chunk_spans(encoder, TEXT, Chunking(length=64, overlap=0))
    encode_in_context(encoder, TEXT, spans)
    assert "".join(read) == TEXT
    longest = encoder.checkpoint.settings.document_length
    tokens = [len(encoder.tokenizer.read_document(window).token_ids) for window in read]
    assert all(longest - 64 <= each <= longest for each in tokens[:-1])


def test_overlapping_chunks_each_have_what_they_share(encoder):
    spans = chunk_spans(encoder, TEXT, Chunking(length=64, overlap=16))
    found = encode_in_context(encoder, TEXT, spans)
    for number, (start, end) in enumerate(spans):
        rows = slice(found.offsets[number], found.offsets[number + 1])
        assert found.character_spans[rows].max() <= end - start
        assert found.character_spans[rows][:, 0].min() == 0


def test_a_chunk_that_is_too_long_is_truncated_and_alone(encoder):
    found = encode_in_context(encoder, TEXT, [(0, len(TEXT) - 100), (len(TEXT) - 100, len(TEXT))])
    assert found.truncated.tolist() == [True, False]


def test_no_chunks_and_an_empty_text(encoder):
    assert len(encode_in_context(encoder, "some text", [])) == 0
    assert len(encode_in_context(encoder, "", chunk_spans(encoder, "", Chunking()))) == 1


@pytest.mark.parametrize(
    ("spans", "error"),
    [
        ("no spans", InvalidItemError),
        ([(0, 1, 2)], InvalidItemError),
        ([(0, 99)], InvalidArgumentError),
        ([(3, 3)], InvalidArgumentError),
        ([(4, 6), (0, 2)], InvalidArgumentError),
        ([(0.5, 2)], InvalidArgumentError),
    ],
)
def test_spans_that_are_none(encoder, spans, error):
    with pytest.raises(error):
        encode_in_context(encoder, "nine chars", spans)


def test_chunks_longer_than_the_model_reads_are_refused(encoder):
    with pytest.raises(InvalidArgumentError, match="the model reads"):
        chunk_spans(encoder, TEXT, Chunking(length=100_000))


def test_vectors_are_unit_rows_of_the_encoder(encoder):
    found = encode_in_context(encoder, TEXT[:300], [(0, 300)])
    assert found.vectors.tobytes() == encoder.encode_document(TEXT[:300]).vectors.tobytes()
    assert np.isfinite(found.vectors).all()
