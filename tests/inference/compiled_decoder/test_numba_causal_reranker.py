"""Causal rerankers in compiled kernels: against their definition, against transformers, and against themselves."""

import copy
import json
import subprocess
import sys

import numpy as np
import pytest
from causal_folders import config_of, tensors_of, write_causal, write_chat, write_converted
from decoder_cases import PATHS, QUICK_PATHS, make_batch, prefixed_texts, write_exported
from decoder_reference import dequantized_layers, reference_logit
from model_folders import write_safetensors

import rank_rerank
from rank_rerank import CrossEncoder
from rank_rerank.checkpoints.find import find_model
from rank_rerank.checkpoints.safetensors_file import TensorFiles
from rank_rerank.errors import CheckpointFormatError, DeviceError
from rank_rerank.inference.compiled_decoder import numba_causal_reranker, text_plan
from rank_rerank.inference.compiled_decoder.numba_causal_reranker import NumbaCausalReranker
from rank_rerank.inference.int8_weights.decoder_file import weights_from_source
from rank_rerank.kernels.processor import vector_path

pytestmark = pytest.mark.skipif(not PATHS, reason="this processor has no instruction that the compiled runtime needs")

KINDS = {
    "qwen3": {},
    "qwen3 with biases, words out of their own": {"attention_bias": True, "tie_word_embeddings": False},
    "qwen2": {},
    "llama": {"attention_bias": True, "mlp_bias": True, "num_key_value_heads": 4},
    "llama of whole panels": {"hidden_size": 64, "head_dim": 64, "num_attention_heads": 4, "intermediate_size": 160},
}
QUERY = "What is the capital, of France?"
# round the sizes of tiles, panels and blocks
LENGTHS = (1, 2, 3, 12, 13, 31, 32, 33, 65, 130, 240, 241, 260)
# how far log-odds that spread over five or so may be off: rounding to int8 in rows of 32 numbers, which average little
TOLERANCE = 0.4


def folder_of(tmp_path, name):
    tensors = tensors_of(config_of(name.split()[0], **KINDS[name]))
    if KINDS[name].get("hidden_size"):  # the wider a model, the smaller its weights
        tensors = {each: tensor * (0.6 if tensor.ndim > 1 else 1) for each, tensor in tensors.items()}
    return write_causal(tmp_path / "reranker", name.split()[0], tensors, **KINDS[name])


@pytest.fixture
def texts():
    random = np.random.default_rng(1)
    return [random.integers(0, 300, length) for length in LENGTHS]


@pytest.fixture
def prefixed():
    return prefixed_texts()


@pytest.fixture
def checkpoint(tmp_path):
    return find_model(write_causal(tmp_path / "reranker"))


@pytest.mark.parametrize("name", KINDS)
def test_it_computes_the_definition_on_its_weights(tmp_path, texts, name):
    checkpoint = find_model(folder_of(tmp_path, name))
    weights = weights_from_source(
        TensorFiles(checkpoint.model_file), checkpoint.decoder, checkpoint.prompt, vector_path()
    )
    layers = dequantized_layers(weights)
    expected = [reference_logit(weights, layers, checkpoint.decoder, text) for text in texts]
    found = NumbaCausalReranker(checkpoint).logits(make_batch(texts))
    differences = np.abs(found - expected)
    assert np.count_nonzero(differences < 1e-4) >= len(texts) // 4
    # where a number lies in the middle of two steps of int8, float32 and float64 may take different ones
    assert differences.max() < 0.1
    assert np.ptp(expected) > 2


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", KINDS)
def test_log_odds_stay_near_those_of_transformers(tmp_path, texts, name):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    folder = folder_of(tmp_path, name)
    checkpoint = find_model(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        last = [model(input_ids=torch.from_numpy(text[None])).logits[0, -1] for text in texts]
    expected = np.array([float(row[checkpoint.prompt.yes_id] - row[checkpoint.prompt.no_id]) for row in last])
    found = NumbaCausalReranker(checkpoint).logits(make_batch(texts))
    assert found == pytest.approx(expected, abs=TOLERANCE)
    assert np.std(found - expected) < 0.06 * np.std(expected)
    # pairs that are further apart than rounding moves them keep their order
    order = np.argsort(-expected)
    is_apart = expected[order][:, None] - expected[order][None] > 2 * TOLERANCE
    assert is_apart.any()
    assert (found[order][:, None] > found[order][None])[is_apart].all()


def test_large_channels_spoil_little(tmp_path, texts):
    """A few numbers of every row a hundred times as large as the others, as trained decoders have them."""
    pytest.importorskip("torch")
    wide = {"hidden_size": 512, "head_dim": 32, "intermediate_size": 512, "num_attention_heads": 8}
    tensors = tensors_of(config_of("qwen3", **wide))
    tensors = {name: tensor * (0.2 if tensor.ndim > 1 else 1) for name, tensor in tensors.items()}
    tensors["model.embed_tokens.weight"][:, :2] *= 100
    folder = write_causal(tmp_path / "reranker", tensors=tensors, **wide)
    expected = CrossEncoder.from_pretrained(folder, device="cpu").transformer.logits(make_batch(texts))
    found = NumbaCausalReranker(find_model(folder)).logits(make_batch(texts))
    assert np.std(found - expected) < 0.06 * np.std(expected)


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.name, marks=[] if path in QUICK_PATHS else pytest.mark.slow) for path in PATHS],
)
def test_bits_do_not_depend_on_batch_order_prefix_or_threads(checkpoint, texts, prefixed, path):
    alone = NumbaCausalReranker(checkpoint, 1, path)
    for group in (texts, prefixed, [*texts, []]):
        expected = [alone.logits(make_batch([text]))[0] for text in group]
        for num_threads in (1, 2, 5):
            model = NumbaCausalReranker(checkpoint, num_threads, path)
            assert model.logits(make_batch(group)).tolist() == expected
            assert model.logits(make_batch(group[::-1])).tolist() == expected[::-1]
            assert model.logits(make_batch(group[:1])).tolist() == expected[:1]


