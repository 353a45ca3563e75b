import re
from html.parser import HTMLParser

import numpy as np
import pytest
from judged_slice import LINES, write_lines
from word_overlap import WordOverlap

from rank_rerank.errors import InvalidArgumentError
from rank_rerank.evaluation import EvaluationOptions, Run, evaluate, read_collection
from rank_rerank.evaluation import failures as reasons
from rank_rerank.evaluation.depths import rankings_at_depth
from rank_rerank.evaluation.diagnosis import diagnose
from rank_rerank.evaluation.gate import check_gate
from rank_rerank.evaluation.reliability import measure_reliability
from rank_rerank.evaluation.report.page import render_evaluation
from rank_rerank.evaluation.report.plots import Axis

QUICK = EvaluationOptions(("MRR@2", "nDCG@10"), samples=200, show_progress=False)


def run_of(name, rankings):
    return Run.of(name, rankings)


def test_old_and_new_ranks_of_judged_documents(folder):
    keys = [line["_id"] for line in LINES]
    found = evaluate(
        read_collection(folder).select(["q0", "q2"]),
        {"old": run_of("old", {"q0": keys[5:], "q2": [keys[2]]}), "new": run_of("new", {"q0": [keys[1], keys[0]]})},
        QUICK,
    )
    diagnosis = diagnose(found, "new", "old", "nDCG@10")
    first, second = diagnosis.changes
    assert [(each.document, each.grade, each.old, each.new) for each in first.judged] == [
        (keys[0], 2, None, 2),
        (keys[1], 1, None, 1),
    ]
    assert diagnosis.gains() == [first]
    assert diagnosis.losses() == [second]
    assert second.difference == pytest.approx(-found["old"].values["nDCG@10"][1])
    assert diagnosis.to_dict()["judged_ranks"]["q0"][keys[0]] == [2, None, 2]
    with pytest.raises(InvalidArgumentError):
        diagnose(found, "nobody")


def groups_of(tmp_path, documents, ranking, query="a yellow fruit", reranker=None):
    """The groups of a query whose document "right" is relevant."""
    lines = [{"query_id": "q", "query": query, "documents": documents, "relevant": ["right"]}]
    write_lines(tmp_path / "log.jsonl", lines)
    systems = {"system": reranker or Run.of("system", {"q": ranking})}
    return set(diagnose(evaluate(tmp_path / "log.jsonl", systems, QUICK), "system").groups())


def documents(**texts):
    return [{"id": key, "text": text} for key, text in texts.items()]


def test_failures_are_grouped(tmp_path):
    fruit = documents(a="one yellow text", b="two texts", right="bananas are yellow")
    assert groups_of(tmp_path, fruit, ["right", "a", "b"]) == set()
    assert groups_of(tmp_path, fruit, ["a", "b"]) == {reasons.NOT_A_CANDIDATE}
    assert groups_of(tmp_path, fruit, ["a", "b", "right"]) == {reasons.UNJUDGED}
    foreign = documents(a="one", b="two", right="citrus")
    assert groups_of(tmp_path, foreign, ["a", "b", "right"]) == {reasons.FOREIGN_WORDS, reasons.UNJUDGED}
    text = "a yellow fruit that grows in warm countries and is eaten raw by nearly everybody"
    copies = documents(a=text.replace("warm", "hot"), b="two", right=text)
    assert reasons.NEAR_DUPLICATE in groups_of(tmp_path, copies, ["a", "b", "right"])


def test_what_the_model_cannot_read_is_a_group(tmp_path, reranker):
    long = "word " * 2000
    cut = documents(a="a yellow fruit", b="yellow fruit", right=long)
    assert reasons.TRUNCATED in groups_of(tmp_path, cut, [], reranker=reranker)
    unknown = "\u1200\u1208 yellow"  # letters that the vocabulary has no token for
    found = groups_of(tmp_path, documents(a="yellow", b="yellow fruit", right="none"), [], unknown, reranker)
    assert reasons.UNKNOWN_WORDS in found


