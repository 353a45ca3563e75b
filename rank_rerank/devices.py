"""What this machine has: processors, GPUs, runtimes and optional packages."""

import os
import re
import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from operator import index
from pathlib import Path
from types import ModuleType
from typing import Literal, TypeAlias, get_args

from rank_rerank.errors import InvalidArgumentError, MissingDependencyError

NUM_THREADS_VARIABLE = "RANK_RERANK_NUM_THREADS"
MAX_NUM_THREADS = 256

GpuDevice: TypeAlias = Literal["cuda", "mps", "cpu"]
# what numbers a model computes in, and what computes it; explained at inference.load_options.RuntimeOptions
Precision: TypeAlias = Literal["auto", "int8", "fp32", "fp16", "bf16"]
Runtime: TypeAlias = Literal["auto", "numba", "onnx", "torch"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)


def get_gpu_device() -> GpuDevice:
    """Name the device a GPU encoder would use: "cuda", "mps" (Apple), or "cpu" where there is no usable GPU.

    PyTorch is asked where it is installed; without it no GPU can be used and the answer is "cpu". Importing PyTorch
    takes a second or two the first time.
    """
    if find_spec("torch") is None:
        return "cpu"
    torch = import_module("torch")
    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    return "cpu"


def suggest_device(name: str) -> str:
    """What was probably meant by a device's name that nothing has: ' Did you mean "cuda"?', or nothing."""
    lowered = name.strip().lower()
    if lowered in ("gpu", "nvidia", "amd", "cuda0") or lowered.startswith("gpu:"):
        meant = f"cuda:{lowered[4:]}" if lowered[4:].isdecimal() else "cuda"
        return f' For a GPU write device="{meant}" (NVIDIA and AMD) or device="mps" (Apple).'
    if lowered in ("metal", "apple", "m1", "m2", "m3", "m4"):
        return ' For the GPU of an Apple machine write device="mps".'
    known = lowered.partition(":")[0] in ("auto", "cpu", "cuda", "mps")
    return f' Did you mean device="{lowered}"?' if known and lowered != name else ""


def gpu_devices() -> list[str]:
    """The devices of the kind that get_gpu_device names: ["cuda:0", "cuda:1"], ["mps"], or none."""
    kind = get_gpu_device()
    if kind == "cuda":
        return [f"cuda:{number}" for number in range(import_module("torch").cuda.device_count())]
    return [] if kind == "cpu" else [kind]


def available_cpus() -> int:
    """Count the processors this process may use, which in a container is less than the machine has.

    The smaller of the affinity mask and the control group's quota (v2 ``cpu.max``, v1 ``cpu.cfs_quota_us``),
    rounded up, at least 1.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    quota = _cgroup_quota_cpus()
    return allowed if quota is None else max(1, min(allowed, quota))


def default_num_threads() -> int:
    """How many threads work when nobody says: RANK_RERANK_NUM_THREADS, else the processors this process may use.

    Raises:
        InvalidArgumentError: the variable holds something else than a whole number from 1 to 256.
    """
    text = os.environ.get(NUM_THREADS_VARIABLE, "").strip()
    if not text:
        return min(available_cpus(), MAX_NUM_THREADS)
    if not text.isascii() or not text.isdigit():
        raise InvalidArgumentError(f"{NUM_THREADS_VARIABLE} must be a whole number from 1 to {MAX_NUM_THREADS}")
    return check_num_threads(int(text), NUM_THREADS_VARIABLE)


def check_num_threads(num_threads: int, name: str = "num_threads") -> int:
    """Give the number back if threads can be counted by it.

    Raises:
        InvalidArgumentError: it is not from 1 to 256.
    """
    try:
        number = 0 if isinstance(num_threads, bool) else index(num_threads)
    except TypeError:
        number = 0
    if not 1 <= number <= MAX_NUM_THREADS:
        raise InvalidArgumentError(f"{name} must be a whole number from 1 to {MAX_NUM_THREADS}")
    return number


def import_optional(module: str, extra: str, purpose: str) -> ModuleType:
    """Import an optional package, or say which command installs it.

    Args:
        module: dotted name to import.
        extra: the extra of this library that installs it.
        purpose: what it is needed for, as the subject of the message.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f'{purpose} needs the package "{module.partition(".")[0]}", which is not installed. '
            f"Install it with: {install_command(extra)}"
        ) from error


def install_command(extra: str) -> str:
    """The command that installs an extra's packages, whether this library came from an index, a URL or a checkout.

    It names the packages themselves, as this library's metadata lists them. A checkout that is imported without being
    installed has no metadata; there the command is to be run in its folder.
    """
    from importlib import metadata  # noqa: PLC0415 - loads the parsers of mails and archives

    try:
        requirements = metadata.requires("rank-rerank") or []
    except metadata.PackageNotFoundError:
        requirements = []
    marker = re.compile(rf"""\s*(?:;|and)\s*extra\s*==\s*['"]{re.escape(extra)}['"]\s*$""")
    packages = [marker.sub("", requirement) for requirement in requirements if marker.search(requirement)]
    return "pip install " + " ".join(f'"{package}"' for package in packages or [f".[{extra}]"])


def installed_version(package: str) -> str | None:
    """The installed version of a distribution, None where there is none."""
    if (listed := _listed_version(package)) is not None:
        return listed
    from importlib import metadata  # noqa: PLC0415 - loads the parsers of mails and archives

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _listed_version(package: str) -> str | None:
    """The version in the name of the folder that an installer left, as NAME-VERSION.dist-info."""
    begin, end = f"{package.replace('-', '_').lower()}-", ".dist-info"
    for place in sys.path:
        try:
            names = sorted(each.name for each in Path(place or ".").iterdir())
        except OSError:
            continue
        for name in names:
            if name.endswith(end) and name.lower().startswith(begin):
                return name[len(begin) : -len(end)]
    return None


@cache  # read from files, and asked for at every call of a kernel
def _cgroup_quota_cpus(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """The control group's limit in whole processors, rounded up; None where there is no limit."""
    for quota_file, period_file in (("cpu.max", None), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            words = (root / quota_file).read_text().split()
            period = words[1] if period_file is None else (root / period_file).read_text().strip()
            quota = int(words[0])  # "max" and -1 mean that there is no limit
        except (OSError, ValueError, IndexError):
            continue
        if quota > 0 and int(period) > 0:
            return -(-quota // int(period))
    return None
