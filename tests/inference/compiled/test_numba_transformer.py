import copy
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from compiled_paths import PATHS
from forked_child import run_in_forked_child
from small_bert import activate, make_batch, make_config, make_tensors, reference_hidden, unit

import rank_rerank
from rank_rerank.checkpoints.find import bundled_folder
from rank_rerank.checkpoints.rotary_positions import RotaryConfig
from rank_rerank.checkpoints.transformer_config import read_transformer_config
from rank_rerank.errors import CheckpointFormatError, DeviceError, InvalidArgumentError
from rank_rerank.inference.compiled.dense_stages import CURVES
from rank_rerank.inference.compiled.numba_transformer import NumbaTransformer
from rank_rerank.inference.int8_weights.dense_weights import DenseWeights
from rank_rerank.inference.onnx_runtime.onnx_transformer import OnnxTransformer
from rank_rerank.kernels.processor import VECTOR_PATHS

MODEL_FILE = bundled_folder() / "model_int8.onnx"
X86 = [path for path in PATHS if path.architecture == "x86"]

pytestmark = pytest.mark.skipif(not PATHS, reason="this processor has no instruction that the compiled runtime needs")


@pytest.fixture(scope="module")
def config():
    return make_config()


@pytest.fixture(scope="module")
def tensors(config):
    return make_tensors(config)


@pytest.fixture(scope="module")
def texts(config):
    random = np.random.default_rng(1)
    return [random.integers(0, config.vocab_size, length) for length in (1, 2, 3, 5, 12, 17, 33, 95, 97, 130, 512)]


def cosines(found, expected):
    return (found * unit(expected)).sum(axis=1)


def split(batch, vectors):
    return [vectors[start:end] for start, end in zip(batch.offsets[:-1], batch.offsets[1:], strict=True)]


CONFIGS = {
    "as it is": {},
    "three heads of 16": {"hidden_size": 48, "num_heads": 3, "intermediate_size": 16},
    "heads of 20": {"hidden_size": 80, "num_heads": 4},
    "heads of 64": {"hidden_size": 128, "intermediate_size": 272},
    "a row of several groups": {"hidden_size": 144, "num_heads": 2, "intermediate_size": 400},
    "one head, one layer": {"num_heads": 1, "num_layers": 1},
    "GELU by tanh": {"activation": "gelu_new"},
    "SiLU": {"activation": "silu"},
    "ReLU": {"activation": "relu"},
    "sizes of no whole registers": {"hidden_size": 60, "num_heads": 3, "intermediate_size": 135},
    "a hidden size of one more": {"hidden_size": 65, "num_heads": 1, "intermediate_size": 33},
    "ELECTRA": {"model_type": "electra", "embedding_size": 48},
    "ELECTRA, odd sizes": {"model_type": "electra", "embedding_size": 37, "hidden_size": 66},
    "DistilBERT": {"model_type": "distilbert", "type_vocab_size": 0},
    "RoBERTa": {"model_type": "roberta", "pad_token_id": 1, "position_offset": 2, "type_vocab_size": 1},
}


@pytest.mark.parametrize("name", CONFIGS)
def test_it_computes_the_papers_formulas(path, texts, name):
    config = make_config(**CONFIGS[name])
    tensors = make_tensors(config)
    transformer = NumbaTransformer.from_tensors(tensors, config, path=path)
    short = [np.where(text == config.pad_token_id, 2, text) for text in texts[:9]]
    batch = make_batch(short)
    for text, vectors in zip(short, split(batch, transformer.encode(batch)), strict=True):
        found = cosines(vectors, reference_hidden(tensors, config, text))
        assert found.min() > 0.99  # int8: 64 numbers leave more noise than 384
        assert found.mean() > 0.998


def test_hidden_states_are_the_rows_before_normalization(config, tensors, texts):
    transformer = NumbaTransformer.from_tensors(tensors, config)
    batch = make_batch(texts)
    hidden = transformer.hidden_states(batch)
    np.testing.assert_allclose(unit(hidden), transformer.encode(batch), atol=1e-6)
    expected = np.concatenate([reference_hidden(tensors, config, text) for text in texts])
    assert np.abs(hidden - expected).max() < 0.15 * np.abs(expected).max()