def test_reliability_by_hand():
    found = measure_reliability(np.array([0.05, 0.95, 0.95, 1.0]), np.array([False, True, True, False]))
    assert [(each.count, each.share_relevant) for each in found.bins] == [(1, 0), (3, pytest.approx(2 / 3))]
    assert found.bins[1].mean_relevance == pytest.approx(2.9 / 3)
    assert 0 < found.error < 1


def test_a_smaller_depth_is_what_reranking_less_gives(folder):
    """From one run, and from a run of its own."""
    words = WordOverlap()
    whole = evaluate(folder, {"words": words}, QUICK)
    rankings = rankings_at_depth(whole["words"].results, whole.candidates, 4)
    for query, ranking in rankings.items():
        listed = whole.candidates.rankings[query].ids
        again = words.rerank(whole.collection.queries[query], whole.texts.read(listed[:4]))
        assert ranking == [*(hit.id for hit in again), *listed[4:]]


class Links(HTMLParser):
    """Everything that a page would fetch or run."""

    def __init__(self):
        super().__init__()
        self.found = []
        self.tags = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.found += [value for name, value in attrs if name in ("src", "href", "onload", "onerror", "onclick")]
        self.found += [tag] if tag in ("script", "link", "iframe", "object", "img") else []


def test_the_page_stands_alone_and_runs_nothing(folder, reranker):
    lines = [{**line, "text": f"{line['text']} <script>alert(1)</script> \u0007"} for line in LINES[:6]]
    write_lines(folder / "corpus.jsonl", lines)
    write_lines(folder / "queries.jsonl", [{"_id": "<b>", "text": f"<img src=x onerror=alert(1)> {LINES[4]['title']}"}])
    (folder / "qrels" / "test.tsv").write_text(f"<b>\t{LINES[4]['_id']}\t1\n<b>\t{LINES[5]['_id']}\t0\n")
    order = [line["_id"] for line in LINES[:6] if line is not LINES[4]]
    first = Run.of("first", {"<b>": [*order, LINES[4]["_id"]]})
    collection = read_collection(folder, candidates=first)
    best, worst = [LINES[4]["_id"], LINES[0]["_id"]], [LINES[0]["_id"], LINES[4]["_id"]]
    found = evaluate(
        collection,
        {"bundled": reranker, "<i>": Run.of("x", {"<b>": best}), "worst": Run.of("w", {"<b>": worst})},
        QUICK,
    )
    page = render_evaluation(found)
    links = Links()
    links.feed(page)
    assert links.found == []
    assert {"b", "i"}.isdisjoint(links.tags)
    assert "&lt;script&gt;alert(1)&lt;/script&gt; \ufffd" in re.sub("</?(mark|span)[^>]*>", "", page)
    assert "Content-Security-Policy" in page
    assert "<mark" in page
    page.encode()
    assert not [character for character in page if ord(character) < 32 and character not in "\n\t"]


def test_the_page_has_every_part(folder):
    found = evaluate(folder, {"words": WordOverlap(), "backwards": WordOverlap(-1)}, QUICK)
    gate = check_gate(found, at_least={"nDCG@10": 1.0})
    page = render_evaluation(found, gate)
    for words in ("Differences", "Gate: ", "words: what fails", "backwards: queries that lost most", "reliability"):
        assert words in page
    # differences and reliability of two systems, depth, milliseconds
    assert page.count("<svg") == 6
    assert page.count("old and new rank of every judged document") == 2
    assert f"{found['words'].mean('nDCG@10'):.4f}" in page


def test_axes_have_round_ticks():
    assert Axis("x", 0, 1).ticks() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert Axis("x", 3, 40, is_log=True).ticks() == [5, 10, 20]
    around = Axis.around("x", [5.0])
    assert around.low < 5 < around.high
