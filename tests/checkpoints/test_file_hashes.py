"""The files of the bundled model are what was built, or it is not loaded."""

import json
import os
import shutil
from pathlib import Path

import pytest

import rank_rerank
from rank_rerank.checkpoints import find
from rank_rerank.checkpoints.file_hashes import PROVENANCE_FILE, check_hashes
from rank_rerank.checkpoints.find import bundled_folder
from rank_rerank.errors import CheckpointFormatError

READ = ["model_int8.onnx", "tokenizer.json", "onnx_config.json", "self_check.json", "self_check_vectors.npy"]


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(bundled_folder(), tmp_path / "model"))


def flip(path, bit):
    content = bytearray(path.read_bytes())
    content[bit // 8 % len(content)] ^= 1 << bit % 8
    path.write_bytes(content)


def test_the_bundled_model_and_a_copy_of_it_are_what_was_built(folder):
    check_hashes(bundled_folder(), required=True)
    check_hashes(folder)
    listed = json.loads((folder / PROVENANCE_FILE).read_bytes())["files_sha256"]
    assert set(READ) < set(listed)


@pytest.mark.parametrize("name", [*READ, "config.json"])
def test_any_flipped_bit_is_refused_before_the_file_is_read(folder, name, monkeypatch):
    for bit in (7, 12_345, (1 << 61) - 1):
        content = (folder / name).read_bytes()
        flip(folder / name, bit)
        with pytest.raises(CheckpointFormatError, match=rf"{name} is not the file that was built"):
            rank_rerank.load(folder)
        (folder / name).write_bytes(content)
    flip(folder / name, 99)
    monkeypatch.setattr(find, "bundled_folder", lambda: folder)
    with pytest.raises(CheckpointFormatError, match="install rank-rerank again"):
        rank_rerank.load()


def test_a_flipped_bit_in_the_calibration_is_refused(folder):
    path = folder / "calibration.json"
    path.write_text(path.read_text().replace("27.8", "26.8"))
    with pytest.raises(CheckpointFormatError, match=r"calibration\.json does not fit the checksum"):
        rank_rerank.load(folder)


def test_a_card_and_a_licence_may_be_changed_and_a_folder_without_a_list_too(folder):
    (folder / "README.md").write_text("mine")
    (folder / "LICENSE").unlink()
    check_hashes(folder)
    (folder / PROVENANCE_FILE).unlink()
    flip(folder / "config.json", 3)
    check_hashes(folder)
    with pytest.raises(CheckpointFormatError, match="missing"):
        check_hashes(folder, required=True)


@pytest.mark.parametrize("listed", [{"../a.json": "0"}, {"a.json": 3}, {"/etc/a.json": "0"}, [], "a", {"": ""}])
def test_a_damaged_list_is_refused(tmp_path, listed):
    (tmp_path / PROVENANCE_FILE).write_text(json.dumps({"files_sha256": listed}))
    with pytest.raises(CheckpointFormatError, match=PROVENANCE_FILE):
        check_hashes(tmp_path)


def test_a_changed_file_of_the_same_size_is_read_again(folder):
    check_hashes(folder)
    before = (folder / "config.json").stat()
    flip(folder / "config.json", 3)
    for step_ns in (1, 1000, 10**6, 10**9):  # the smallest that the file system keeps
        os.utime(folder / "config.json", ns=(before.st_atime_ns, before.st_mtime_ns + step_ns))
        if (folder / "config.json").stat().st_mtime_ns != before.st_mtime_ns:
            break
    with pytest.raises(CheckpointFormatError, match="config"):
        check_hashes(folder)
