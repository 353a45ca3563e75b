"""Attention by distance in compiled kernels: MPNet's numbers and DeBERTa's products."""

import copy

import numpy as np
import pytest
from compiled_paths import PATHS, VARIANTS
from small_bert import make_batch, unit
from small_distances import KINDS, make_config, make_tensors, reference_hidden

from rank_rerank.inference.compiled.numba_transformer import NumbaTransformer

pytestmark = pytest.mark.skipif(not PATHS, reason="this processor has no instruction that the compiled runtime needs")

# one and two tokens; round the sizes of tiles and panels; beyond distances that have rows of their own; the longest
LENGTHS = (1, 2, 3, 11, 12, 13, 16, 17, 31, 32, 33, 65, 129, 200, 511, 512)


@pytest.fixture(params=KINDS, scope="module")
def model(request):
    config = make_config(**KINDS[request.param])
    return config, make_tensors(config)


@pytest.fixture(scope="module")
def texts(model):
    random = np.random.default_rng(1)
    return [random.integers(2, model[0].vocab_size, length) for length in LENGTHS]


@pytest.fixture(scope="module")
def expected(model, texts):
    config, tensors = model
    return [reference_hidden(tensors, config, text) for text in texts]


def cosines(found, expected):
    return (unit(found) * unit(expected)).sum(axis=1)


def split(batch, vectors):
    return [vectors[start:end] for start, end in zip(batch.offsets[:-1], batch.offsets[1:], strict=True)]


@pytest.mark.parametrize(("path", "product"), VARIANTS, ids=lambda each: getattr(each, "name", each))
def test_every_length_agrees_with_the_papers_formulas(path, product, model, texts, expected):
    config, tensors = model
    batch = make_batch(texts)
    transformer = NumbaTransformer(
        NumbaTransformer.from_tensors(tensors, config)._weights, config, path=path, product=product
    )
    for found, rows in zip(split(batch, transformer.encode(batch)), expected, strict=True):
        cosine = cosines(found, rows)
        assert cosine.mean() > 0.998
        assert cosine.min() > 0.99


def test_the_formulas_tell_distances_apart(model, texts, expected):
    """What the test before would find if every distance were 0: the bound is no empty one."""
    config, tensors = model
    flat = dict(tensors)
    for name in ("distances.bias", "distances.table"):
        if name in flat:
            flat[name] = np.repeat(flat[name][:1], len(flat[name]), axis=0)
    found = NumbaTransformer.from_tensors(flat, config).encode(make_batch([texts[-1]]))
    assert cosines(found, expected[-1]).mean() < 0.99


def test_every_x86_path_computes_the_same_bits(model, texts):
    config, tensors = model
    batch = make_batch(texts)
    x86 = [path for path in PATHS if path.architecture == "x86"]
    assert len({NumbaTransformer.from_tensors(tensors, config, path=path).encode(batch).tobytes() for path in x86}) <= 1


def test_bits_do_not_depend_on_batch_order_or_threads(model, texts):
    config, tensors = model
    alone = NumbaTransformer.from_tensors(tensors, config, num_threads=1)
    expected = [alone.encode(make_batch([text])) for text in texts]
    order = np.random.default_rng(3).permutation(len(texts))
    batch = make_batch([texts[number] for number in order])
    for num_threads in (1, 3):
        several = NumbaTransformer.from_tensors(tensors, config, num_threads=num_threads)
        several = copy.copy(several)  # which makes it anew, as in another process
        for number, found in zip(order, split(batch, several.encode(batch)), strict=True):
            assert found.tobytes() == expected[number].tobytes()
    shared = NumbaTransformer.from_tensors(tensors, config, num_threads=3).encode(make_batch([texts[-1]]))
    assert shared.tobytes() == expected[-1].tobytes()


def test_keys_that_may_not_be_seen(model, texts):
    config, tensors = model
    text = texts[LENGTHS.index(129)]
    attention = np.random.default_rng(4).random(len(text)) < 0.7
    attention[0] = True
    found = NumbaTransformer.from_tensors(tensors, config).encode(make_batch([text], attention))
    assert cosines(found, reference_hidden(tensors, config, text, attention))[attention].mean() > 0.998
