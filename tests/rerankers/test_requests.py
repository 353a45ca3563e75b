from dataclasses import dataclass

import pytest
from causal_folders import write_causal
from model_folders import write_cross_encoder

import rank_rerank
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.rerankers import RerankRequest, answer, check_request

TEXTS = ["Paris is the capital of France.", "Bananas are yellow. " * 300, "Berlin"]
QUERY = "What is the capital of France?"


@pytest.fixture
def store(tmp_path, encoder):
    store = rank_rerank.EmbeddingStore.create(tmp_path / "store", encoder)
    store.add(["p", "b"], texts=[TEXTS[0], TEXTS[2]])
    return store


def test_an_answer_is_what_rerank_gives(reranker, store):
    reranker.rerank(QUERY, TEXTS, store=store)
    for options in (
        {},
        {"top_k": 2},
        {"spans": True},
        {"spans": 1},
        {"long_documents": "chunk"},
        {"long_documents": rank_rerank.Chunking(length=64)},
        {"store": store},
    ):
        found = answer(reranker, RerankRequest(QUERY, TEXTS, **options))
        assert found == reranker.rerank(QUERY, TEXTS, **options)
    selected = store.select(["b", "p"])
    assert answer(reranker, RerankRequest(QUERY, selected)) == reranker.rerank(QUERY, selected)


@dataclass
class Foreign:
    """A reranker that is not of this package."""

    inner: object

    def rerank(self, query, documents, *, top_k=None):
        return self.inner.rerank(query, documents, top_k=top_k)

    def rerank_many(self, queries, documents_per_query, *, top_k=None):
        return self.inner.rerank_many(queries, documents_per_query, top_k=top_k)


def kinds(reranker):
    cascade = rank_rerank.CascadeReranker(reranker, [rank_rerank.CascadeStage(reranker, keep=1)])
    return {"cascade": cascade, "dense": rank_rerank.DenseReranker(len), "foreign": Foreign(reranker)}


@pytest.mark.parametrize("kind", ["cascade", "dense", "foreign"])
def test_what_a_kind_of_reranker_cannot_do_is_refused_by_name(reranker, store, kind):
    other = kinds(reranker)[kind]
    for name, value in (
        ("spans", True),
        ("spans", 3),
        ("long_documents", "error"),
        *((("long_documents", "best-windows"),) if kind != "cascade" else ()),
        ("store", store),
        ("instruction", "judge"),
    ):
        with pytest.raises(InvalidArgumentError, match=f"leave out {name}$"):
            check_request(other, RerankRequest(QUERY, TEXTS, **{name: value}))
    with pytest.raises(InvalidArgumentError, match=r"leave out store$"):
        answer(other, RerankRequest(QUERY, store.select(["p"])))


def test_any_reranker_gives_an_order(reranker):
    request = RerankRequest(QUERY, TEXTS, top_k=2)
    found = answer(kinds(reranker)["foreign"], request)
    assert found == reranker.rerank(QUERY, TEXTS, top_k=2)
    assert [hit.index for hit in answer(kinds(reranker)["cascade"], request)] == [hit.index for hit in found]


def test_a_late_interaction_model_takes_no_instruction(reranker):
    with pytest.raises(InvalidArgumentError, match=r"leave out instruction$"):
        answer(reranker, RerankRequest(QUERY, TEXTS, instruction="judge"))


@pytest.mark.parametrize(
    "wrong",
    [{"top_k": 0}, {"top_k": True}, {"spans": -1}, {"spans": 1.5}, {"spans": "yes"}, {"long_documents": "cut"}],
)
def test_a_request_out_of_range_is_refused_when_it_is_made(wrong):
    with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
        RerankRequest(QUERY, TEXTS, **wrong)


def test_cross_encoders_judge_by_an_instruction_only_if_they_are_causal(tmp_path):
    pytest.importorskip("torch", reason="needs PyTorch")
    plain = rank_rerank.load(write_cross_encoder(tmp_path / "cross"))
    with pytest.raises(InvalidArgumentError, match="takes no instruction"):
        answer(plain, RerankRequest(QUERY, TEXTS, instruction="judge"))
    with pytest.raises(InvalidArgumentError, match=r"leave out spans$"):
        answer(plain, RerankRequest(QUERY, TEXTS, spans=True))
    folder = write_causal(tmp_path / "reranker")
    causal = rank_rerank.load(folder)
    asked = answer(causal, RerankRequest(QUERY, TEXTS, instruction="Find the river"))
    loaded = rank_rerank.load(folder, instruction="Find the river").rerank(QUERY, TEXTS)
    assert [(hit.index, hit.score) for hit in asked] == [(hit.index, hit.score) for hit in loaded]
    assert [hit.score for hit in asked] != [hit.score for hit in answer(causal, RerankRequest(QUERY, TEXTS))]
    with pytest.raises(InvalidArgumentError, match="empty"):
        answer(causal, RerankRequest(QUERY, TEXTS, instruction=" "))
