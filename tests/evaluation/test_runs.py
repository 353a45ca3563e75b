import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from rank_rerank.errors import FileFormatError, InvalidArgumentError, InvalidItemError
from rank_rerank.evaluation import Run, read_run, write_run
from rank_rerank.evaluation.measures import Measure, measure_queries


def test_trec_runs_are_ordered_by_score_whatever_their_ranks(tmp_path):
    path = tmp_path / "bm25.trec.gz"
    path.write_bytes(gzip.compress(b"1 Q0 a 1 0.5 x\r\n2 Q0 b 1 3 x\r\n1 Q0 c 2 0.75 x\r\n", mtime=0))
    run = read_run(path)
    assert run.name == "bm25"
    assert {query: ranked.ids for query, ranked in run.rankings.items()} == {"1": ("c", "a"), "2": ("b",)}
    assert run.notices == ()


def test_other_formats(tmp_path):
    (tmp_path / "marco.tsv").write_text("1\t7\t2\n1\t9\t1\n")
    assert read_run(tmp_path / "marco.tsv").rankings["1"].ids == ("9", "7")
    (tmp_path / "top1000.dev").write_text("1\t7\ta query\ta text of words\n1\t9\ta query\tanother text\n")
    assert read_run(tmp_path / "top1000.dev").rankings["1"].ids == ("7", "9")
    (tmp_path / "scores.json").write_text(json.dumps({"1": {"7": 0.5, "9": 2}}))
    assert read_run(tmp_path / "scores.json", "mine").rankings["1"].ids == ("9", "7")


def test_ties_are_ordered_as_evaluators_do_and_reported(tmp_path):
    """trec_eval compares scores in single precision, and breaks ties by id, descending."""
    path = tmp_path / "tied.trec"
    path.write_text("1 Q0 a 1 1.00000000001 x\n1 Q0 b 2 1 x\n1 Q0 c 3 0.5 x\n2 Q0 a 1 1 x\n")
    run = read_run(path)
    assert run.rankings["1"].ids == ("b", "a", "c")
    (notice,) = run.notices
    assert notice.startswith("tied.trec: 1 of 2 queries have documents of equal scores; they are ordered by id")
    first = measure_queries([Measure.parse("P@1")], {"1": {"b": 1}}, run.rankings)
    assert first["P@1"].tolist() == [1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the run is empty"),
        (b"1 Q0 a 1 nan x\n", "line 1: the score is NaN or infinite"),
        (b"1 Q0 a 1 2 x\n1 Q0 b 2 inf x\n", "line 2: the score is NaN or infinite"),
        (b"1 Q0 a 1 high x\n", "line 1: the score must be a number"),
        (b"1 Q0 a 1 2\n", "line 1: six words"),
        (b"1 Q0 a 1 2 x\n1\ta\t2\n", "line 2: six words"),
        (b"1 Q0 a 1 2 x\n2 Q0 a 1 2 x\n\n1 Q0 a 2 1 x\n", "line 4: the document 'a' stood above"),
        (b"1 Q0 \xff 1 2 x\n", "line 1: is not UTF-8"),
    ],
)
def test_damaged_runs_are_refused_with_their_line(tmp_path, content, words):
    (tmp_path / "run.trec").write_bytes(content)
    with pytest.raises(FileFormatError, match=words):
        read_run(tmp_path / "run.trec")


@pytest.mark.parametrize("content", ["[]", "{", '{"1": [1]}', '{"1": {"a": NaN}}', "[" * 100_000])
def test_damaged_json_runs(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(FileFormatError, match=r"run\.json"):
        read_run(tmp_path / "run.json")


def test_a_written_run_keeps_its_order_in_every_evaluator(tmp_path):
    """Equal, nearly equal, huge and infinite scores: what is read back is what was written."""
    ids = tuple("azbycx")
    scores = np.array([1e300, 2.0, 2.0, 2.0 - 1e-12, -5.0, -np.inf])
    from rank_rerank.evaluation.runs import RankedIds

    write_run(Run("model", {"q": RankedIds(ids, scores)}), tmp_path / "model.trec")
    read = read_run(tmp_path / "model.trec")
    assert read.rankings["q"].ids == ids
    assert read.notices == ()
    for rank, identifier in enumerate(ids, start=1):
        found = measure_queries([Measure.parse("MRR@10")], {"q": {identifier: 1}}, read.rankings)
        assert found["MRR@10"].tolist() == pytest.approx([1 / rank])


def test_runs_from_objects():
    run = Run.of("mine", {"1": ["b", "a"], "2": {"a": 1.0, "c": 3.0}})
    assert [ranked.ids for ranked in run.rankings.values()] == [("b", "a"), ("c", "a")]
    assert run.first(1).rankings["2"].ids == ("c",)
    assert list(run.select(["2", "3"]).rankings["3"].ids) == []
    for bad in (["a", "a"], [1], "ab", {"a": float("nan")}):
        with pytest.raises(InvalidItemError):
            Run.of("bad", {"1": bad})


def test_what_cannot_stand_in_a_run_is_refused(tmp_path):
    with pytest.raises(InvalidArgumentError, match="white space"):
        write_run(Run.of("mine", {"a query": ["b"]}), tmp_path / "run")
    with pytest.raises(FileFormatError, match="cannot be written"):
        write_run(Run.of("mine", {"q": ["b"]}), tmp_path / "no" / "run")


@pytest.mark.parametrize(
    "content",
    [
        "1 Q0 a 1 2 x\n".encode("utf-16"),
        gzip.compress(b"1 Q0 a 1 2 x\n", mtime=0),
        gzip.compress("1 Q0 a 1 2 x\n".encode("utf-16"), mtime=0),
        b"\xef\xbb\xbf1 Q0 a 1 2 x\r\n",
    ],
)
def test_a_run_is_read_by_its_bytes_and_not_by_its_name(tmp_path, content):
    for name in ("a.trec", "a.trec.gz"):
        (tmp_path / name).write_bytes(content)
        assert read_run(tmp_path / name).rankings["1"].ids == ("a",)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"1 Q0 a 1 2 x\r1 Q0 b 2 1 x\r", "carriage returns"),
        (b"PAR1", "a Parquet file"),
        (b"%PDF-1.7", "a PDF"),
        ("1 Q0 a 1 2 x\n".encode("utf-16")[:-1], "not UTF-16"),
        (gzip.compress(b"1 Q0 a 1 2 x\n", mtime=0)[:-9], "the compressed file is damaged"),
    ],
)
def test_a_run_that_is_another_file_has_its_own_cure(tmp_path, content, problem):
    (tmp_path / "a.trec").write_bytes(content)
    with pytest.raises(FileFormatError, match=problem):
        read_run(tmp_path / "a.trec")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs /dev/zero")
def test_a_device_without_an_end_is_refused_by_its_first_bytes():
    with pytest.raises(FileFormatError, match="line 1 holds NUL bytes"):
        read_run(Path("/dev/zero"))


def test_a_run_that_cannot_be_written_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "kept.trec"
    path.write_text("what was there")
    for run in (Run.of("a name", {"q": ["d"]}), Run.of("a", {"q": ["d"], "r": ["an id"]}), "no run"):
        with pytest.raises(InvalidArgumentError):
            write_run(run, path)
    assert path.read_text() == "what was there"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_by_a_run_too():
    with pytest.raises(FileFormatError, match="No space left on device"):
        write_run(Run.of("a", {"q": ["d"]}), Path("/dev/full"))
