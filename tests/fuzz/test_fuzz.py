"""A short search of every part in each run, a longer one with -m slow; benchmarks/run_fuzz.py goes on for hours."""

import inspect
import signal
import subprocess
import sys

import fuzz_calls
import fuzz_driver
import pytest
from example_counts import is_steady
from fuzz_child import PARTS
from fuzz_driver import Patience, Record, run_part

import rank_rerank
from rank_rerank import (
    calibration,
    distributed,
    documents,
    encoding,
    evaluation,
    explanation,
    refinement,
    scoring,
    storage,
)
from rank_rerank.devices import installed_version

# how many cases take about a second
SHORT = {
    "calls": 1500, "folders": 40, "stores": 40, "files": 400, "determinism": 8, "kills": 3,
    "failing_writes": 60, "flips": 60, "requests": 400, "exchange": 60,
}  # fmt: skip
LONG_FACTOR = 25
CLASS_METHODS = (classmethod, staticmethod)
# parameters that are right in every call, and why
NOT_SPOILED = {
    "CrossEncoder.score": "name",  # of the query in errors
    "EmbeddingStore.create": "folder",  # would make stores anywhere
    "ShardedStore.create": "folder",
    "FusedDocument": "key score ranks",  # a result, which nobody calls
    "load": "local_files_only",  # would ask the network
    "ColbertReranker.with_spans": "ranking",  # must be of the same reranker
    "encode_corpus": "output",  # would make folders anywhere
    "rerank_run": "output",
    "as_document": "name text_key",  # what the rooms call a list in errors; the key is checked by as_documents
    "as_documents": "name",
    "each_item": "name kind",
    "list_items": "name kind",
    "plain_value": "name dates_as_text",
    "refuse_shared_iterators": "name",
}
# what needs no arguments of a user, or other packages
NOT_CALLED = {
    "an error, a protocol or a type": "RankRerankError Reranker Reranker.rerank Reranker.rerank_many Engine Engine.fit "
    "Engine.run DocumentId DocumentLike Documents DocumentsPerQuery Queries SequenceNotStr Texts",
    "does a job's work": "LocalEngine.fit LocalEngine.run RayEngine.fit RayEngine.run",
    "a result of a job": "ImportReport Progress Progress.sentence Summary Summary.json",
    "made by functions that are called": "CacheInfo CascadeReranker ColbertReranker CrossEncoder CrossEncoderReranker "
    "EmbeddingStore EncodeReport Explanation JoinedStores MaxsimMatches ModelIdentity PairScores "
    "RankedDocument Ranking Repair "
    "SelfCheck ShardedStore StoredDocuments TextWord TokenAlignment TokenEncoder TokenStatistics "
    "TopDocuments Verification",
    "without arguments, and called to check results": "TokenEmbeddings.mean_vectors TopDocuments.none "
    "EmbeddingStore.compact EmbeddingStore.documents "
    "ColbertReranker.cache_info "
    "EmbeddingStore.refresh EmbeddingStore.verify JoinedStores.documents JoinedStores.refresh JoinedStores.verify "
    "ShardedStore.compact ShardedStore.documents ShardedStore.refresh ShardedStore.verify "
    "Explanation.to_dict RankedDocument.to_dict Ranking.to_cohere "
    "Ranking.to_dataframe Ranking.to_jina Ranking.to_tei",
    "takes an evaluation": "Evaluation.compared Evaluation.table JudgedCandidates.ndcg_at_10 JudgedCandidates.of "
    "JudgedCandidates.rank JudgedCandidates.read System.mean System.to_dict Timing.of calibrate_system check_gate "
    "diagnose dump_training render_evaluation sweep write_collection",
    "a result of an evaluation": "Check Collection Collection.select Comparison Comparison.to_dict Diagnosis "
    "CollectionFiles.qrel_paths CollectionFiles.query_paths CollectionFiles.corpus_paths Diagnosis.gains Gate Interval "
    "Diagnosis.groups Diagnosis.losses Diagnosis.to_dict Evaluation Evaluation.to_dict FittedCalibration Gate.to_dict "
    "FittedCalibration.to_dict JudgedCandidates JudgedRank QueryChange RankedIds RankedIds.first Run Run.first Run.ids "
    "Run.select Setting Sweep Sweep.table Sweep.to_dict System Threshold Timing TrainingDump",
    "takes objects of the package only": "CrossEncoder.from_checkpoint EmbeddingStore.encode_texts "
    "EmbeddingStore.put ModelIdentity.of ShardedStore.put ColbertReranker.at_work "
    "Blend.combination "
    "CascadeReranker.first_budget_ms CascadeReranker.later_stages BestWindows.of Ranking.filled "
    "StoredDocuments.groups TopDocuments.with_others StoredDocuments.truncated TokenEncoder.from_checkpoint self_check",
    "loads a model, as load does, which is called": "CrossEncoder.from_pretrained TokenEncoder.from_pretrained "
    "CrossEncoder.with_instruction ExecutionProvider ExecutionProvider.session_arguments",
    "rerank and rerank_many, which are called, on a thread": "CascadeReranker.arerank CascadeReranker.arerank_many "
    "ColbertReranker.arerank ColbertReranker.arerank_many CrossEncoderReranker.arerank "
    "CrossEncoderReranker.arerank_many DenseReranker.arerank DenseReranker.arerank_many",
    "writes a file": "Calibration.save",
    "inherited, and called of EmbeddingStore": "JoinedStores.verify_folder ShardedStore.verify_folder",
    "needs another package": "add_arrow add_from_lancedb add_from_qdrant add_parquet save_heat_map to_arrow "
    "to_lancedb to_qdrant write_parquet",
}
FACES = (
    rank_rerank,
    calibration,
    distributed,
    documents,
    encoding,
    evaluation,
    explanation,
    refinement,
    scoring,
    storage,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="children are watched by signals")


