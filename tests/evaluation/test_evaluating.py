import json
import math
from dataclasses import replace

import numpy as np
import pytest
from judged_slice import CLAIM, LINES, write_lines
from word_overlap import WordOverlap

import rank_rerank
from rank_rerank.errors import FileFormatError, InvalidArgumentError, NonFiniteError
from rank_rerank.evaluation import EvaluationOptions, Run, evaluate, read_collection, read_run
from rank_rerank.rankings import Ranking

QUICK = EvaluationOptions(samples=500, show_progress=False)


def test_every_figure_is_ir_measures_own(folder, reranker, tmp_path):
    """Of the first stage, the model and the ceiling: from the written run files and the judgements alone."""
    import ir_measures

    options = EvaluationOptions(("nDCG@10", "MRR@10", "R@100", "AP"), 10, samples=500, runs=tmp_path / "runs")
    found = evaluate(folder, {"bundled": reranker}, options)
    qrels = read_collection(folder).qrels
    for system in (found.first_stage, *found.systems):
        scores: dict = {}
        for line in (tmp_path / "runs" / f"{system.name}.trec").read_text().splitlines():
            query, _, document, _, score, tag = line.split()
            scores.setdefault(query, {})[document] = float(score)
            assert tag == system.name
        assert all(len(each) == 10 for each in scores.values())
        for name in options.measures:
            definition = ir_measures.parse_measure(name)
            wanted = ir_measures.calc_aggregate([definition], qrels, scores)[definition]
            assert system.mean(name) == pytest.approx(wanted, abs=1e-6)
    assert found["bundled"].mean("nDCG@10") > found.first_stage.mean("nDCG@10") - 0.2
    assert found.ceiling["nDCG@10"] >= max(found["bundled"].mean("nDCG@10"), found.first_stage.mean("nDCG@10"))


def test_rankings_are_the_rerankers_own(folder, reranker):
    found = evaluate(folder, {"bundled": reranker}, replace(QUICK, blend=None))
    documents = [{"id": line["_id"], "text": f"{line['title']} {line['text']}"} for line in LINES]
    wanted = [hit.id for hit in reranker.rerank(CLAIM, documents)]
    assert sorted(found["bundled"].run.rankings["claim"].ids) == sorted(wanted)
    assert list(found["bundled"].run.rankings["claim"].ids)[:5] == wanted[:5]
    timing = found["bundled"].timing
    assert 0 < timing.p50_ms <= timing.p95_ms
    assert timing.texts_per_s > 0
    assert found["bundled"].num_truncated == sum(hit.truncated for hit in reranker.rerank(CLAIM, documents))


def test_the_first_stages_scores_are_blended_and_the_models_own_are_kept(folder, reranker, tmp_path):
    options = replace(QUICK, runs=tmp_path)
    found, alone = (evaluate(folder, {"bundled": reranker}, each) for each in (options, replace(QUICK, blend=None)))
    stored = evaluate(folder, {"bundled": reranker}, replace(QUICK, store=tmp_path / "store"))
    again = evaluate(folder, {"bundled": reranker}, options)
    for query, result in found["bundled"].results.items():
        own, other = result.own_scores, alone["bundled"].results[query]
        assert dict(zip(result.ranked.ids, own, strict=True)) == dict(
            zip(other.ranked.ids, other.ranked.scores, strict=True)
        )
        assert other.model_scores is None
        assert list(result.ranked.scores) == sorted(result.ranked.scores, reverse=True)
        # what an interrupted evaluation has kept
        np.testing.assert_array_equal(again["bundled"].results[query].own_scores, own)
        assert stored["bundled"].results[query].model_scores is not None
    results = {key: each.ranked.ids for key, each in found["bundled"].results.items()}
    assert results != {key: each.ranked.ids for key, each in alone["bundled"].results.items()}


def test_comparisons_by_hand(folder):
    """A perfect run against its reverse: all wins, and every sign at its largest."""
    collection = read_collection(folder)
    best = {query: sorted(grades, key=grades.get, reverse=True) for query, grades in collection.qrels.items()}
    worst = {query: ["x", *ids[::-1]] for query, ids in best.items()}
    found = evaluate(collection, {"best": Run.of("a", best), "worst": Run.of("b", worst)}, QUICK)
    assert found["best"].mean("nDCG@10") == pytest.approx(1)
    assert found["best"].judged_at_10 == 1
    compared = found.compared("worst", "nDCG@10", "best")
    assert (compared.wins, compared.ties, compared.losses) == (0, 0, 7)
    assert compared.p == 2 / 2**7
    assert compared.difference == pytest.approx(found["worst"].mean("nDCG@10") - 1)
    assert compared.interval.low <= compared.difference <= compared.interval.high < 0
    assert {each.baseline for each in found.comparisons} == {"BM25", "best"}
    # two systems against the first stage are corrected for, one against the other is not
    assert compared.p_holm == compared.p
    both = [found.compared(name, "nDCG@10") for name in ("best", "worst")]
    assert max(each.p_holm for each in both) >= max(each.p for each in both)
    assert min(each.p_holm for each in both) == pytest.approx(min(1, 2 * min(each.p for each in both)))
    with pytest.raises(KeyError):
        found.compared("worst", "nDCG@10", "nobody")


