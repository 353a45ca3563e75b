"""Everything that needs a GPU, in one go: tests, MaxSim kernels, encoding in half precision, reranking, little memory.

usage: python benchmarks/bench_gpu.py --output FILE [--minutes 5] [--device cuda|cpu] [--only PART …]

Each part runs in a process of its own with a share of the time. FILE is JSON, and complete after every row; FILE.log
holds what the parts printed. Runs from a checkout that is not installed. Tests need pytest, hypothesis and
pytest-timeout; flash-maxsim, late-interaction-kernels and sentence-transformers take part where they are installed.
With --device cpu everything is tried in its smallest form, to find faults that have nothing to do with a GPU.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workloads import ROOT, describe_machine, version_or_none

PARTS = {"gpu_tests": 0.3, "gpu_scoring": 0.27, "gpu_encoding": 0.17, "gpu_reranking": 0.14, "gpu_peers": 0.12}
PACKAGES = (
    "torch", "triton", "cupy-cuda13x", "transformers", "sentence-transformers", "flash-maxsim",
    "late-interaction-kernels", "pylate", "hypothesis", "pytest", "safetensors",
)  # fmt: skip
CHARACTERS_OF_LOG = 8000
# on a machine without a GPU the parts need so long for what is not the measuring: imports, compiling, loading
LEAST_SECONDS = 120


def main() -> None:
    """Run the parts one after the other, and keep what they found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--only", nargs="*", choices=tuple(PARTS), default=tuple(PARTS))
    options = parser.parse_args()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    begun = time.perf_counter()
    result: dict[str, Any] = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment(options.device),
        "parts": {},
    }
    log = options.output.with_name(options.output.name + ".log")
    log.write_text("", encoding="utf-8")
    save(options.output, result)
    for number, name in enumerate(options.only):
        rest = sum(PARTS[each] for each in options.only[number:])
        left = options.minutes * 60 - (time.perf_counter() - begun)
        seconds = left * PARTS[name] / rest  # what one part leaves over, the later ones get
        result["parts"][name] = run_part(name, options.device, seconds, options.output, log)
        save(options.output, result)
    result["targets"] = targets(result["parts"])
    result["seconds"] = time.perf_counter() - begun
    save(options.output, result)
    print(json.dumps({"targets": result["targets"], "seconds": result["seconds"]}, indent=1))
    for name, part in result["parts"].items():
        wrong = [row["what"] for row in part["rows"] if is_wrong(row)]
        print(f"{name}: {part['status']} in {part['seconds']:.0f} s, {len(part['rows'])} rows, wrong: {wrong}")


def is_wrong(row: dict[str, Any]) -> bool:
    """Whether a row tells of a failure, of what it measured or of itself."""
    return (
        "error" in row
        or bool(row.get("failed"))
        or row.get("is_right") is False
        or row.get("exit_code") not in {None, 0, 5}
    )


def run_part(name: str, device: str, seconds: float, output: Path, log: Path) -> dict[str, Any]:
    """One part in a process of its own, which is ended when it takes much longer than it should."""
    rows = output.with_name(f"{output.name}.{name}.jsonl")
    rows.unlink(missing_ok=True)
    limit = seconds + 8 if device == "cuda" else max(seconds, LEAST_SECONDS)
    command = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), "--device", device]
    command += ["--seconds", str(seconds if device == "cuda" else limit), "--output", str(rows)]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1", "TQDM_DISABLE": "1"}
    begun = time.perf_counter()
    with log.open("a", encoding="utf-8") as file:
        file.write(f"\n== {name}, {seconds:.0f} s\n")
        file.flush()
        place = file.tell()
        try:
            code = subprocess.run(
                command, cwd=ROOT, env=variables, stdout=file, stderr=subprocess.STDOUT, timeout=limit, check=False
            ).returncode
            status = "done" if code == 0 else f"ended with {code}"
        except subprocess.TimeoutExpired:
            status = "stopped: it took too long"
    text = log.read_bytes()[place:].decode("utf-8", "replace")
    print(f"== {name}: {status}\n{text[-CHARACTERS_OF_LOG:]}", flush=True)
    lines = rows.read_text(encoding="utf-8").splitlines() if rows.exists() else []
    rows.unlink(missing_ok=True)
    return {
        "status": status,
        "seconds": time.perf_counter() - begun,
        "rows": [json.loads(line) for line in lines if line.endswith("}")],
        "end_of_log": "" if status == "done" else text[-CHARACTERS_OF_LOG:],
    }


def environment(device: str) -> dict[str, Any]:
    """Machine, versions and card."""
    found: dict[str, Any] = {
        **describe_machine(os.cpu_count() or 1),
        **{name: version_or_none(name) for name in PACKAGES},
    }
    if device == "cuda":
        names = "name,driver_version,clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem,memory.total,power.limit"
        found["card"] = output_of("nvidia-smi", f"--query-gpu={names}", "--format=csv")
        found["nvidia_smi"] = output_of("nvidia-smi")
    code = "import torch; print(torch.__version__, torch.version.cuda, torch.backends.cuda.matmul.allow_tf32)"
    found["pytorch"] = output_of(sys.executable, "-c", code)
    found["commit"] = output_of("git", "rev-parse", "HEAD")
    return found


def output_of(*command: str) -> str:
    """What a command prints, or why it did not."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"failed: {error}"
    return (done.stdout or done.stderr).strip()[-3000:]


def targets(parts: dict[str, Any]) -> dict[str, Any]:
    """What was asked for, beside what came out; None where it was not measured."""
    rows = {row["what"]: row for part in parts.values() for row in part["rows"]}

    def value(what: str, *names: str) -> Any:
        found: Any = rows.get(what, {})
        for name in names:
            found = found.get(name, {}) if isinstance(found, dict) else {}
        return found if isinstance(found, int | float) else None

    large, hundred = "maxsim uniform, 100000: triton, trusted, ", "maxsim uniform, 100: triton, trusted, float16"
    thousands = "maxsim uniform, 10000: "
    gpu = value(thousands + "triton, trusted, float16", "wall_ms")
    cpu = value(thousands + "compiled on the CPU, float16", "wall_ms")
    return {
        "100 documents, on the device ≤ 0.1 ms": value(hundred, "device_ms"),
        "100 documents, whole call ≤ 0.1 ms": value(hundred, "wall_ms"),
        "≥ 0.7 of a copy's bandwidth": {
            storage: value(large + storage, "of_copy")
            for storage in ("float16", "float32", "bfloat16", "int8", "signs")
        },
        "≥ 10 times the CPU's MaxSim": cpu / gpu if cpu and gpu else None,
        "fp16 cosine ≥ 0.999": value("encode bundled: rank_rerank fp16", "mean_cosine"),
        "bf16 cosine ≥ 0.999": value("encode bundled: rank_rerank bf16", "mean_cosine"),
        "encode ≤ 3 ms a document": value("encode bundled: rank_rerank fp16", "ms_a_text"),
        "encode ≤ 3 ms a document, base size": value(
            "encode modernbert-base, random weights: rank_rerank fp16", "ms_a_text"
        ),
        "rerank 100 documents, times the CPU": value("rerank 100 documents", "times_the_cpu"),
    }


def save(output: Path, result: dict[str, Any]) -> None:
    """Write the file anew, so that it is whole whenever the machine goes away."""
    partial = output.with_name(output.name + ".part")
    partial.write_text(json.dumps(result, indent=1, default=str) + "\n", encoding="utf-8")
    partial.replace(output)


if __name__ == "__main__":
    main()
