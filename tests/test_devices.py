import sys

import pytest

from rank_rerank import devices
from rank_rerank.errors import InvalidArgumentError, MissingDependencyError


def test_without_torch_the_gpu_device_is_the_cpu(monkeypatch):
    monkeypatch.setattr(devices, "find_spec", lambda _: None)
    assert devices.get_gpu_device() == "cpu"


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_cuda_before_mps_before_cpu(monkeypatch, cuda, mps, expected):
    from types import SimpleNamespace

    torch = SimpleNamespace(
        cuda=SimpleNamespace(is_available=lambda: cuda),
        backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: mps)),
    )
    monkeypatch.setattr(devices, "find_spec", lambda _: object())
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert devices.get_gpu_device() == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "damaged"}, None),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({}, None),
    ],
)
def test_a_containers_quota_counts(tmp_path, files, expected):
    (tmp_path / "cpu").mkdir()
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert devices._cgroup_quota_cpus(tmp_path) == expected


def test_the_quota_limits_the_threads(monkeypatch):
    monkeypatch.delenv(devices.NUM_THREADS_VARIABLE, raising=False)
    monkeypatch.setattr(devices, "_cgroup_quota_cpus", lambda: 1)
    assert devices.default_num_threads() == devices.available_cpus() == 1


def test_the_variable_sets_the_threads(monkeypatch):
    monkeypatch.setenv(devices.NUM_THREADS_VARIABLE, " 3 ")
    assert devices.default_num_threads() == 3


@pytest.mark.parametrize("value", ["0", "257", "two", "-1", "1.5", "٣"])
def test_a_variable_that_counts_nothing_is_refused(monkeypatch, value):
    monkeypatch.setenv(devices.NUM_THREADS_VARIABLE, value)
    with pytest.raises(InvalidArgumentError, match=devices.NUM_THREADS_VARIABLE):
        devices.default_num_threads()


def test_a_missing_package_is_named_with_the_command_that_installs_it():
    with pytest.raises(MissingDependencyError, match=r'pip install "rank-rerank\[torch\]"'):
        devices.import_optional("no_such_package_here.sub", "torch", "this")


def test_versions():
    assert devices.installed_version("numpy")
    assert devices.installed_version("no-such-package-here") is None
