"""The one door: no family reads a file that is no plain file inside its folder, and none waits for one."""

import ast
import os
import shutil
import socket
from pathlib import Path

import family_folders
import pytest
from hub_caches import NAME, write_cache

import rank_rerank
from rank_rerank.checkpoints import hub
from rank_rerank.checkpoints.find import bundled_folder, find_model
from rank_rerank.checkpoints.hub import HubOptions
from rank_rerank.checkpoints.model_files import MAX_SETTINGS_BYTES
from rank_rerank.checkpoints.onnx_external_data import check_external_data
from rank_rerank.checkpoints.safetensors_file import TensorFiles
from rank_rerank.errors import CheckpointFormatError, RankRerankError
from rank_rerank.tokenization.tokenizer_file import open_tokenizer

PACKAGE = Path(rank_rerank.__file__).parent
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"
# settings files that a family need not have: whoever puts one there means it
OPTIONAL = ("tokenizer_config.json", "config_sentence_transformers.json", "sentence_bert_config.json", "modules.json")


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    root = tmp_path_factory.mktemp("families")
    return {name: write(root / name.replace(" ", "-")) for name, write in family_folders.WRITERS.items()}


@pytest.fixture
def copy(originals, tmp_path):
    """A copy of a family's folder, of hard links, so that a file may be replaced."""

    def copy_of(family):
        # the name of the folder tells a causal reranker
        return shutil.copytree(originals[family], tmp_path / originals[family].name, copy_function=os.link)

    return copy_of


def read(folder):
    """Everything that is read of a folder before a runtime opens it."""
    checkpoint = find_model(folder)
    open_tokenizer(checkpoint.tokenizer_file)
    if checkpoint.is_onnx:
        check_external_data(checkpoint.model_file)
    else:
        TensorFiles(checkpoint.model_file)
    return checkpoint


@pytest.mark.parametrize("family", family_folders.WRITERS)
def test_every_family_is_found(originals, family):
    assert read(originals[family]).folder == originals[family]


