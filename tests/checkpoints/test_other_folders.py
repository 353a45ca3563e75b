"""Folders as users have them: parts of caches, adapters, other programs' files, pointers; and near names."""

import family_folders
import model_folders as folders
import numpy as np
import pytest
from hub_caches import NAME, block_network, write_cache

import rank_rerank
from rank_rerank.checkpoints.cached_names import near_names
from rank_rerank.checkpoints.find import find_model
from rank_rerank.checkpoints.hub import HubOptions
from rank_rerank.errors import CheckpointFormatError, CheckpointNotFoundError

NAMES = ("input_ids", "attention_mask")
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 90868376\n"


@pytest.fixture
def cache(tmp_path):
    return write_cache(tmp_path / "cache", family_folders.write_cross_encoder(tmp_path / "model"))


def test_a_models_folder_in_the_hubs_cache_is_its_main_branch(cache):
    root = cache / "models--owner--model"
    for folder in (root, root / "snapshots", str(root)):
        assert find_model(folder).model_file.parent.parent.name == "snapshots"
    # a second snapshot changes nothing, as the main branch says which it is
    (root / "snapshots" / ("1" * 40)).mkdir()
    assert find_model(root).folder.name == "0" * 40
    (root / "refs" / "main").write_text("../../elsewhere")
    with pytest.raises(CheckpointFormatError, match="2 snapshots of a model"):
        find_model(root)


@pytest.mark.parametrize("variable", ["HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"])
def test_every_variable_that_names_the_cache_is_followed(cache, variable):
    """In a fresh process, as huggingface-hub reads its variables once."""
    import os
    import subprocess
    import sys

    where = cache
    if variable == "HF_HOME":
        where = cache.with_name("home")
        where.mkdir()
        cache.rename(where / "hub")
        for link in where.rglob("snapshots/*/*"):  # which led into the folder's old path
            link.unlink()
        family_folders.write_cross_encoder(where / "hub" / "models--owner--model" / "snapshots" / ("0" * 40))
    names = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME")
    others = {name: value for name, value in os.environ.items() if name not in names}
    program = f"from rank_rerank.checkpoints.find import find_model; print(find_model({NAME!r}).model_file)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**others, variable: str(where), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(where) in done.stdout


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folders.write_json(folder / "adapter_config.json", {}), "PEFT adapter of 'its base model'"),
        (lambda folder: (folder / "model-Q8_0.gguf").write_bytes(b"GGUF"), "llama.cpp's GGUF"),
        (lambda folder: (folder / "models--a--b--c").mkdir(), "as 'a/b--c'"),
        (lambda folder: folders.write_bert(folder / "inner"), "pass one, as 'inner'"),
        (lambda folder: (folder / "notes.txt").touch(), "no model of a known family"),
    ],
)
def test_a_folder_without_settings_is_named_for_what_it_is(tmp_path, make, words):
    folder = tmp_path / "folder"
    folder.mkdir()
    make(folder)
    with pytest.raises(CheckpointFormatError, match=words):
        find_model(folder)


def test_a_part_of_a_models_folder_is_answered_with_the_whole(tmp_path):
    family_folders.write_cross_encoder_onnx(tmp_path / "model")
    with pytest.raises(CheckpointFormatError, match="pass the folder above it"):
        find_model(tmp_path / "model" / "onnx")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("adapter_model.safetensors", "AutoPeftModel.*merge_and_unload"),
        ("tf_model.h5", "TensorFlow's"),
        ("onnx/model_q4.onnx", r"model_q4\.onnx' none has a name"),
    ],
)
def test_what_stands_in_place_of_weights_is_named(tmp_path, name, words):
    folder = family_folders.write_cross_encoder(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    (folder / "onnx").mkdir()
    (folder / name).write_bytes(b"of another program")
    if name.startswith("adapter"):
        folders.write_json(folder / "adapter_config.json", {"base_model_name_or_path": "owner/base"})
    with pytest.raises(CheckpointFormatError, match=words):
        find_model(folder)


@pytest.mark.parametrize("name", ["model_optimized.onnx", "onnx/model_quantized.onnx", "onnx/model_fp16.onnx"])
def test_every_published_name_of_an_onnx_file_is_found(tmp_path, name):
    for write in (family_folders.write_cross_encoder_onnx, family_folders.write_plain_onnx):
        folder = write(tmp_path / write.__name__)
        (folder / "onnx" / "model.onnx").rename(folder / name)
        assert find_model(folder).model_file == folder / name


@pytest.mark.parametrize("name", ["onnx/model.onnx", "pytorch_model.bin", "model.safetensors", "tokenizer.json"])
def test_a_pointer_is_named_with_the_command_that_fetches_the_file(tmp_path, name):
    write = family_folders.write_cross_encoder_onnx if "onnx" in name else family_folders.write_cross_encoder
    folder = write(tmp_path / "model")
    if name == "pytorch_model.bin":
        (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(POINTER)
    with pytest.raises(CheckpointFormatError, match=r"git-lfs pointer.*git lfs pull"):
        rank_rerank.load(folder, runtime="auto" if "onnx" in name else "numba")


def test_names_near_those_in_the_cache_are_suggested(tmp_path, monkeypatch):
    block_network(monkeypatch)
    monkeypatch.chdir(tmp_path)
    for name in ("cross-encoder--ms-marco-MiniLM-L-6-v2", "BAAI--bge-reranker-base", "x--unlike"):
        (tmp_path / f"models--{name}").mkdir()
    options = HubOptions(cache_dir=tmp_path, local_files_only=True)
    for name, near in (
        ("cross-encoder/ms-marco-MiniLM-L6-v2", "cross-encoder/ms-marco-MiniLM-L-6-v2"),
        ("ms-marco-MiniLM-L-6-v2", "cross-encoder/ms-marco-MiniLM-L-6-v2"),
        ("baai/bge-reranker-bsae", "BAAI/bge-reranker-base"),
        ("other/bge-reranker-base", "BAAI/bge-reranker-base"),
    ):
        with pytest.raises(CheckpointNotFoundError, match=f"The cache has '{near}'"):
            find_model(name, hub=options)
    assert near_names("nothing/like-them-at-all", tmp_path) == ()
    assert near_names("a/b", tmp_path / "no-such-folder") == ()


def test_logits_in_fp16_become_float32(tmp_path):
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    folder = family_folders.write_cross_encoder_onnx(tmp_path / "model")
    ids = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"]) for name in NAMES]
    logits = [helper.make_tensor_value_info("logits", TensorProto.FLOAT16, ["batch", 1])]
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["numbers"], to=TensorProto.FLOAT16),
        helper.make_node("ReduceMin", ["numbers", "axis"], ["logits"], keepdims=1),
    ]
    axis = [onnx.numpy_helper.from_array(np.array([1], np.int64), "axis")]
    graph = helper.make_graph(nodes, "least", ids, logits, axis)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    (folder / "onnx" / "model.onnx").unlink()
    onnx.save(model, folder / "onnx" / "model_fp16.onnx")
    score = rank_rerank.load(folder).cross_encoder
    assert "fp16" in score.transformer.description
    assert score.score("query", ["document"]).scores.dtype == "float32"