def make_projection(num_inputs, num_outputs, seed=2, **options):
    random = np.random.default_rng(seed)

    def normal(*shape):
        return random.standard_normal(shape).astype(np.float32)

    has_residual = options.get("is_residual", False) and num_inputs != num_outputs
    return DenseWeights(
        weight=normal(num_outputs, num_inputs) / np.float32(np.sqrt(num_inputs)),
        bias=normal(num_outputs),
        residual=normal(num_outputs, num_inputs) if has_residual else None,
        **options,
    )


ENDS = {
    "identity": lambda x: x,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: activate(x, "gelu"),
}


def project(projections, x):
    """In float64, of unit length."""
    for layer in projections:
        y = ENDS[layer.activation](x @ layer.weight.T.astype(np.float64) + layer.bias)
        if layer.is_residual:
            y = y + (x if layer.residual is None else x @ layer.residual.T.astype(np.float64))
        x = y
    return unit(x)


@pytest.mark.parametrize("dim", [1, 7, 16, 33, 48, 128, 200])
def test_a_projection_is_computed_in_float32(path, config, tensors, texts, dim):
    projection = make_projection(config.hidden_size, dim)
    transformer = NumbaTransformer.from_tensors(tensors, config, [projection], path=path)
    batch = make_batch(texts)
    hidden = transformer.hidden_states(batch).astype(np.float64)
    assert transformer.dim == dim
    np.testing.assert_allclose(transformer.encode(batch), project([projection], hidden), atol=2e-6)


@pytest.mark.parametrize("sizes", [(64, 64), (64, 40), (64, 96, 96), (64, 50, 20, 128)], ids=str)
@pytest.mark.parametrize("is_residual", [False, True])
@pytest.mark.parametrize("activation", ["identity", *CURVES])
def test_layers_with_activations_and_residuals(config, tensors, texts, activation, is_residual, sizes):
    options = {"activation": activation, "is_residual": is_residual}
    layers = [make_projection(first, second, seed, **options) for seed, (first, second) in enumerate(pairwise(sizes))]
    transformer = NumbaTransformer.from_tensors(tensors, config, layers)
    batch = make_batch(texts)
    hidden = transformer.hidden_states(batch).astype(np.float64)
    found = transformer.encode(batch)
    np.testing.assert_allclose(found, project(layers, hidden), atol=5e-5 if activation == "gelu" else 5e-6)
    alone = NumbaTransformer.from_tensors(tensors, config, layers, num_threads=1)
    shared = NumbaTransformer.from_tensors(tensors, config, layers, num_threads=3)
    assert alone.encode(batch).tobytes() == found.tobytes()
    assert shared.encode(make_batch(texts[-1:])).tobytes() == found[-len(texts[-1]) :].tobytes()


def test_masked_tokens_are_not_looked_at(path, config, tensors):
    transformer = NumbaTransformer.from_tensors(tensors, config, path=path)
    random = np.random.default_rng(3)
    text = random.integers(1, config.vocab_size, 40)
    attention = random.random(40) < 0.6
    attention[0] = True
    vectors = transformer.encode(make_batch([text], attention))
    expected = reference_hidden(tensors, config, text, attention)
    assert cosines(vectors, expected)[attention].min() > 0.99
    other = np.where(attention, text, random.integers(1, config.vocab_size, 40))
    changed = transformer.encode(make_batch([other], attention))
    assert changed[attention].tobytes() == vectors[attention].tobytes()


def test_filler_behind_a_text_changes_no_bit(path, config, tensors, texts):
    transformer = NumbaTransformer.from_tensors(tensors, config, path=path)
    for text in texts[:8]:
        filled = np.concatenate([text, np.full(35, 9)])
        vectors = transformer.encode(make_batch([filled], np.arange(len(filled)) < len(text)))
        assert vectors[: len(text)].tobytes() == transformer.encode(make_batch([text])).tobytes()


def test_token_types_tell_two_texts_of_a_pair_apart(config, tensors):
    transformer = NumbaTransformer.from_tensors(tensors, config)
    text, types = np.arange(1, 31), (np.arange(30) > 12).astype(np.int64)
    found = transformer.encode(make_batch([text], types=types))
    assert cosines(found, reference_hidden(tensors, config, text, types=types)).min() > 0.99
    assert cosines(found, reference_hidden(tensors, config, text)).min() < 0.98


