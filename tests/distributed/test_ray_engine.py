"""The same jobs on a real Ray cluster of six logical processors; each driver is a program of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from child_processes import child_environment
from small_jobs import items_of, job_in, results_in

from rank_rerank.distributed import EncodeSettings, LocalEngine, encode_corpus
from rank_rerank.distributed.job import run_job
from rank_rerank.errors import InvalidArgumentError

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DRIVER = HERE / "ray_driver.py"


@pytest.fixture
def start():
    """Start a driver with arguments; it is ended after the test, which may have failed before it finished."""
    environment = child_environment(HERE, RAY_DATA_DISABLE_PROGRESS_BARS="1")
    started = []

    def start_driver(*arguments):
        process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start_driver
    for process in started:
        with process:
            process.kill()


def finish(process):
    """Wait for a driver; give its exit code, output and errors."""
    out, errors = process.communicate(timeout=800)
    return process.returncode, out, errors


def files_of(folder):
    kept = ("receipts", "summary.json")
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file() and not str(path.relative_to(folder)).startswith(kept)
    }


@pytest.mark.parametrize(
    "options", [{"workers": 0}, {"cpus": -1}, {"gpus": float("nan")}, {"workers": 2, "min_workers": 3}]
)
def test_options_out_of_range_are_refused(options):
    from rank_rerank.distributed import RayEngine

    with pytest.raises(InvalidArgumentError):
        RayEngine(**options)


needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason='needs Ray: pip install ".[ray]"')


@needs_ray
def test_ray_makes_the_bits_of_one_process(tmp_path, start):
    corpus = tmp_path / "corpus.jsonl"
    rows = [{"id": f"d{n}", "text": " ".join(["harbor", "violin", "orbit"][: n % 4] * 3)} for n in range(60)]
    corpus.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"id": "bad"}]))
    encode_corpus(corpus, tmp_path / "local", settings=EncodeSettings(shard_documents=8))
    command = ["-m", "rank_rerank", "encode", corpus, "--output", tmp_path / "ray", "--shard-documents", "8"]
    code, out, errors = finish(start(*command, "--engine", "ray", "--workers", "2", "--min-workers", "1"))
    assert code == 0, errors
    summary = json.loads(out)
    assert (summary["num_items"], summary["num_rejected"], summary["engine"]) == (60, 1, "ray, 2 workers")
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "local")


@needs_ray
def test_items_fail_and_actors_and_drivers_die_as_elsewhere(tmp_path, start):
    count, special = 200, {50: "bad", 70: "deadly"}
    run_job(job_in(tmp_path / "whole"), items_of(count, special), LocalEngine(2))
    process = start(DRIVER, tmp_path / "ray", count, 0.1, "50:bad", "70:deadly")
    wait_for_results(process, tmp_path / "ray", 5)
    os.kill(process.pid, signal.SIGKILL)  # the driver
    finish(process)
    process = start(DRIVER, tmp_path / "ray", count, 0.1, "50:bad", "70:deadly")
    wait_for_results(process, tmp_path / "ray", 10)
    actors = {int(path.name) for path in (tmp_path / "ray" / "workers").iterdir()}
    for actor in actors:
        try:
            os.kill(actor, signal.SIGKILL)
        except ProcessLookupError:  # of the first driver
            continue
    code, _, errors = finish(process)
    assert code == 0, errors
    ids = [row[0] for row in results_in(tmp_path / "ray")]
    assert sorted(ids) == sorted(f"i{n}" for n in range(count) if n not in special)
    for path in (tmp_path / "ray" / "workers").iterdir():
        path.unlink()
    (tmp_path / "ray" / "workers").rmdir()
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "whole")


def wait_for_results(process, folder, count):
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and process.poll() is None:
        if len(list(folder.glob("receipts/*"))) >= count:
            return
        time.sleep(0.05)
    raise AssertionError(f"no {count} results: {finish(process)}")


@needs_ray
def test_an_error_of_a_worker_and_too_much_to_ask_are_told_in_a_line(tmp_path, start):
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"id": "a", "text": "x"}\n')
    command = ["-m", "rank_rerank", "encode", corpus, "--output", tmp_path / "ray", "--engine", "ray"]
    code, _, errors = finish(start(*command, "--gpus", "3"))
    assert code == 2
    assert errors.splitlines()[-1] == (
        "rank-rerank: error: a worker asks for 3 GPU, and the cluster has 0. Ask for less"
    )
    code, _, errors = finish(start(DRIVER, tmp_path / "all bad", 30, 0, "all:bad"))
    assert code == 1
    assert "NonFiniteError: the model gave NaN" in errors.splitlines()[-1]
