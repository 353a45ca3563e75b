"""ModernBERT in compiled kernels: rotated, gated, and with a window round each token."""

import copy

import numpy as np
import pytest
from compiled_paths import PATHS
from small_bert import make_batch, unit
from small_modernbert import make_config, make_tensors, reference_hidden

from rank_rerank.checkpoints.gated_layers import plain_frequencies
from rank_rerank.inference.compiled import loading
from rank_rerank.inference.compiled.numba_transformer import NumbaTransformer
from rank_rerank.inference.compiled.rotary_angles import CHUNK, RotaryAngles

pytestmark = pytest.mark.skipif(not PATHS, reason="this processor has no instruction that the compiled runtime needs")

# one and two tokens; round the sizes of tiles and panels; round the window and twice the window; many blocks
LENGTHS = (1, 2, 3, 11, 12, 13, 17, 31, 32, 33, 63, 64, 65, 66, 95, 97, 127, 128, 129, 130, 200, 511, 512, 513)
ONE_LOCAL_LAYER = (False,)


@pytest.fixture(scope="module")
def config():
    return make_config()


@pytest.fixture(scope="module")
def tensors(config):
    return make_tensors(config)


@pytest.fixture(scope="module")
def texts(config):
    random = np.random.default_rng(1)
    return [random.integers(0, config.vocab_size, length) for length in LENGTHS]


def cosines(found, expected):
    return (unit(found) * unit(expected)).sum(axis=1)


def split(batch, vectors):
    return [vectors[start:end] for start, end in zip(batch.offsets[:-1], batch.offsets[1:], strict=True)]


def test_every_length_agrees_with_the_papers_formulas(path, config, tensors, texts):
    batch = make_batch(texts)
    for text, found in zip(
        texts, split(batch, NumbaTransformer.from_tensors(tensors, config, path=path).encode(batch)), strict=True
    ):
        cosine = cosines(found, reference_hidden(tensors, config, text))
        assert cosine.mean() > 0.998
        assert cosine.min() > 0.99


@pytest.mark.parametrize("window", [5, 32, 64])
def test_every_x86_path_computes_the_same_bits(texts, window):
    config = make_config(window=window)
    tensors, batch = make_tensors(config), make_batch(texts)
    x86 = [path for path in PATHS if path.architecture == "x86"]
    assert len({NumbaTransformer.from_tensors(tensors, config, path=path).encode(batch).tobytes() for path in x86}) <= 1


def test_every_length_agrees_with_pytorch(config, tensors, texts):
    torch = pytest.importorskip("torch", reason='needs torch: pip install ".[torch]"')
    from rank_rerank.inference.pytorch.torch_encoder import hidden_states

    weights = {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}
    transformer = NumbaTransformer.from_tensors(tensors, config)
    for text in texts:
        attention = torch.ones(1, len(text), dtype=torch.bool)
        expected = hidden_states(weights, config, torch.from_numpy(text)[None], attention)[0].numpy()
        found = transformer.hidden_states(make_batch([text]))
        assert cosines(found, expected).mean() > 0.998
        assert np.abs(found - expected).max() < 0.15 * np.abs(expected).max()


CONFIGS = {
    "all global": {"is_global": (True, True)},
    "all local": {"is_global": (False, False)},
    "a narrow window": {"window": 3},
    "an odd window": {"window": 17},
    "heads of 20": {"hidden_size": 80, "num_heads": 4},
    "heads of 16": {"hidden_size": 48, "num_heads": 3},
    "heads of 64, an odd gate": {"hidden_size": 128, "intermediate_size": 272},
    "a row of several groups": {"hidden_size": 144, "num_heads": 2, "intermediate_size": 400},
    "biases everywhere": {"norm_bias": True, "attention_bias": True, "mlp_bias": True},
    "one layer": {"is_global": (True,)},
    "SiLU": {"activation": "silu"},
    "sizes of no whole registers": {"hidden_size": 60, "num_heads": 3, "intermediate_size": 135},
}


@pytest.mark.parametrize("name", CONFIGS)
def test_sizes_windows_and_biases(path, texts, name):
    config = make_config(**CONFIGS[name])
    tensors = make_tensors(config)
    transformer = NumbaTransformer.from_tensors(tensors, config, path=path)
    for text in texts[4::4]:
        cosine = cosines(transformer.encode(make_batch([text])), reference_hidden(tensors, config, text))
        assert cosine.mean() > 0.997
        assert cosine.min() > 0.98


@pytest.mark.parametrize("window", [1, 7, 31, 32, 64])
def test_a_local_layer_sees_its_window_and_nothing_else(path, window):
    config = make_config(is_global=ONE_LOCAL_LAYER, window=window)
    transformer = NumbaTransformer.from_tensors(make_tensors(config), config, path=path)
    random = np.random.default_rng(2)
    text = random.integers(1, config.vocab_size, 230)
    before = transformer.encode(make_batch([text]))
    for place in (0, 1, 11, 12, 95, 96, 100, 228, 229):
        other = text.copy()
        other[place] = text[place] % (config.vocab_size - 1) + 1
        difference = np.abs(transformer.encode(make_batch([other])) - before).max(axis=1)
        seen = np.zeros(len(text), bool)
        seen[max(0, place - window) : place + window + 1] = True
        if loading.attention_product(path) == "float32":
            assert np.array_equal(difference > 0, seen)
        else:  # values are rounded with scales that every token has a part in
            assert difference[~seen].max() < 0.006
            assert window > 1 or difference[seen].min() > 0.009


