"""A small judged collection: the SciFact abstracts among the examples, with queries that their titles answer."""

import pytest

pytest.importorskip("bm25s", reason='needs bm25s: pip install "rank-rerank[evaluation]"')
pytest.importorskip("ir_measures", reason='needs ir-measures: pip install "rank-rerank[evaluation]"')

from judged_slice import CLAIM, LINES, write_lines


@pytest.fixture
def queries():
    """The claim, and for some abstracts three words in the middle of their titles."""
    found = {"claim": CLAIM}
    for number in range(0, 12, 2):
        words = LINES[number]["title"].split()
        found[f"q{number}"] = " ".join(words[len(words) // 3 :][:4])
    return found


@pytest.fixture
def qrels():
    judged = {"claim": {LINES[6]["_id"]: 1, LINES[1]["_id"]: 0}}
    for number in range(0, 12, 2):
        judged[f"q{number}"] = {LINES[number]["_id"]: 2, LINES[number + 1]["_id"]: 1}
    return judged


@pytest.fixture
def folder(tmp_path, queries, qrels):
    """BEIR's layout."""
    path = tmp_path / "slice"
    write_lines(path / "corpus.jsonl", LINES)
    write_lines(path / "queries.jsonl", [{"_id": key, "text": text} for key, text in queries.items()])
    (path / "qrels").mkdir()
    rows = [f"{query}\t{document}\t{grade}\n" for query, grades in qrels.items() for document, grade in grades.items()]
    (path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(rows))
    return path
