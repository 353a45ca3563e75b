import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from training.corpora import MAX_OVERLAP, TestQueries, read_sources, words_of


def write_collection(folder, documents, queries, qrels, split=""):
    folder.mkdir(exist_ok=True)
    for name, lines in (
        ("corpus.jsonl.gz", [{"_id": key, "title": title, "text": text} for key, (title, text) in documents.items()]),
        (f"queries{split}.jsonl.gz", [{"_id": key, "text": text} for key, text in queries.items()]),
    ):
        with gzip.open(folder / name, "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
    rows = "".join(f"{query}\t{document}\t{score}\n" for query, document, score in qrels)
    (folder / f"qrels{split}.tsv").write_text(f"query-id\tcorpus-id\tscore\n{rows}", encoding="utf-8")


@pytest.fixture
def data(tmp_path):
    squad = {f"p{n}": (f"article {n // 3}", f"text number {n}") for n in range(300)}
    questions = {f"q{n}": f"what does paragraph {n} say" for n in range(300)}
    questions["q7"] = "Vitamin C prevents colds?"
    write_collection(tmp_path / "squad", squad, questions, [(f"q{n}", f"p{n}", 1) for n in range(300)])
    for name in ("medquad", "pubmedqa"):
        texts = {f"m{n}": ("", f"{name} {n}") for n in range(100)}
        write_collection(tmp_path / name, texts, {"a": "what is it", "b": "not it"}, [("a", "m1", 1), ("b", "m2", 0)])
    abstracts = {f"d{n}": (f"title {n}", f"abstract {n}") for n in range(60)}
    tests = {"t1": "vitamin C prevents colds", "t2": "claim about the second abstract"}
    write_collection(tmp_path / "scifact", abstracts, tests, [("t1", "d1", 1), ("t2", "d2", 1)])
    claims = {f"c{n}": f"claim of {n} own words w{n} x{n} y{n}" for n in range(60)}
    claims["c3"] = "vitamin C never prevents colds"
    judged = [(key, f"d{key[1:]}", 1) for key in claims]
    write_collection(tmp_path / "scifact", abstracts, claims, judged, split="-train")
    for name in ("cranfield", "cisi"):
        write_collection(tmp_path / name, {"x": ("", "x")}, {"y": f"{name} query"}, [("y", "x", 1)])
    return tmp_path


def all_queries(passages):
    return {query for passage in passages for query in passage.queries}


def test_squad_is_held_out_by_article(data):
    squad = read_sources(data)[0]
    assert squad.held_out
    assert {passage.title for passage in squad.passages}.isdisjoint(passage.title for passage in squad.held_out)
    assert len(squad.passages) + len(squad.held_out) == 300


def test_a_training_question_that_is_a_test_query_is_left_out_by_its_words(data):
    squad = read_sources(data)[0]
    queries = all_queries(squad.passages) | all_queries(squad.held_out)
    assert "Vitamin C prevents colds?" not in queries
    assert len(queries) == 299


def test_judged_irrelevant_is_not_a_pair(data):
    medquad = read_sources(data)[1]
    assert all_queries([*medquad.passages, *medquad.held_out]) == {"what is it"}


def test_claims_close_to_a_test_claim_or_about_its_abstract_are_left_out(data):
    scifact = read_sources(data)[3]
    trained, held_out = all_queries(scifact.passages), all_queries(scifact.held_out)
    assert len(scifact.passages) == 60
    assert trained
    assert held_out
    assert trained.isdisjoint(held_out)
    numbers = {query.split()[2] for query in trained | held_out}
    assert numbers == {str(n) for n in range(60)} - {"1", "2", "3"}


WORDS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6).map(" ".join)


@given(st.lists(WORDS, min_size=1, max_size=5), WORDS)
def test_the_index_of_rare_words_finds_what_comparing_all_finds(queries, text):
    sets = [words_of(query) for query in queries]
    expected = any(len(words_of(text) & words) > MAX_OVERLAP * len(words_of(text) | words) for words in sets)
    assert TestQueries.of_words(sets).knows(text) == expected


TestQueries.__test__ = False
