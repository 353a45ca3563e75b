"""A short search of every part in each run, a longer one with -m slow; benchmarks/run_fuzz.py goes on for hours."""

import inspect
import sys
from fnmatch import fnmatch

import fuzz_calls
import pytest
from fuzz_child import PARTS
from fuzz_driver import Record, run_part
from known_faults import KNOWN

import rank_rerank
from rank_rerank import refinement

# how many cases take about a second
SHORT = {
    "calls": 1500, "folders": 40, "stores": 40, "files": 400, "determinism": 8, "kills": 3,
    "failing_writes": 60, "flips": 60,
}  # fmt: skip
LONG_FACTOR = 25
# what users do not call with arguments of their own
NOT_CALLED = {
    "Reranker": "a protocol",
    "RankRerankError": "an error",
    "RankedDocument": "made by rerankers",
    "Ranking": "made by rerankers",
    "ColbertReranker": "takes an encoder; its methods are called",
    "CascadeReranker": "takes rerankers; its methods are called",
    "CrossEncoder": "loaded; the part folders loads and uses it",
    "CrossEncoderReranker": "loaded; the part folders loads and uses it",
    "TokenEncoder": "loaded; its methods are called",
    "EmbeddingStore": "made by create and open, which are called",
    "refinement.TokenStatistics": "made by fit, which is called",
}

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="children are watched by signals")


def search(part, folder, num_cases):
    record = run_part(Record(part, seed=1), folder, num_cases)
    assert sum(record.tally.values()) == num_cases
    return {
        key: (found.cases, found.message)
        for key, found in record.faults.items()
        if not any(fnmatch(f"{part}: {key}", pattern) for pattern in KNOWN)
    }


@pytest.mark.parametrize("part", PARTS)
def test_a_short_search_finds_no_fault_that_is_not_known(part, tmp_path):
    assert search(part, tmp_path, SHORT[part]) == {}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", PARTS)
def test_a_longer_search_finds_no_fault_that_is_not_known(part, tmp_path):
    assert search(part, tmp_path, LONG_FACTOR * SHORT[part]) == {}


def test_every_public_function_is_called(tmp_path):
    called = {target.name for target in fuzz_calls.all_targets(tmp_path)}
    faces = {"": rank_rerank, "refinement.": refinement}
    public = {prefix + name for prefix, face in faces.items() for name in face.__all__}
    assert public - called - set(NOT_CALLED) == set()
    assert all(inspect.isclass(getattr(rank_rerank, name.rpartition(".")[2], type)) for name in NOT_CALLED)


def test_crashes_hangs_and_faults_are_told_apart_and_cost_one_case_each(tmp_path):
    record = run_part(Record("selftest", seed=0), tmp_path, 14, hang_s=5)
    assert {key: found.cases for key, found in record.faults.items()} == {
        "selftest | killed by SIGSEGV | ": [3],
        "selftest | hang | ": [5],
        " | KeyError | ": [7],
        "a target | a fault | ": [9],
    }
    # of what a child had tried before it died only the number is known
    assert record.tally == {"outcome not told": 4, "fault": 4, "fine": 5, "refused: ShapeError": 1}


def test_a_search_goes_on_where_it_ended(tmp_path):
    whole = run_part(Record("files", seed=3), tmp_path / "whole", 40)
    run_part(Record("files", seed=3), tmp_path / "parts", 15)
    again = run_part(Record.read(tmp_path / "parts" / "record.json"), tmp_path / "parts", 40)
    assert again == whole
