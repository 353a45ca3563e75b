import json
import shutil

import numpy as np

from rank_rerank.checkpoints.find import bundled_folder, find_checkpoint


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
    assert report["model"]["dim"] == find_checkpoint().dim
    assert report["packages"]["numpy"] == np.__version__


def test_a_model_that_computes_something_else_fails(run, tmp_path):
    for path in bundled_folder().iterdir():
        if path.is_file() and path.name != "provenance.json":  # whose checksums would tell
            shutil.copy(path, tmp_path / path.name)
    vectors = np.load(tmp_path / "self_check_vectors.npy")
    np.save(tmp_path / "self_check_vectors.npy", np.roll(vectors, 3, axis=1))
    code, out, _ = run("doctor", "--model", str(tmp_path))
    assert code == 1
    assert "FAILED" in out


def test_a_model_that_is_not_there(run):
    code, out, err = run("doctor", "--model", "/no/model")
    assert (code, out) == (2, "")
    message = 'there is no model folder "/no/model". Check the path; a model of the Hub is written owner/model'
    assert err == f"rank-rerank: error: {message}\n"


def test_another_familys_settings_are_shown(run, tmp_path):
    import model_folders as folders
    import pytest

    pytest.importorskip("torch")
    folders.write_pylate(tmp_path / "colbert", attend_to_expansion_tokens=True)
    code, out, _ = run("doctor", "--json", "--model", str(tmp_path / "colbert"), "--device", "cpu")
    model = json.loads(out)["model"]
    assert code == 0
    assert model["family"] == "PyLate"
    assert "PyTorch" in model["runtime"]
    assert model["markers"] == "'[unused0]', '[unused1]'"
    assert model["query expansion"] == "to 12 tokens, attended"
    assert "1_Dense" in model["file"]
    folders.write_cross_encoder(tmp_path / "cross")
    code, out, _ = run("doctor", "--json", "--model", str(tmp_path / "cross"), "--device", "cpu")
    model = json.loads(out)["model"]
    assert (code, model["family"], model["score"]) == (0, "cross-encoder", "sigmoid")


def test_a_provider_that_is_not_here_fails(run):
    code, _, err = run("doctor", "--device", "coreml", "--strict")
    assert code == 2
    assert "CoreMLExecutionProvider" in err
    code, _, err = run("doctor", "--strict")
    assert code == 2
    assert "--strict is for an execution provider" in err


def test_a_cross_encoder_reranks_from_the_command_and_has_no_store(run, tmp_path):
    import model_folders as folders
    import pytest

    pytest.importorskip("torch")
    folders.write_cross_encoder(tmp_path / "cross")
    (tmp_path / "texts.txt").write_text("some text\nanother text\n")
    arguments = ("rerank", "a query", str(tmp_path / "texts.txt"), "--model", str(tmp_path / "cross"))
    code, out, _ = run(*arguments, "--json")
    hits = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [hit["rank"] for hit in hits] == [1, 2]
    assert hits[0]["score"] >= hits[1]["score"]
    code, _, err = run(*arguments, "--store", str(tmp_path / "store"))
    assert code == 2
    assert "leave out store" in err


def test_commands_take_a_model_from_the_cache(run, tmp_path, monkeypatch):
    import model_folders as folders
    import pytest
    from hub_caches import NAME, block_network, write_cache

    pytest.importorskip("torch")
    cache = write_cache(tmp_path / "cache", folders.write_pylate(tmp_path / "model"))
    (tmp_path / "texts.txt").write_text("some text\nanother text\n")
    block_network(monkeypatch)
    model = ("--model", NAME, "--local-files-only", "--cache-dir", str(cache), "--device", "cpu")
    texts = str(tmp_path / "texts.txt")
    for command in (
        ("doctor",),
        ("rerank", "a query", texts),
        ("explain", "a query", texts),
        ("encode", texts, "--store", str(tmp_path / "store")),
    ):
        code, out, err = run(*command, *model)
        assert (code, err) == (0, ""), command
        assert out
    code, _, err = run("rerank", "a query", texts, *model, "--revision", "v9")
    assert code == 2
    assert "local_files_only forbids the network" in err
    code, _, err = run("rerank", "a query", texts, *model, "--instruction", "Find answers")
    assert code == 2
    assert "takes no instruction" in err
