"""Sweeps, calibrations and training data from one evaluation of the bundled model."""

import json
from dataclasses import replace

import numpy as np
import pytest
from judged_slice import LINES, write_lines
from word_overlap import WordOverlap

from rank_rerank import Blend
from rank_rerank.calibration.calibration import Calibration
from rank_rerank.cli.main import main
from rank_rerank.encoding.compression import Compression
from rank_rerank.encoding.pooling import Pooling
from rank_rerank.errors import FileFormatError, InvalidArgumentError
from rank_rerank.evaluation import EvaluationOptions, evaluate, variants
from rank_rerank.evaluation.calibrating_runs import calibrate_system
from rank_rerank.evaluation.sweeping import Setting, _blended, _mark_front, sweep
from rank_rerank.evaluation.training_dump import dump_training
from rank_rerank.evaluation.variants import score_chunks, score_variants

QUICK = EvaluationOptions(samples=100, depth=12, show_progress=False)


@pytest.fixture(autouse=True)
def timed_once(monkeypatch):
    """Milliseconds are not looked at here."""
    monkeypatch.setattr(variants, "TIMED_QUERIES", 1)
    monkeypatch.setattr(variants, "TIMES", 1)


@pytest.fixture
def few_compressions(monkeypatch):
    few = {"--dtype float32": Compression("float32"), "--dtype int8 --pool 2": Compression("int8", pooling=Pooling(2))}
    monkeypatch.setattr(variants, "list_compressions", lambda _: few)


@pytest.fixture
def judged(folder, reranker):
    lines = [
        {**line, "text": 3 * line["text"] if number == 13 else line["text"][:80]} for number, line in enumerate(LINES)
    ]
    write_lines(folder / "corpus.jsonl", lines)
    return evaluate(folder, {"bundled": reranker, "words": WordOverlap()}, QUICK)


def test_variants_score_as_the_model_does(judged, reranker):
    """float32 to the rounding, whatever window a document came in; int8 nearly."""
    found = {each.name: each for each in score_variants(judged, reranker, [5, 12])}
    for query, result in judged["bundled"].results.items():
        wanted = dict(zip(result.ranked.ids, result.own_scores.tolist(), strict=True))
        ids = judged.candidates.rankings[query].ids
        np.testing.assert_allclose(
            found["--dtype float32"].scores[query], [wanted[key] for key in ids], rtol=1e-5, atol=1e-5
        )
        np.testing.assert_allclose(found["--dtype int8"].scores[query], [wanted[key] for key in ids], atol=0.1)
    sizes = {name: each.bytes_per_document for name, each in found.items()}
    assert sizes["--dtype float32"] == 2 * sizes["--dtype float16"]
    assert sizes["--dtype binary"] < sizes["--dtype int8 --pool 3"] < sizes["--dtype int8"]
    assert set(found["--dtype int8"].milliseconds) == {5, 12}
    chunks = score_chunks(judged, reranker, found["--dtype float32"], judged["bundled"].results)
    for query, result in judged["bundled"].results.items():
        ids = judged.candidates.rankings[query].ids
        cut = {result.ranked.ids[row] for row in np.flatnonzero(result.truncated)}
        differs = chunks.scores[query] != found["--dtype float32"].scores[query]
        assert {ids[row] for row in np.flatnonzero(differs)} <= cut
    assert any(result.truncated.any() for result in judged["bundled"].results.values())


def test_a_sweep_chooses_on_one_half_and_reports_the_other(judged, reranker, few_compressions):
    found = sweep(judged, "bundled", show_progress=False)
    assert (found.num_chosen_on, found.num_reported) == (3, 4)
    names = {each.name for each in found.settings}
    assert {"--dtype float32", "--dtype int8 --pool 2", "--cascade bundled words --keep 5"} <= names
    assert {each.depth for each in found.settings} == {10, 12}
    plain = next(s for s in found.settings if (s.name, s.depth, s.weight) == ("--dtype float32", 12, 0.0))
    mean = (3 * plain.chosen_on + 4 * plain.reported) / 7
    # a setting without a first stage is the model alone
    alone = evaluate(judged.collection, {"bundled": reranker}, replace(QUICK, blend=None))
    assert mean == pytest.approx(alone["bundled"].mean("nDCG@10"), abs=1e-6)
    assert found.front[0].chosen_on == max(each.chosen_on for each in found.settings)
    assert all(each.is_on_front for each in found.front)
    json.dumps(found.to_dict())
    assert "Pareto front of" in found.table()
    with pytest.raises(InvalidArgumentError, match="no late-interaction model"):
        sweep(judged, "words")


def setting(name, quality, milliseconds, size):
    return Setting(name, 10, 0.0, quality, 0.0, milliseconds, size)


def test_the_front_by_hand():
    settings = [
        setting("best", 0.9, 10, 100),
        setting("beaten", 0.8, 10, 100),
        setting("fast", 0.7, 1, 100),
        setting("small", 0.6, 10, 1),
        setting("small and fast, unmeasured size", 0.6, 1, None),
        setting("as good as the best", 0.9, 10, 100),
    ]
    front = [each.name for each in _mark_front(settings) if each.is_on_front]
    assert front == ["best", "fast", "small", "as good as the best"]


