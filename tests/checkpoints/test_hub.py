from types import SimpleNamespace

import model_folders as folders
import pytest
from causal_folders import write_causal
from hub_caches import NAME, FakeHub, block_network, write_cache
from huggingface_hub import errors as hub_errors

import rank_rerank
from rank_rerank.checkpoints.find import find_model
from rank_rerank.checkpoints.hub import HubOptions
from rank_rerank.errors import CheckpointFormatError, CheckpointNotFoundError, InvalidArgumentError
from rank_rerank.inference.load_options import LoadOptions

SECRET = "hf_thisistheusersown"  # noqa: S105 - not a token of anybody
# what published models have beside what is read
OTHERS = ("pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "README.md", "openvino/openvino_model.bin")
CROSS_ENCODER = {"config.json", "tokenizer.json"}
PYLATE = {*CROSS_ENCODER, "modules.json", "config_sentence_transformers.json", "1_Dense/config.json"}


@pytest.fixture(autouse=True)
def _online(monkeypatch):
    """Whatever the environment says: these tests say for themselves when they are offline."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Serve a folder as the model owner/model."""

    def serve(folder, *others):
        for name in (*OTHERS, *others):
            (folder / name).parent.mkdir(exist_ok=True, parents=True)
            (folder / name).write_bytes(b"content")
        fake = FakeHub(folder, tmp_path / "snapshot")
        monkeypatch.setattr("huggingface_hub.snapshot_download", fake)
        return fake

    return serve


def test_arguments_reach_the_hub(hub, tmp_path):
    pytest.importorskip("torch")
    fake = hub(folders.write_cross_encoder(tmp_path / "model"))
    options = {"revision": "v2", "token": SECRET, "local_files_only": True, "cache_dir": tmp_path / "cache"}
    rank_rerank.load(NAME, device="cpu", **options)
    assert fake.asked
    assert all(asked == (NAME, options) for asked in fake.asked)


@pytest.mark.parametrize(
    ("write", "options", "wanted"),
    [
        (folders.write_cross_encoder, {}, {*CROSS_ENCODER, "model.safetensors"}),
        (folders.write_pylate, {}, {*PYLATE, "model.safetensors", "1_Dense/model.safetensors"}),
        (folders.write_pylate, {"precision": "int8"}, {*PYLATE, "model.safetensors", "1_Dense/model.safetensors"}),
        (folders.write_cross_encoder, {"runtime": "onnx"}, {*CROSS_ENCODER, "onnx/model.onnx", "onnx/model.onnx_data"}),
        (folders.write_cross_encoder, {"precision": "int8"}, {*CROSS_ENCODER, "onnx/model_qint8_avx512_vnni.onnx"}),
    ],
)
def test_only_the_files_needed_are_asked_for(hub, tmp_path, write, options, wanted):
    variants = (
        "model.onnx",
        "model.onnx_data",
        "model_O4.onnx",
        "model_qint8_avx512_vnni.onnx",
        "model_quantized.onnx",
    )
    fake = hub(write(tmp_path / "model"), *(f"onnx/{name}" for name in variants))
    find_model(NAME, **options)
    assert fake.fetched == wanted


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, "model_int8.safetensors"),
        ({"precision": "int8"}, "model_int8.safetensors"),
        ({"precision": "fp16"}, "model.safetensors"),
        ({"runtime": "torch"}, "model.safetensors"),
    ],
)
def test_of_a_causal_reranker_one_form_is_asked_for(hub, tmp_path, options, wanted):
    fake = hub(write_causal(tmp_path / "reranker"), "model_int8.safetensors")
    # the name on the Hub does not say that it is a reranker
    assert find_model(NAME, instruction="Judge", **options).model_file.name == wanted
    assert fake.fetched == {"config.json", "tokenizer.json", "tokenizer_config.json", wanted}


