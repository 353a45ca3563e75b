import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
from child_processes import child_environment

ROOT = Path(__file__).resolve().parent.parent


def run_example(name, *arguments):
    return subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=child_environment(),
    ).stdout


def test_the_example_data_is_what_its_readme_says():
    lines = (ROOT / "examples" / "data" / "scifact_claim.jsonl").read_text(encoding="utf-8").splitlines()
    documents = [json.loads(line) for line in lines]
    assert len(documents) == 20
    assert documents[6]["_id"] == "20888849"
    assert all(set(document) == {"_id", "title", "text"} for document in documents)
    assert "CC BY 4.0" in (ROOT / "examples" / "data" / "README.md").read_text(encoding="utf-8")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_the_terminal_picture_shows_what_the_command_prints(tmp_path, monkeypatch):
    """Compared word by word; the third decimal of a score is the processor's."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import terminal_picture

    run_example("terminal_picture.py", str(tmp_path / "terminal.svg"))
    drawn, kept = ((path / "terminal.svg").read_text(encoding="utf-8") for path in (tmp_path, ROOT / "examples"))
    assert re.sub(r"\d\.\d+", "N", drawn) == re.sub(r"\d\.\d+", "N", kept)
    assert 3 <= kept.count("<tspan") < 40
    assert terminal_picture.QUERY in " ".join(line.rstrip(" \\") for line in terminal_picture.SHOWN_COMMAND)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_picture_cannot_be_broken_by_a_text(monkeypatch):
    from xml.etree import ElementTree as ET

    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    from terminal_picture import draw

    picture = ET.fromstring(draw(["<b>&", "a \x1b[1;33mmarked <word>\x1b[0m end", ""]))  # noqa: S314 - our own
    assert ["".join(text.itertext()) for text in picture.iter("{http://www.w3.org/2000/svg}text")] == [
        "<b>&",
        "a marked <word> end",
        "",
    ]
    assert [run.text for run in picture.iter("{http://www.w3.org/2000/svg}tspan")] == ["marked <word>"]


def test_the_picture_of_the_curve_is_drawn_from_the_rows(tmp_path):
    from xml.etree import ElementTree as ET

    run_example("curve_picture.py", str(tmp_path / "curve.svg"))
    drawn = (tmp_path / "curve.svg").read_text(encoding="utf-8")
    assert drawn == (ROOT / "examples" / "curve.svg").read_text(encoding="utf-8")
    lines = ET.fromstring(drawn).findall("{http://www.w3.org/2000/svg}polyline")  # noqa: S314 - our own
    assert len(lines) == 8  # two for each of four collections
    # all read is where a line ends, and nothing is lost there
    ends = {line.get("points").split()[-1].split(",")[1] for line in lines[::2]}
    assert len(ends) == 1
    rows = json.loads((ROOT / "benchmarks" / "results" / "bench_curve.json").read_text(encoding="utf-8"))
    for row in rows:
        row["ndcg_at_10"] = row["ndcg_at_10"] / 2
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    run_example("curve_picture.py", str(tmp_path / "other.svg"), "--rows", str(tmp_path / "rows.json"))
    assert (tmp_path / "other.svg").read_text(encoding="utf-8") != drawn


def test_search_with_bm25():
    pytest.importorskip("bm25s", reason='needs bm25s: pip install ".[evaluation]"')
    lines = run_example("search_with_bm25.py").splitlines()
    assert [line.split()[0] for line in lines] == ["1", "2", "3"]
    assert "fracture" in lines[0]


def test_diverse_results():
    """Near-duplicates crowd the list; each refinement brings more sources, and more relevance, into the first ten."""
    header, _, *lines = run_example("diverse_results.py").splitlines()
    assert header == "60 documents of 20 sources; the first 10 hits:"
    rows = {line[:24].strip(): [float(value) for value in line[24:].split()] for line in lines}
    assert list(rows) == ["as ranked", "without near-duplicates", "mmr", "dpp"]
    as_ranked = rows.pop("as ranked")
    assert as_ranked[0] <= 5
    for sources, recall, alpha_ndcg, relevance in rows.values():
        assert sources >= 9
        assert recall == sources / 20
        assert alpha_ndcg > as_ranked[2] + 0.2
        assert relevance > as_ranked[3]


def test_alpha_ndcg_by_hand(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    from diverse_results import alpha_ndcg

    assert alpha_ndcg(["a", "b"], 2, 3) == 1
    # gains 1 and 1/2 at ranks 1 and 2, against 1 and 1
    assert alpha_ndcg(["a", "a"], 2, 3) == pytest.approx((1 + 0.5 / math.log2(3)) / (1 + 1 / math.log2(3)))
