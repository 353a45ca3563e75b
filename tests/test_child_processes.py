import os
import subprocess
import sys

from child_processes import PACKAGE, child_environment


def test_a_child_finds_the_package_first_and_what_the_caller_finds_too(monkeypatch, tmp_path):
    (tmp_path / "rank_rerank.py").write_text("")
    (tmp_path / "only_here.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    program = "import only_here, rank_rerank.errors as errors; print(errors.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", program], env=child_environment(), cwd=tmp_path.parent, capture_output=True, check=True
    )
    assert done.stdout.decode().startswith(str(PACKAGE) + os.sep)
