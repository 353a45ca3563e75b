import sys

import pytest

pytest.importorskip("bm25s", reason='needs bm25s: pip install ".[search]"')
pytest.importorskip("Stemmer", reason='needs PyStemmer: pip install ".[search]"')


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "cities.md").write_text("# Cities\n\nParis is the capital of France.\n")
    (tmp_path / "evil.txt").write_text("Red \x1b[31m capital of France\x1b]0;title\x07 Bananas.\n")
    return tmp_path


def test_json_lines_in_a_pipe(hits, folder):
    found = hits("search", "capital of France", str(folder))
    assert [(each["rank"], each["line"]) for each in found] == [(1, 1), (2, 1)]
    assert {each["path"] for each in found} == {str(folder / "cities.md"), str(folder / "evil.txt")}
    best = next(each for each in found if each["path"].endswith("cities.md"))
    assert (folder / "cities.md").read_text()[best["start"] : best["end"]] == best["text"]


def test_text_on_a_terminal_and_nothing_that_steers_it(run, folder, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    code, out, err = run("search", "capital of France", str(folder), "--top-k", "2")
    assert (code, err) == (0, "")
    assert f"{folder / 'cities.md'}:1  " in out
    assert "*capital*" in out or "*capital of France*" in out
    assert "2 of 2 passages in 2 files read" in out
    assert "\x1b" not in out
    assert "\x07" not in out


def test_what_is_no_folder_is_bad_input(run, tmp_path):
    code, out, err = run("search", "query", str(tmp_path / "missing"))
    assert (code, out) == (2, "")
    assert err.startswith("rank-rerank: error: ")
    assert "is not a folder" in err
