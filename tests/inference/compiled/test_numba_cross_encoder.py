"""Cross-encoders in compiled kernels: the encoder in INT8, the head in float32."""

import copy
import math

import model_folders as folders
import numpy as np
import pytest
import small_bert
import small_modernbert
from compiled_paths import PATHS
from small_bert import make_batch, normalize

import rank_rerank
from rank_rerank import CrossEncoder
from rank_rerank.checkpoints.checkpoint import ClassifierHead
from rank_rerank.cli.main import main
from rank_rerank.errors import CheckpointFormatError, DeviceError, InvalidArgumentError
from rank_rerank.inference import choose
from rank_rerank.inference.compiled.numba_cross_encoder import NumbaCrossEncoder
from rank_rerank.inference.compiled.numba_transformer import NumbaTransformer

pytestmark = pytest.mark.skipif(not PATHS, reason="this processor has no instruction that the compiled runtime needs")

LENGTHS = (2, 3, 12, 13, 33, 64, 65, 96, 97, 129, 200, 300) * 3
FUNCTIONS = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "gelu": lambda x: 0.5 * x * (1 + small_bert.ERF(x / math.sqrt(2))),
}
KINDS = {
    "BERT": (small_bert, {}, ClassifierHead()),
    "XLM-RoBERTa": (
        small_bert,
        {"model_type": "xlm-roberta", "pad_token_id": 1, "position_offset": 2, "type_vocab_size": 1},
        ClassifierHead(),
    ),
    "DistilBERT": (small_bert, {"model_type": "distilbert", "type_vocab_size": 0}, ClassifierHead(activation="relu")),
    "ModernBERT": (small_modernbert, {}, ClassifierHead(activation="gelu", has_bias=False)),
    "ModernBERT, mean": (
        small_modernbert,
        {"norm_bias": True},
        ClassifierHead(pooling="mean", activation="gelu", has_bias=True),
    ),
}


def head_tensors(config, head):
    random = np.random.default_rng(7)
    hidden = config.hidden_size

    def normal(*shape, scale=1.0):
        return (random.standard_normal(shape) * scale).astype(np.float32)

    tensors = {"head.dense.weight": normal(hidden, hidden, scale=1 / math.sqrt(hidden))}
    if head.has_bias:
        tensors["head.dense.bias"] = normal(hidden, scale=0.2)
    if config.rotary is not None:
        tensors["head.norm.weight"] = 1 + normal(hidden, scale=0.2)
        if config.rotary.norm_bias:
            tensors["head.norm.bias"] = normal(hidden, scale=0.2)
    return tensors | {"classifier.weight": normal(1, hidden), "classifier.bias": normal(1)}


def reference_logit(tensors, config, head, hidden):
    """In float64, as the architecture's authors write it."""
    pooled = hidden.mean(axis=0) if head.pooling == "mean" else hidden[0]
    dense = FUNCTIONS[head.activation](tensors["head.dense.weight"] @ pooled + tensors.get("head.dense.bias", 0))
    if "head.norm.weight" in tensors:
        dense = normalize(dense[None], config)[0] * tensors["head.norm.weight"] + tensors.get("head.norm.bias", 0)
    return tensors["classifier.weight"][0] @ dense + tensors["classifier.bias"][0]


@pytest.fixture(params=KINDS, scope="module")
def model(request):
    """Module with the formulas, config, tensors of encoder and head, head."""
    source, changes, head = KINDS[request.param]
    config = source.make_config(**changes)
    return source, config, source.make_tensors(config), head_tensors(config, head), head


@pytest.fixture(scope="module")
def texts(model):
    config = model[1]
    random = np.random.default_rng(8)
    return [random.integers(2, config.vocab_size, length) for length in LENGTHS]


def compiled(model, **options):
    _, config, tensors, of_head, head = model
    return NumbaCrossEncoder(NumbaTransformer.from_tensors(tensors, config, **options), config, head, of_head)


def ranks(values):
    return np.argsort(np.argsort(values))


def test_logits_and_their_order_are_those_of_the_formulas(model, texts):
    source, config, tensors, of_head, head = model
    hidden = [source.reference_hidden(tensors, config, text) for text in texts]
    expected = np.array([reference_logit(of_head, config, head, rows) for rows in hidden])
    found = compiled(model).logits(make_batch(texts))
    assert np.abs(found - expected).max() < 0.15 * expected.std()
    assert np.abs(found - expected).mean() < 0.05 * expected.std()
    assert np.corrcoef(ranks(found), ranks(expected))[0, 1] > 0.98


def test_the_head_is_computed_in_float32(model, texts):
    _, config, _, of_head, head = model
    encoder = compiled(model)
    for text in texts[:12]:
        hidden = encoder._transformer.hidden_states(make_batch([text])).astype(np.float64)
        expected = reference_logit(of_head, config, head, hidden)
        assert encoder.logits(make_batch([text]))[0] == pytest.approx(expected, rel=1e-5, abs=2e-5)


