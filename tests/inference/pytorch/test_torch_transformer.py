"""The encoders written out here against transformers' own, and what happens when memory or a device is missing."""

import copy
import logging

import model_folders as folders
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason='needs the torch extra: pip install ".[torch]"')

import rank_rerank
from rank_rerank import TokenEncoder
from rank_rerank.checkpoints.encoder_tensors import read_encoder_tensors
from rank_rerank.checkpoints.safetensors_file import TensorFiles
from rank_rerank.checkpoints.transformer_config import read_transformer_config
from rank_rerank.errors import (
    DeviceError,
    InvalidItemError,
    MissingDependencyError,
    ResourceLimitError,
)
from rank_rerank.inference.pytorch import torch_batches
from rank_rerank.inference.pytorch.torch_batches import resolve_device, resolve_precision
from rank_rerank.inference.pytorch.torch_encoder import hidden_states

SIZES = {
    "vocab_size": 90,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 40,
}
KINDS = {
    "Bert": {**SIZES, "hidden_act": "gelu_new", "max_position_embeddings": 60},
    "Roberta": {**SIZES, "max_position_embeddings": 62, "pad_token_id": 1},
    "XLMRoberta": {**SIZES, "max_position_embeddings": 62, "pad_token_id": 1, "type_vocab_size": 1},
    "Camembert": {**SIZES, "max_position_embeddings": 62, "pad_token_id": 1},
    "Electra": {**SIZES, "embedding_size": 20, "hidden_act": "relu"},
    "DistilBert": {"vocab_size": 90, "dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 40},
    "ModernBert": {**SIZES, "local_attention": 8, "pad_token_id": 3, "norm_bias": True, "attention_bias": True},
}
NAMES = {"dim": "hidden_size", "n_layers": "num_layers"}


@pytest.fixture(params=KINDS, scope="module")
def theirs(request, tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("safetensors")
    torch.manual_seed(0)
    model = getattr(transformers, f"{request.param}Model")(
        getattr(transformers, f"{request.param}Config")(**KINDS[request.param])
    ).eval()
    for name, parameter in model.named_parameters():
        is_norm = "norm" in name.lower() and name.endswith("weight")
        torch.nn.init.normal_(parameter, mean=float(is_norm), std=0.25)
    folder = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder)
    return folder, model


@pytest.mark.filterwarnings("ignore")
def test_hidden_states_are_those_of_transformers(theirs):
    folder, model = theirs
    config = read_transformer_config(folder)
    tensors = read_encoder_tensors(TensorFiles(folder / "model.safetensors"), config)
    weights = {name: torch.from_numpy(np.array(array)) for name, array in tensors.items()}
    random = torch.Generator().manual_seed(0)
    token_ids = torch.randint(4, 90, (3, 50), generator=random)
    attention_mask = torch.ones_like(token_ids)
    for row, length in enumerate((50, 31, 4)):
        attention_mask[row, length:] = 0
        token_ids[row, length:] = config.pad_token_id
    with torch.no_grad():
        found = hidden_states(weights, config, token_ids, attention_mask.bool())
        expected = model(input_ids=token_ids, attention_mask=attention_mask).last_hidden_state
    real = attention_mask.bool()
    assert (found - expected)[real].abs().max() < 2e-5
    assert expected[real].std() > 0.1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return folders.write_pylate(tmp_path_factory.mktemp("pylate"))


@pytest.fixture(scope="module")
def encoder(folder):
    return TokenEncoder.from_pretrained(folder, device="cpu")


TEXTS = [" ".join(["word"] * size) for size in (1, 3, 7, 12, 20, 30)] + ["", "a b"]


def test_batches_change_nothing_that_matters(encoder):
    together = encoder.encode_documents(TEXTS)
    for index, text in enumerate(TEXTS):
        assert np.abs(together[index] - encoder.encode_document(text)[0]).max(initial=0) < 1e-5
    assert np.linalg.norm(together.vectors, axis=1) == pytest.approx(np.ones(together.num_tokens), abs=1e-5)


def test_a_copy_computes_the_same(encoder):
    duplicate = copy.copy(encoder.transformer)
    batch = encoder.tokenizer.tokenize_documents(TEXTS)
    assert duplicate.encode(batch).tobytes() == encoder.transformer.encode(batch).tobytes()
    assert "PyTorch" in duplicate.description


class OutOfMemory:
    """Fails for every batch of more than so many texts, as a full GPU does."""

    def __init__(self, monkeypatch, encoder, most, error):
        self.sizes = []
        compute = encoder.transformer._compute

        def failing(token_ids, *others):
            self.sizes.append(len(token_ids))
            if len(token_ids) > most:
                raise error
            return compute(token_ids, *others)

        monkeypatch.setattr(encoder.transformer, "_compute", failing)


ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("MPS backend out of memory (MPS allocated: 1)"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
]


@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("error", ERRORS, ids=["cuda", "mps", "cublas"])
def test_out_of_memory_halves_the_batch_and_changes_nothing(encoder, monkeypatch, most, error):
    expected = encoder.encode_documents(TEXTS)
    failing = OutOfMemory(monkeypatch, encoder, most, error)
    found = encoder.encode_documents(TEXTS)
    assert np.abs(found.vectors - expected.vectors).max() < 1e-5
    assert max(failing.sizes) > most >= min(failing.sizes)


def test_one_text_that_does_not_fit_says_what_to_do(encoder, monkeypatch):
    OutOfMemory(monkeypatch, encoder, 0, ERRORS[0])
    with pytest.raises(ResourceLimitError, match=r'33 tokens does not fit .* or use device="cpu"'):
        encoder.encode_documents([TEXTS[5]])


def test_another_error_is_not_taken_for_one_of_memory(encoder, monkeypatch):
    OutOfMemory(monkeypatch, encoder, 0, RuntimeError("something else"))
    with pytest.raises(RuntimeError, match="something else"):
        encoder.encode_documents(["a"])


@pytest.mark.parametrize("device", ["cuda:99", "mps", "cuda"])
def test_a_device_that_is_not_here_is_refused(folder, device):
    if (device == "cuda" and torch.cuda.is_available()) or (device == "mps" and torch.backends.mps.is_available()):
        pytest.skip("it is here")
    with pytest.raises(DeviceError, match="is not available"):
        rank_rerank.load(folder, device=device)


@pytest.mark.parametrize("device", ["", "gpu", "cuda:x", "cpu:1", "tpu"])
def test_a_device_that_nobody_knows_is_refused(folder, device):
    with pytest.raises(DeviceError, match="is not known"):
        rank_rerank.load(folder, device=device)


def test_the_automatic_choice_is_said_once(monkeypatch, caplog):
    monkeypatch.setattr(torch_batches, "_said", set())
    with caplog.at_level(logging.INFO, "rank_rerank"):
        assert {resolve_device("auto"), resolve_device("auto")} <= {"cpu", "cuda", "mps"}
    assert caplog.text.count('device="auto"') == 1
    assert (resolve_precision("auto", "cpu"), resolve_precision("auto", "cuda:1")) == ("fp32", "fp16")
    assert resolve_precision("bf16", "cpu") == "bf16"


def test_lengths_are_padded_in_steps_on_a_gpu(encoder, monkeypatch):
    runner = torch_batches.BatchRunner("cpu", 64)
    batch = encoder.tokenizer.tokenize_documents(["a b c"])
    monkeypatch.setattr(torch_batches, "LENGTH_STEP", 16)
    runner.device = "meta"
    assert [tuple(each.shape) for each in runner._pad(batch, np.array([0]))] == [(1, 16)] * 3


def test_a_token_without_an_embedding_is_refused(encoder):
    batch = encoder.tokenizer.tokenize_documents(["a"])
    batch.token_ids[1] = folders.VOCAB_SIZE
    with pytest.raises(InvalidItemError, match="30522 word embeddings"):
        encoder.transformer.encode(batch)


def test_without_torch_the_message_names_the_extra(folder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(MissingDependencyError, match=r'pip install ".*torch'):
        rank_rerank.load(folder, runtime="torch")


def test_a_file_with_the_names_of_older_models(tmp_path, folder):
    renamed = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in folders.bert_tensors("bert.").items()
    }
    folders.write_pylate(tmp_path)
    folders.write_safetensors(tmp_path / "model.safetensors", renamed)
    old, new = (
        TokenEncoder.from_pretrained(each, device="cpu").encode_document("some text") for each in (tmp_path, folder)
    )
    assert old.vectors.tobytes() == new.vectors.tobytes()
