"""The plan for large corpora: its arithmetic, and that the guide has the tables that the scripts print."""

import importlib
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BENCHMARKS = str(ROOT / "benchmarks")


@pytest.fixture
def benchmark_modules(monkeypatch):
    """Loads modules of the folder of benchmarks, which no other test sees."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(BENCHMARKS):
            del sys.modules[name]


def printed(module, monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", [module.__file__, *arguments])
    module.main()
    return capsys.readouterr().out


def cells(text, row):
    line = next(line for line in text.splitlines() if line.startswith(f"| {row} |"))
    return [cell.strip() for cell in line.split("|")[2:-1]]


def test_the_guide_has_the_tables_of_the_scripts(benchmark_modules, monkeypatch, capsys):
    guide = (ROOT / "examples" / "scale.md").read_text(encoding="utf-8")
    tables = printed(benchmark_modules("plan_scale"), monkeypatch, capsys).split("\n\n")
    tables.append(printed(benchmark_modules("simulate_workers"), monkeypatch, capsys, "--table"))
    assert len(tables) == 4
    for table in tables:
        assert table.strip() in guide, "run the scripts, and put their tables into examples/scale.md"


def test_the_plan_is_what_its_figures_give(benchmark_modules, monkeypatch, capsys):
    plan = benchmark_modules("plan_scale")
    arguments = ("--tokens", "100", "--hours", "2", "--core-price", "1", "--gpu-price", "10", "--disk-price", "7")
    text = printed(plan, monkeypatch, capsys, *arguments)
    cost = plan.microseconds_per_token()
    hours = 10**8 * 100 * cost["core, AVX512-VNNI"] / 1e6 / 0.9 / 3600
    assert cells(text, "core-hours")[1] == cells(text, "money, cores")[1] == f"{hours:,.0f}"
    assert cells(text, "cores for 2 hours")[1] == f"{int(-(-hours // 2)):,}"
    gpu_hours, money = (float(cells(text, row)[1].replace(",", "")) for row in ("GPU-hours", "money, GPUs"))
    assert money == pytest.approx(10 * gpu_hours, abs=0.6)
    size = float(cells(text, "binary")[0].replace(",", ""))
    assert float(cells(text, "binary")[-1]) == pytest.approx(size * 1e8 / 1e12 * 7, abs=0.6)
    planned = json.loads((ROOT / "benchmarks" / "results" / "plan_scale.json").read_text())["documents_per_second"]
    assert cells(text, "one program plans")[2] == f"{1e10 / planned / 3600:,.1f} h"


@pytest.mark.parametrize("dtype", ["int8", "int4", "binary"])
def test_bytes_per_document_are_vectors_and_little_else(benchmark_modules, dtype):
    plan = benchmark_modules("plan_scale")
    compression = plan.FORMATS[dtype]
    size = plan.bytes_per_document(compression, 50)
    rest = size - 50 * compression.bytes_per_token(384) - 2 * 384 - 225
    assert 100 < rest < 200


def test_planning_can_be_measured(benchmark_modules, monkeypatch, tmp_path):
    plan = benchmark_modules("plan_scale")
    monkeypatch.setattr(plan, "RESULTS", tmp_path)
    plan.measure_planning(300, 20)
    row = json.loads((tmp_path / "plan_scale.json").read_text())
    assert (row["documents"], row["text_bytes"]) == (300, 90)
    assert row["documents_per_second"] > 0
