"""What all tests share: the bundled model, opened once, no network, and the same answer every time."""

import importlib
import random
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
from example_counts import forget_loaded_modules, is_steady, register_profiles

import rank_rerank
from rank_rerank.devices import available_cpus

MAX_WORKERS = 8
COMMON_SCORERS = ("float32", "float16", "int8-tokens", "signs")

register_profiles()


def pytest_configure(config):
    # pytest-randomly shuffles; what a test draws must not change with the order's seed, see same_numbers_every_time
    config.option.randomly_reset_seed = False


def pytest_sessionstart(session):
    if is_steady():
        forget_loaded_modules()


def pytest_make_parametrize_id(val, argname):
    """Name what is packed by its argument: all workers of a run must give a test one name, and gzip writes the time."""
    return argname if isinstance(val, bytes) and not val.decode("latin-1").isprintable() else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """As many as there are processors for a whole run; none where files or tests were named, for they take seconds."""
    return min(available_cpus(), MAX_WORKERS) if config.args == config.getini("testpaths") else 0


@pytest.fixture(autouse=True)
def same_numbers_every_time():
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - what others draw from
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def compiled_kernels():
    """What most tests run, so that none of them has to compile, which a command reports on its standard error."""
    from rank_rerank.inference.compiled.loading import forward_specs
    from rank_rerank.kernels.cache import cache_folder
    from rank_rerank.kernels.lingering import lingering_specs
    from rank_rerank.kernels.loading import keep_kernel
    from rank_rerank.kernels.processor import vector_path
    from rank_rerank.scoring.compiled.loading import parts_spec, prepare_spec, scorer_spec

    if cache_folder() is not None:
        path = vector_path()
        scorers = [scorer_spec(name, path, with_matches=each) for name in COMMON_SCORERS for each in (False, True)]
        for spec in [*forward_specs(path), *scorers, *lingering_specs(path), parts_spec(path), prepare_spec(path)]:
            keep_kernel(spec)


@pytest.fixture(scope="session")
def reranker() -> rank_rerank.ColbertReranker:
    return rank_rerank.load()


@pytest.fixture(scope="session")
def encoder(reranker) -> rank_rerank.TokenEncoder:
    return reranker.encoder


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(self, address, *_):
        raise AssertionError(f"a test reached for the network: {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def benchmark_modules(monkeypatch):
    """Loads modules of the folder of benchmarks, which no other test sees."""
    folder = str(Path(__file__).parents[1] / "benchmarks")
    monkeypatch.syspath_prepend(folder)
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(folder):
            del sys.modules[name]
