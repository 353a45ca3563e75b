"""The benchmark for a GPU: its measurements in their smallest form on a CPU, and how runs are joined."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason='needs torch: pip install ".[torch]"')
BENCHMARKS = str(Path(__file__).parents[1] / "benchmarks")


def read(path: Path) -> dict[str, dict]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {row["what"]: row for row in rows}


def test_scoring_is_compared_and_timed(benchmark_modules, tmp_path):
    scoring, parts = benchmark_modules("gpu_scoring"), benchmark_modules("gpu_parts")
    part = parts.Part("cpu", 60, tmp_path / "rows.jsonl")
    case = scoring.make_case(part, 3, "uniform")
    for storage in ("float16", "int8"):
        packed, exact = case.stored(storage)
        expected = case.expected(exact)
        methods = {name: (run, allowed) for name, run, allowed in scoring.methods(part, case, packed, storage)}
        found = scoring.measure(part, packed, expected, 1e12, methods["torch"])
        assert found["is_right"]
        assert found["wall_ms"] > 0
        wrong = scoring.measure(part, packed, expected + 10, 1e12, methods["torch"])
        assert not wrong["is_right"]


def test_a_failure_is_a_row_and_stops_nothing(benchmark_modules, tmp_path):
    parts, results = benchmark_modules("gpu_parts"), benchmark_modules("gpu_results")
    part = parts.Part("cpu", 60, tmp_path / "rows.jsonl")
    part.attempt("fails", lambda: 1 // 0)
    part.attempt("works", lambda: {"value": 1})
    late = parts.Part("cpu", -1, part.output)
    late.attempt("comes too late", lambda: {"value": 1})
    rows = read(part.output)
    assert "ZeroDivisionError" in rows["fails"]["error"]
    assert results.is_wrong(rows["fails"])
    assert rows["works"]["value"] == 1
    assert not results.is_wrong(rows["works"])
    assert rows["comes too late"]["skipped"]


def test_two_streams_and_texts_are_tried_on_a_cpu(benchmark_modules, tmp_path):
    reranking, parts = benchmark_modules("gpu_reranking"), benchmark_modules("gpu_parts")
    part = parts.Part("cpu", 60, tmp_path / "rows.jsonl")
    assert reranking.two_streams(part) == {"same_bits": [True, True]}
    texts = parts.make_texts(5, is_short=True)
    assert texts == parts.make_texts(5, is_short=True)
    assert max(len(text.split()) for text in texts) <= 12
    assert parts.cosines(np.eye(2), np.eye(2)[::-1]) == {"mean_cosine": 0.0, "min_cosine": 0.0, "tokens": 2}


def test_runs_are_joined_row_by_row(benchmark_modules):
    merge = benchmark_modules("gpu_results").merge

    def run(time: str, rows: list[dict]) -> dict:
        environment = {"commit": f"commit of {time}"}
        part = {"status": "done", "seconds": 1, "rows": rows}
        return {"time": time, "seconds": 1, "environment": environment, "parts": {"gpu_scoring": part}}

    hundred = "maxsim uniform, 100: triton, trusted, float16"
    first = run("1", [{"what": hundred, "wall_ms": 0.6}, {"what": "kept", "value": 3}, {"what": "late", "value": 4}])
    second = run("2", [{"what": hundred, "wall_ms": 0.1}, {"what": "late", "skipped": "no time was left"}])
    joined = merge([first, second])
    rows = {row["what"]: row for row in joined["parts"]["gpu_scoring"]["rows"]}
    assert rows[hundred] == {"time": "2", "commit": "commit of 2", "what": hundred, "wall_ms": 0.1}
    assert rows["kept"]["time"] == "1"
    assert rows["late"] == {**rows["late"], "time": "1", "value": 4}
    assert joined["targets"]["100 documents, whole call ≤ 0.1 ms"] == 0.1
    assert [each["time"] for each in joined["runs"]] == ["1", "2"]
    again = merge([joined, run("3", [{"what": "kept", "value": 5}])])
    assert {row["what"]: row["time"] for row in again["parts"]["gpu_scoring"]["rows"]} == {
        hundred: "2", "kept": "3", "late": "1",
    }  # fmt: skip
    assert [each["time"] for each in again["runs"]] == ["1", "2", "3"]


def test_results_name_no_folder_of_the_machine(benchmark_modules):
    results = benchmark_modules("gpu_results")
    error = (
        'File "/a/venv.1/lib/python3.12/site-packages/triton/jit.py", line 3; /srv/it/rank_rerank/scoring/maxsim.py:101'
    )
    log = {"log": ["xml: /home/someone/a/report.xml", error], "share": 0.7, "what": "float16, 10 / 20"}
    found = results.without_folders(log)
    assert found["log"][0] == "xml: report.xml"
    assert found["log"][1] == 'File "site-packages/triton/jit.py", line 3; rank_rerank/scoring/maxsim.py:101'
    assert (found["share"], found["what"]) == (0.7, log["what"])
    committed = Path(BENCHMARKS, "results", "bench_gpu.json").read_text(encoding="utf-8")
    assert results.FOLDERS.search(committed) is None