def search(part, folder, num_cases):
    for package in PARTS[part]:
        pytest.importorskip(package, reason=f"the part {part} needs {package}")
    record = run_part(Record(part, seed=1), folder, num_cases)
    assert sum(record.tally.values()) == num_cases
    return {key: (found.cases, found.message) for key, found in record.faults.items()}


@pytest.mark.parametrize("part", PARTS)
def test_a_short_search_finds_no_fault(part, tmp_path):
    assert search(part, tmp_path, SHORT[part] // (2 if is_steady() else 1)) == {}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", PARTS)
def test_a_longer_search_finds_no_fault(part, tmp_path):
    assert search(part, tmp_path, LONG_FACTOR * SHORT[part]) == {}


def public_names():
    """What the faces of the package export, and the methods of the classes among it, inherited ones too."""
    for face in FACES:
        for name in face.__all__:
            yield name
            for member, value in members_of(getattr(face, name)):
                if not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, CLASS_METHODS)):
                    yield f"{name}.{member}"


def members_of(value):
    """Of a class, what the package wrote."""
    kinds = value.__mro__ if inspect.isclass(value) else ()
    return [item for kind in kinds if kind.__module__.startswith("rank_rerank") for item in vars(kind).items()]


def test_every_public_function_is_called(tmp_path):
    called = {target.name for target in fuzz_calls.all_targets(tmp_path)}
    left_out = {name for names in NOT_CALLED.values() for name in names.split()}
    lacking = set() if installed_version("ir-measures") else {"ndcg_at_10"}
    assert set(public_names()) - called - left_out == lacking
    assert left_out <= set(public_names()) - called


def test_every_parameter_of_theirs_is_drawn_and_spoiled(tmp_path):
    spoiled, left_out = {}, {}
    for target in fuzz_calls.all_targets(tmp_path):
        spoiled.setdefault(target.name, set()).update(set(target.arguments) - set(target.fixed))
    for name, function in public_functions():
        if name in spoiled:
            parameters = set(inspect.signature(function).parameters) - {"self", "cls"}
            if missing := parameters - spoiled[name]:
                left_out[name] = missing
    assert left_out == {name: set(parameters.split()) for name, parameters in NOT_SPOILED.items()}


def public_functions():
    for name in public_names():
        owner, _, member = name.partition(".")
        face = next(face for face in FACES if owner in face.__all__)
        yield name, getattr(getattr(face, owner), member) if member else getattr(face, owner)


def test_crashes_hangs_and_faults_are_told_apart_and_cost_one_case_each(tmp_path):
    record = run_part(Record("selftest", seed=0), tmp_path, 14, patience=Patience(busy_s=2, waiting_s=600))
    assert {key: found.cases for key, found in record.faults.items()} == {
        "selftest | killed by SIGSEGV | ": [3],
        "selftest | hang | ": [5],
        " | KeyError | ": [7],
        "a target | a fault | ": [9],
    }
    # of what a child had tried before it died only the number is known
    assert record.tally == {"outcome not told": 4, "fault": 4, "fine": 5, "refused: ShapeError": 1}


def test_who_waits_for_what_never_comes_is_ended_by_the_clock(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz_driver, "START_S", 0.1)
    (tmp_path / "beat").write_bytes(b"the same")
    program = "import threading; threading.Event().wait()"
    child = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
    assert not fuzz_driver._watch(child, tmp_path / "beat", Patience())
    assert child.returncode == -signal.SIGKILL


def test_a_search_goes_on_where_it_ended(tmp_path):
    whole = run_part(Record("files", seed=3), tmp_path / "whole", 40)
    run_part(Record("files", seed=3), tmp_path / "parts", 15)
    again = run_part(Record.read(tmp_path / "parts" / "record.json"), tmp_path / "parts", 40)
    assert again == whole