@pytest.mark.parametrize(
    ("options", "wanted"),
    [({}, "model_int8.onnx"), ({"precision": "fp32"}, "model.onnx"), ({"precision": "int8"}, "model_int8.onnx")],
)
def test_of_an_onnx_folder_one_file_is_asked_for(hub, tmp_path, options, wanted):
    folder = tmp_path / "model"
    folders.write_json(folder / "onnx_config.json", {})
    (folder / "tokenizer.json").write_text("{}")
    fake = hub(folder, "model.onnx", "model_int8.onnx", "model.safetensors")
    assert find_model(NAME, **options).model_file.name == wanted
    assert fake.fetched == {"onnx_config.json", "tokenizer.json", wanted}


def test_a_model_that_has_weights_only_as_onnx(hub, tmp_path):
    folder = folders.write_cross_encoder(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    fake = hub(folder, "onnx/model.onnx", "onnx/model_fp16.onnx")
    assert find_model(NAME).model_file.name == "model.onnx"
    assert fake.fetched == {*CROSS_ENCODER, "onnx/model.onnx"}


def test_a_cached_model_needs_no_network(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    cache = write_cache(tmp_path / "cache", folders.write_cross_encoder(tmp_path / "model"))
    block_network(monkeypatch)
    reranker = rank_rerank.load(NAME, local_files_only=True, cache_dir=cache, device="cpu")
    assert len(reranker.rerank("query", ["one", "two"])) == 2
    assert reranker.cross_encoder.checkpoint.name == NAME


def test_offline_is_honoured(tmp_path, monkeypatch):
    cache = write_cache(tmp_path / "cache", folders.write_cross_encoder(tmp_path / "model"))
    block_network(monkeypatch)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert find_model(NAME, hub=HubOptions(cache_dir=cache)).name == NAME
    with pytest.raises(CheckpointNotFoundError, match="HF_HUB_OFFLINE forbids the network"):
        find_model("owner/other", hub=HubOptions(cache_dir=cache))


def test_local_files_only_says_what_it_forbids(tmp_path, monkeypatch):
    block_network(monkeypatch)
    with pytest.raises(CheckpointNotFoundError, match="local_files_only forbids the network"):
        rank_rerank.load(NAME, local_files_only=True, cache_dir=tmp_path)
    folder = folders.write_cross_encoder(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    cache = write_cache(tmp_path / "cache", folder)
    with pytest.raises(CheckpointFormatError, match=r"model\.safetensors is missing"):
        rank_rerank.load(NAME, local_files_only=True, cache_dir=cache)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (hub_errors.GatedRepoError, "pass token="),
        (hub_errors.RepositoryNotFoundError, "pass token="),
        (hub_errors.RevisionNotFoundError, "no revision v9"),
        (hub_errors.HfHubHTTPError, "the Hub did not give it"),
    ],
)
def test_what_the_hub_refuses_is_explained_without_the_token(monkeypatch, kind, words):
    def refuse(*_, token, **__):
        request = SimpleNamespace(method="GET", url="https://hub.invalid", headers={"authorization": token})
        response = SimpleNamespace(status_code=403, headers={}, request=request, url=request.url, text="")
        raise kind("no", response=response)

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(CheckpointNotFoundError, match=words) as caught:
        rank_rerank.load(NAME, token=SECRET, revision="v9")
    assert SECRET not in str(caught.value)


def test_a_token_is_not_shown():
    assert SECRET not in repr(HubOptions(token=SECRET)) + repr(LoadOptions.of(token=SECRET))


@pytest.mark.parametrize("name", [None, "bundled", "folder"])
def test_a_folder_has_no_revisions(tmp_path, name):
    if name == "folder":
        name = folders.write_pylate(tmp_path / "model")
    with pytest.raises(InvalidArgumentError, match="no revisions"):
        rank_rerank.load(name, revision="main")


@pytest.mark.parametrize("options", [{"token": 5}, {"token": ""}, {"revision": 1}, {"local_files_only": "yes"}])
def test_options_of_a_wrong_type(options):
    with pytest.raises(InvalidArgumentError, match=next(iter(options))):
        rank_rerank.load(NAME, **options)
