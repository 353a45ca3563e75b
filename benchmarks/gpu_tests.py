"""Part of bench_gpu.py: the tests of kernels and models that need a GPU, in several processes; failures in full.

Triton compiles a kernel for each kind of vectors, so the tests are cut by what they need compiled.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from gpu_parts import Part
from workloads import ROOT

PROPERTIES = "tests/scoring/test_maxsim_properties.py"
OTHERS = (
    "tests/scoring/test_maxsim_torch.py", "tests/scoring/test_maxsim.py", "tests/scoring/test_maxsim_arguments.py",
    "tests/scoring/test_device_calls.py",
)  # fmt: skip
STORAGES = ("float32", "float16", "bfloat16", "int8-tokens", "int8-documents", "signs", "bits")
# properties that draw many shapes, and so compile many kernels
DRAWN = ("independent or depend or order", "reference", "lowers or twice or cut")
COMPILED = ("hopper", "wide and float32", "wide and not float32")
MOST_CHARACTERS = 6000


@dataclass(frozen=True)
class Group:
    """Tests that one process runs."""

    name: str
    arguments: tuple[str, ...]
    script: str = ""  # a part to warm up, in place of tests


def groups(part: Part) -> list[Group]:
    """All tests for a GPU; on a CPU a few of those that run there."""
    if part.is_short:
        return [Group("cupy, emulated", (PROPERTIES, "-k", "cupy-float32 and (family or long or wide)"))]
    if part.is_brief:
        return brief_groups()
    compiled = "tests/scoring/test_maxsim_triton.py"
    # which compile one kernel after the other, so that they begin first
    found = [Group(f"compiled for a GPU, {kind}", (compiled, "-m", "slow", "-k", kind)) for kind in COMPILED]
    for storage in STORAGES:
        name = f"triton-{storage}]"  # the end of a parameter in a test's name
        rest = " or ".join(DRAWN)
        found += [Group(f"{name[:-1]}, {kind}", (PROPERTIES, "-k", f"triton-{storage} and ({kind})")) for kind in DRAWN]
        found.append(Group(f"{name[:-1]}, the rest", (PROPERTIES, "-k", f"triton-{storage} and not ({rest})")))
    found.append(Group("CuPy", (PROPERTIES, "-k", "cupy-cuda")))
    found.append(Group("PyTorch on CUDA", (PROPERTIES, "-k", "torch-cuda")))
    found.append(Group("tensors", (*OTHERS, "-k", "torch or triton or cupy or tensor or device")))
    found.append(Group("models", ("tests/inference/pytorch", "tests/inference/test_device_group.py")))
    found.append(Group("choice", ("tests/test_devices.py", "tests/inference/test_choose.py")))
    return found


def brief_groups() -> list[Group]:
    """Agreement of every kernel for a GPU, and of models; beside them what the other parts need compiled."""
    found = [Group(f"triton-{storage}, reference", (PROPERTIES, "-k", f"triton-{storage} and reference"))
             for storage in STORAGES]  # fmt: skip
    found.append(Group("CuPy", (PROPERTIES, "-k", "cupy-cuda and (reference or itself)")))
    found.append(Group("tensors", (*OTHERS[:1], "-k", "torch or triton or tensor")))
    found.append(Group("models", ("tests/inference/pytorch/test_on_cuda.py",)))
    found.append(Group("choice", ("tests/inference/test_choose.py", "-k", "runtime")))
    return [Group("warm-up of gpu_scoring", (), "gpu_scoring"), Group("warm-up of gpu_peers", (), "gpu_peers"), *found]


def main() -> None:
    """Run all groups at once, as many as there are processors."""
    part = Part.from_arguments(__doc__)
    waiting, running = groups(part), []
    most = max(1, (os.cpu_count() or 2) - 1)
    with tempfile.TemporaryDirectory() as temporary:
        while waiting or running:
            while waiting and len(running) < most:
                running.append(_start(waiting.pop(0), Path(temporary), part))
            still = []
            for each in running:
                if each[1].poll() is None and part.has_time(2):
                    still.append(each)
                else:
                    _finish(part, *each)
            running = still
            time.sleep(0.1)


def _start(group: Group, folder: Path, part: Part) -> tuple[Group, subprocess.Popen[str], Path]:
    report = folder / (re.sub(r"\W+", "-", group.name) + ".xml")
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "RANK_RERANK_NUM_THREADS": "2"}
    environment.pop("TRITON_INTERPRET", None)
    command = [
        sys.executable, "-m", "pytest", *group.arguments, "-v", "-rA", "--tb=short", f"--junitxml={report}",
        "-p", "no:cacheprovider", "-p", "no:benchmark", "-o", "filterwarnings=default", "-o", "addopts=",
        "--timeout", str(max(30, int(part.seconds))),
    ]  # fmt: skip
    if group.script:
        script = ROOT / "benchmarks" / f"{group.script}.py"
        command = [sys.executable, str(script), "--device", part.device, "--output", os.devnull, "--brief", "--warm-up"]
    output = report.with_suffix(".log").open("w", encoding="utf-8")
    return group, subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, env=environment), report  # type: ignore[return-value]


def _finish(part: Part, group: Group, process: "subprocess.Popen[str]", report: Path) -> None:
    stopped = process.poll() is None
    if stopped:
        process.send_signal(signal.SIGINT)  # pytest then reports what it has
        try:
            process.wait(4)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    log = report.with_suffix(".log").read_text(encoding="utf-8", errors="replace")
    row: dict[str, Any] = {"exit_code": process.returncode, "stopped_for_time": stopped}
    if report.exists():
        row |= _read_report(report)
    if stopped or process.returncode not in (0, 5):
        row["end_of_log"] = log[-MOST_CHARACTERS:]
    row["warnings"] = re.findall(r"^  \S.*Warning: .*$", log, re.MULTILINE)[:10]
    part.emit(f"tests: {group.name}", **row)


def _read_report(report: Path) -> dict[str, Any]:
    [suite] = ET.parse(report).getroot().iter("testsuite")  # noqa: S314 - pytest wrote it
    row: dict[str, Any] = {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")}
    row["seconds"] = suite.get("time")  # a row's "time" is that of its run
    row["failed"] = [
        {"test": f"{case.get('classname')}::{case.get('name')}", "text": (found.text or "")[-MOST_CHARACTERS:]}
        for case in suite.iter("testcase")
        for found in (*case.iter("failure"), *case.iter("error"))
    ]
    row["reasons_for_skipping"] = sorted({str(found.get("message")) for found in suite.iter("skipped")})
    return row


if __name__ == "__main__":
    main()
