"""The tables that the benchmark of a whole machine prints, from rows that were made up."""

import json
import re

import pytest

pytest.importorskip("resource", reason="benchmarks measure memory as Unix does")
MACHINE = {"processor": "Some CPU, family 7 (avx2)", "processors": 2, "vector_path": "avx512-vnni"}


def encoded(model, path, way, rate, ways):
    """A row of the benchmark of encoding."""
    fidelity = {"mean_cosine": 0.9998, "min_cosine": 0.9987, "invariant": True}
    return {
        "collection": "scifact", "model": model, "path": path, "way": way, "texts_per_s": rate,
        "ratios_to_ways": ways, **fidelity,
    }  # fmt: skip


def test_ratios_are_to_the_best_way_of_the_other(benchmark_modules, capsys):
    module = benchmark_modules("encoding_ratios")
    ways = {"one text a call, 2 calls at once": 2.6, "batches of 4096 tokens": 3.1, "one text a call, 2 threads": 2.9}
    rows = [
        encoded("compiled INT8", "avx512-vnni", "packed", 80.0, ways),
        encoded("compiled INT8, avx2", "avx2", "packed", 40.0, {name: ratio / 2 for name, ratio in ways.items()}),
        encoded("quantize_dynamic", "", "one text a call", 30.0, ways),
    ]
    best, other = module.ratios(rows)
    assert (best["best way"], best["one text a call"], best["batches"]) == (2.6, 2.6, 3.1)
    assert module.verdicts(best) == ["one text a call: 2.60, at least 2.5"]
    assert module.verdicts(other) == ["best way: 1.30, missed 2.0"]
    module.print_ratios(rows, "avx512-vnni")
    assert "| avx2 | scifact | 40.0 | 1.30 | 1.30 | 1.55 | 0.9998 | 0.9987 | yes |" in capsys.readouterr().out


ROWS = {
    "first process": [
        {"path": path, "first_s": 0.9, "warm_s": 0.4, "peak_mb": 101.2, "origins": ["prebuilt"], "loaded": [],
         "warm_steps_s": dict.fromkeys(("import", "load", "rerank", "spans", "store"), 0.08)}
        for path in ("avx512-vnni", "avx2")
    ],
    "encoding": [
        encoded("compiled INT8", "avx512-vnni", "packed", 81.0, {"one text a call": 2.6}),
        encoded("quantize_dynamic", "", "one text a call", 31.0, {}),
        {"single_text_tokens": 32, "model": "compiled INT8", "median_ms": 1.21},
        {"model": "compiled INT8", "threads_compared": [1, 2], "gain": 1.95, "parity": "the same bits"},
    ],
    "runtimes": [{"workload": "one text", "ratio": 2.5, "table": "numba", "mean_cosine": 0.9991}],
    "stages": [
        {"documents": 40, "whole_s": 0.2, "tokenise_s": 0.02, "encode_s": 0.17, "query_s": 0, "MaxSim_s": 0,
         "rest_s": 0},
        {"scaling": 1.94, "scaling_limit": 1.9},
    ],
    "maxsim": [
        {"workload": "uniform, 1000", "method": method, "median_ms": ms, "error_a_query_token": error, "top_10": share,
         "is_right": True}
        for method, ms, error, share in (
            ("rank_rerank float32", 3.0, 1e-8, 1.0), ("maxsim-cpu", 15.0, 2e-8, 1.0), ("colbandit", 1.5, None, 0.8),
        )
    ],
    "quality": [{"set": "scifact", "ranker": "bundled", "ndcg@10": 0.7325, "digest": "ab"}],
    "latency": [
        {"part": "latency", **{f"{work} {name}_ms": 7.0 for name in ("p50", "p95")
         for work in ("encode and score", "encode the query", "score only")}},
        {"part": "memory", "peak_mb": 300.0},
    ],
    "choices": [
        {"label": "bundled", "path": path, "p50_ms": ms, "start_s": 0.1, "peak_mb": 171.0}
        for path, ms in (("avx512-vnni", 655.0), ("avx2", 1804.0))
    ] + [{"label": "PyTorch", "path": "", "p50_ms": 6976.0}],
    "budget": [
        {"part": "curve", "budget_ms": 50.0, "documents_read": 4.5, "median_ms": 38.5, "ndcg_at_10": 0.65,
         "less_than_all": "none"},
        {"part": "keeping", "budget_ms": 50.0, "calls_at_once": 4, "within_15_ms": 0.983},
    ],
    "serving": [{"part": "slow", "times": {"value": 1.11, "limit": 2.0, "kept": True}}],
    "storage": [
        {"compression": "int8", "scifact bytes_per_document": 126756.2, "scifact ndcg@10": 0.7281, "100 p50_ms": 2.02,
         "1000 p50_ms": 6.9}
    ],
}  # fmt: skip
CELLS = {
    "first process": "| AVX2 | 0.90 | 0.40 | 80 | 80 | 80 | 80 | 80 | 101 | nothing |",
    "encoding": "| compiled INT8 | 81 | 1.21 | 0.9998 | 0.9987 | yes |",
    "runtimes": "| AVX512-VNNI | one text | 2.50 | numba | 0.9991 |",
    "stages": "| AVX2 | 40 | 200 | 10.0 | 85.0 | 0.0 | 0.0 | 0.0 |",
    "maxsim": "- AVX2, uniform, 1000 documents: 5.00 times as fast as maxsim-cpu",
    "quality": "| bundled, AVX2 | 0.7325 | the same bits |",
    "latency": "| AVX2 | 7 | 7 | 7 | 7 | 7 | 7 |",
    "choices": "| bundled | 655 | 1,804 | 0.1 s | 171 MB |",
    "budget": "| AVX512-VNNI | 50 | 4.5 | 38.5 | 0.65 | none |",
    "serving": "| slow | times | 1.11 | 2.0 | yes |",
    "storage": "| int8 | 126,756 | 0.7281 | 2.02 | 6.9 |",
}