@pytest.mark.parametrize("paths", [QUICK_PATHS, pytest.param(PATHS, marks=pytest.mark.slow)], ids=["quick", "all"])
def test_every_x86_path_computes_the_same_bits(checkpoint, prefixed, paths):
    found = [
        NumbaCausalReranker(checkpoint, path=path).logits(make_batch(prefixed)).tolist()
        for path in paths
        if path.architecture == "x86"
    ]
    assert all(each == found[0] for each in found)


def test_the_prefix_is_computed_once(checkpoint, prefixed, monkeypatch):
    model = NumbaCausalReranker(checkpoint)
    expected = model.logits(make_batch(prefixed))
    ran = []
    last_state = model._pass.last_state
    monkeypatch.setattr(
        model._pass, "last_state", lambda tokens, *others: ran.append(len(tokens)) or last_state(tokens, *others)
    )
    assert np.array_equal(model.logits(make_batch(prefixed)), expected)
    assert sorted(ran) == [1, 5, 29, 64, 230, 300]
    # texts that are equal keep a token each
    twice = make_batch([prefixed[3], prefixed[3]])
    ran.clear()
    assert model.logits(twice).tolist() == [expected[3]] * 2
    assert ran == [1, 1]
    # and what a prefix takes is bounded
    monkeypatch.setattr(numba_causal_reranker, "MAX_PREFIX_BYTES", model._pass.prefix_bytes(39))
    ran.clear()
    assert np.array_equal(model.logits(make_batch(prefixed[2:])), expected[2:])
    assert min(ran) > 29


def test_blocks_and_threads_of_a_long_text_change_no_bit(checkpoint, prefixed, monkeypatch):
    expected = NumbaCausalReranker(checkpoint, 1).logits(make_batch(prefixed))
    monkeypatch.setattr(text_plan, "MAX_BLOCK_ROWS", 24)
    monkeypatch.setattr(numba_causal_reranker, "MAX_TOKENS_ALONE", 100)
    assert np.array_equal(NumbaCausalReranker(checkpoint, 3).logits(make_batch(prefixed)), expected)


@pytest.mark.parametrize("write", [write_causal, write_chat, write_converted])
def test_an_export_gives_the_same_bits(tmp_path, write):
    pytest.importorskip("torch")
    from rank_rerank.export.decoder_export import export_decoder

    texts = ["Paris is the capital, and the largest city, of France.", "Bananas", "", "the capital of Germany " * 150]
    checkpoint = find_model(write(tmp_path / "reranker"))
    rounded = CrossEncoder.from_pretrained(checkpoint.folder, precision="int8")
    words = [f"{text} {number}" for text in texts[:2] for number in range(7)]
    exported = export_decoder(checkpoint, tmp_path / "out", words)
    assert exported.correlation > 0.9
    assert exported.max_difference < 1
    again = CrossEncoder.from_pretrained(tmp_path / "out")
    assert (
        again.transformer.description
        == rounded.transformer.description
        == f"compiled, cpu ({vector_path().name}), int8"
    )
    for each in (again, copy.deepcopy(again)):
        assert np.array_equal(each.score(QUERY, texts).scores, rounded.score(QUERY, texts).scores)


