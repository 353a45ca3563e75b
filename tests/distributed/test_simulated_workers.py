"""64 logical workers on a simulated clock, which run the job's own code and die, stall and repeat."""

import importlib
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rank_rerank.distributed.job_folder import JobFolder
from rank_rerank.distributed.receipts import Receipt

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")


@pytest.fixture
def simulation(monkeypatch):
    """The modules of the simulation, which no other test sees; files need not outlive the machine."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    before = set(sys.modules)
    yield importlib.import_module("simulate_workers")
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(BENCHMARKS):
            del sys.modules[name]


def small(simulation):
    return simulation.Workload(
        documents=900, unit_documents=6, seconds_per_document=2.0, window=3, bad=401, deadly=1009
    )


def everything(simulation):
    """Less of each fault than a document has of seconds: else three workers die at one document by chance."""
    return simulation.Faults(1 / 20, 1 / 15, 1 / 60, 0.1, 3.0, 0.05, 0.3, 5)


def run(simulation, folder, faults, seed=0, workload=None):
    workload = workload or small(simulation)
    machines = simulation.Machines()
    sound = folder / "sound"
    if not sound.exists():
        simulation.simulate(sound, workload, simulation.Cluster(machines, simulation.Faults()))
    name = f"run-{len(list(folder.iterdir()))}"
    return simulation.simulate(folder / name, workload, simulation.Cluster(machines, faults, seed), sound)


def test_nothing_is_lost_or_double_whatever_dies_stalls_or_repeats(simulation, tmp_path):
    outcome = run(simulation, tmp_path, everything(simulation))
    assert (outcome.lost, outcome.double, outcome.wrongly_refused, outcome.same_bytes) == (0, 0, 0, True)
    # it is no proof unless much went wrong
    assert outcome.deaths["worker"] >= 10
    assert min(outcome.deaths[kind] for kind in ("machine", "driver", "orphan", "deadly document")) >= 1
    assert outcome.runs == outcome.deaths["driver"] + 1
    assert outcome.read_again > 0


def test_work_is_done_twice_only_where_something_went_wrong(simulation, tmp_path):
    workload = replace(small(simulation), bad=0, deadly=0)
    cases = (simulation.CASES[name] for name in ("none", "slow", "twice"))
    sound, slow, twice = (run(simulation, tmp_path, faults, 0, workload) for faults in cases)
    assert (sound.read_again, slow.read_again) == (0, 0)
    assert 0 < twice.read_again < 0.3 * workload.documents
    assert slow.hours > 2 * sound.hours
    assert all(each.same_bytes and each.left_over == 0 for each in (sound, slow, twice))


def test_a_simulation_depends_on_its_seed_alone(simulation, tmp_path):
    workload = replace(small(simulation), documents=300)
    first, second, other = (run(simulation, tmp_path, everything(simulation), seed, workload) for seed in (1, 1, 2))
    assert first == second
    assert first != other


def test_the_simulation_sees_lost_documents(simulation, tmp_path, monkeypatch):
    """Receipts that are believed though their results are gone or cut lose documents: the simulation says so."""

    def believe(folder, name):
        path = folder.path / "receipts" / f"{name}.json"
        try:
            return Receipt.parse(path.read_bytes())
        except (OSError, ValueError):
            return None

    monkeypatch.setattr(JobFolder, "read_receipt", believe)
    outcome = run(simulation, tmp_path, simulation.Faults(driver_hours=1 / 360, lost_files=20))
    assert outcome.deaths["driver"] >= 1
    assert outcome.lost > 0
    assert not outcome.same_bytes
