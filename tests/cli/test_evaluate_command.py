"""rank-rerank evaluate, on a file of labelled candidates: no search, and few texts."""

import json

import pytest

pytest.importorskip("ir_measures", reason='needs ir-measures: pip install "rank-rerank[evaluation]"')

from rank_rerank.cli.main import main

DOCUMENTS = [
    {"id": "fruit", "text": "Bananas are rich in potassium."},
    {"id": "paris", "text": "Paris is the capital and largest city of France."},
    {"id": "berlin", "text": "Berlin has been the capital of Germany since 1990."},
]
QUERIES = {"capital of France": "paris", "a yellow fruit": "fruit", "German capital": "berlin", "potassium": "fruit"}


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log.jsonl"
    lines = [
        {"query_id": f"q{number}", "query": query, "documents": DOCUMENTS, "relevant": [key]}
        for number, (query, key) in enumerate(QUERIES.items())
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def worst(tmp_path):
    """A run that has every relevant document last."""
    path = tmp_path / "worst.trec"
    lines: list[str] = []
    for number, key in enumerate(QUERIES.values()):
        ids = [*(document["id"] for document in DOCUMENTS if document["id"] != key), key]
        lines += [f"q{number} Q0 {each} {rank} {-rank} worst\n" for rank, each in enumerate(ids, start=1)]
    path.write_text("".join(lines))
    return path


def test_the_bundled_model_where_nothing_is_named(log, capsys):
    assert main(["evaluate", str(log), "--measures", "MRR@10"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "log.jsonl: 4 queries, 3 documents, up to 100 candidates per query"
    assert lines[2].split() == ["system", "MRR@10", "judged@10", "p50", "ms", "p95", "ms", "texts/s", "truncated"]
    assert [line.split()[:2] for line in lines[4:6]] == [["bundled", "1.0000"], ["ceiling", "of"]]


def test_everything_as_json_and_runs(log, worst, tmp_path, capsys):
    arguments = ["--run", str(worst), "--run", str(worst), "--model", "bundled", "--cascade", "bundled", "bundled"]
    arguments += ["--keep", "2", "--json", "-", "--runs", str(tmp_path / "runs"), "--depth", "3"]
    assert main(["evaluate", str(log), *arguments]) == 0
    values = json.loads(capsys.readouterr().out)
    names = [system["name"] for system in values["systems"]]
    assert names == ["worst", "bundled", "bundled+bundled", "worst.trec"]
    assert values["systems"][1]["measures"]["MRR@10"] == 1
    assert values["systems"][0]["measures"] == values["systems"][3]["measures"]
    assert {path.name for path in (tmp_path / "runs").iterdir()} >= {"bundled.trec", "worst.trec"}
    assert "gate" not in values


def test_the_gate_passes_and_fails(log, worst, tmp_path, capsys):
    found = tmp_path / "found.json"
    passing = ["--at-least", "MRR@10=0.9", "--no-worse-than", str(worst), "--json", str(found)]
    assert main(["evaluate", str(log), *passing]) == 0
    assert "passed: at least: bundled: MRR@10 1.0000 is not below 0.9" in capsys.readouterr().out
    gate = json.loads(found.read_text())["gate"]
    assert gate["passed"]
    assert [(check["kind"], check["system"]) for check in gate["checks"]] == [
        ("at least", "bundled"),
        ("no worse than", "bundled"),
    ]
    failing = ["--run", str(worst), "--run", str(worst), "--at-least", "MRR@10=0.9", "--json", str(found)]
    assert main(["evaluate", str(log), *failing]) == 1
    assert "FAILED: at least: worst.trec: MRR@10 0.3333 is below 0.9 by 0.5667" in capsys.readouterr().err
    assert json.loads(found.read_text())["gate"]["checks"][0]["passed"] is False


def test_a_measure_of_the_gate_is_computed_too(log, capsys):
    assert main(["evaluate", str(log), "--measures", "MRR@10", "--at-least", "P@1=0.5"]) == 0
    assert "P@1" in capsys.readouterr().out.splitlines()[2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--measures", "nothing"], "'nothing' is no measure"),
        (["--at-least", "nDCG@10"], "a requirement is a measure and a number"),
        (["--depth", "0"], "depth must be"),
        (["--alpha", "2", "--at-least", "P@1=0"], "alpha above 0 and below 1"),
        (["--run", "missing.trec"], "missing.trec cannot be read"),
        (["--no-worse-than", "missing.trec"], "missing.trec cannot be read"),
        (["--json", "no/such/folder.json"], "its folder is missing"),
        (["--cascade", "bundled", "bundled", "--keep", "0"], "keep must be"),
    ],
)
def test_bad_input_is_one_line(log, capsys, arguments, words):
    assert main(["evaluate", str(log), *arguments]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("rank-rerank: error: ")
    assert words in error


def test_an_output_that_is_an_input_is_refused(log, worst, capsys):
    before = worst.read_text()
    assert main(["evaluate", str(log), "--run", str(worst), "--json", str(worst)]) == 2
    assert "is read and cannot be written too" in capsys.readouterr().err
    assert worst.read_text() == before
