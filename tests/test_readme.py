"""Every code block of the README and the guides is run, and what it prints is compared with what stands below it."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from child_processes import child_environment

import rank_rerank

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
GUIDES = [README, *sorted((ROOT / "examples").glob("*.md")), ROOT / "benchmarks" / "README.md"]
PAGES = [*GUIDES, ROOT / ".github" / "CONTRIBUTING.md", ROOT / "examples" / "bundled_model" / "README.md"]
NUMBER = re.compile(r"-?\d+\.\d+")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MODULES = ("errors", "calibration", "encoding", "evaluation", "explanation", "refinement", "scoring", "storage")
every_guide = pytest.mark.parametrize("guide", GUIDES, ids=lambda path: str(path.relative_to(ROOT)))
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def read(path):
    return path.read_text(encoding="utf-8")


def blocks_of(path):
    return re.findall(r"^```(\w*)\n(.*?)^```$", read(path), re.MULTILINE | re.DOTALL)


def assert_same_output(printed, stated):
    """Words must agree; scores may differ by what another processor's rounding changes."""
    assert " ".join(NUMBER.sub("N", printed).split()) == " ".join(NUMBER.sub("N", stated).split())
    numbers = [[float(number) for number in NUMBER.findall(text)] for text in (printed, stated)]
    assert numbers[0] == pytest.approx(numbers[1], abs=0.06)


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """A folder of the reader's own, from which the paths in the guides lead to the examples."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@every_guide
def test_every_block_is_of_a_kind_that_is_run_here_or_by_ci(guide):
    blocks = blocks_of(guide)
    assert {kind for kind, _ in blocks} <= {"python", "text", "console", "sh", ""}
    assert all(not text.startswith(("import", "$")) for kind, text in blocks if kind == "")
    assert all(blocks[number - 1][0] == "python" for number, (kind, _) in enumerate(blocks) if kind == "text")
    assert guide == README or not [kind for kind, _ in blocks if kind == "sh"]


def test_the_readmes_shell_blocks_install_or_are_run_by_ci():
    marked = re.findall(r"^<!-- command: (\w+) -->\n```sh\n(.+)\n```$", read(README), re.MULTILINE)
    assert [name for name, _ in marked] == ["try", "test"]
    commands = {command for _, command in marked}
    rest = [text.strip() for kind, text in blocks_of(README) if kind == "sh" and text.strip() not in commands]
    assert rest == ["pip install ."]


def skip_without_packages(guide):
    for package in re.findall(r"<!-- needs: (\w+) -->", read(guide)):
        pytest.importorskip(package, reason=f"the blocks of {guide.name} need {package}")


@every_guide
def test_python_blocks_print_what_the_guide_says(guide, capsys, reader):
    skip_without_packages(guide)
    names = {}
    blocks = [*blocks_of(guide), ("", "")]
    for number, (kind, code) in enumerate(blocks):
        if kind == "python":
            exec(compile(code, f"{guide.name} block {number}", "exec"), names)
            printed = capsys.readouterr().out
            assert_same_output(printed, blocks[number + 1][1] if blocks[number + 1][0] == "text" else "")


@every_guide
def test_python_blocks_use_public_names_only(guide):
    """Whoever copies a block depends on the root, the faces and the errors, not on how rooms look inside."""
    code = "\n".join(text for kind, text in blocks_of(guide) if kind in ("python", ""))
    assert_public(code)


@pytest.mark.parametrize("script", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_examples_use_public_names_only(script):
    assert_public(read(script))


def assert_public(code):
    for module, names in re.findall(r"^\s*from rank_rerank([\w.]*) import (.+)$", code, re.MULTILINE):
        wanted = {name.strip(" ()") for name in names.split(",")} - {""}
        if module.startswith(".integrations."):
            # its framework may be missing: what the file defines or hands on is looked for in its text
            path = (ROOT / "rank_rerank").joinpath(*module.split(".")[1:])
            source = read(path / "__init__.py" if path.is_dir() else path.with_suffix(".py"))
            assert all(re.search(rf"(class|def|import) .*\b{name}\b", source) for name in wanted), module
            continue
        face = import_module(f"rank_rerank{module}")
        public = getattr(face, "__all__", dir(face) if module == ".errors" else ())
        assert wanted <= {*public, *([] if module else MODULES)}, module
    assert not re.search(r"^\s*import rank_rerank\.(?!errors)", code, re.MULTILINE)


@every_guide
def test_commands_do_what_the_guide_says(guide, reader):
    skip_without_packages(guide)
    for command, stated in commands_of(guide):
        words = shlex.split(command)
        assert words[0] == "rank-rerank"
        done = subprocess.run(
            [sys.executable, "-m", "rank_rerank", *words[1:]],
            cwd=reader,
            env=child_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if stated:
            assert_same_output(done.stdout + done.stderr, stated)
        else:
            assert done.returncode == 0, done.stderr


def commands_of(guide):
    for kind, text in blocks_of(guide):
        if kind == "console":
            for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                command, _, output = part.partition("\n")
                yield command, output


def test_the_first_command_ranks_the_abstract_that_bears_on_the_claim_first(reranker):
    (command,) = re.findall(r"<!-- command: try -->\n```sh\n(.+)\n```", read(README))
    words = shlex.split(command)
    claim, file = words[words.index("rerank") + 1], words[words.index("rerank") + 2]
    documents = [json.loads(line) for line in read(ROOT / file).splitlines()]
    assert reranker.rerank(claim, documents)[0].id == "20888849"
    assert documents[6]["_id"] == "20888849"


@every_page
def test_every_path_and_link_leads_somewhere(page):
    for path in set(re.findall(r"`((?:benchmarks|examples|tests|rank_rerank)/[\w./]+)[` ]", read(page))):
        assert (ROOT / path).exists(), path
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", read(page)):
        assert (page.parent / target).exists(), target


@every_page
def test_every_extra_that_is_named_exists(page):
    named = set(re.findall(r"\(?extra `(\w+)`|\.\[(\w+)\]", read(page)))
    assert {first or second for first, second in named} <= set(PROJECT["optional-dependencies"])


def test_every_guide_stands_in_the_list_of_guides():
    listed = set(re.findall(r"\]\((\w+\.md)\)", read(ROOT / "examples" / "README.md")))
    assert listed == {path.name for path in (ROOT / "examples").glob("*.md")} - {"README.md"}


def test_the_changelog_begins_with_what_is_unreleased_and_dates_each_version():
    headings = re.findall(r"^### (.+)$", read(README).partition("## Changelog")[2], re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ \(\d{4}-\d\d-\d\d\)", heading) for heading in headings[1:])
    assert headings[1].split()[0] == PROJECT["version"]
    assert rank_rerank.__doc__


def test_the_readme_is_of_one_screen_or_a_few():
    assert len(read(README).splitlines()) <= 200
