import shutil
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rank_rerank.integrations.folder_search.ignore_rules import IgnoreRules, parse_rule
from rank_rerank.integrations.folder_search.text_files import Skipped, find_files

PATHS = [
    "a.txt", "b.md", "build/out.txt", "build/keep.md", "docs/a.txt", "docs/deep/a.txt", "docs/deep/[x].txt",
    "src/build/x.py", "src/a b.txt", "foo/bar/baz.txt", "log1.txt", "log10.txt", "Caps.TXT", "#hash.txt", "!bang.txt",
]  # fmt: skip

names = st.sampled_from(
    [
        r"a.txt",
        r"*.txt",
        r"build",
        r"docs",
        r"deep",
        r"src",
        r"**",
        r"*",
        r"log?.txt",
        r"log[0-9]*.txt",
        r"[!a]*.txt",
        r"x.py",
        r"foo",
        r"bar",
        r"*.md",
        r"a*",
        r"keep.md",
        r"Caps.TXT",
        r"[a-c].*",
        r"\#hash.txt",
        r"\!bang.txt",
        r"[[:digit:]]*",
        r"b*d",
        r"\[x\].txt",
        r"[]x].txt",
        r"b**d",
        r"?",
        r"[a-",
        r"lo[g]1.txt",
        r"***",
        r"a?b.txt",
    ]
)
patterns = st.builds(
    lambda negated, start, parts, end, space: negated + start + "/".join(parts) + end + space,
    st.sampled_from(["", "", "!"]),
    st.sampled_from(["", "/", "**/"]),
    st.lists(names, min_size=1, max_size=3),
    st.sampled_from(["", "/", "/**", "/*"]),
    st.sampled_from(["", "", " ", "\\ "]),
)
files = st.lists(patterns, max_size=4).map("\n".join)


def git(folder, *arguments):
    return subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, check=True).stdout  # noqa: S607


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    if shutil.which("git") is None:
        pytest.skip("needs git, to compare with")
    folder = tmp_path_factory.mktemp("tree")
    git(folder, "init", "-q")
    for path in PATHS:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("text")
    return folder


def left_by_git(tree):
    listed = git(tree, "-c", "core.excludesFile=", "ls-files", "-z", "--others", "--exclude-standard").split(b"\0")
    return sorted(name.decode() for name in listed if name and not name.rpartition(b"/")[2].startswith(b"."))


@given(at_root=files, in_docs=files, in_info=files)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_git_ignores_is_ignored(tree, tmp_path_factory, monkeypatch, at_root, in_docs, in_info):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tree / ".none"))
    for name, text in ((".gitignore", at_root), ("docs/.gitignore", in_docs), (".git/info/exclude", in_info)):
        (tree / name).write_text(text)
    found = [file.path for file in find_files(tree, Skipped())]
    assert found == left_by_git(tree)
    # a search further down follows the rules from above; a folder that is named is searched, ignored or not
    inside = [f"docs/{file.path}" for file in find_files(tree / "docs", Skipped())]
    listed = [path for path in found if path.startswith("docs/")]
    assert inside == listed or not listed


def test_rules_hold_outside_of_a_repository_too(tmp_path):
    (tmp_path / ".gitignore").write_text("*.log\n!keep.log\n")
    for name in ("a.log", "keep.log", "a.txt"):
        (tmp_path / name).write_text("text")
    skipped = Skipped()
    assert [file.path for file in find_files(tmp_path, skipped)] == ["a.txt", "keep.log"]
    assert (skipped.ignored, skipped.hidden, str(skipped)) == (1, 1, "1 ignored, 1 hidden")


def test_the_users_file_is_read(tmp_path, monkeypatch):
    (tmp_path / "config" / "git").mkdir(parents=True)
    (tmp_path / "config" / "git" / "ignore").write_text("*.bak")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    repository = tmp_path / "repository"
    (repository / ".git").mkdir(parents=True)
    (repository / "a.bak").write_text("text")
    assert find_files(repository, Skipped()) == []
    assert IgnoreRules.above(tmp_path / "config").ignores("a.bak", is_folder=False) is False


@pytest.mark.parametrize("line", ["", "#comment", "   ", "/", "!", "\\"])
def test_lines_that_are_no_patterns(line):
    rule = parse_rule(line, "")
    assert rule is None
