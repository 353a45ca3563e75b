import copy
from dataclasses import replace

import numpy as np
import pytest
from example_counts import examples
from hypothesis import given
from hypothesis import strategies as st

from rank_rerank.checkpoints.checkpoint import EncodingSettings
from rank_rerank.encoding.token_encoder import WINDOW, TokenEncoder
from rank_rerank.errors import EmptyQueryError, InvalidItemError, InvalidTextError, NonFiniteError
from rank_rerank.inference.compiled.loading import is_supported
from rank_rerank.kernels.processor import vector_path
from rank_rerank.tokenization.tokenizer import Tokenizer

TEXTS = ["short", "a text of some more words, with punctuation.", "", "Ünïcode 漢字 🐘", "long " * 200, "odd " * 37]


@pytest.fixture(scope="module", params=["numba", "onnx"])
def encoder(request):
    """Every test holds for both runtimes."""
    if request.param == "numba" and not is_supported(vector_path()):
        pytest.skip("this processor has no instruction that the compiled runtime needs")
    return TokenEncoder.from_pretrained(runtime=request.param)


def test_every_vector_has_unit_length(encoder):
    norms = np.linalg.norm(encoder.encode_documents(TEXTS).vectors, axis=1)
    assert np.abs(norms - 1).max() < 1e-5


@examples(20)
@given(st.lists(st.sampled_from(TEXTS), max_size=8))
def test_a_texts_vectors_do_not_depend_on_the_others(encoder, texts):
    packed = encoder.encode_documents(texts)
    for text, vectors in zip(texts, packed, strict=True):
        assert vectors.tobytes() == encoder.encode_document(text).vectors.tobytes()


def test_streaming_gives_the_same_in_windows(encoder):
    texts = [f"text {number}" for number in range(2 * WINDOW + 3)]
    windows = list(encoder.stream_documents(texts))
    assert [len(window) for window in windows] == [WINDOW, WINDOW, 3]
    whole = encoder.encode_documents(texts)
    assert np.concatenate([window.vectors for window in windows]).tobytes() == whole.vectors.tobytes()


def test_spans_and_truncation_come_along(encoder):
    embeddings = encoder.encode_documents(["hello world", "word " * 1000])
    assert embeddings.character_spans[:4].tolist() == [[0, 0], [0, 5], [6, 11], [0, 0]]
    assert embeddings.truncated.tolist() == [False, True]


def test_the_skiplist_drops_vectors_and_the_rest_stay_what_they_are(encoder):
    settings_with_skiplist = replace(encoder.checkpoint.settings, skiplist_words=(",",))
    skipping = TokenEncoder(
        encoder.checkpoint, Tokenizer(encoder.checkpoint.tokenizer_file, settings_with_skiplist), encoder.transformer
    )
    everything = encoder.encode_documents(["a, b, c", ",", "d"])
    kept = skipping.encode_documents(["a, b, c", ",", "d"])
    assert np.diff(kept.offsets).tolist() == [5, 2, 3]
    assert kept[0].tobytes() == everything[0][[0, 1, 3, 5, 6]].tobytes()
    assert kept.character_spans[:5].tolist() == [[0, 0], [0, 1], [3, 4], [6, 7], [0, 0]]


def test_queries_in_a_list_are_queries_alone(encoder):
    packed = encoder.encode_queries(["first query", "second"])
    assert packed[1].tobytes() == encoder.encode_query("second").vectors.tobytes()


def test_expansion_fills_a_query(encoder):
    expanding = Tokenizer(encoder.checkpoint.tokenizer_file, EncodingSettings(query_length=16, do_query_expansion=True))
    filled = TokenEncoder(encoder.checkpoint, expanding, encoder.transformer).encode_query("two words")
    plain = encoder.encode_query("two words")
    assert filled.num_tokens == 16
    # the model does not look at the filler, so the words keep their vectors
    assert filled.vectors[:4].tobytes() == plain.vectors.tobytes()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda e: e.encode_query(""), EmptyQueryError, "the query has no words"),
        (lambda e: e.encode_query(3), InvalidItemError, "the query must be a str"),
        (lambda e: e.encode_queries(["a", ""]), EmptyQueryError, r"queries\[1\]"),
        (lambda e: e.encode_queries("ab"), InvalidItemError, "queries must be a list"),
        (lambda e: e.encode_document(None), InvalidItemError, "the document must be a str"),
        (lambda e: e.encode_documents("ab"), InvalidItemError, "documents must be a list"),
        (lambda e: e.encode_documents(["a", 1]), InvalidItemError, r"documents\[1\]"),
        (lambda e: e.encode_documents(["a", "\udfff"]), InvalidTextError, r"documents\[1\]"),
        (lambda e: list(e.stream_documents(["a", 1])), InvalidItemError, r"documents\[1\]"),
    ],
)
def test_bad_input(encoder, call, error, message):
    with pytest.raises(error, match=message):
        call(encoder)


def test_no_texts_give_no_vectors(encoder):
    empty = encoder.encode_documents([])
    assert (len(empty), empty.vectors.shape) == (0, (0, encoder.dim))
    assert list(encoder.stream_documents([])) == []


def test_nan_from_a_model_names_the_text(encoder):
    class Broken:
        dim = encoder.dim
        description = "broken"

        def encode(self, batch):
            vectors = encoder.transformer.encode(batch)
            vectors[batch.offsets[1], 5] = np.nan
            return vectors

    with pytest.raises(NonFiniteError, match="text 1"):
        TokenEncoder(encoder.checkpoint, encoder.tokenizer, Broken()).encode_documents(["a", "b", "c"])


def test_a_copy_opens_a_runtime_of_its_own(encoder):
    duplicate = copy.copy(encoder.transformer)
    batch = encoder.tokenizer.tokenize_documents(["some text"])
    assert duplicate is not encoder.transformer
    assert duplicate.encode(batch).tobytes() == encoder.transformer.encode(batch).tobytes()
