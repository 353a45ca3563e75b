"""Machine code is kept privately, found again, and never trusted when it is not whole."""

import os
import subprocess
import sys

import pytest

from rank_rerank.kernels import compilation
from rank_rerank.kernels.processor import target_of, vector_path

SCRIPT = """
import logging, sys
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
import numpy as np
from rank_rerank.scoring.maxsim import maxsim
documents = np.ones((3, 20, 16), np.float32)
print(maxsim(np.ones((4, 16), np.float32), documents).tolist())
maxsim(np.ones((4, 16), np.float32), documents.astype(np.float16))
print("numba" in sys.modules)
"""


def run(folder, **environment: str) -> list[str]:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        env={**os.environ, "RANK_RERANK_CACHE": str(folder), "RANK_RERANK_VECTOR_PATH": "portable", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.splitlines()


def test_one_process_compiles_and_says_so_once_and_the_next_needs_no_numba(tmp_path):
    first = run(tmp_path)
    assert first[0].startswith("Compiling CPU kernels")
    assert first[1:] == ["[64.0, 64.0, 64.0]", "True"]
    files = sorted((tmp_path / "kernels").iterdir())
    assert len(files) == 2
    assert run(tmp_path) == ["[64.0, 64.0, 64.0]", "False"]
    for file in files:
        file.write_bytes(file.read_bytes()[:-100])
    assert run(tmp_path) == first
    assert sorted((tmp_path / "kernels").iterdir()) == files


def test_a_folder_that_others_may_write_to_is_not_used(tmp_path):
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels").chmod(0o777)
    lines = run(tmp_path)
    assert "cannot be kept" in lines[0]
    assert "[64.0, 64.0, 64.0]" in lines
    assert not list((tmp_path / "kernels").iterdir())


def test_a_folder_that_cannot_be_made_is_not_used(tmp_path):
    (tmp_path / "file").write_text("")
    lines = run(tmp_path / "file")
    assert "cannot be kept" in lines[0]
    assert "[64.0, 64.0, 64.0]" in lines


def test_a_full_disk_is_not_an_error(tmp_path, monkeypatch, caplog):
    def refuse(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compilation.tempfile, "NamedTemporaryFile", refuse)
    monkeypatch.setattr(compilation, "_said", set())
    with caplog.at_level("INFO"):
        compilation._write(tmp_path / "kernel.o", b"code")
    assert "could not be kept" in caplog.text


@pytest.mark.parametrize("fails", ["write", "replace", "interrupt"])
def test_a_disk_that_fills_up_meanwhile_leaves_nothing_behind(tmp_path, monkeypatch, fails):
    def refuse(*_, **__):
        if fails == "interrupt":
            raise KeyboardInterrupt
        raise OSError(28, "No space left on device")

    real = compilation.tempfile.NamedTemporaryFile

    def open_full(*arguments, **options):
        opened = real(*arguments, **options)
        opened.write = refuse
        return opened

    if fails == "write":
        monkeypatch.setattr(compilation.tempfile, "NamedTemporaryFile", open_full)
    else:
        monkeypatch.setattr(compilation.Path, "replace", refuse)
    if fails == "interrupt":
        with pytest.raises(KeyboardInterrupt):
            compilation._write(tmp_path / "kernel.o", b"code")
    else:
        compilation._write(tmp_path / "kernel.o", b"code")
    assert list(tmp_path.iterdir()) == []


def test_a_kernel_under_the_name_of_another_is_not_loaded(tmp_path):
    compilation._write(tmp_path / "maxsim-a.o", b"code")
    assert compilation._read(tmp_path / "maxsim-a.o") == b"code"
    (tmp_path / "maxsim-a.o").rename(tmp_path / "maxsim-b.o")
    assert compilation._read(tmp_path / "maxsim-b.o") is None
    (tmp_path / "maxsim-b.o").rename(tmp_path / "maxsim-a.o")
    assert compilation._read(tmp_path / "maxsim-a.o") == b"code"


def test_the_key_changes_with_the_source_and_the_processor(tmp_path):
    best, portable = target_of(vector_path()), target_of(vector_path("portable"))
    source = tmp_path / "source.py"
    source.write_text("one")
    keys = [compilation._digest((source,), best), compilation._digest((source,), portable)]
    source.write_text("two")
    compilation._digest.cache_clear()
    keys.append(compilation._digest((source,), best))
    assert len(set(keys)) == 3


@pytest.mark.parametrize("name", ["mmx", "neon" if "x86" in target_of(vector_path()).triple else "avx2"])
def test_an_environment_that_asks_for_what_is_not_there_is_refused(tmp_path, name):
    with pytest.raises(subprocess.CalledProcessError) as caught:
        run(tmp_path, RANK_RERANK_VECTOR_PATH=name)
    assert "RANK_RERANK_VECTOR_PATH" in caught.value.stderr
