"""``rank-rerank warm-up`` leaves nothing to compile."""

import re

import pytest

from rank_rerank.cli import warm_up_command
from rank_rerank.cli.every_kernel import every_kernel
from rank_rerank.kernels import loading
from rank_rerank.kernels.processor import VECTOR_PATHS, usable_vector_paths, vector_path
from rank_rerank.scoring.compiled.loading import scorer_spec


@pytest.fixture
def few_kernels(monkeypatch, tmp_path):
    """One kernel per path, and a cache that is empty."""
    monkeypatch.setattr(loading, "_origins", {})
    for module in (loading, warm_up_command):
        for name in ("cache_folder", "readable_cache_folder"):
            monkeypatch.setattr(module, name, lambda: tmp_path)
    monkeypatch.setattr(loading, "read_prebuilt", lambda *_: None)
    monkeypatch.setattr(
        warm_up_command, "every_kernel", lambda path: [scorer_spec("float32", path, with_matches=False)]
    )
    return tmp_path


def test_it_compiles_what_is_missing_and_nothing_twice(run, few_kernels):
    name = f"maxsim-float32-{vector_path().name}"
    assert run("warm-up") == (0, f"{name}  compiled now\n", "")
    [file] = few_kernels.iterdir()
    assert re.fullmatch(rf"{name}-\d+-[0-9a-f]{{24}}\.kernel", file.name)
    assert run("warm-up") == (0, f"{name}  cached\n", "")


def test_all_targets_are_those_of_the_family(run, few_kernels, monkeypatch):
    kept, apart = [], []
    monkeypatch.setattr(warm_up_command, "_keep", lambda path: kept.append(path.name))
    monkeypatch.setattr(warm_up_command, "_run_apart", lambda path: apart.append(path.name))
    assert run("warm-up", "--target", "all")[0] == 0
    family = usable_vector_paths()[0].architecture
    assert {*kept, *apart} == {path.name for path in VECTOR_PATHS if path.architecture == family}
    assert set(kept) <= {path.name for path in usable_vector_paths()}


def test_a_path_that_is_none(run):
    code, out, err = run("warm-up", "--target", "mmx")
    assert (code, out) == (2, "")
    assert "--target must be one of native, all, " in err


def test_a_cache_that_cannot_be_written(run, few_kernels, monkeypatch):
    for module in (loading, warm_up_command):
        for name in ("cache_folder", "readable_cache_folder"):
            monkeypatch.setattr(module, name, lambda: None)
    code, out, err = run("warm-up")
    assert (code, out) == (2, "")
    assert "RANK_RERANK_CACHE" in err


def test_every_kernel_has_a_name_of_its_own():
    names = [spec.name for path in VECTOR_PATHS for spec in every_kernel(path)]
    assert len(set(names)) == len(names) > 80
