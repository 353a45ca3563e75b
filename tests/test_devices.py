import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

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


REQUIREMENTS = [
    "numpy>=1.26",
    'torch>=2.6; extra == "torch"',
    "torch>=2.6; extra == 'cuda'",
    "cupy-cuda13x>=14; (sys_platform != 'darwin') and extra == 'cuda'",
    "torch-like>=1; extra == 'torch-like'",
]


@pytest.mark.parametrize(
    ("extra", "command"),
    [
        ("torch", 'pip install "torch>=2.6"'),
        ("cuda", """pip install "torch>=2.6" "cupy-cuda13x>=14; (sys_platform != 'darwin')\""""),
        ("none-such", 'pip install ".[none-such]"'),
    ],
)
def test_the_command_names_the_packages_of_an_extra(monkeypatch, extra, command):
    monkeypatch.setattr(metadata, "requires", lambda _: REQUIREMENTS)
    assert devices.install_command(extra) == command


def test_a_checkout_that_is_not_installed_has_a_command_too(monkeypatch):
    def not_installed(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", not_installed)
    with pytest.raises(MissingDependencyError, match=r'"no_such_package_here", .*: pip install "\.\[torch\]"$'):
        devices.import_optional("no_such_package_here.sub", "torch", "this")


def test_every_extra_that_an_error_names_is_one_and_no_hint_is_written_by_hand():
    root = Path(devices.__file__).parent
    source = "\n".join(path.read_text(encoding="utf-8") for path in sorted(root.rglob("*.py")))
    project = tomllib.loads((root.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = set(re.findall(r"""(?:import_optional\(\s*"[^"]+",\s*|install_command\()["'](\w+)["']""", source))
    assert named >= {"torch", "export", "evaluation", "dataframe", "arrow"}
    assert named <= set(project["optional-dependencies"])
    assert len(re.findall("pip install", source)) == 1


def test_versions():
    assert devices.installed_version("numpy")
    assert devices.installed_version("no-such-package-here") is None
