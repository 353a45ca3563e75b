"""Vectors that candidates carry: a stage of its own, and the first of a cascade."""

from types import SimpleNamespace

import numpy as np
import pytest
from model_folders import write_cross_encoder

import rank_rerank
from rank_rerank.errors import InvalidArgumentError, InvalidItemError, NonFiniteError, ShapeError
from rank_rerank.rerankers import cascade_stages

DIM = 16
QUERY = "topic 3"


def vector_of(text):
    return np.random.default_rng(sum(map(ord, text))).normal(size=DIM)


TEXTS = [f"text number {number} about topic {number % 5}" for number in range(30)]
CANDIDATES = [{"id": str(number), "text": text, "vector": vector_of(text)} for number, text in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def dense():
    return rank_rerank.DenseReranker(vector_of)


def cosines(dims):
    query = vector_of(QUERY)[:dims]
    vectors = np.array([vector_of(text)[:dims] for text in TEXTS])
    return vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)


@pytest.mark.parametrize("dims", [None, 4])
def test_the_order_is_that_of_the_cosines(dims):
    ranking = rank_rerank.DenseReranker(vector_of, dims=dims).rerank(QUERY, CANDIDATES)
    expected = cosines(dims)
    assert [hit.index for hit in ranking] == np.argsort(-expected, kind="stable").tolist()
    assert [hit.score for hit in ranking] == pytest.approx(sorted(expected, reverse=True), abs=1e-6)
    assert [hit.relevance for hit in ranking] == pytest.approx(np.clip(sorted(-expected), -1, 0) * -1, abs=1e-6)
    assert ranking[0].id == str(ranking[0].index)


def test_lists_documents_and_many_queries(dense):
    as_lists = [
        {"text": "a", "vector": [1] + [0] * (DIM - 1)},
        rank_rerank.Document("b", metadata={"vector": [0] * DIM}),
    ]
    ranking = dense.rerank(QUERY, as_lists)
    assert sorted(hit.score for hit in ranking)[1 if vector_of(QUERY)[0] < 0 else 0] == 0
    many = dense.rerank_many([QUERY, "x"], [CANDIDATES, CANDIDATES[:3]], top_k=5)
    assert [len(ranking) for ranking in many] == [5, 3]
    assert [hit.index for hit in many[0]] == [hit.index for hit in dense.rerank(QUERY, CANDIDATES, top_k=5)]
    assert len(dense.rerank(QUERY, [])) == 0
    keyed = rank_rerank.DenseReranker(vector_of, vector_key="embedding")
    assert keyed.rerank(QUERY, [{"text": "a", "embedding": np.ones(DIM)}])[0].index == 0


@pytest.mark.parametrize(
    ("vector", "error", "message"),
    [
        (None, InvalidItemError, r'documents\[1\] carries no vector: its metadata has no "vector"'),
        (np.ones(DIM + 1), ShapeError, rf"documents\[1\]: its vector has dim {DIM + 1}, the query's has dim {DIM}"),
        (np.ones((2, DIM)), ShapeError, r"documents\[1\].*one vector"),
        ("abc", ShapeError, r"documents\[1\].*one vector"),
        ([[1.0], [1.0, 2.0]], ShapeError, r"documents\[1\].*one vector"),
        (np.full(DIM, np.nan), NonFiniteError, r"documents\[1\].*NaN"),
    ],
)
def test_missing_and_misshapen_vectors_are_named(dense, vector, error, message):
    with pytest.raises(error, match=message):
        dense.rerank(QUERY, [CANDIDATES[0], {"text": "a", "vector": vector}])


