import json
import shutil

import numpy as np

from rank_rerank.checkpoints.find import bundled_folder


def test_the_report_names_what_is_here(run):
    code, out, err = run("doctor")
    assert (code, err) == (0, "")
    for words in (
        "vector path",
        "gpu",
        "onnxruntime providers",
        "used",
        "numba",
        "compiled kernels",
        "self-check",
        "passed:",
    ):
        assert words in out


def test_as_json(run):
    code, out, _ = run("doctor", "--json", "--threads", "1")
    report = json.loads(out)
    assert code == 0
    assert report["model"]["name"] == "bundled"
    assert report["model"]["dim"] == 384
    assert report["packages"]["numpy"] == np.__version__


def test_a_model_that_computes_something_else_fails(run, tmp_path):
    for path in bundled_folder().iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path / path.name)
    vectors = np.load(tmp_path / "self_check_vectors.npy")
    np.save(tmp_path / "self_check_vectors.npy", np.roll(vectors, 3, axis=1))
    code, out, _ = run("doctor", "--model", str(tmp_path))
    assert code == 1
    assert "FAILED" in out


def test_a_model_that_is_not_there(run):
    code, out, err = run("doctor", "--model", "/no/model")
    assert (code, out) == (2, "")
    assert err == 'rank-rerank: error: there is no model folder "/no/model"\n'
