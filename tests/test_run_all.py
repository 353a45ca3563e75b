"""The benchmark of a whole machine, without running any: plan, refusal, what is kept, tables."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rank_rerank.kernels.processor import VECTOR_PATHS

pytest.importorskip("resource", reason="benchmarks measure memory as Unix does")
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MACHINE = {"processor": "Some CPU, family 7 (avx2)", "processors": 2, "vector_path": "avx512-vnni"}
BY_NAME = {path.name: path for path in VECTOR_PATHS}


@pytest.fixture
def load_module(benchmark_modules, monkeypatch, tmp_path):
    """Loads modules of benchmarks; results go to a folder of the test."""
    monkeypatch.setenv("RANK_RERANK_BENCH_RESULTS", str(tmp_path))
    return benchmark_modules


@pytest.fixture
def data(load_module, tmp_path):
    """A folder with a place for every collection that a step reads."""
    for step in load_module("run_all_plan").STEPS:
        for name in step.data:
            (tmp_path / "data" / name).mkdir(parents=True, exist_ok=True)
    return tmp_path / "data"


def make_run(load_module, code, **changes):
    plan = load_module("run_all_plan")
    step = plan.Step(changes.pop("name", "step"), "none.py", (), changes.pop("limit_s", 300), **changes)
    return plan.Run(step, "avx2", (sys.executable, "-c", code))


def kept_rows(*rows):
    """A program that keeps rows as a benchmark does."""
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    return f"import os; open(os.environ['RANK_RERANK_BENCH_RESULTS'] + '/a.jsonl', 'w').write({lines!r})"


def test_both_paths_are_measured_where_a_machine_has_them(load_module):
    paths_of = load_module("run_all_plan").paths_of
    names = ("avx512-vnni", "avx512", "avx2-vnni", "avx2", "portable")
    assert paths_of([BY_NAME[name] for name in names]) == ["avx512-vnni", "avx2"]
    assert paths_of([BY_NAME["avx2"], BY_NAME["portable"]]) == ["avx2"]
    assert paths_of([BY_NAME["neon"], BY_NAME["portable"]]) == ["neon"]


def test_a_plan_has_every_step_on_every_path(load_module, data):
    plan = load_module("run_all_plan")
    runs = plan.make_plan(["avx512-vnni", "avx2"], data)
    expected = [(step.name, path) for step in plan.STEPS for path in ["avx512-vnni", "avx2"][: 1 if step.once else 2]]
    assert [(run.step.name, run.path) for run in runs] == expected
    for run in runs:
        is_held = run.settings.get("OPENBLAS_CORETYPE") == "Haswell"
        assert is_held == (run.path == "avx2")
        assert run.step.once or run.settings["RANK_RERANK_VECTOR_PATH"] == run.path
        assert not any("{" in word for word in run.command)
    alone = plan.make_plan(["avx2"], data)
    assert all("OPENBLAS_CORETYPE" not in run.settings for run in alone)
    first = next(run for run in runs if run.step.name == "first process")
    assert first.command[-2:] == ("--paths", "avx512-vnni,avx2")


def test_scripts_and_their_options_exist(load_module):
    for step in load_module("run_all_plan").STEPS:
        source = (BENCHMARKS / step.script).read_text(encoding="utf-8")
        for word in (*step.arguments, *(["--data"] if step.data else [])):
            assert not word.startswith("--") or f'"{word}"' in source, (step.name, word)


def test_what_is_missing_is_a_reason(load_module, data, monkeypatch):
    plan = load_module("run_all_plan")
    (data / "squad").rmdir()
    monkeypatch.setattr(plan, "find_spec", lambda name: None if name == "bm25s" else name)
    reasons = {run.step.name: run.skipped for run in plan.make_plan(["avx2"], data)}
    assert reasons["encoding"] == "not in --data: squad"
    assert reasons["latency"] == "not installed: bm25s"
    assert reasons["first process"] == ""
    with pytest.raises(ValueError, match="no such step: nothing"):
        plan.make_plan(["avx2"], data, ["nothing"])


def write_proc(folder, ticks, own_ticks):
    """What /proc counts: user, nice, system, idle, iowait, irq, softirq, steal; and one process's time."""
    (folder / "77").mkdir(parents=True, exist_ok=True)
    (folder / "stat").write_text("cpu  " + " ".join(map(str, ticks)) + " 0 0\ncpu0 1 2\n", encoding="utf-8")
    fields = ["S", *["0"] * 10, str(own_ticks), "0", *["0"] * 20]
    (folder / "77" / "stat").write_text(f"77 (a (b) name) {' '.join(fields)}\n", encoding="utf-8")


