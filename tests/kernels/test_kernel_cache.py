"""Machine code is kept privately, found again, and never trusted when it is not whole."""

import os
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from rank_rerank.kernels import cache, loading
from rank_rerank.kernels.cache import locked, read_file, readable_cache_folder, write_file
from rank_rerank.kernels.executable_memory import can_map_code
from rank_rerank.kernels.processor import target_of, vector_path
from rank_rerank.scoring.compiled.loading import scorer_spec

SCRIPT = """
import logging, sys
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stdout)
import numpy as np
from rank_rerank.scoring.maxsim import maxsim
documents = np.ones((3, 20, 16), np.float32)
print(maxsim(np.ones((4, 16), np.float32), documents).tolist())
maxsim(np.ones((4, 16), np.float32), documents.astype(np.float16))
print("numba" in sys.modules, "llvmlite" in sys.modules)
"""
COMPILED, FOUND = ["[64.0, 64.0, 64.0]", "True True"], ["[64.0, 64.0, 64.0]", f"False {not can_map_code()}"]


def run(folder, **environment: str) -> tuple[list[str], list[str]]:
    """What the script prints, and what it logs; a warning that it took long depends on the machine."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        env={**os.environ, "RANK_RERANK_CACHE": str(folder), "RANK_RERANK_VECTOR_PATH": "portable", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = result.stdout.splitlines()
    logged = [line for line in lines if line.startswith("INFO ")]
    return [line for line in lines if not line.startswith(("INFO ", "WARNING "))], logged


def files_of(folder):
    return sorted(folder.iterdir())


def test_one_process_compiles_and_says_so_once_and_the_next_needs_no_numba(tmp_path):
    printed, logged = run(tmp_path)
    assert printed == COMPILED
    assert [line.partition(";")[0] for line in logged] == ["INFO Compiling CPU kernels for this processor"]
    files = files_of(tmp_path / "kernels")
    assert {file.suffix for file in files} == {".kernel"}  # no lock is left
    assert run(tmp_path) == (FOUND, [])
    for file in files:
        file.write_bytes(file.read_bytes()[:-100])
    assert run(tmp_path) == (printed, logged)
    assert files_of(tmp_path / "kernels") == files
    assert run(tmp_path) == (FOUND, [])


def test_a_folder_that_others_may_write_to_is_neither_written_nor_read(tmp_path):
    run(tmp_path)
    (tmp_path / "kernels").chmod(0o777)
    printed, logged = run(tmp_path)
    assert printed == COMPILED
    assert "cannot be kept" in logged[0]


def test_a_file_that_others_may_write_to_is_not_read(tmp_path):
    file = tmp_path / "a.kernel"
    assert write_file(file, b"code") is None
    assert read_file(file) == b"code"
    file.chmod(0o620)
    assert read_file(file) is None


def test_a_folder_that_cannot_be_made_is_not_used(tmp_path):
    (tmp_path / "file").write_text("")
    printed, logged = run(tmp_path / "file")
    assert printed == COMPILED
    assert "cannot be kept" in logged[0]


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="this system has no owners of files")
def test_a_cache_that_cannot_be_written_is_read_if_its_owner_is_root_or_this_user(tmp_path, monkeypatch):
    def folders(owner):
        """As they are for a user who may not write, in a folder of that owner."""
        real = os.stat_result
        monkeypatch.setattr(cache.os, "getuid", lambda: 4711)
        monkeypatch.setattr(
            cache.Path, "stat", lambda _path, **_: real([0o100644, 0, 0, 1, owner, 0, 0, 0, 0, 0]), raising=True
        )
        monkeypatch.setattr(cache.os, "access", lambda *_: False)
        for found in (cache.cache_folder, cache.readable_cache_folder):
            found.cache_clear()
        return cache.cache_folder(), readable_cache_folder()

    monkeypatch.setenv("RANK_RERANK_CACHE", str(tmp_path))
    (tmp_path / "kernels").mkdir()
    monkeypatch.setattr(cache.Path, "is_dir", lambda _: True)
    monkeypatch.setattr(cache.Path, "mkdir", lambda *_, **__: None)
    try:
        assert folders(owner=0) == (None, tmp_path / "kernels")
        assert folders(owner=4711) == (None, tmp_path / "kernels")
        assert folders(owner=4712) == (None, None)
    finally:
        monkeypatch.undo()
        for found in (cache.cache_folder, cache.readable_cache_folder):
            found.cache_clear()


def test_a_full_disk_is_not_an_error(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.tempfile, "NamedTemporaryFile", refuse)
    assert isinstance(write_file(tmp_path / "a.kernel", b"code"), OSError)


@pytest.mark.parametrize("fails", ["write", "replace", "interrupt"])
def test_a_disk_that_fills_up_meanwhile_leaves_nothing_behind(tmp_path, monkeypatch, fails):
    def refuse(*_, **__):
        if fails == "interrupt":
            raise KeyboardInterrupt
        raise OSError(28, "No space left on device")

    real = cache.tempfile.NamedTemporaryFile

    def open_full(*arguments, **options):
        opened = real(*arguments, **options)
        opened.write = refuse
        return opened

    if fails == "write":
        monkeypatch.setattr(cache.tempfile, "NamedTemporaryFile", open_full)
    else:
        monkeypatch.setattr(cache.Path, "replace", refuse)
    if fails == "interrupt":
        with pytest.raises(KeyboardInterrupt):
            write_file(tmp_path / "a.kernel", b"code")
    else:
        write_file(tmp_path / "a.kernel", b"code")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
def test_who_comes_while_a_kernel_is_compiled_waits_for_it(tmp_path):
    file = tmp_path / "a.kernel"
    found = []

    def second():
        with locked(file):
            found.append(read_file(file))

    with locked(file):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.05)
        assert thread.is_alive()  # however slow this machine is
        write_file(file, b"code")
    thread.join()
    assert found == [b"code"]
    assert list(tmp_path.iterdir()) == [file]


def test_the_name_changes_with_the_source_and_the_path(tmp_path):
    spec = scorer_spec("float32", vector_path("portable"), with_matches=False)
    source = tmp_path / "source.py"
    source.write_text("one")
    names = [
        loading.cached_name(replace(spec, sources=(source,))) for spec in (spec, replace(spec, path=vector_path()))
    ]
    source.write_text("two")
    loading.sources_digest.cache_clear()
    loading._digest.cache_clear()
    names.append(loading.cached_name(replace(spec, sources=(source,))))
    assert len({name.rpartition("-")[2] for name in names}) == (3 if vector_path() != spec.path else 2)


def test_compiling_that_takes_long_is_a_warning_once(caplog, monkeypatch):
    monkeypatch.setattr(loading, "_said", set())
    monkeypatch.setattr(loading, "_compiled_s", [1.9])
    loading._warn_if_slow()
    assert not caplog.records
    monkeypatch.setattr(loading, "_compiled_s", [1.9, 0.2])
    loading._warn_if_slow()
    loading._warn_if_slow()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "has taken 2.1 s" in caplog.text
    assert "warm-up" in caplog.text


@pytest.mark.parametrize("name", ["mmx", "neon" if target_of(vector_path()).cpu == "x86-64" else "avx2"])
def test_an_environment_that_asks_for_what_is_not_there_is_refused(tmp_path, name):
    with pytest.raises(subprocess.CalledProcessError) as caught:
        run(tmp_path, RANK_RERANK_VECTOR_PATH=name)
    assert "RANK_RERANK_VECTOR_PATH" in caught.value.stderr