def test_each_kind_of_layer_has_angles_of_its_own(tensors, texts):
    text = texts[-1]
    for theta, is_close in ((160_000.0, True), (10_000.0, False)):
        expected = reference_hidden(tensors, make_config(global_theta=theta), text)
        found = NumbaTransformer.from_tensors(tensors, make_config()).encode(make_batch([text]))
        assert (cosines(found, expected).mean() > 0.998) == is_close


def test_positions_of_a_long_text_have_the_same_angles_as_those_of_a_short_one():
    short, long = (RotaryAngles(plain_frequencies(10_000.0, 20), 32) for _ in range(2))
    for num_positions in (1, 5, CHUNK, CHUNK + 1):
        short.rows(num_positions)
    count = 5 * CHUNK
    assert short.rows(count)[:count].tobytes() == long.rows(count)[:count].tobytes()
    angles = np.arange(count)[:, None] * 10_000.0 ** (-np.arange(10) / 10)
    np.testing.assert_allclose(long.rows(count)[:, :10], np.cos(angles), atol=5e-4)  # the authors' angles are float32
    np.testing.assert_allclose(long.rows(count)[:, 16:26], np.sin(angles), atol=5e-4)
    assert not long.rows(count)[:, 10:16].any()


def test_masked_tokens_are_not_looked_at(path, config, tensors):
    transformer = NumbaTransformer.from_tensors(tensors, config, path=path)
    random = np.random.default_rng(3)
    text = random.integers(1, config.vocab_size, 200)
    attention = random.random(200) < 0.6
    vectors = transformer.encode(make_batch([text], attention))
    assert cosines(vectors, reference_hidden(tensors, config, text, attention)).min() > 0.98
    other = np.where(attention, text, random.integers(1, config.vocab_size, 200))
    assert transformer.encode(make_batch([other], attention))[attention].tobytes() == vectors[attention].tobytes()


def test_a_token_without_keys_in_its_window_attends_to_nothing(path):
    config = make_config(is_global=(False, False), attention_bias=True)
    tensors = make_tensors(config)
    text = np.random.default_rng(4).integers(1, config.vocab_size, 200)
    attention = np.arange(200) < 20
    found = NumbaTransformer.from_tensors(tensors, config, path=path).encode(make_batch([text], attention))
    assert cosines(found, reference_hidden(tensors, config, text, attention)).min() > 0.98


def test_filler_behind_a_text_changes_no_bit(path, config, tensors, texts):
    transformer = NumbaTransformer.from_tensors(tensors, config, path=path)
    for text in texts:
        filled = np.concatenate([text, np.full(135, 9)])
        vectors = transformer.encode(make_batch([filled], np.arange(len(filled)) < len(text)))
        assert vectors[: len(text)].tobytes() == transformer.encode(make_batch([text])).tobytes()


def test_a_texts_bits_do_not_depend_on_batch_order_or_threads(path, config, tensors):
    random = np.random.default_rng(5)
    texts = [random.integers(0, config.vocab_size, length) for length in [*range(1, 201), *LENGTHS[-4:]]]
    alone = NumbaTransformer.from_tensors(tensors, config, num_threads=1, path=path)
    expected = [alone.encode(make_batch([text])).tobytes() for text in texts]
    order = random.permutation(len(texts))
    batch = make_batch([texts[number] for number in order])
    for num_threads in (1, 3):
        transformer = NumbaTransformer.from_tensors(tensors, config, num_threads=num_threads, path=path)
        found = split(batch, transformer.encode(batch))
        assert [n for n, vectors in zip(order, found, strict=True) if vectors.tobytes() != expected[n]] == []


@pytest.mark.parametrize("num_threads", [2, 5])
def test_a_text_that_threads_share_keeps_its_bits(path, config, tensors, texts, num_threads):
    alone = NumbaTransformer.from_tensors(tensors, config, num_threads=1, path=path)
    shared = NumbaTransformer.from_tensors(tensors, config, num_threads=num_threads, path=path)
    for text in texts:
        assert shared.encode(make_batch([text])).tobytes() == alone.encode(make_batch([text])).tobytes()


def test_hidden_states_are_the_rows_before_normalization(config, tensors, texts):
    transformer = NumbaTransformer.from_tensors(tensors, config)
    batch = make_batch(texts)
    np.testing.assert_allclose(unit(transformer.hidden_states(batch)), transformer.encode(batch), atol=1e-6)


def test_a_copy_computes_the_same(config, tensors, texts):
    transformer = NumbaTransformer.from_tensors(tensors, config)
    again = copy.deepcopy(transformer)
    assert again.encode(make_batch(texts)).tobytes() == transformer.encode(make_batch(texts)).tobytes()