def test_bad_input(dense):
    with pytest.raises(InvalidItemError, match=r"documents\[0\] carries no vector"):
        dense.rerank(QUERY, ["a string has none"])
    with pytest.raises(InvalidItemError, match=r"documents_per_query\[1\]\[0\]"):
        dense.rerank_many([QUERY, QUERY], [CANDIDATES, ["a"]])
    with pytest.raises(InvalidItemError):
        dense.rerank_many("ab", [CANDIDATES, CANDIDATES])
    with pytest.raises(InvalidArgumentError):
        dense.rerank_many([QUERY], [])
    with pytest.raises(InvalidArgumentError, match="top_k"):
        dense.rerank(QUERY, CANDIDATES, top_k=0)
    with pytest.raises(InvalidItemError):
        dense.rerank(3, CANDIDATES)
    for dims in (0, 1.5, True):
        with pytest.raises(InvalidArgumentError, match="dims"):
            rank_rerank.DenseReranker(vector_of, dims=dims)
    with pytest.raises(InvalidArgumentError, match="dims"):
        rank_rerank.DenseReranker(vector_of, dims=DIM + 1).rerank(QUERY, CANDIDATES)
    with pytest.raises(ShapeError, match="encode_query"):
        rank_rerank.DenseReranker(lambda _: np.ones((1, DIM))).rerank(QUERY, CANDIDATES)


# --- from the first numbers of the vectors to a cross-encoder


class Fake:
    """A reranker whose scores are given, and which keeps what it was asked."""

    def __init__(self, score):
        self.score = score
        self.asked = []

    def rerank(self, query, documents, *, top_k=None):
        self.asked.append([document.text for document in documents])
        scores = np.array([self.score(document.text) for document in documents], np.float32)
        none = np.zeros(len(documents), np.bool_)
        scored = rank_rerank.rankings.ScoredDocuments(scores, scores, none)
        usage = rank_rerank.rankings.Usage(1, len(documents))
        return rank_rerank.Ranking(query, usage=usage).filled(documents, scored, top_k)


def test_a_cascade_from_heads_of_vectors_to_a_cross_encoder(reranker, dense, tmp_path):
    pytest.importorskip("torch", reason='needs PyTorch: pip install ".[torch]"')
    precise = rank_rerank.load(write_cross_encoder(tmp_path))
    stage = rank_rerank.CascadeStage
    cascade = rank_rerank.CascadeReranker(
        rank_rerank.DenseReranker(vector_of, dims=4), [stage(dense, 20), stage(reranker, 10), stage(precise, 3)]
    )
    ranking = cascade.rerank(QUERY, CANDIDATES)
    assert [hit.stage for hit in ranking] == [3] * 3 + [2] * 7 + [1] * 10 + [0] * 10
    heads, whole = cosines(4), cosines(None)
    second = np.argsort(-heads, kind="stable")[:20]
    third = second[np.argsort(-whole[second], kind="stable")][:10]
    assert {hit.index for hit in ranking[:10]} == set(third.tolist())
    assert {hit.index for hit in ranking[:20]} == set(second.tolist())
    for hit in ranking:
        alone = (precise, reranker)[hit.stage == 2].rerank(QUERY, [TEXTS[hit.index]])[0].score
        expected = {0: heads[hit.index], 1: whole[hit.index]}.get(hit.stage, alone)
        assert hit.score == pytest.approx(expected, abs=1e-5)
        assert hit.to_dict()["stage"] == hit.stage
    for number in range(4):
        scores = [hit.score for hit in ranking if hit.stage == number]
        assert scores == sorted(scores, reverse=True)
    many = cascade.rerank_many([QUERY], [CANDIDATES], top_k=12)
    assert [hit.index for hit in many[0]] == [hit.index for hit in ranking[:12]]
    assert "stage" not in dense.rerank(QUERY, CANDIDATES)[0].to_dict()


def test_scores_of_stages_are_not_mixed_and_a_stage_reads_what_the_one_before_has_read():
    number = lambda text: int(text.split()[2])  # noqa: E731
    first, second, third = (Fake(lambda text, sign=sign: sign * number(text)) for sign in (1, -1000, 1e6))
    stage = rank_rerank.CascadeStage(third, keep=9)
    ranking = rank_rerank.CascadeReranker(first, [rank_rerank.CascadeStage(second, 4), stage]).rerank("q", TEXTS)
    assert second.asked == [[TEXTS[place] for place in (29, 28, 27, 26)]]
    assert third.asked == [[TEXTS[place] for place in (26, 27, 28, 29)]]  # keep is 9, but the second read only 4
    assert [hit.stage for hit in ranking] == [2] * 4 + [0] * 26
    assert [hit.index for hit in ranking] == [29, 28, 27, 26, *range(25, -1, -1)]
    assert ranking.usage.document_tokens == 30 + 4 + 4


