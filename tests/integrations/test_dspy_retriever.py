import asyncio
import os
import warnings

import pytest

pytest.importorskip("dspy", reason='needs DSPy: pip install ".[dspy]"')

# litellm, which DSPy uses, would fetch a price list
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
with warnings.catch_warnings():
    # what DSPy imports warns of itself
    warnings.simplefilter("ignore")
    import dspy

import numpy as np
from adapter_properties import QUERY, THOUSAND, Got, Unchanged, assert_as_reranked, documents, quick, top_ks
from hypothesis import given

from rank_rerank.errors import InvalidArgumentError, InvalidItemError
from rank_rerank.integrations.dspy_retriever import RankRerankRetriever

TEXTS = ["Bananas are yellow.", "Paris is the capital of France.", "Berlin is the capital of Germany."]


def got(given, prediction):
    return [
        Got(passage, given[index].id, given[index].metadata, relevance, score)
        for passage, index, relevance, score in zip(
            prediction.passages, prediction.indices, prediction.relevance, prediction.scores, strict=True
        )
    ]


@given(given=documents, k=top_ks.filter(bool))
@quick
def test_passages_come_back_as_reranked(reranker, given, k):
    with Unchanged([each.text for each in given]) as texts:
        retriever = RankRerankRetriever(lambda _: texts, k=k)
        assert_as_reranked(reranker, given, got(given, retriever(QUERY)), k)
        assert_as_reranked(reranker, given, got(given, asyncio.run(retriever.acall(QUERY))), k)


def test_a_thousand_passages(reranker):
    retriever = RankRerankRetriever(lambda _: [each.text for each in THOUSAND], k=1000)
    assert_as_reranked(reranker, THOUSAND, got(THOUSAND, retriever(QUERY)), 1000)


def embedder(texts):
    return np.array([[text.count(letter) for letter in "abcdefgh"] for text in texts], np.float32)


def test_dspys_embeddings_are_reranked():
    search = dspy.retrievers.Embeddings(corpus=TEXTS, embedder=embedder, k=3)
    assert RankRerankRetriever(search, k=1)(QUERY).passages == [TEXTS[1]]


def test_as_the_retriever_of_the_settings():
    retriever = RankRerankRetriever(lambda _: [dspy.Prediction(long_text=text) for text in TEXTS], k=2)
    with dspy.context(rm=retriever.as_rm()):
        assert dspy.Retrieve(k=1)(QUERY).passages == [TEXTS[1]]


def test_a_module_of_a_program():
    class Program(dspy.Module):
        def __init__(self):
            super().__init__()
            self.retrieve = RankRerankRetriever(lambda _: TEXTS, k=1)

        def forward(self, question):
            return dspy.Prediction(context=self.retrieve(question).passages)

    program = Program()
    assert program(question=QUERY).context == [TEXTS[1]]
    assert program.deepcopy()(question=QUERY).context == [TEXTS[1]]


def test_mistakes_are_named():
    with pytest.raises(InvalidItemError, match="passage 1 of the search"):
        RankRerankRetriever(lambda _: ["a", 7])(QUERY)
    with pytest.raises(InvalidArgumentError, match="top_k"):
        RankRerankRetriever(lambda _: TEXTS, k=0)
    with pytest.raises(TypeError, match="the number of hits"):
        RankRerankRetriever(lambda _: TEXTS, top_n=3)

    async def search(_):
        return TEXTS

    for wrong, kind in (
        (lambda _: TEXTS[0], "str"), (lambda _: None, "NoneType"), (lambda _: 5, "int"), (search, "coroutine"),
        (lambda _: {"passages": TEXTS}, "dict"),
    ):  # fmt: skip
        with pytest.raises(InvalidItemError, match=f"a list of passages, and it gave one {kind}"):
            RankRerankRetriever(wrong)(QUERY)
