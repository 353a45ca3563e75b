"""Every code block of the README is run, and what it prints is compared with what the README says it prints."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import rank_rerank

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"-?\d+\.\d+")


def assert_same_output(printed, stated):
    """Words must agree; scores may differ by what another processor's rounding changes."""
    assert " ".join(NUMBER.sub("N", printed).split()) == " ".join(NUMBER.sub("N", stated).split())
    numbers = [[float(number) for number in NUMBER.findall(text)] for text in (printed, stated)]
    assert numbers[0] == pytest.approx(numbers[1], abs=0.06)


def test_every_block_is_of_a_kind_that_is_run_here_or_by_ci():
    assert {kind for kind, _ in BLOCKS} == {"python", "text", "console", "sh", ""}
    marked = re.findall(r"^<!-- command: (\w+) -->\n```sh\n(.+)\n```$", README, re.MULTILINE)
    assert [name for name, _ in marked] == ["try", "test"]
    assert len(marked) == sum(kind == "sh" for kind, _ in BLOCKS)
    assert all(not text.startswith(("import", "$")) for kind, text in BLOCKS if kind == "")


def test_python_blocks_print_what_the_readme_says(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    names = {}
    for number, (kind, code) in enumerate(BLOCKS):
        if kind == "python":
            exec(compile(code, f"README block {number}", "exec"), names)
            following = BLOCKS[number + 1]
            if following[0] == "text":
                assert_same_output(capsys.readouterr().out, following[1])


def test_commands_do_what_the_readme_says(tmp_path):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for command, stated in _commands():
        words = shlex.split(command)
        assert words[0] == "rank-rerank"
        done = subprocess.run(
            [sys.executable, "-m", "rank_rerank", *words[1:]],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        if stated:
            assert_same_output(done.stdout + done.stderr, stated)
        else:
            assert done.returncode == 0, done.stderr


def _commands():
    for kind, text in BLOCKS:
        if kind == "console":
            for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                command, _, output = part.partition("\n")
                yield command, output


def test_the_first_command_ranks_the_abstract_that_bears_on_the_claim_first(reranker):
    (command,) = re.findall(r"<!-- command: try -->\n```sh\n(.+)\n```", README)
    words = shlex.split(command)
    claim, file = words[words.index("rerank") + 1], words[words.index("rerank") + 2]
    documents = [json.loads(line) for line in (ROOT / file).read_text(encoding="utf-8").splitlines()]
    assert reranker.rerank(claim, documents)[0].id == "20888849"
    assert documents[6]["_id"] == "20888849"


def test_every_script_the_readme_names_is_there():
    for text in (README, (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")):
        for path in set(re.findall(r"`((?:benchmarks|examples|tests)/[\w./]+)[` ]", text)):
            assert (ROOT / path).exists(), path


def test_the_version_is_the_installed_one():
    changelog = README.partition("## Changelog")[2]
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.+)"$', text, re.MULTILINE)[1]
    assert f"### {version}" in changelog
    assert rank_rerank.__doc__
