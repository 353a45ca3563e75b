"""A cache of texts in memory: the bits that encoding gives, bounded bytes, and nothing of one scope for another."""

from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from model_folders import write_cross_encoder

import rank_rerank
from rank_rerank.encoding.embedding_cache import EmbeddingCache
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.tokenization.tokenizer import Tokenizer

TEXTS = [f"text number {number} about a river" for number in range(12)] + ["", "zxqv jjkw"]


def cached(encoder, max_bytes=1 << 24, report=None):
    return replace(encoder, cache=EmbeddingCache(max_bytes, report))


def assert_same(found, expected):
    for name in ("vectors", "offsets", "truncated", "character_spans", "unknown_words"):
        mine, theirs = getattr(found, name), getattr(expected, name)
        assert mine.dtype == theirs.dtype
        assert np.array_equal(mine, theirs)


@pytest.mark.parametrize("known", [[], [0], [3, 13, 5], list(range(len(TEXTS)))])
def test_what_is_found_has_the_bits_of_encoding(encoder, known):
    expected, own = encoder.encode_documents(TEXTS), cached(encoder)
    own.encode_documents([TEXTS[number] for number in known])
    assert own.is_cached(TEXTS).tolist() == [number in known for number in range(len(TEXTS))]
    assert_same(own.encode_documents(TEXTS), expected)
    info = own.cache.info
    assert (info.hits, info.misses) == (len(known), len(TEXTS))
    assert info.num_texts == len(TEXTS)
    assert 0 < info.num_bytes <= info.max_bytes
    assert_same(own.encode_documents(TEXTS), expected)
    assert own.cache.info.hit_rate == (len(known) + len(TEXTS)) / (len(known) + 2 * len(TEXTS))


def test_only_what_is_missing_is_encoded(encoder, monkeypatch):
    own, read = cached(encoder), []
    tokenize = Tokenizer.tokenize_documents
    monkeypatch.setattr(
        Tokenizer, "tokenize_documents", lambda self, texts: read.append(texts) or tokenize(self, texts)
    )
    own.encode_documents(TEXTS[:3])
    own.encode_documents(TEXTS[1:5])
    own.encode_document(TEXTS[2])
    assert [list(texts) for texts in read] == [TEXTS[:3], TEXTS[3:5]]


def test_what_was_used_longest_ago_goes_first(encoder):
    size = cached(encoder)
    size.encode_documents(TEXTS[:3])
    own = cached(encoder, size.cache.info.num_bytes)
    own.encode_documents(TEXTS[:3])
    own.encode_document(TEXTS[0])
    own.encode_document(TEXTS[3])
    assert own.is_cached(TEXTS[:4]).tolist() == [True, False, True, True]
    assert own.cache.info.num_bytes <= own.cache.info.max_bytes
    own.encode_document("a text that is larger than all of it " * 40)
    assert own.is_cached(TEXTS[:4]).tolist() == [True, False, True, True]
    own.cache.clear()
    assert (own.cache.info.num_texts, own.cache.info.num_bytes) == (0, 0)


def test_whatever_vectors_depend_on_is_looked_up_too(encoder):
    own = cached(encoder)
    own.encode_documents(TEXTS)
    settings = replace(encoder.checkpoint.settings, document_length=8)
    checkpoint = replace(encoder.checkpoint, settings=settings)
    short = TokenEncoder(checkpoint, Tokenizer(checkpoint.tokenizer_file, settings), own.transformer, own.cache)
    assert not short.is_cached(TEXTS).any()
    assert short.encode_documents(TEXTS).truncated.any()
    other = replace(TokenEncoder.from_pretrained(), cache=own.cache)
    assert not other.is_cached(TEXTS).any()
    assert own.is_cached(TEXTS).all()


def test_scopes_share_bytes_and_nothing_else(encoder):
    cache = EmbeddingCache(1 << 24)
    one, two = (replace(encoder, cache=cache.scoped(name)) for name in ("one", "two"))
    one.encode_documents(TEXTS)
    assert one.is_cached(TEXTS).all()
    assert not two.is_cached(TEXTS).any()
    assert replace(encoder, cache=cache.scoped("one")).is_cached(TEXTS).all()
    two.encode_documents(TEXTS[:2])
    assert cache.info.num_texts == len(TEXTS) + 2


def test_a_query_is_never_taken_for_a_document(encoder):
    own = cached(encoder)
    own.encode_query(TEXTS[0])
    assert own.cache.info.num_texts == 0


def test_many_threads(encoder):
    expected = encoder.encode_documents(TEXTS)
    counts = []
    own = cached(encoder, expected.vectors.nbytes // 2, lambda found, missing: counts.append(found + missing))
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(lambda _: own.encode_documents(TEXTS), range(12)))
    for found in results:
        assert_same(found, expected)
    assert sum(counts) == own.cache.info.hits + own.cache.info.misses == 12 * len(TEXTS)
    assert own.cache.info.num_bytes <= own.cache.info.max_bytes


def test_a_copy_begins_empty(encoder):
    own = cached(encoder)
    own.encode_documents(TEXTS)
    copy = deepcopy(own.cache)  # by what pickle takes
    assert (copy.info.num_texts, copy.info.max_bytes) == (0, 1 << 24)
    assert own == encoder  # a cache makes no other encoder


def test_load_makes_one_and_tells_what_it_was_good_for(reranker, tmp_path):
    own = rank_rerank.load(cache_bytes=1 << 24)
    assert reranker.cache_info() is None
    expected = list(reranker.rerank("which river", TEXTS, spans=2))
    for _ in range(2):
        assert list(own.rerank("which river", TEXTS, spans=2)) == expected
    assert list(own.rerank("which river", TEXTS[::-1], budget_ms=1e9, spans=2)) == list(
        reranker.rerank("which river", TEXTS[::-1], spans=2)
    )
    assert own.cache_info().misses == len(TEXTS)
    assert own.cache_info().hits >= 2 * len(TEXTS)
    with pytest.raises(InvalidArgumentError, match="cache_bytes"):
        rank_rerank.load(cache_bytes=0)
    with pytest.raises(InvalidArgumentError, match="leave out cache_bytes"):
        rank_rerank.load(write_cross_encoder(tmp_path), cache_bytes=1 << 20)