def test_a_large_channel_costs_no_accuracy(config, texts):
    tensors = make_tensors(config, outlier=8.0)
    transformer = NumbaTransformer.from_tensors(tensors, config)
    found = transformer.encode(make_batch(texts[:9]))
    expected = np.concatenate([reference_hidden(tensors, config, text) for text in texts[:9]])
    assert cosines(found, expected).mean() > 0.997


@pytest.fixture(scope="module")
def every_length(config):
    random = np.random.default_rng(4)
    return [random.integers(0, config.vocab_size, length) for length in range(1, 513)]


def test_a_texts_bits_do_not_depend_on_batch_order_or_threads(path, config, tensors, every_length):
    """Every length from 1 to 512."""
    alone = NumbaTransformer.from_tensors(tensors, config, num_threads=1, path=path)
    expected = [alone.encode(make_batch([text])).tobytes() for text in every_length]
    order = np.random.default_rng(5).permutation(len(every_length))
    batch = make_batch([every_length[number] for number in order])
    for num_threads in (1, 3):
        transformer = NumbaTransformer.from_tensors(tensors, config, num_threads=num_threads, path=path)
        found = split(batch, transformer.encode(batch))
        different = [
            number for number, vectors in zip(order, found, strict=True) if vectors.tobytes() != expected[number]
        ]
        assert different == []


@pytest.mark.parametrize("num_threads", [2, 5])
def test_a_text_that_threads_share_keeps_its_bits(path, config, tensors, texts, num_threads):
    alone = NumbaTransformer.from_tensors(tensors, config, num_threads=1, path=path)
    shared = NumbaTransformer.from_tensors(tensors, config, num_threads=num_threads, path=path)
    for text in texts:
        for _ in range(3):
            assert shared.encode(make_batch([text])).tobytes() == alone.encode(make_batch([text])).tobytes()


@pytest.mark.parametrize("name", ["as it is", "heads of 20", "a row of several groups", "sizes of no whole registers"])
def test_every_x86_path_computes_the_same_bits(texts, name):
    """Weights that are rounded to nearest have neighbors whose products leave 16 bits."""
    config = make_config(**CONFIGS[name])
    tensors, batch = make_tensors(config), make_batch(texts)
    assert len({NumbaTransformer.from_tensors(tensors, config, path=path).encode(batch).tobytes() for path in X86}) <= 1


def test_every_x86_path_computes_the_bundled_models_bits(encoder):
    batch = encoder.tokenizer.tokenize_documents(["A short text.", "Enzymes that repair DNA slow down. " * 30, "odd"])
    config = read_transformer_config(bundled_folder())
    assert len({NumbaTransformer.from_onnx(MODEL_FILE, config, path=path).encode(batch).tobytes() for path in X86}) <= 1


def test_no_texts_and_empty_texts(config, tensors):
    transformer = NumbaTransformer.from_tensors(tensors, config)
    assert transformer.encode(make_batch([])).shape == (0, config.hidden_size)
    alone = transformer.encode(make_batch([[5, 6]]))
    assert transformer.encode(make_batch([[], [5, 6], []])).tobytes() == alone.tobytes()


def test_many_threads_may_call_at_once(config, tensors, texts):
    transformer = NumbaTransformer.from_tensors(tensors, config, num_threads=2)
    batches = [make_batch(texts[number:]) for number in range(len(texts))]
    expected = [transformer.encode(batch).tobytes() for batch in batches]
    with ThreadPoolExecutor(12) as pool:
        calls = [number % len(batches) for number in range(120)]
        found = list(pool.map(lambda number: transformer.encode(batches[number]).tobytes(), calls))
    assert found == [expected[number] for number in calls]


@pytest.mark.skipif(sys.platform != "linux", reason="fork is used on Linux")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_computes_the_same(config, tensors, texts):
    transformer = NumbaTransformer.from_tensors(tensors, config, num_threads=2)
    batch = make_batch(texts)
    expected = transformer.encode(batch).tobytes()
    for _ in range(3):
        assert run_in_forked_child(lambda: transformer.encode(batch).tobytes()) == expected


def test_a_copy_computes_the_same(config, tensors, texts):
    transformer = NumbaTransformer.from_tensors(tensors, config)
    again = copy.deepcopy(transformer)
    assert again.encode(make_batch(texts)).tobytes() == transformer.encode(make_batch(texts)).tobytes()