def test_words_that_are_not_finite_are_refused_when_they_are_read(tmp_path, texts):
    tensors = tensors_of(config_of("qwen3"))
    tensors["model.embed_tokens.weight"][7] = np.nan
    model = NumbaCausalReranker(find_model(write_causal(tmp_path / "reranker", tensors=tensors)))
    assert np.isfinite(model.logits(make_batch([[1, 2, 3]]))).all()
    with pytest.raises(CheckpointFormatError, match="NaN"):
        model.logits(make_batch([[1, 7, 3]]))


@pytest.mark.parametrize("tokens", [[-1], [10**6], [1] * 513])
def test_tokens_that_the_model_lacks_are_refused(checkpoint, tokens):
    with pytest.raises(CheckpointFormatError, match="model"):
        NumbaCausalReranker(checkpoint).logits(make_batch([tokens]))


def test_no_texts_and_empty_texts(checkpoint):
    model = NumbaCausalReranker(checkpoint)
    assert len(model.logits(make_batch([]))) == 0
    assert model.logits(make_batch([[], []])).tolist() == [-np.inf, -np.inf]


def test_what_is_asked_for_decides(tmp_path):
    folder = write_causal(tmp_path / "reranker")
    for options in ({"runtime": "numba"}, {"precision": "int8"}):
        assert isinstance(CrossEncoder.from_pretrained(folder, **options).transformer, NumbaCausalReranker)
    for options in ({"runtime": "onnx"}, {"runtime": "torch", "precision": "int8"}):
        with pytest.raises(CheckpointFormatError, match="causal reranker"):
            CrossEncoder.from_pretrained(folder, **options)
    with pytest.raises(CheckpointFormatError, match="INT8 only"):
        CrossEncoder.from_pretrained(folder, runtime="numba", precision="fp16")
    write_exported(find_model(folder, runtime="torch"), folder, vector_path())
    assert find_model(folder).precision == "int8"
    assert find_model(folder, precision="fp32").precision == find_model(folder, runtime="torch").precision == "fp32"
    (folder / "model.safetensors").unlink()
    assert isinstance(CrossEncoder.from_pretrained(folder).transformer, NumbaCausalReranker)
    with pytest.raises(DeviceError, match="cpu"):
        CrossEncoder.from_pretrained(folder, device="cuda")
    for options in ({"runtime": "torch"}, {"precision": "bf16"}):
        with pytest.raises(CheckpointFormatError, match="alone"):
            CrossEncoder.from_pretrained(folder, **options)


def test_parts_and_half_precision_are_read(tmp_path, prefixed):
    tensors = tensors_of(config_of("qwen3"))
    halves = {name: tensor.astype(np.float16) for name, tensor in tensors.items()}
    whole = {name: tensor.astype(np.float32) for name, tensor in halves.items()}
    expected = NumbaCausalReranker(find_model(write_causal(tmp_path / "a" / "reranker", tensors=whole)))
    folder = write_causal(tmp_path / "b" / "reranker", tensors=halves)
    names = sorted(halves)
    (folder / "model.safetensors").unlink()
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for part, listed in parts.items():
        write_safetensors(folder / part, {name: halves[name] for name in listed})
    index = {"weight_map": {name: part for part, listed in parts.items() for name in listed}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    found = NumbaCausalReranker(find_model(folder))
    assert np.array_equal(found.logits(make_batch(prefixed)), expected.logits(make_batch(prefixed)))


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
import rank_rerank
reranker = rank_rerank.load(sys.argv[1])
ranking = reranker.rerank("capital of France", ["Paris is the capital", "bananas"], top_k=1)
print(type(reranker.cross_encoder.transformer).__name__, len(ranking))
"""


def test_it_needs_no_torch(tmp_path):
    folder = write_causal(tmp_path / "reranker")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(folder)], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("NumbaCausalReranker 1\n", 0), done.stderr


def test_the_command_exports_and_ranks(tmp_path, capsys):
    pytest.importorskip("torch")
    from rank_rerank.cli.main import main

    folder = write_causal(tmp_path / "reranker")
    assert main(["export", str(folder), str(tmp_path / "out"), "--int8"]) == 0
    assert "model_int8.safetensors: log-odds correlate" in capsys.readouterr().out
    ranking = rank_rerank.load(tmp_path / "out").rerank(QUERY, ["Paris is the capital", "bananas"])
    assert len(ranking) == 2
    assert main(["export", str(folder), str(tmp_path / "other")]) != 0
    assert "--int8" in capsys.readouterr().err
