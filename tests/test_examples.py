import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def run_example(name, *arguments):
    return subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ).stdout


def test_the_example_data_is_what_its_readme_says():
    lines = (ROOT / "examples" / "data" / "scifact_claim.jsonl").read_text(encoding="utf-8").splitlines()
    documents = [json.loads(line) for line in lines]
    assert len(documents) == 20
    assert documents[6]["_id"] == "20888849"
    assert all(set(document) == {"_id", "title", "text"} for document in documents)
    assert "CC BY 4.0" in (ROOT / "examples" / "data" / "README.md").read_text(encoding="utf-8")


def test_search_with_bm25():
    pytest.importorskip("bm25s", reason='needs bm25s: pip install "rank-rerank[evaluation]"')
    lines = run_example("search_with_bm25.py").splitlines()
    assert [line.split()[0] for line in lines] == ["1", "2", "3"]
    assert "fracture" in lines[0]
