"""The file that run_all.py keeps for one machine."""

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workloads import ROOT, results_folder

# a row has one of these, or it does not say what was compared before it was timed
PARITY_KEYS = ("parity", "mean_cosine", "error_a_query_token", "top_10", "wrong")
# of rows, what the head of the file has for all
OF_THE_MACHINE = ("processor", "processors", "threads", "system", "python", "rank-rerank", "numpy", "numba",
                  "onnxruntime", "tokenizers")  # fmt: skip


def has_parity(row: Mapping[str, Any]) -> bool:
    """Whether a row says what it was compared with."""
    return any(row.get(key) is not None and row[key] != "" for key in PARITY_KEYS)


def file_of(machine: Mapping[str, Any]) -> Path:
    """A name made of the processor, how many of them, and the best vector path; nothing else of the machine."""
    processor = str(machine["processor"]).partition("(")[0] + str(machine["processor"]).rpartition(")")[2]
    words = re.findall(r"[a-z0-9]+", f"{processor} {machine['processors']} processors {machine['vector_path']}".lower())
    return results_folder() / f"machine-{'-'.join(words)}.json"


def keep(file: Path, machine: Mapping[str, Any], result: dict[str, Any]) -> None:
    """Put a result into the file, unless what is there is worth more."""
    kept = read_file(file) if file.exists() else {"runs": []}
    runs = {(run["step"], run["path"]): run for run in kept["runs"]}
    key = (result["step"], result["path"])
    result["rows"] = [
        {name: each for name, each in row.items() if name not in OF_THE_MACHINE} for row in result["rows"]
    ]
    if key not in runs or worth(result) >= worth(runs[key]):
        runs[key] = result
    file.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"machine": dict(machine), "runs": list(runs.values())}, indent=1)
    file.write_text(text + "\n", encoding="utf-8")


def worth(result: Mapping[str, Any]) -> tuple[bool, bool]:
    """Measured before not measured, quiet before loaded."""
    return (result["status"] == "done", not result["loaded"])


def read_file(file: Path) -> dict[str, Any]:
    """What is kept of a machine."""
    return json.loads(file.read_text(encoding="utf-8"))


def commit() -> str:
    """The commit of this checkout, with a mark where files were changed; empty outside of a repository."""

    def git(*arguments: str) -> str:
        try:
            done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607 - git is where the system has it
        except (OSError, subprocess.CalledProcessError):
            return ""
        return done.stdout.strip()

    found = git("rev-parse", "--short=12", "HEAD")
    changed = [line for line in git("status", "--porcelain").splitlines() if "benchmarks/results/" not in line]
    return f"{found} with changes" if found and changed else found
