"""Cross-encoders in compiled kernels: the encoder in INT8, the head in float32."""

import copy
import math

import model_folders as folders
import numpy as np
import pytest
import small_bert
import small_modernbert
from compiled_paths import PATHS
from small_bert import make_batch

import rank_rerank
from rank_rerank import CrossEncoder
from rank_rerank.checkpoints.classifier_head import ClassifierHead, HeadStep, architecture_head
from rank_rerank.cli.main import main
from rank_rerank.errors import CheckpointFormatError, DeviceError, InvalidArgumentError
from rank_rerank.inference import choose
from rank_rerank.inference.compiled.numba_cross_encoder import NumbaCrossEncoder
from rank_rerank.inference.compiled.numba_transformer import NumbaTransformer
from rank_rerank.inference.float_head import FloatHead

pytestmark = pytest.mark.skipif(not PATHS, reason="this processor has no instruction that the compiled runtime needs")

LENGTHS = (2, 3, 12, 13, 33, 64, 65, 96, 97, 129, 200, 300) * 3
FUNCTIONS = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "identity": lambda x: x,
    "gelu": lambda x: 0.5 * x * (1 + small_bert.ERF(x / math.sqrt(2))),
}


def chain_head(config):
    """The modules of the Ettin rerankers: Dense, LayerNorm, Dense; here with a residual step and one more size."""
    hidden = config.hidden_size
    steps = (
        HeadStep("head.0", "linear", hidden, hidden, has_bias=False, activation="gelu", is_residual=True),
        HeadStep("head.1", "norm", hidden, hidden, is_norm=True),
        HeadStep("head.2", "linear", hidden, 8, activation="relu", is_residual=True),
        HeadStep("head.3", "linear", 8, 1),
    )
    return ClassifierHead(steps, "mean")


ROBERTA = {"model_type": "xlm-roberta", "pad_token_id": 1, "position_offset": 2, "type_vocab_size": 1}
KINDS = {
    "BERT": (small_bert, {}, architecture_head),
    "XLM-RoBERTa": (small_bert, ROBERTA, architecture_head),
    "DistilBERT": (
        small_bert,
        {"model_type": "distilbert", "type_vocab_size": 0},
        lambda config: architecture_head(config, activation="relu"),
    ),
    "ModernBERT": (
        small_modernbert,
        {},
        lambda config: architecture_head(config, activation="gelu", has_bias=False),
    ),
    "ModernBERT, mean": (
        small_modernbert,
        {"norm_bias": True},
        lambda config: architecture_head(config, pooling="mean", activation="gelu"),
    ),
    "BERT, modules": (small_bert, {}, chain_head),
    "ModernBERT, modules": (small_modernbert, {}, chain_head),
}


def head_tensors(head):
    random = np.random.default_rng(7)

    def normal(*shape, scale=1.0):
        return (random.standard_normal(shape) * scale).astype(np.float32)

    tensors = {}
    for step in head.steps:
        for name, _, shape in step.tensors():
            scale = (
                1 / math.sqrt(shape[-1]) if len(shape) == 2 and shape[0] > 1 else 1 if step.out_features == 1 else 0.2
            )
            tensors[name] = normal(*shape, scale=scale) + (step.is_norm and name.endswith("weight"))
    return tensors


def reference_logit(tensors, head, hidden):
    """In float64, as the architecture's authors write it."""
    values = hidden.mean(axis=0) if head.pooling == "mean" else hidden[0]
    for step in head.steps:
        weight, bias = tensors[f"{step.name}.weight"], tensors.get(f"{step.name}.bias", 0)
        if step.is_norm:
            values = (values - values.mean()) / np.sqrt(values.var() + step.epsilon) * weight + bias
            continue
        result = FUNCTIONS[step.activation](weight @ values + bias)
        if step.is_residual:
            result = result + tensors.get(f"{step.name}.residual", np.eye(len(result))) @ values
        values = result
    return values[0]


@pytest.fixture(params=KINDS, scope="module")
def model(request):
    """Module with the formulas, config, tensors of encoder and head, head."""
    source, changes, make_head = KINDS[request.param]
    config = source.make_config(**changes)
    head = make_head(config)
    return source, config, source.make_tensors(config), head_tensors(head), head


@pytest.fixture(scope="module")
def texts(model):
    config = model[1]
    random = np.random.default_rng(8)
    return [random.integers(2, config.vocab_size, length) for length in LENGTHS]


def compiled(model, **options):
    _, config, tensors, of_head, head = model
    return NumbaCrossEncoder(NumbaTransformer.from_tensors(tensors, config, **options), FloatHead(head, of_head))


def ranks(values):
    return np.argsort(np.argsort(values))


def test_logits_and_their_order_are_those_of_the_formulas(model, texts):
    source, config, tensors, of_head, head = model
    hidden = [source.reference_hidden(tensors, config, text) for text in texts]
    expected = np.array([reference_logit(of_head, head, rows) for rows in hidden])
    found = compiled(model).logits(make_batch(texts))
    assert np.abs(found - expected).max() < 0.15 * expected.std()
    assert np.abs(found - expected).mean() < 0.05 * expected.std()
    assert np.corrcoef(ranks(found), ranks(expected))[0, 1] > 0.98


def test_the_head_is_computed_in_float32(model, texts):
    *_, of_head, head = model
    encoder = compiled(model)
    for text in texts[:12]:
        hidden = encoder._transformer.hidden_states(make_batch([text])).astype(np.float64)
        expected = reference_logit(of_head, head, hidden)
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


def test_damaged_heads_are_refused(model):
    *_, of_head, head = model
    for name in of_head:
        for broken in (np.full_like(of_head[name], np.nan), np.zeros((3, 3), np.float32)):
            with pytest.raises(CheckpointFormatError, match=name.replace(".", r"\.")):
                FloatHead(head, of_head | {name: broken})
        with pytest.raises(CheckpointFormatError, match="missing"):
            FloatHead(head, {key: tensor for key, tensor in of_head.items() if key != name})


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
