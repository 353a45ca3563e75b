"""A job ends with each item once, whatever fails, dies or is repeated."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from servers import until
from small_jobs import LetterCounter, items_of, job_in, results_in

from rank_rerank.distributed import local_engine
from rank_rerank.distributed.attempts import Attempts, withdraw_running
from rank_rerank.distributed.items import Item, Rejected, Unit
from rank_rerank.distributed.job import run_job
from rank_rerank.distributed.job_folder import ATTEMPTS, JobFolder
from rank_rerank.distributed.local_engine import LocalEngine
from rank_rerank.distributed.manifests import (
    MAX_BYTES,
    MAX_RESULTS,
    ResultEntry,
    ResultManifest,
    read_result_manifest,
)
from rank_rerank.distributed.receipts import Receipt
from rank_rerank.errors import (
    NonFiniteError,
    ResourceLimitError,
    StoreFormatError,
    StoreLockedError,
    StoreMismatchError,
    StoreNotFoundError,
    StoreWriteError,
)
from rank_rerank.storage.durable_files import FileEntry
from rank_rerank.storage.writer_lock import writer_lock

ONE = LocalEngine()


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def letters_of(folder):
    return [json.loads(line) for line in (folder / "dead_letters.jsonl").read_text().splitlines()]


def ids_in(folder):
    return [row[0] for row in results_in(folder)]


def test_each_item_is_done_once_and_counted(tmp_path):
    told = []
    summary = run_job(job_in(tmp_path), items_of(50), ONE, told.append)
    assert sorted(ids_in(tmp_path)) == sorted(item.id for item in items_of(50))
    manifest = read_result_manifest(tmp_path)
    assert (summary.num_items, manifest.num_items, summary.num_units) == (50, 50, len(manifest.results))
    assert summary.num_tokens == sum(len(item.text) for item in items_of(50))
    assert [each.num_done for each in told] == sorted({each.num_done for each in told})
    assert (told[-1].num_done, told[-1].num_items, told[-1].seconds_left) == (50, 50, 0)
    assert told[-1].cost == pytest.approx(told[-1].worker_seconds)
    assert json.loads((tmp_path / "summary.json").read_text())["num_items"] == 50
    assert not list((tmp_path / "units").iterdir())
    assert not list((tmp_path / ATTEMPTS).iterdir())


def test_a_second_run_does_nothing_and_changes_nothing(tmp_path):
    run_job(job_in(tmp_path), items_of(50), ONE)
    before = files_of(tmp_path)
    summary = run_job(job_in(tmp_path), items_of(50), ONE)
    after = files_of(tmp_path)
    assert (summary.num_found, summary.num_items, summary.items_per_second) == (50, 50, 0)
    assert {name for name in before if before[name] != after[name]} <= {"summary.json"}


def test_items_that_fail_are_refused_with_their_reason_and_stop_nothing(tmp_path):
    items = [*items_of(30, {3: "bad", 17: "foreign secret"}), Rejected("line 99", "", "the line is not valid JSON")]
    items += [Item("i5", "text 5"), Item("i6", "another text", source="line 101")]
    summary = run_job(job_in(tmp_path), items, ONE)
    assert (summary.num_items, summary.num_rejected, summary.num_repeated) == (28, 4, 1)
    reasons = {(each["id"], each["source"]): each["reason"] for each in letters_of(tmp_path)}
    assert reasons["i3", "line 3"] == "NonFiniteError: the model gave NaN"
    assert reasons["i17", "line 17"] == "ValueError while it was read"  # another library's words may hold the text
    assert reasons["", "line 99"] == "the line is not valid JSON"
    assert "another text" in reasons["i6", "line 101"]
    assert sorted(ids_in(tmp_path)) == sorted(f"i{n}" for n in range(30) if n not in (3, 17))


def test_where_no_item_can_be_read_the_items_are_not_at_fault(tmp_path):
    with pytest.raises(NonFiniteError, match="NaN"):
        run_job(job_in(tmp_path), items_of(30, dict.fromkeys(range(30), "bad")), ONE)
    with pytest.raises(StoreNotFoundError, match="same command again"):
        read_result_manifest(tmp_path)


def test_items_added_or_removed_change_their_own_units_only(tmp_path):
    run_job(job_in(tmp_path), items_of(400), ONE)
    before = {entry.file.name for entry in read_result_manifest(tmp_path).results}
    changed = [item for item in items_of(400) if item.id != "i40"] + [Item("new", "text")]
    changed.insert(200, Item("in between", "text"))
    summary = run_job(job_in(tmp_path), changed, ONE)
    after = {entry.file.name for entry in read_result_manifest(tmp_path).results}
    assert len(before - after) <= 6
    assert len(before) > 30
    assert summary.num_found > 300
    assert sorted(ids_in(tmp_path)) == sorted(item.id for item in changed)
    assert {path.name for path in (tmp_path / "parts").iterdir()} == after


@pytest.mark.parametrize("victim", ["parts", "receipts"])
def test_what_was_lost_or_cut_is_made_again(tmp_path, victim):
    run_job(job_in(tmp_path), items_of(50), ONE)
    before = files_of(tmp_path)
    first, second = sorted((tmp_path / victim).iterdir())[:2]
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])
    run_job(job_in(tmp_path), items_of(50), ONE)
    after = files_of(tmp_path)
    kept = {name for name in before if not name.startswith("receipts") and name != "summary.json"}
    assert all(before[name] == after[name] for name in kept)
    assert before.keys() == after.keys()


def test_a_folder_is_of_one_job(tmp_path):
    run_job(job_in(tmp_path, dtype="int8", model="a"), items_of(5), ONE)
    with pytest.raises(StoreMismatchError, match="a job with another dtype"):
        run_job(job_in(tmp_path, dtype="float16", model="a"), items_of(5), ONE)


def test_one_program_does_a_job_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("rank_rerank.distributed.job.LOCK_TIMEOUT_S", 0.01)
    run_job(job_in(tmp_path), items_of(5), ONE)
    with writer_lock(tmp_path, 1), pytest.raises(StoreLockedError):
        run_job(job_in(tmp_path), items_of(5), ONE)


def test_more_results_than_a_manifest_lists_are_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr("rank_rerank.distributed.job.MAX_RESULTS", 3)
    with pytest.raises(ResourceLimitError, match="more than 3 results of about 8 each"):
        run_job(job_in(tmp_path), items_of(100), ONE)
    assert not list((tmp_path / "parts").iterdir())
    assert run_job(job_in(tmp_path / "few"), items_of(8), ONE).num_items == 8


def test_a_manifest_of_the_most_results_is_read():
    """What the bound on bytes allows per result is enough for the longest entry."""
    entry = ResultEntry(FileEntry("shard-" + "f" * 24 + ".safetensors", 10**12, "f" * 64), 10**9, 10**12)
    letters = FileEntry("d", 1, "f" * 64)
    few, more = (len(ResultManifest("f" * 64, (entry,) * count, 0, letters).serialize()) for count in (10, 110))
    assert (more - few) / 100 * MAX_RESULTS < MAX_BYTES


def test_a_damaged_manifest_is_refused(tmp_path):
    run_job(job_in(tmp_path), items_of(5), ONE)
    path = tmp_path / "manifest.json"
    sound = path.read_text()
    for damaged in ("{", sound.replace('"num_items": 5', '"num_items": 6'), sound.replace("part-", "../part-")):
        path.write_text(damaged)
        with pytest.raises(StoreFormatError, match="Remove it and run the same command again"):
            read_result_manifest(tmp_path)
    run_job(job_in(tmp_path), items_of(5), ONE)
    assert path.read_text() == sound


def test_the_name_of_a_unit_is_made_of_all_that_matters():
    def name(items, settings="s"):
        return Unit.of("p", settings, items).name

    base = [Item("a", "b", "c", "here"), Item("d", "e")]
    assert name(base) == name([Item("a", "b", "c", "there"), Item("d", "e", "", "x")])
    others = [
        [Item("ab", "", "c"), base[1]],
        [Item("a", "bc", ""), base[1]],
        base[::-1],
        base[:1],
        [base[0], Item("d", "f")],
    ]
    assert len({name(base), name(base, "t"), *map(name, others)}) == 7


def attempt(folder, *notes):
    """One attempt at the unit "u", which writes some notes and dies: a number for an item, a text for one alone."""
    attempts = Attempts.begin(folder, "u")
    for note in notes:
        attempts.note(int(note), alone=isinstance(note, str))
    return attempts


@pytest.fixture
def noted(tmp_path):
    (tmp_path / ATTEMPTS).mkdir()
    return JobFolder(tmp_path, "parts")


def test_notes_tell_which_item_takes_workers_down(noted):
    for death in range(2):
        attempts = attempt(noted)
        assert (attempts.num_others, attempts.with_care, attempts.suspects()) == (death, False, [])
    assert attempt(noted, 3, 7).with_care
    for _ in range(3):
        attempts = attempt(noted, "7")
        assert attempts.suspects() == [7]
        assert not attempts.is_deadly(7)
    attempts = Attempts.begin(noted, "u")
    assert attempts.is_deadly(7)
    assert not attempts.is_deadly(3)


def test_items_at_which_workers_happen_to_die_are_not_refused(noted):
    """However many: an item is refused only if its own reading, alone, has ended three workers and never ended well."""
    for _ in range(9):
        attempt(noted, 3, 7)
    assert not Attempts.begin(noted, "u").is_deadly(7)
    attempt(noted, "7", 0, 1)  # read alone, and gone on
    for _ in range(4):
        attempt(noted, "7")
    attempts = Attempts.begin(noted, "u")
    assert not attempts.is_deadly(7)
    assert attempts.suspects() == [1, 7]


def test_attempts_that_were_asked_to_end_say_nothing_against_items(noted):
    for _ in range(5):
        attempt(noted, 3, "7")
        withdraw_running()
    attempts = Attempts.begin(noted, "u")
    assert (attempts.num_others, attempts.suspects(), attempts.is_deadly(7)) == (0, [], False)
    for _ in range(3):
        attempt(noted, "7")
    assert Attempts.begin(noted, "u").is_deadly(7)  # nor have they read one to its end


def test_an_error_or_an_interruption_is_no_death(tmp_path):
    """A full disk, or Ctrl-C, as often as you like: the unit is done as if nothing had been."""

    def stop(error):
        class Stopping(LetterCounter):
            def write(self, *_):
                raise error

        return lambda: Stopping(JobFolder(tmp_path, "parts"))

    job = job_in(tmp_path)
    for error in [StoreWriteError("no space left on device"), KeyboardInterrupt()] * 2:
        with pytest.raises(type(error)):
            run_job(replace(job, work=replace(job.work, open_handler=stop(error))), items_of(5), ONE)
    (noted,) = (tmp_path / ATTEMPTS).iterdir()
    assert Attempts.begin(job.work.folder, noted.name).num_others == 0
    assert run_job(job, items_of(5), ONE).num_items == 5


def test_a_result_that_takes_its_writers_down_is_reported_and_no_item_is_blamed(tmp_path):
    job = job_in(tmp_path, unit_items=30)
    unit = Unit.of("part", job.work.folder.create(job.facts), items_of(5))
    notes = "".join(f"{mark} begun\n{mark} 4\n{mark} writing\n" for mark in "abc")
    (tmp_path / ATTEMPTS / unit.name).write_text(notes)
    with pytest.raises(ResourceLimitError, match="shard-documents"):
        run_job(job, items_of(5), ONE)
    (tmp_path / ATTEMPTS / unit.name).write_text(notes.replace("c writing\n", ""))
    assert run_job(job, items_of(5), ONE).num_rejected == 0


def test_what_is_read_first_stands_where_it_stood(tmp_path):
    """Items in their order, whichever were suspected."""
    run_job(job_in(tmp_path / "plain", unit_items=30), items_of(8, {5: "bad"}), ONE)
    job = job_in(tmp_path / "care", unit_items=30)
    unit = Unit.of("part", job.work.folder.create(job.facts), items_of(8, {5: "bad"}))
    (tmp_path / "care" / ATTEMPTS / unit.name).write_text("a begun\nb begun\nb 6\nc begun\nc 2\nd alone-999\n")
    run_job(job, items_of(8, {5: "bad"}), ONE)
    assert results_in(tmp_path / "care") == results_in(tmp_path / "plain")
    assert letters_of(tmp_path / "care") == letters_of(tmp_path / "plain")


def test_workers_that_go_on_are_not_taken_for_dead(noted):
    """Three workers at one item, as after drivers died whose workers live on: the item is sound."""
    living = [attempt(noted, "7") for _ in range(3)]
    another = Attempts.begin(noted, "u")
    assert another.with_care
    for each in living:
        each.note(8)
    assert not another.is_deadly(7)
    assert not Attempts.begin(noted, "u").is_deadly(7)


def test_a_worker_that_finds_its_unit_done_takes_the_receipt(tmp_path):
    job = job_in(tmp_path)
    run_job(job, items_of(5), ONE)
    receipt = Receipt.parse(next((tmp_path / "receipts").iterdir()).read_bytes())
    assert job.work.open().do(receipt.unit) == receipt
    with pytest.raises(FileNotFoundError):
        job.work.open().do("part-unknown")


@pytest.mark.slow
def test_items_that_kill_their_workers_are_refused_and_the_rest_is_done(tmp_path):
    summary = run_job(job_in(tmp_path / "two"), items_of(40, {11: "deadly", 13: "bad"}), LocalEngine(2))
    assert (summary.num_items, summary.num_rejected) == (38, 2)
    reasons = {each["id"]: each["reason"] for each in letters_of(tmp_path / "two")}
    assert reasons["i11"] == "3 workers have died while they read it alone"
    assert sorted(ids_in(tmp_path / "two")) == sorted(f"i{n}" for n in range(40) if n not in (11, 13))


def test_the_third_worker_that_dies_at_an_item_alone_was_the_last(tmp_path):
    """As the slow test, from where five workers have died already; the other worker of the pool is not counted."""
    job, items = job_in(tmp_path / "two", unit_items=30), items_of(20, {11: "deadly"})
    unit = Unit.of("part", job.work.folder.create(job.facts), items)
    notes = "a begun\nb begun\nc begun\nc 10\nc 11\nd begun\nd alone-11\ne begun\ne alone-11\n"
    (tmp_path / "two" / ATTEMPTS / unit.name).write_text(notes)
    summary = run_job(job, items, LocalEngine(2))
    assert (summary.num_items, [each["id"] for each in letters_of(tmp_path / "two")]) == (19, ["i11"])


def die():
    os._exit(9)


def test_a_model_that_kills_every_worker_ends_the_job(tmp_path, monkeypatch):
    monkeypatch.setattr(local_engine, "MAX_VAIN_POOLS", 1)
    job = job_in(tmp_path)
    job = replace(job, work=replace(job.work, open_handler=die))
    with pytest.raises(ResourceLimitError, match="may not fit into memory"):
        run_job(job, items_of(30), LocalEngine(2))


@pytest.mark.parametrize("kind", ["driver", pytest.param("worker", marks=pytest.mark.slow)])
def test_workers_end_with_a_driver_that_was_killed(tmp_path, kind):
    """And a rerun ends with the bytes of a run that nobody has killed, as after killed workers."""
    run_job(job_in(tmp_path / "whole"), items_of(300), ONE)
    driver = [sys.executable, str(Path(__file__).with_name("slow_driver.py")), str(tmp_path / "killed"), "300", "7"]
    with subprocess.Popen(driver, stdout=subprocess.PIPE, text=True) as process:
        workers = {int(process.stdout.readline().split()[1]) for _ in range(12)}  # then both wait
        os.kill(process.pid if kind == "driver" else min(workers), signal.SIGKILL)
        if kind == "worker":
            (tmp_path / "killed" / "go-on").touch()
        process.communicate()
    (tmp_path / "killed" / "go-on").unlink(missing_ok=True)
    assert process.returncode == (-signal.SIGKILL if kind == "driver" else 0)
    until(lambda: not any(map(is_running, workers)))
    run_job(job_in(tmp_path / "killed"), items_of(300), ONE)
    whole, killed = files_of(tmp_path / "whole"), files_of(tmp_path / "killed")
    assert {name for name in whole | killed if whole.get(name) != killed.get(name)} <= {
        "summary.json",
        *(name for name in whole if name.startswith("receipts")),
    }


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except OSError:
        return False
