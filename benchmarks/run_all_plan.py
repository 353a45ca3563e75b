"""What run_all.py runs: which scripts, how small, on which vector paths, for how long, and what they need."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from workloads import ROOT

from rank_rerank.kernels.processor import VectorPath

AVX2 = "avx2"
# what holds other libraries to AVX2 too; nothing holds ONNX Runtime to it
HELD_TO_AVX2 = {
    "OPENBLAS_CORETYPE": "Haswell",
    "LIBXSMM_TARGET": "hsw",
    "ATEN_CPU_CAPABILITY": "avx2",
    "DNNL_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}
# what would hold them back where nothing should
NEVER_SET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", *HELD_TO_AVX2, "RANK_RERANK_VECTOR_PATH")


@dataclass(frozen=True)
class Step:
    """One benchmark.

    Attributes:
        name: for --only, and in the results.
        script: in this folder.
        arguments: "{paths}" in them stands for the machine's paths, "{other}" for those beside the best one.
        limit_s: after which it is ended, on each path.
        parity: what it compares before it times, for rows that do not say so themselves.
        once: it is run once, and sees to the paths itself.
        packages: that it cannot do without, as they are imported.
        data: folders of the collections that it reads.
    """

    name: str
    script: str
    arguments: tuple[str, ...]
    limit_s: int
    parity: str = ""
    once: bool = False
    packages: tuple[str, ...] = ()
    data: tuple[str, ...] = ()


EXPORT = ("torch", "onnx", "onnxscript", "transformers")
JUDGING = ("bm25s", "Stemmer", "ir_measures")
# the most telling first: what no time is left for is skipped, with that reason
STEPS = (
    Step("first process", "bench_first_process.py", ("--paths", "{paths}"), 420, once=True),
    Step(
        "encoding",
        "bench_encoding.py",
        ("--texts", "40", "--rounds", "3", "--single-calls", "100", "--paths", "{other}"),
        540,
        once=True,
        packages=EXPORT,
        data=("scifact", "squad"),
    ),
    Step("runtimes", "bench_runtimes.py", ("--texts", "60", "--rounds", "5"), 150, data=("scifact", "squad")),
    Step("stages", "bench_stages.py", ("--documents", "40"), 150, data=("scifact",)),
    Step(
        "maxsim",
        "bench_maxsim.py",
        ("--documents", "20", "100", "1000", "--seconds", "1", "--keep"),
        300,
        data=("scifact",),
    ),
    Step("quality", "bench_reranking.py", ("--sets", "scifact,cranfield,cisi", "--parts", "quality"), 420,
         packages=JUDGING, data=("scifact", "cranfield", "cisi")),
    Step("latency", "bench_reranking.py", ("--parts", "latency,memory"), 240, packages=JUDGING, data=("scifact",)),
    Step(
        "choices",
        "bench_choices.py",
        ("--queries", "4", "--rounds", "2", "--paths", "{paths}"),
        600,
        once=True,
        packages=(*JUDGING, *EXPORT),
        data=("scifact",),
    ),
    Step(
        "budget",
        "bench_budget.py",
        ("--sets", "scifact", "--queries", "30", "--budgets", "50,150,400", "--calls", "60"),
        300,
        "with everything read, the exact ranking, checked of every query",
        packages=JUDGING,
        data=("scifact",),
    ),
    Step(
        "serving",
        "bench_serving.py",
        ("--seconds", "15"),
        300,
        "every answer is that of rerank in process, bit for bit",
        once=True,
        packages=("fastapi", "uvicorn"),
    ),
    Step(
        "storage",
        "bench_storage.py",
        ("--parts", "table"),
        600,
        "a float32 store's scores are those of maxsim in memory, bit for bit",
        once=True,
        packages=JUDGING,
        data=("scifact", "cranfield"),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A step on one path.

    Attributes:
        step: what is run.
        path: the vector path of compiled kernels.
        command: without the interpreter's own folder of results.
        settings: variables of the environment.
        skipped: why it is not run; empty where it is.
    """

    step: Step
    path: str
    command: tuple[str, ...]
    settings: dict[str, str] = field(default_factory=dict)
    skipped: str = ""

    @property
    def label(self) -> str:
        """The step and its path."""
        return f"{self.step.name}, {self.path}"


def paths_of(usable: Sequence[VectorPath]) -> list[str]:
    """The paths that are measured: the best one, and AVX2 where the machine has better."""
    names = [path.name for path in usable]
    return [names[0], *([AVX2] if AVX2 in names[1:] else [])]


def make_plan(paths: Sequence[str], data: Path, only: Sequence[str] = (), wheel: Path | None = None) -> list[Run]:
    """Every run in order; what cannot be run has its reason.

    Raises:
        ValueError: ``only`` names an unknown step.
    """
    if unknown := sorted(set(only) - {step.name for step in STEPS}):
        raise ValueError(f"no such step: {', '.join(unknown)}. There are: {', '.join(step.name for step in STEPS)}")
    return [
        Run(step, path, command_of(step, paths, data, wheel), settings_of(step, path, paths), why_not(step, data))
        for step in STEPS
        if not only or step.name in only
        for path in (paths[:1] if step.once else paths)
    ]


def command_of(step: Step, paths: Sequence[str], data: Path, wheel: Path | None) -> tuple[str, ...]:
    """The command of a step."""
    arguments: list[str] = []
    for word in step.arguments:
        if word == "{other}":
            arguments += paths[1:]
        else:
            arguments.append(word.replace("{paths}", ",".join(paths)))
    if step.data:
        arguments += ["--data", str(data)]
    if wheel is not None and step.name == "first process":
        arguments += ["--wheel", str(wheel)]
    return (sys.executable, str(ROOT / "benchmarks" / step.script), *arguments)


def settings_of(step: Step, path: str, paths: Sequence[str]) -> dict[str, str]:
    """A path's variables: our kernels are held to it, and the others' too where that is AVX2 and not the best."""
    if step.once:
        return {}
    return {"RANK_RERANK_VECTOR_PATH": path, **(HELD_TO_AVX2 if path == AVX2 and path != paths[0] else {})}


def why_not(step: Step, data: Path) -> str:
    """What a step misses here."""
    packages = [name for name in step.packages if find_spec(name) is None]
    folders = [name for name in step.data if not (data / name).is_dir()]
    reasons = [
        f"not installed: {', '.join(packages)}" if packages else "",
        f"not in --data: {', '.join(folders)}" if folders else "",
    ]
    return "; ".join(reason for reason in reasons if reason)