def test_a_run_with_ties_is_judged_as_trec_eval_does(folder, tmp_path):
    import ir_measures

    scores = {"claim": {line["_id"]: float(number // 5) for number, line in enumerate(LINES)}}
    path = tmp_path / "theirs.trec"
    path.write_text("".join(f"claim Q0 {key} 0 {score} x\n" for key, score in scores["claim"].items()))
    collection = read_collection(folder, candidates=path)
    found = evaluate(collection, {"copy": path}, QUICK)
    measure = ir_measures.parse_measure("nDCG@10")
    wanted = ir_measures.calc_aggregate([measure], collection.qrels, scores)[measure]
    assert found["copy"].mean("nDCG@10") == pytest.approx(wanted, abs=1e-9)
    assert found.first_stage.mean("nDCG@10") == pytest.approx(wanted, abs=1e-9)
    assert "theirs: 6 judged queries are not in the run, and count 0" in found.notices
    assert any("equal scores" in notice for notice in found.first_stage.notices)


def test_an_interrupted_evaluation_goes_on(folder, tmp_path):
    options = EvaluationOptions(samples=100, runs=tmp_path / "runs", show_progress=False)
    with pytest.raises(KeyboardInterrupt):
        evaluate(folder, {"words": WordOverlap(breaks_at=3)}, options)
    journal = tmp_path / "runs" / "words.results.jsonl"
    # the machine went down in the middle of a line
    journal.write_bytes(journal.read_bytes()[:-40])
    again = WordOverlap()
    found = evaluate(folder, {"words": again}, options)
    assert again.num_calls == 7 - 2
    assert "words: 2 queries were reranked before, and are not again" in found["words"].notices
    whole = evaluate(folder, {"words": WordOverlap()}, QUICK)
    assert found["words"].run.rankings["claim"].ids == whole["words"].run.rankings["claim"].ids
    np.testing.assert_array_equal(found["words"].values["nDCG@10"], whole["words"].values["nDCG@10"])
    third = WordOverlap()
    evaluate(folder, {"words": third}, options)
    assert third.num_calls == 0
    other = WordOverlap()
    evaluate(folder, {"words": other}, EvaluationOptions(samples=100, depth=5, runs=tmp_path / "runs"))
    assert other.num_calls == 7


def test_documents_in_a_store_are_encoded_once(folder, reranker, tmp_path):
    options = EvaluationOptions(samples=100, store=tmp_path / "stores", show_progress=False)
    found = evaluate(folder, {"bundled": reranker}, options)
    assert found["bundled"].timing.is_stored
    store = rank_rerank.EmbeddingStore.open(tmp_path / "stores" / "bundled", reranker.encoder)
    assert len(store) == len(LINES)
    generation = store.generation
    again = evaluate(folder, {"bundled": reranker}, options)
    assert rank_rerank.EmbeddingStore.open(tmp_path / "stores" / "bundled").generation == generation
    assert again["bundled"].mean("nDCG@10") == found["bundled"].mean("nDCG@10")
    # a store that is there already is taken as it is
    own = EvaluationOptions(samples=100, store=tmp_path / "stores" / "bundled", show_progress=False)
    assert evaluate(folder, {"bundled": reranker}, own)["bundled"].mean("nDCG@10") == found["bundled"].mean("nDCG@10")
    words = evaluate(folder, {"words": WordOverlap()}, options)
    assert "words reads query and document together, so nothing of it is kept in a store" in words["words"].notices


def test_a_cascade_is_judged_in_the_order_it_gives(folder):
    first, second = WordOverlap(), WordOverlap(worth=-0.001)
    cascade = rank_rerank.CascadeReranker(first, [rank_rerank.CascadeStage(second, keep=3)])
    found = evaluate(folder, {"cascade": cascade, "first": first}, QUICK)
    collection = read_collection(folder)
    documents = found.texts.read(found.candidates.rankings["claim"].ids)
    wanted = tuple(hit.id for hit in cascade.rerank(collection.queries["claim"], documents))
    assert found["cascade"].run.rankings["claim"].ids == wanted
    assert found["cascade"].identity["kind"] == "cascade"


def test_a_query_without_words_for_the_model_keeps_the_order(folder, reranker):
    queries = [json.loads(line) for line in (folder / "queries.jsonl").read_text().splitlines()]
    write_lines(folder / "queries.jsonl", [*queries[:2], {"_id": "q2", "text": "\u200b"}])
    found = evaluate(folder, {"bundled": reranker}, QUICK)
    assert "bundled: 1 queries have no words for this model, and keep the candidates' order" in found["bundled"].notices
    assert found["bundled"].run.rankings["q2"].ids == found.first_stage.run.rankings["q2"].ids


def test_candidates_that_the_corpus_lacks_are_refused_with_their_line(folder, tmp_path):
    path = tmp_path / "run.trec"
    path.write_text(f"other Q0 x 1 2 t\nclaim Q0 {LINES[0]['_id']} 1 2 t\nclaim Q0 nobody 2 1 t\n")
    with pytest.raises(FileFormatError, match=r"run\.trec, line 3: the corpus has no document 'nobody'"):
        evaluate(read_collection(folder, candidates=path), {}, QUICK)
    path.write_text("other Q0 x 1 2 t\n")
    with pytest.raises(FileFormatError, match="none of its queries is judged"):
        evaluate(read_collection(folder, candidates=path), {}, QUICK)


def test_candidates_beyond_the_depth_are_reported(folder, tmp_path):
    path = tmp_path / "run.trec"
    path.write_text("".join(f"claim Q0 {line['_id']} 1 {-n} t\n" for n, line in enumerate(LINES)))
    found = evaluate(read_collection(folder, candidates=path), {"w": WordOverlap()}, EvaluationOptions(depth=5))
    assert len(found["w"].run.rankings["claim"]) == 5
    assert "run: up to 20 documents per query are there, and the first 5 are used" in found.notices


class Broken:
    def __init__(self, change):
        self._change = change

    def rerank(self, query, documents, *, top_k=None):
        ranking = WordOverlap().rerank(query, documents, top_k=top_k)
        return Ranking(query, self._change(ranking.hits))


def test_rerankers_that_give_nonsense_are_refused(folder):
    from dataclasses import replace

    nan = Broken(lambda hits: tuple(replace(hit, score=math.nan) for hit in hits))
    with pytest.raises(NonFiniteError, match="bad gave a score of NaN for query 'claim'"):
        evaluate(folder, {"bad": nan}, QUICK)
    twice = Broken(lambda hits: (hits[0], hits[0]))
    with pytest.raises(InvalidArgumentError, match="bad gave other documents"):
        evaluate(folder, {"bad": twice}, QUICK)
    fewer = evaluate(folder, {"few": Broken(lambda hits: hits[:2])}, QUICK)
    assert len(fewer["few"].run.rankings["claim"]) == 2


def test_names_and_options_are_checked(folder):
    with pytest.raises(InvalidArgumentError, match="'BM25' is the first stage's name"):
        evaluate(folder, {"BM25": WordOverlap()}, QUICK)
    for bad in ({"depth": 0}, {"depth": True}, {"confidence": 1.0}, {"samples": 0}):
        with pytest.raises(InvalidArgumentError):
            EvaluationOptions(**bad)
    with pytest.raises(InvalidArgumentError, match="no measure"):
        evaluate(folder, {}, EvaluationOptions(measures=("nothing",)))


def test_all_of_it_is_plain_values(folder, reranker):
    found = evaluate(folder, {"bundled": reranker, "w": WordOverlap()}, QUICK)
    values = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert [system["name"] for system in values["systems"]] == ["BM25", "bundled", "w"]
    assert set(values["provenance"]["data_sha256"]) == {"test.tsv", "queries.jsonl", "corpus.jsonl"}
    assert values["systems"][1]["identity"]["weights_sha256"]
    assert values["per_query"]["claim"]["bundled"]["nDCG@10"] == found["bundled"].values["nDCG@10"][0]
    table = found.table().splitlines()
    assert table[0] == "slice: 7 queries, 20 documents, up to 100 candidates per query"
    assert any(line.startswith("ceiling of the candidates") for line in table)


def test_labelled_candidates_are_evaluated_without_a_search(tmp_path):
    lines = [{"query": "a red fox", "documents": ["a cat", "the red fox", "a dog"], "relevant": [1]}] * 2
    write_lines(tmp_path / "log.jsonl", lines)
    found = evaluate(tmp_path / "log.jsonl", {"w": WordOverlap()}, QUICK)
    assert found.first_stage.name == "as listed"
    assert found.first_stage.mean("MRR@10") == 0.5
    assert found["w"].mean("MRR@10") == 1


def test_written_runs_read_back_as_they_were_judged(folder, tmp_path):
    options = EvaluationOptions(samples=100, runs=tmp_path / "runs", show_progress=False)
    found = evaluate(folder, {"a/b model": WordOverlap()}, options)
    path = tmp_path / "runs" / "a-b-model.trec"
    assert read_run(path).rankings["claim"].ids == found["a/b model"].run.rankings["claim"].ids
    again = evaluate(folder, {"again": path}, QUICK)
    assert again["again"].mean("nDCG@10") == found["a/b model"].mean("nDCG@10")
