"""What a person sees: the table on a terminal, and the note that kernels are compiled."""

import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from rank_rerank.kernels.cache import cache_folder

QUERY = "What is the capital of France?"
TERMINAL_MODULES = ("fcntl", "pty", "termios")
LINES = b"Bananas are yellow.\nParis is the capital of France.\nBerlin is in Germany.\n"


@pytest.fixture
def candidates(tmp_path):
    path = tmp_path / "candidates.txt"
    path.write_bytes(LINES)
    return str(path)


def run_on_a_terminal(arguments, columns=60, errors=subprocess.PIPE, **environment):
    """Run the command on a pseudo-terminal; give its code, what a person would see there, and stderr where apart."""
    fcntl, pty, termios = (pytest.importorskip(name, reason="no pseudo-terminals") for name in TERMINAL_MODULES)
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "rank_rerank", *arguments],
        stdout=follower,
        stderr=errors,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "TERM": "xterm", **environment},
    )
    os.close(follower)
    seen = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:
            break
        if not part:
            break
        seen += part
    os.close(leader)
    written = process.communicate()[1] or b""
    return process.returncode, seen.decode().replace("\r\n", "\n"), written.decode()


def test_on_a_terminal_a_table_with_the_best_words_marked(candidates):
    code, seen, errors = run_on_a_terminal(["rerank", QUERY, candidates, "--top-k", "2"])
    assert (code, errors) == (0, "")
    header, first, text, *rest = seen.splitlines()
    assert header == "rank    was  relevance  document"
    assert first.startswith("   1      2       1.00  line 2 · score ")
    assert "capital\x1b[0m" in text
    assert "Paris is the \x1b[1;33mcapital" in text
    assert text.count("\x1b[1;33m") == text.count("\x1b[0m")
    assert len(rest) >= 1


def test_no_color_and_dumb_terminals(candidates):
    seen = run_on_a_terminal(["rerank", QUERY, candidates], NO_COLOR="1")[1]
    assert "capital\x1b[0m" in seen
    assert "\x1b[1;33m" not in seen
    seen = run_on_a_terminal(["rerank", QUERY, candidates], TERM="dumb")[1]
    assert "capital*" in seen
    assert "\x1b" not in seen


def test_hostile_text_cannot_steer_the_terminal(tmp_path):
    path = tmp_path / "c.txt"
    path.write_text("\x1b[2J\x1b]0;title\x07 \u202ereversed\u2066 \x9b31m\n", encoding="utf-8")
    seen = run_on_a_terminal(["rerank", "title", str(path)], NO_COLOR="1")[1]
    cleaned = seen.replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert not set(cleaned) & set("\x1b\x07\x9b\u202e\u2066")


def test_json_on_a_terminal_when_asked(candidates):
    seen = run_on_a_terminal(["rerank", QUERY, candidates, "--json"])[1]
    assert json.loads(seen.splitlines()[0])["rank"] == 1


@pytest.fixture
def cache(reranker, tmp_path):
    """A cache of compiled kernels that lacks those that score: they take a second, all of them take many."""
    reranker.rerank("a query", ["a text"])
    kernels = tmp_path / "cache" / "kernels"
    kernels.mkdir(mode=0o700, parents=True)
    for file in cache_folder().glob("transformer-*.kernel"):
        shutil.copy(file, kernels)
    return {"RANK_RERANK_CACHE": str(kernels.parent)}


def test_a_cold_first_call_says_on_the_terminal_that_it_compiles_and_the_next_does_not(candidates, cache):
    arguments = ["rerank", QUERY, candidates]
    cold = run_on_a_terminal(arguments, errors=subprocess.STDOUT, **cache)[1]
    warm = run_on_a_terminal(arguments, errors=subprocess.STDOUT, **cache)[1]
    assert cold.count("rank-rerank: Compiling CPU kernels for this processor") == 1
    assert "Compiling" not in warm


def test_compiling_is_not_said_in_a_pipe_unless_it_takes_long(candidates, cache):
    done = subprocess.run(
        [sys.executable, "-m", "rank_rerank", "rerank", QUERY, candidates],
        env={**os.environ, **cache},
        capture_output=True,
        check=True,
    )
    lines = done.stderr.splitlines()  # one, where this machine is slow
    assert [line for line in lines if not line.startswith(b"rank-rerank: Compiling CPU kernels has taken ")] == []
    assert list((Path(cache["RANK_RERANK_CACHE"]) / "kernels").glob("maxsim-*"))