def kept_file(benchmark_modules, **changes):
    """Everything that a machine with two paths keeps."""
    common = {"status": "done", "reason": "", "loaded": False, "disturbed": False, "time": "2026-11-26T01:02:03",
              "commit": "abc", "seconds": 1.0, **changes}  # fmt: skip
    runs = [
        {"step": step.name, "path": path, "rows": ROWS[step.name], **common}
        for step in benchmark_modules("run_all_plan").STEPS
        for path in ("avx512-vnni", *(() if step.once else ("avx2",)))
    ]
    skipped = {"step": "later", "path": "avx2", "rows": [], **common, "status": "skipped", "reason": "no time was left"}
    return {"machine": MACHINE, "runs": [*runs, skipped]}


def test_every_step_has_a_table_that_names_processor_and_paths(benchmark_modules, capsys):
    assert set(benchmark_modules("run_all_tables").TABLES) == {
        step.name for step in benchmark_modules("run_all_plan").STEPS
    }
    benchmark_modules("run_all_tables").print_tables(kept_file(benchmark_modules))
    printed = capsys.readouterr().out
    captions = re.findall(r"^\*\*.*$", printed, re.MULTILINE)
    assert len(captions) == len(ROWS)
    for caption in captions:
        assert "Some CPU, family 7 (avx2), 2 processors, quiet; AVX512-VNNI" in caption
        assert caption.endswith("2026-11-26, commit abc.")
    for step, cell in CELLS.items():
        assert cell in printed, step
    assert "- later, AVX2: skipped, no time was left" in printed


@pytest.mark.parametrize(
    ("changes", "state"), [({"loaded": True}, "loaded, so"), ({"disturbed": True}, "disturbed by")]
)
def test_tables_say_that_a_machine_was_not_quiet(benchmark_modules, capsys, changes, state):
    benchmark_modules("run_all_tables").print_tables(kept_file(benchmark_modules, **changes))
    assert capsys.readouterr().out.count(state) == len(ROWS)


def test_a_rivals_fastest_run_counts(benchmark_modules, capsys):
    slow, fast = (
        {"workload": "uniform, 1000", "method": "lateweave", "path": path, "median_ms": ms, "is_right": True}
        for path, ms in (("avx512-vnni", 20.0), ("avx2", 12.0))
    )
    ours = [
        {**slow, "method": "rank_rerank float32", "path": path, "median_ms": 3.0} for path in ("avx512-vnni", "avx2")
    ]
    tables = benchmark_modules("run_all_step_tables")
    tables.print_maxsim_ratios("avx512-vnni", [*ours, slow, fast], is_best=True)
    assert "4.00 times as fast as lateweave" in capsys.readouterr().out
    tables.print_maxsim_ratios("avx2", [*ours, {**slow, "median_ms": 1.0}, fast], is_best=False)
    assert "4.00 times as fast as lateweave" in capsys.readouterr().out


def test_tables_are_printed_of_files_that_were_kept(benchmark_modules, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RANK_RERANK_BENCH_RESULTS", str(tmp_path))
    (tmp_path / "machine-a.json").write_text(json.dumps(kept_file(benchmark_modules)), encoding="utf-8")
    assert benchmark_modules("run_all").main(["--tables"]) == 0
    assert CELLS["choices"] in capsys.readouterr().out