def test_memory_of_long_texts_is_given_back(config, tensors, texts, monkeypatch):
    transformer = NumbaTransformer.from_tensors(tensors, config, num_threads=1)
    transformer.encode(make_batch(texts))
    kept = transformer._pool._free
    assert len(kept) == 1
    monkeypatch.setattr(transformer._pool, "_max_kept_bytes", 10)
    transformer.encode(make_batch(texts))
    assert kept == []


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (make_batch([[1, 97]]), "token ids beyond the model's 97"),
        (make_batch([[-1]]), "token ids beyond the model's 97"),
        (make_batch([[1] * 513]), "513 tokens, and the model has 512 positions"),
        (make_batch([[1]], types=np.array([2])), "2 token types"),
    ],
)
def test_tokens_that_the_model_lacks_are_refused(config, tensors, batch, message):
    with pytest.raises(CheckpointFormatError, match=message):
        NumbaTransformer.from_tensors(tensors, config).encode(batch)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation": "tanh"}, "no activation tanh"),
        ({"embedding_size": 32}, r"embeddings\.norm\.bias has the shape \(64,\), config\.json says \(32,\)"),
        ({"rotary": RotaryConfig((True, True), 64, 1e4, 1e4)}, r"layers\.0\.qkv\.weight is missing"),
        ({"vocab_size": 98}, r"embeddings\.word has the shape \(97, 64\), config\.json says \(98, 64\)"),
        ({"num_layers": 3}, r"layers\.2\.query\.weight is missing"),
    ],
)
def test_what_is_not_computed_is_refused(config, tensors, change, message):
    with pytest.raises(CheckpointFormatError, match=message):
        NumbaTransformer.from_tensors(tensors, replace(config, **change))


@pytest.mark.parametrize("damage", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(config, tensors, damage):
    broken = dict(tensors)
    broken["layers.1.up.weight"] = np.full_like(tensors["layers.1.up.weight"], damage)
    with pytest.raises(CheckpointFormatError, match=r"layers\.1\.up\.weight holds NaN or infinity"):
        NumbaTransformer.from_tensors(broken, config)


@pytest.mark.parametrize(
    ("projection", "message"),
    [
        (make_projection(32, 16), "takes 32 numbers, and 64 come in"),
        (replace(make_projection(64, 16), is_residual=True), "no fitting residual"),
        (make_projection(64, 16, activation="softplus"), "no activation softplus"),
    ],
)
def test_projections_that_do_not_fit_are_refused(config, tensors, projection, message):
    with pytest.raises(CheckpointFormatError, match=message):
        NumbaTransformer.from_tensors(tensors, config, [projection])


def test_processors_without_such_an_instruction_are_refused(config, tensors):
    portable = next(path for path in VECTOR_PATHS if path.name == "portable")
    with pytest.raises(DeviceError, match='use runtime="onnx"'):
        NumbaTransformer.from_tensors(tensors, config, path=portable)


def test_the_bundled_model_agrees_with_onnx_runtime(encoder):
    documents = ["A short text.", "Enzymes that repair DNA slow down with age. " * 12, "odd"]
    batch = encoder.tokenizer.tokenize_documents(documents)
    onnx = OnnxTransformer(MODEL_FILE, encoder.dim, "int8").encode(batch)
    compiled = NumbaTransformer.from_onnx(MODEL_FILE, read_transformer_config(bundled_folder())).encode(batch)
    found = (onnx * compiled).sum(axis=1)
    assert found.mean() > 0.998
    assert found.min() > 0.99


def test_auto_takes_the_compiled_runtime_and_onnx_can_be_asked_for():
    names = {
        runtime: rank_rerank.TokenEncoder.from_pretrained(runtime=runtime).transformer.description.partition(",")[0]
        for runtime in ("auto", "numba", "onnx")
    }
    assert names["auto"] == names["numba"] == "compiled"
    assert names["onnx"].startswith("ONNX Runtime")


def test_an_unknown_runtime_is_refused():
    with pytest.raises(InvalidArgumentError, match='runtime must be one of "auto", "numba", "onnx"'):
        rank_rerank.load(runtime="tensorflow")