def test_each_stage_has_its_own_budget(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(cascade_stages, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    first, second, third = (Fake(lambda text, sign=sign: sign * int(text.split()[2])) for sign in (1, 1, -1))
    stage = rank_rerank.CascadeStage(third, keep=24, budget_ms=1)
    cascade = rank_rerank.CascadeReranker(first, [rank_rerank.CascadeStage(second, 30, 6000), stage])
    ranking = cascade.rerank("q", TEXTS)
    assert [hit.stage for hit in ranking] == [2] * 8 + [1] * 16 + [0] * 6
    assert sorted(hit.index for hit in ranking) == list(range(30))


@pytest.mark.parametrize("options", [{"keep": 0}, {"keep": 1.5}, {"budget_ms": 0}, {"budget_ms": -1}])
def test_stages_of_nonsense_are_refused(dense, options):
    with pytest.raises(InvalidArgumentError):
        rank_rerank.CascadeStage(dense, **options)


@pytest.mark.parametrize("stages", [[], None, "dense", ["dense"]])
def test_what_is_no_list_of_stages_is_refused(dense, stages):
    for wrong in (stages, dense, [dense]):
        with pytest.raises(InvalidArgumentError, match="CascadeStage"):
            rank_rerank.CascadeReranker(dense, wrong)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int32"])
def test_vectors_may_be_tensors_of_any_dtype(dtype):
    torch = pytest.importorskip("torch")
    query = torch.tensor([3.0, 4.0], requires_grad=True)
    if dtype != "float32":
        query = query.detach().to(getattr(torch, dtype))
    vectors = [torch.tensor(row, dtype=getattr(torch, dtype)) for row in ([0, 2], [1, 0], [3, 4])]
    documents = [{"text": "a", "vector": vector} for vector in vectors]
    ranking = rank_rerank.DenseReranker(lambda _: query).rerank(QUERY, documents)
    assert [(hit.index, hit.score) for hit in ranking] == [
        (2, pytest.approx(1)),
        (0, pytest.approx(0.8)),
        (1, pytest.approx(0.6)),
    ]


@pytest.mark.parametrize("vector", [np.ma.array([1.0, 2.0], mask=[False, True]), None, ["a", "b"], np.array([1j, 0])])
def test_a_query_without_a_vector_of_numbers_is_refused(vector):
    with pytest.raises(InvalidItemError, match="what encode_query gives"):
        rank_rerank.DenseReranker(lambda _: vector).rerank(QUERY, [{"text": "a", "vector": [1.0, 2.0]}])
    if vector is not None:
        with pytest.raises(ShapeError, match=r"documents\[0\]"):
            rank_rerank.DenseReranker(lambda _: [1.0, 2.0]).rerank(QUERY, [{"text": "a", "vector": vector}])


def test_a_cascade_may_be_a_stage_and_its_stages_are_not_mixed_either():
    number = lambda text: int(text.split()[2])  # noqa: E731
    first, second, third = (Fake(lambda text, sign=sign: sign * number(text)) for sign in (1, 1, -1000))
    inner = rank_rerank.CascadeReranker(second, [rank_rerank.CascadeStage(third, keep=2)])
    outer = rank_rerank.CascadeReranker(first, [rank_rerank.CascadeStage(inner, keep=5)])
    ranking = outer.rerank("q", TEXTS)
    # the third has read 28 and 29, and what it says of them is far below what the second says of the others
    assert [hit.index for hit in ranking] == [28, 29, 27, 26, 25, *range(24, -1, -1)]
    assert [hit.stage for hit in ranking] == [1] * 5 + [0] * 25