def link_or_copy(source, target):
    """A hard link, where both lie on one file system."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def fifo(path, outside):
    os.mkfifo(path)


def directory(path, outside):
    path.mkdir()


def device(path, outside):
    path.symlink_to("/dev/zero")


def unix_socket(path, outside):
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(path.parent)
        server.bind(path.name)


def link_out(path, outside):
    path.symlink_to(outside)


def dangling_link(path, outside):
    path.symlink_to(path.with_name("absent"))


def circle(path, outside):
    path.symlink_to(path.name)


def pointer(path, outside):
    path.write_bytes(POINTER)


def unreadable(path, outside):
    path.symlink_to(path.with_name("x" * 255 + "y"))


ODD = [fifo, directory, device, unix_socket, link_out, dangling_link, circle, pointer, unreadable]


@pytest.mark.parametrize("family", family_folders.WRITERS)
@pytest.mark.parametrize("make", ODD)
def test_no_file_of_any_family_may_be_anything_else(copy, tmp_path, monkeypatch, family, make):
    monkeypatch.chdir(tmp_path)  # to be gone back to, where a socket's path is too long to be bound from elsewhere
    folder = copy(family)
    names = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    read(folder)
    for name in names:
        kept = tmp_path / "kept"
        (folder / name).rename(kept)
        make(folder / name, kept)
        with pytest.raises(CheckpointFormatError):
            read(folder)
        os.chdir(tmp_path)
        shutil.rmtree(folder / name) if make is directory else (folder / name).unlink()
        kept.rename(folder / name)


@pytest.mark.parametrize("name", OPTIONAL)
@pytest.mark.parametrize("make", [fifo, directory, device, dangling_link])
def test_an_optional_file_is_not_passed_over(copy, tmp_path, name, make):
    folder = copy("Stanford ColBERT")
    (folder / name).unlink(missing_ok=True)
    make(folder / name, tmp_path)
    if name in ("tokenizer_config.json", "modules.json"):
        with pytest.raises(CheckpointFormatError):
            find_model(folder)


@pytest.mark.parametrize(
    "name", ["calibration.json", "self_check.json", "self_check_vectors.npy", "config.json", "provenance.json"]
)
@pytest.mark.parametrize("make", [fifo, link_out, directory])
def test_what_lies_beside_an_onnx_file_goes_through_the_door_too(tmp_path, name, make):
    folder = shutil.copytree(bundled_folder(), tmp_path / "model", copy_function=link_or_copy)
    kept = tmp_path / "kept"
    (folder / name).rename(kept)
    make(folder / name, kept)
    if name == "config.json":
        with pytest.raises(CheckpointFormatError):
            rank_rerank.load(folder, runtime="numba")
    else:
        with pytest.raises(CheckpointFormatError):
            rank_rerank.load(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "1_Pooling/config.json", "modules.json"])
def test_settings_have_a_size(copy, name):
    folder = copy("plain encoder")
    (folder / name).unlink()
    (folder / name).write_bytes(b" " * MAX_SETTINGS_BYTES + b"{}")
    with pytest.raises(CheckpointFormatError, match="larger than such a file can be"):
        find_model(folder)


@pytest.mark.parametrize("family", ["PyLate", "plain encoder", "cross-encoder", "plain ONNX", "cross-encoder ONNX"])
def test_links_of_the_hub_cache_work(originals, tmp_path, monkeypatch, family):
    monkeypatch.setattr(hub, "SETTINGS", ("*",))
    cache = write_cache(tmp_path / "cache", originals[family])
    checkpoint = find_model(NAME, hub=HubOptions(cache_dir=cache, local_files_only=True))
    assert checkpoint.model_file.is_symlink()


def test_a_folder_that_only_looks_like_the_hub_cache_has_no_blobs(copy, tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "secret").write_text("{}")
    folder = copy("plain encoder")
    (tmp_path / "snapshots").mkdir()
    folder = folder.rename(tmp_path / "snapshots" / "model")
    (folder / "tokenizer_config.json").unlink()
    (folder / "tokenizer_config.json").symlink_to(tmp_path / "blobs" / "secret")
    with pytest.raises(CheckpointFormatError, match="link out of the model folder"):
        find_model(folder)


def test_a_pattern_that_gives_up_is_a_typed_error(copy):
    folder = copy("plain encoder")
    tokenizer = (folder / "tokenizer.json").read_text()
    old = '"pre_tokenizer":{"type":"BertPreTokenizer"}'
    new = '"pre_tokenizer":{"type":"Split","pattern":{"Regex":"(x+x+)+y"},"behavior":"Isolated","invert":false}'
    compact = (
        tokenizer.replace(": ", ":")
        .replace('{\n    "type"', '{"type"')
        .replace('"BertPreTokenizer"\n  }', '"BertPreTokenizer"}')
    )
    assert old in compact
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").write_text(compact.replace(old, new))
    encoder = rank_rerank.TokenEncoder.from_pretrained(folder, runtime="numba")
    with pytest.raises(RankRerankError, match="a pattern of it gave up") as caught:
        encoder.encode_document("x" * 60)
    assert "xxx" not in str(caught.value)


def test_only_the_door_opens_files_of_models():
    """No other file of the rooms that read models opens one by itself; what a runtime opens was found by the door."""
    openers = {"open", "read_text", "read_bytes", "from_file", "mmap", "is_file", "exists", "stat"}
    allowed = {
        "model_files.py": openers,
        "find.py": {"exists"},
        "onnx_external_data.py": {"stat"},
        "file_hashes.py": {"stat"},
    }
    files = [*(PACKAGE / "checkpoints").glob("*.py"), *(PACKAGE / "tokenization").glob("*.py")]
    assert len(files) > 20
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                method = node.func.attr if isinstance(node.func, ast.Attribute) else None
                called = "open" if ast.unparse(node.func) == "open" else method
                assert called not in openers - allowed.get(path.name, set()), f"{path.name}:{node.lineno}"
