"""Everything that needs a GPU, in one go: tests, MaxSim kernels, encoding in half precision, reranking, little memory.

usage: python benchmarks/bench_gpu.py --output FILE [--minutes 5] [--device cuda|cpu] [--only PART …] [--brief]
       python benchmarks/bench_gpu.py --output FILE --merge OLDEST … NEWEST

Each part runs in a process of its own with a share of the time. FILE is JSON, and complete after every row; FILE.log
holds what the parts printed. Runs from a checkout that is not installed. Tests need pytest, hypothesis and
pytest-timeout; flash-maxsim, late-interaction-kernels and sentence-transformers take part where they are installed.
--brief leaves out what takes long and rarely changes: two and a half minutes are then enough. --merge joins the files
of several runs, each row with the time and commit of its own, and runs nothing.
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

from gpu_results import is_wrong, merge, targets, without_folders
from workloads import ROOT, describe_machine, version_or_none

# the share of the time that a part has, in full and in brief
PARTS = {
    "gpu_tests": (0.27, 0.24), "gpu_scoring": (0.25, 0.24), "gpu_encoding": (0.24, 0.21), "gpu_reranking": (0.13, 0.2),
    "gpu_peers": (0.11, 0.11),
}  # fmt: skip
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
    parser.add_argument("--brief", action="store_true")
    parser.add_argument("--merge", nargs="+", type=Path, default=[])
    options = parser.parse_args()
    if options.merge:
        joined = merge([json.loads(each.read_text(encoding="utf-8")) for each in options.merge])
        save(options.output, joined)
        print(json.dumps(joined["targets"], indent=1))
        return
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
        rest = sum(PARTS[each][options.brief] for each in options.only[number:])
        left = options.minutes * 60 - (time.perf_counter() - begun)
        seconds = left * PARTS[name][options.brief] / rest  # what one part leaves over, the later ones get
        result["parts"][name] = run_part(name, options, seconds, log)
        save(options.output, result)
    result["targets"] = targets(result["parts"])
    result["seconds"] = time.perf_counter() - begun
    save(options.output, result)
    print(json.dumps({"targets": result["targets"], "seconds": result["seconds"]}, indent=1))
    for name, part in result["parts"].items():
        wrong = [row["what"] for row in part["rows"] if is_wrong(row)]
        print(f"{name}: {part['status']} in {part['seconds']:.0f} s, {len(part['rows'])} rows, wrong: {wrong}")


def run_part(name: str, options: argparse.Namespace, seconds: float, log: Path) -> dict[str, Any]:
    """One part in a process of its own, which is ended when it takes much longer than it should."""
    device, output = options.device, options.output
    rows = output.with_name(f"{output.name}.{name}.jsonl")
    rows.unlink(missing_ok=True)
    limit = seconds + (4 if options.brief else 8) if device == "cuda" else max(seconds, LEAST_SECONDS)
    command = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), "--device", device]
    command += ["--seconds", str(seconds if device == "cuda" else limit), "--output", str(rows)]
    command += ["--brief"] if options.brief else []
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
    found["commit"] = output_of("git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty")
    return found


def output_of(*command: str) -> str:
    """What a command prints, or why it did not."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"failed: {error}"
    return (done.stdout or done.stderr).strip()[-3000:]


def save(output: Path, result: dict[str, Any]) -> None:
    """Write the file anew, so that it is whole whenever the machine goes away."""
    partial = output.with_name(output.name + ".part")
    partial.write_text(json.dumps(without_folders(result), indent=1, default=str) + "\n", encoding="utf-8")
    partial.replace(output)


if __name__ == "__main__":
    main()