def test_the_load_is_what_others_did(load_module, tmp_path, monkeypatch):
    load = load_module("machine_load")
    monkeypatch.setattr(load.os, "sysconf", lambda _: 100)
    write_proc(tmp_path / "proc", [1000, 0, 500, 9000, 10, 0, 0, 5], 200)
    before = replace(load.read_times(tmp_path / "proc"), wall=0.0, own=1.0)
    write_proc(tmp_path / "proc", [1300, 0, 600, 9500, 20, 0, 0, 25], 500)
    after = replace(load.read_times(tmp_path / "proc"), wall=10.0, own=2.0)
    found = load.load_between(before, after, 2, 0.1)
    # 4 s of 10 were busy, of which this process took 1; the host took 0.2
    assert found.others == pytest.approx(0.3)
    assert found.stolen == pytest.approx(0.02)
    assert found.busiest == {"a (b) name": pytest.approx(0.3)}
    assert "name" not in json.dumps(found.to_dict())
    assert load.is_disturbed(found)
    unknown = load.load_between(load.read_times(tmp_path), load.read_times(tmp_path), 2, 0.1)
    assert (unknown.others, unknown.stolen) == (None, None)
    assert not load.reasons_against(unknown)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"others": 0.9, "busiest": {"cc": 0.8}}, r"other processes kept 0.90 of 2 .*: cc 0.80"),
        ({"stolen": 0.2}, r"the host took 0.200 processors away \(steal\)"),
        ({"average": 1.5}, r"load average of the last minute is 1.50, at most 0.50"),
    ],
)
def test_a_loaded_machine_is_refused_with_what_was_seen(load_module, data, monkeypatch, capsys, changes, reason):
    run_all, load = load_module("run_all"), load_module("machine_load")
    quiet = load.Load(2, 0.1, 0.01, 0.0)
    assert not load.reasons_against(quiet)
    monkeypatch.setattr(load, "measure_load", lambda _: replace(quiet, **changes))
    started = []
    monkeypatch.setattr(run_all, "run_plan", lambda *_, is_loaded: started.append(is_loaded) or 0)
    assert run_all.main(["--data", str(data)]) == 2
    assert re.search(reason, capsys.readouterr().err)
    assert started == []
    assert run_all.main(["--data", str(data), "--anyway"]) == 0
    monkeypatch.setattr(load, "measure_load", lambda _: quiet)
    assert run_all.main(["--data", str(data)]) == 0
    assert started == [True, False]


def test_runs_are_judged(load_module):
    run_one = load_module("run_all").run_one

    def run(code, seconds_left=1000.0, **changes):
        result = run_one(make_run(load_module, code, **changes), seconds_left)
        return result["status"], result["reason"] if result["status"] != "done" else result["rows"]

    assert run(kept_rows({"ms": 1, "mean_cosine": 0.99})) == ("done", [{"ms": 1, "mean_cosine": 0.99}])
    assert run(kept_rows({"ms": 1}), parity="the same bits") == ("done", [{"parity": "the same bits", "ms": 1}])
    assert run(kept_rows({"ms": 1})) == ("failed", "1 rows do not say what they were compared with")
    assert run("print('why'); raise SystemExit(3)") == ("failed", "ended with 3: why")
    assert run("pass")[1].startswith("kept no rows")
    status, reason = run("import signal; signal.pause()", limit_s=0.1)
    assert status == "failed"
    assert reason.startswith("took more than")
    assert run("pass", seconds_left=1.0) == ("skipped", "no time was left")


def test_a_plan_is_kept_in_one_file_that_names_no_machine(load_module, tmp_path, capsys):
    run_all, load = load_module("run_all"), load_module("machine_load")
    ours = make_run(load_module, kept_rows({"parity": "bits", "numpy": "2"}))
    wrong = make_run(load_module, "raise SystemExit('/root/it/benchmarks/x.py is wrong')", name="other")
    assert run_all.run_plan([ours, wrong], 10, load.Load(2, 0.0), is_loaded=True) == 1
    assert "other, avx2" in capsys.readouterr().out
    [file] = tmp_path.glob("machine-*.json")
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert [(run["step"], run["status"], run["loaded"]) for run in kept["runs"]] == [
        ("step", "done", True), ("other", "failed", True),
    ]  # fmt: skip
    assert kept["runs"][0]["rows"] == [{"parity": "bits"}]
    assert "/root" not in json.dumps(kept)
    assert load_module("socket").gethostname() not in file.name


def test_a_quiet_result_outlives_a_loaded_and_a_failed_one(load_module, tmp_path):
    results = load_module("run_all_results")
    file = tmp_path / "file.json"

    def keep(status, rows, *, loaded):
        result = {"step": "a", "path": "avx2", "status": status, "loaded": loaded, "rows": rows}
        results.keep(file, MACHINE, result)
        return results.read_file(file)["runs"][0]["rows"]

    assert keep("done", [{"ms": 1}], loaded=True) == [{"ms": 1}]
    assert keep("done", [{"ms": 2}], loaded=False) == [{"ms": 2}]
    assert keep("done", [{"ms": 3}], loaded=True) == [{"ms": 2}]
    assert keep("failed", [], loaded=False) == [{"ms": 2}]
    assert keep("done", [{"ms": 4}], loaded=False) == [{"ms": 4}]


def test_what_is_wrong_is_not_timed(load_module):
    np = pytest.importorskip("numpy")
    methods, bench = load_module("maxsim_methods"), load_module("bench_maxsim")
    workload = methods.make_workload("uniform", 12)
    expected = methods.exact_scores(workload.query, workload.documents)
    best = bench.best_of(expected)

    def method(name, scores, **options):
        return methods.Method(name, lambda: scores, 1, expected, 1e-5, **options)

    right = bench.check(method("peer", expected), workload, best)
    assert right == {"error_a_query_token": 0.0, "is_right": True, "top_10": 1.0}
    wrong = bench.check(method("peer", -expected), workload, best)
    assert not wrong["is_right"]
    assert wrong["top_10"] < 1
    with pytest.raises(SystemExit, match="is wrong"):
        bench.check(method("rank_rerank float32", expected + 1), workload, best)
    exact = {
        query.tobytes(): bench.best_of(methods.exact_scores(query, workload.documents)) for query in workload.queries
    }
    finds = lambda query, count: [*exact[query.tobytes()][: count // 2], -1]  # noqa: E731
    assert bench.check(method("peer", np.zeros(1), find_top=finds), workload, best)["top_10"] == 0.5