def test_a_pairs_bits_do_not_depend_on_batch_order_or_threads(model, texts):
    alone = compiled(model, num_threads=1)
    expected = np.array([alone.logits(make_batch([text]))[0] for text in texts])
    order = np.random.default_rng(9).permutation(len(texts))
    for num_threads in (1, 3):
        found = compiled(model, num_threads=num_threads).logits(make_batch([texts[number] for number in order]))
        assert found.tobytes() == expected[order].tobytes()
    shared = compiled(model, num_threads=3)
    assert [shared.logits(make_batch([text]))[0] for text in texts] == expected.tolist()


def test_empty_pairs_masks_and_copies(model, texts):
    encoder = compiled(model)
    [alone] = encoder.logits(make_batch(texts[:1]))
    assert encoder.logits(make_batch([[], texts[0], []])).tolist() == [-np.inf, alone, -np.inf]
    assert encoder.logits(make_batch([])).shape == (0,)
    assert copy.deepcopy(encoder).logits(make_batch(texts[:1])).tolist() == [alone]
    filled = np.concatenate([texts[3], np.full(20, 9)])
    masked = encoder.logits(make_batch([filled], np.arange(len(filled)) < len(texts[3])))
    assert masked.tolist() == encoder.logits(make_batch([texts[3]])).tolist()


@pytest.mark.parametrize("name", ["head.dense.weight", "classifier.weight", "classifier.bias"])
def test_damaged_heads_are_refused(model, name):
    _, config, tensors, of_head, head = model
    transformer = NumbaTransformer.from_tensors(tensors, config)
    for broken in (np.full_like(of_head[name], np.nan), np.zeros((3, 3), np.float32)):
        with pytest.raises(CheckpointFormatError, match=name.replace(".", r"\.")):
            NumbaCrossEncoder(transformer, config, head, of_head | {name: broken})
    without = {key: tensor for key, tensor in of_head.items() if key != name}
    with pytest.raises(CheckpointFormatError, match="missing"):
        NumbaCrossEncoder(transformer, config, head, without)


QUERY = "Where do whales live?"
DOCUMENTS = [
    "A whale is a mammal of the sea.",
    "word",
    "Bread is baked at dawn. " * 9,
    "",
    "Whales live in all oceans.",
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A BERT whose sizes leave INT8 little noise."""
    monkeypatch.setattr(folders, "HIDDEN", 64)
    monkeypatch.setattr(folders, "INNER", 128)
    return folders.write_cross_encoder(tmp_path, hidden_size=64, intermediate_size=128)


@pytest.mark.parametrize("options", [{"runtime": "numba"}, {"precision": "int8"}])
def test_load_opens_it(folder, options):
    reranker = rank_rerank.load(folder, **options)
    assert reranker.cross_encoder.transformer.description.startswith("compiled")
    ranking = reranker.rerank(QUERY, DOCUMENTS)
    assert ranking[-1].index == 3
    for hit in ranking[:-1]:
        [alone] = reranker.rerank(QUERY, [DOCUMENTS[hit.index]])
        assert alone.score == hit.score


def test_scores_agree_with_pytorch(folder):
    pytest.importorskip("torch", reason='needs torch: pip install ".[torch]"')
    found = CrossEncoder.from_pretrained(folder, runtime="numba").score(QUERY, DOCUMENTS).scores
    expected = CrossEncoder.from_pretrained(folder, runtime="torch").score(QUERY, DOCUMENTS).scores
    assert found[3] == expected[3] == -np.inf
    kept = np.isfinite(expected)
    assert found[kept] == pytest.approx(expected[kept], abs=0.02)
    assert CrossEncoder.from_pretrained(folder).transformer.description.startswith("PyTorch")


def test_without_pytorch_auto_compiles(folder, monkeypatch, caplog):
    monkeypatch.setattr(choose, "find_spec", lambda _: None)
    with caplog.at_level("INFO", "rank_rerank"):
        assert CrossEncoder.from_pretrained(folder).transformer.description.startswith("compiled")
    assert "PyTorch is not installed" in caplog.text


def test_the_doctor_shows_it(folder, monkeypatch, capsys):
    monkeypatch.setattr(choose, "find_spec", lambda _: None)
    assert main(["doctor", "--model", str(folder)]) == 0
    assert "compiled, cpu" in capsys.readouterr().out


def test_what_is_asked_for_and_cannot_be_is_refused(folder):
    with pytest.raises(DeviceError, match='run on "cpu" only'):
        rank_rerank.load(folder, runtime="numba", device="cuda")
    with pytest.raises(CheckpointFormatError, match="no ONNX file"):
        rank_rerank.load(folder, runtime="onnx", precision="int8")
    pytest.importorskip("torch", reason='needs torch: pip install ".[torch]"')
    with pytest.raises(InvalidArgumentError, match='runtime="numba"'):
        rank_rerank.load(folder, runtime="torch", precision="int8")
