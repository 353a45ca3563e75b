"""What a model computes with is in memory: a file that is cut or written over meanwhile changes nothing."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from child_processes import child_environment

from rank_rerank.arrays import in_memory
from rank_rerank.checkpoints.find import bundled_folder

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
import os, sys
import rank_rerank
from pathlib import Path
reranker = rank_rerank.load(sys.argv[1], runtime="numba", num_threads=1)
before = [hit.score for hit in reranker.rerank("whale", ["a whale", "bread and rivers"])]
os.truncate(Path(sys.argv[1]) / "model_int8.onnx", 0)
assert [hit.score for hit in reranker.rerank("whale", ["a whale", "bread and rivers"])] == before
print("the same")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not cut files that are mapped")
def test_a_model_whose_file_is_cut_computes_on(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(bundled_folder(), folder, ignore=shutil.ignore_patterns("*.py*", "__pycache__"))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, folder],
        env=child_environment(), capture_output=True, check=False,
    )  # fmt: skip
    assert done.stdout == b"the same\n", (done.returncode, done.stderr.decode())


def test_views_of_a_mapped_file_are_told_from_arrays_in_memory(tmp_path):
    numbers = np.arange(8.0)
    numbers.tofile(tmp_path / "numbers")
    mapped = np.memmap(tmp_path / "numbers", np.float64, "r")
    for view in (mapped, mapped[2:], mapped.reshape(2, 4).T, np.frombuffer(memoryview(mapped)[8:], np.float64)):
        copied = in_memory(view)
        assert copied is not view
        assert copied.tolist() == view.tolist()
        assert in_memory(copied) is copied
    assert in_memory(numbers) is numbers
