"""The tables of one machine as Markdown, from the file that run_all.py keeps; each names processor, paths and state."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import run_all_step_tables as tables
from run_all_step_tables import Rows, name_of

TABLES: dict[str, tuple[str, Callable[[Rows, Mapping[str, Any]], None]]] = {
    "choices": ("What one query over 100 SciFact abstracts costs", tables.choices),
    "first process": ("An installed wheel's processes", tables.first_process),
    "quality": ("Rankings of BM25's top 100", tables.quality),
    "latency": ("One query and 100 candidates of SciFact", tables.latency),
    "encoding": ("Encoding with the bundled model", tables.encoding),
    "runtimes": ("Compiled kernels beside ONNX Runtime", tables.runtimes),
    "stages": ("Where the time of reranking goes", tables.stages),
    "maxsim": ("MaxSim, 128 dims", tables.maxsim),
    "storage": ("Stores, from a query's text to the ranking", tables.storage),
    "budget": ("Little time", tables.budget),
    "serving": ("The server", tables.serving),
}


def print_tables(kept: Mapping[str, Any]) -> None:
    """Every table that there are rows for, and what was not measured."""
    machine, runs = kept["machine"], kept["runs"]
    for step, (title, show) in TABLES.items():
        done = [run for run in runs if run["step"] == step and run["status"] == "done"]
        if done:
            print(f"\n**{title}.** {caption(machine, done)}\n")
            show([{"path": run["path"], **row} for run in done for row in run["rows"]], machine)
    missing = [run for run in runs if run["status"] != "done"]
    if missing:
        print("\nNot measured:\n")
    for run in missing:
        print(f"- {run['step']}, {name_of(run['path'])}: {run['status']}, {run['reason'].partition(' | ')[0]}")


def caption(machine: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> str:
    """The processor, how many, the paths, whether anything else ran, and the code that was measured."""
    paths = dict.fromkeys(path for run in runs for path in paths_in(run))
    if any(run["loaded"] for run in runs):
        state = "loaded, so that figures mean little"
    elif any(run.get("disturbed") for run in runs):
        state = "disturbed by other work for a while"
    else:
        state = "quiet"
    commits = ", ".join(dict.fromkeys(run["commit"] for run in runs if run["commit"])) or "unknown"
    return (
        f"{machine['processor']}, {machine['processors']} processors, {state}; "
        f"{' and '.join(name_of(path) for path in paths)}; {runs[0]['time'][:10]}, commit {commits}."
    )


def paths_in(run: Mapping[str, Any]) -> list[str]:
    """The vector paths that a run has rows for; its own where its rows do not say."""
    found = [row["path"] for row in run["rows"] if row.get("path")]
    return list(dict.fromkeys(found)) or [run["path"]]
