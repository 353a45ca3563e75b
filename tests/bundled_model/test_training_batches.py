import random

import pytest
from training.corpora import Passage, Source

pytest.importorskip("bm25s", reason='needs bm25s: pip install ".[evaluation]"')
from training.batches import GROUP_SIZE, GROUPS, BatchMaker, cut, find_neighbours, present
from training_passages import passages


def maker(seed=0, **options):
    return BatchMaker([Source("squad", passages(), []), Source("pubmedqa", [], [])], seed, **options)


def test_a_batch_is_made_from_its_number_and_the_seed_alone():
    one, other = maker(), maker()
    assert [one.make(number) for number in (5, 1)] == [other.make(5), other.make(1)]
    assert maker(1).make(5) != one.make(5)


def test_every_query_is_about_the_document_it_is_labelled_with():
    for number in range(30):
        batch = maker().make(number)
        assert GROUPS <= len(batch.documents) <= GROUPS * GROUP_SIZE
        assert len(batch.queries) == len(batch.labels) == len(batch.asked) > 0
        for query, label, asked in zip(batch.queries, batch.labels, batch.asked, strict=True):
            assert query.strip()
            if is_topical(query, batch):
                assert not asked
                continue
            source = next(p for p in passages() if set(batch.documents[label].split()) <= whole(p))
            assert asked == (query in source.queries)
            assert asked or set(query.split()) <= whole(source)


def is_topical(query, batch):
    """Whether a query is the paragraph of a passage that is in no document of the batch."""
    own = [passage for passage in passages() if set(query.split()) <= set(passage.text.split())]
    return len(own) == 1 and not any(set(document.split()) <= whole(own[0]) for document in batch.documents)


def topical_share(maker):
    found = [
        is_topical(query, batch) for number in range(30) for batch in [maker.make(number)] for query in batch.queries
    ]
    return sum(found) / len(found)


def test_some_queries_are_paragraphs_on_a_topic_that_no_document_has():
    assert topical_share(maker(topical=0.0)) == 0
    assert 0.02 < topical_share(maker()) < 0.7 * topical_share(maker(topical=1.0)) < 0.5


def whole(passage):
    return set(f"{passage.title} {passage.text}".split())


def test_a_document_is_shown_with_and_without_its_title_short_and_long():
    passage = Passage("a b", " ".join(f"Sentence {n} has six words here." for n in range(40)), ["question"])
    shown = [present(passage, random.Random(number)) for number in range(200)]
    documents = [document for document, _ in shown]
    assert {document.startswith("a b ") for document in documents} == {True, False}
    lengths = [len(document.split()) for document in documents]
    assert min(lengths) < 25
    assert max(lengths) > 100
    queries = [query for _, queries in shown for query, _ in queries]
    assert {"question", "a b"} < set(queries)
    assert max(len(query.split()) for query in queries) > 30


def test_a_passage_without_title_and_questions_still_has_a_query():
    passage = Passage("", "One sentence is here. Another one is there.", [])
    assert all(present(passage, random.Random(number))[1] for number in range(20))


def test_cut_stays_inside():
    words = [str(n) for n in range(10)]
    for number in range(50):
        run = cut(words, ((1.0, 3, 6),), random.Random(number), from_start=False)
        assert 3 <= len(run) <= 6
        assert run == words[int(run[0]) : int(run[0]) + len(run)]
    assert cut(words, ((1.0, 30, 60),), random.Random(0), from_start=False) == words


def test_neighbours_are_of_the_same_topic_first_and_never_the_passage_itself():
    found = find_neighbours(passages())
    for place, others in enumerate(found):
        assert place not in others
        assert place % 3 == 0 or all(other % 4 == place % 4 for other in others[:5])