def test_a_weight_of_a_sweep_is_the_weight_that_rerank_takes(judged, reranker, few_compressions):
    found = sweep(judged, "bundled", show_progress=False)
    swept = next(s for s in found.settings if (s.name, s.depth, s.weight) == ("--dtype float32", 12, 0.5))
    options = replace(QUICK, blend=Blend(weights={"maxsim": 1, "first_stage": 0.5}))
    blended = evaluate(judged.collection, {"bundled": reranker}, options)
    mean = (3 * swept.chosen_on + 4 * swept.reported) / 7
    assert mean == pytest.approx(blended["bundled"].mean("nDCG@10"), abs=1e-6)
    alone = next(s for s in found.settings if (s.name, s.depth, s.weight) == ("--dtype float32", 12, 0.0))
    assert (swept.chosen_on, swept.reported) != (alone.chosen_on, alone.reported)


def test_a_document_without_words_stays_last_in_a_sweep():
    blended = _blended(np.array([1.0, -np.inf, 3.0]), np.array([5.0, 9.0, 1.0]), 0.5)
    assert blended.tolist() == [-0.5, -np.inf, 0.5]


def test_a_calibration_from_the_results(judged):
    fitted = calibrate_system(judged, "bundled", precision=0.5)
    assert fitted.calibration.slope > 0
    assert fitted.calibration.calibration_error == fitted.after.error
    assert sum(each.count for each in fitted.before.bins) == sum(each.count for each in fitted.after.bins)
    threshold = fitted.threshold
    assert 0 <= threshold.share_found <= 1
    json.dumps(fitted.to_dict())
    assert calibrate_system(judged, "bundled", precision=1.0).threshold.wanted == 1
    for bad in ({"system": "words"}, {"system": "bundled", "precision": 0}):
        with pytest.raises(InvalidArgumentError):
            calibrate_system(judged, **bad)


def test_a_threshold_by_hand():
    from rank_rerank.evaluation.calibrating_runs import _threshold

    relevance = np.array([0.9, 0.8, 0.7, 0.6, 0.1])
    labels = np.array([True, True, False, True, False])
    found = _threshold((relevance, labels), (relevance, labels), 0.75)
    assert (found.relevance, found.precision, found.share_found) == (0.6, 0.75, 1)
    assert _threshold((relevance, ~labels), (relevance, labels), 0.9).relevance is None


def test_training_data_are_the_teachers_scores(judged, tmp_path):
    dump = dump_training(judged, "bundled", tmp_path / "dump")
    read = {
        path.stem: [json.loads(line) for line in path.read_text().splitlines()] for path in tmp_path.glob("dump/*/*")
    }
    assert len(read["train"]) == dump.queries == 7
    assert len(read["pairs"]) == dump.pairs == 7 * 12
    texts = {row["document_id"]: row["text"] for row in read["documents"]}
    for row in read["train"]:
        ranked = judged["bundled"].run.rankings[row["query_id"]]
        assert tuple(row["document_ids"]) == ranked.ids
        assert set(row["document_ids"]) <= set(texts)
    assert {row["query_id"] for row in read["queries"]} == set(judged.collection.queries)
    scores = {(row["query"], row["document"]): row["score"] for row in read["pairs"]}
    relevant = {
        (judged.collection.queries[query], texts.get(key))
        for query, grades in judged.collection.qrels.items()
        for key, grade in grades.items()
        if grade > 0
    }
    for row in read["triplets"]:
        margin = scores[row["query"], row["positive"]] - scores[row["query"], row["negative"]]
        assert row["label"] == pytest.approx(margin)
        assert (row["query"], row["negative"]) not in relevant
    assert len(read["triplets"]) == dump.triplets
    with pytest.raises(InvalidArgumentError, match="no reranker"):
        dump_training(judged, "BM25", tmp_path / "dump")
    (tmp_path / "file").write_text("")
    with pytest.raises(FileFormatError, match="cannot be written"):
        dump_training(judged, "bundled", tmp_path / "file")


def test_the_command_decides(folder, tmp_path, capsys, few_compressions):
    arguments = ["evaluate", str(folder), "--depth", "8", "--runs", str(tmp_path / "runs")]
    written = [
        "--calibrate",
        str(tmp_path / "map.json"),
        "--threshold-for",
        "0.4",
        "--dump-training",
        str(tmp_path / "t"),
    ]
    assert main([*arguments, "--sweep", *written, "--json", str(tmp_path / "all.json")]) == 0
    printed = capsys.readouterr().out
    for words in ("Pareto front", "calibration error on the other", "triplets"):
        assert words in printed
    assert Calibration.read(tmp_path / "map.json").slope > 0
    values = json.loads((tmp_path / "all.json").read_text())
    assert {"sweeps", "calibration", "diagnoses"} <= set(values)
    for bad, words in (
        (["--threshold-for", "0.5"], "needs --calibrate"),
        (["--calibrate", "no/x"], "folder is missing"),
    ):
        assert main([*arguments, *bad]) == 2
        assert words in capsys.readouterr().err


def test_a_calibrated_reranker_keeps_its_order(judged, reranker):
    fitted = calibrate_system(judged, "bundled").calibration
    documents = judged.texts.read(judged.candidates.rankings["claim"].ids)
    other = replace(reranker, calibration=fitted)
    query = judged.collection.queries["claim"]
    assert [hit.index for hit in other.rerank(query, documents)] == [
        hit.index for hit in reranker.rerank(query, documents)
    ]
