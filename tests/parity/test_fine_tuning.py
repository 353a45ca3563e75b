"""The loop: scores that evaluate writes train a model in PyLate, and what PyLate saves is loaded and evaluated."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from child_processes import child_environment

pytest.importorskip("pylate", reason="needs PyLate")
pytest.importorskip("ir_measures", reason='needs ir-measures: pip install "rank-rerank[evaluation]"')

import rank_rerank
from rank_rerank import evaluation

pytestmark = pytest.mark.filterwarnings("ignore")
ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    "Bananas are rich in potassium.",
    "Paris is the capital and largest city of France.",
    "Berlin has been the capital of Germany since 1990.",
]
QUERIES = {"capital of France": 1, "a yellow fruit": 0, "the German capital": 2}


def test_a_student_comes_nearer_to_its_teacher(tmp_path, base_folder):
    from parity_models import TEXTS
    from test_pylate import build

    student = tmp_path / "student"
    build(base_folder("bert"), student)
    lines = [{"query": query, "documents": DOCUMENTS, "relevant": [right]} for query, right in QUERIES.items()]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    options = evaluation.EvaluationOptions(("MRR@10",), samples=10, show_progress=False)
    taught = evaluation.evaluate(tmp_path / "log.jsonl", {"teacher": rank_rerank.load()}, options)
    evaluation.dump_training(taught, "teacher", tmp_path / "dump")
    arguments = ["--steps", "20", "--documents", "3", "--learning-rate", "1e-3"]
    done = subprocess.run(
        [
            sys.executable,
            ROOT / "examples" / "fine_tune.py",
            student,
            tmp_path / "dump/pylate",
            tmp_path / "tuned",
            *arguments,
        ],
        env=child_environment(HF_HUB_OFFLINE="1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    before, after = (
        rank_rerank.load(folder, device="cpu", precision="fp32") for folder in (student, tmp_path / "tuned")
    )
    assert before.rerank("capital of France", TEXTS)[0].score != after.rerank("capital of France", TEXTS)[0].score
    found = evaluation.evaluate(
        tmp_path / "log.jsonl", {"before": before, "after": after}, replace(options, measures=("MRR@10", "P@1"))
    )
    assert found["after"].mean("MRR@10") >= found["before"].mean("MRR@10")
