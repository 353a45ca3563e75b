import io
import json
import logging
import math
import sys
from types import SimpleNamespace

import pytest

from rank_rerank.cli import job_options
from rank_rerank.cli.main import main
from rank_rerank.kernels import loading


@pytest.fixture
def run(capfdbinary, monkeypatch):
    """Run the command in this process: give its exit code, its output, its errors."""
    monkeypatch.setattr(logging.getLogger("rank_rerank"), "handlers", [])
    # what is said of work that takes long depends on the machine
    monkeypatch.setattr(job_options, "SECONDS_BETWEEN_LINES", math.inf)
    monkeypatch.setattr(loading, "SLOW_S", math.inf)

    def run_command(*arguments, stdin=b""):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(stdin), isatty=lambda: False))
        try:
            code = main(arguments)
        except SystemExit as stopped:
            code = stopped.code
        sys.stdout.flush()
        captured = capfdbinary.readouterr()
        return code, captured.out.decode(), captured.err.decode()

    return run_command


@pytest.fixture
def hits(run):
    """Run the command and read the JSON lines it prints."""

    def run_command(*arguments, stdin=b""):
        code, out, err = run(*arguments, stdin=stdin)
        assert (code, err) == (0, "")
        return [json.loads(line) for line in out.splitlines()]

    return run_command
