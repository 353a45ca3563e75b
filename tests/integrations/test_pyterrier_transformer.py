import copy
import json
import unittest
from pathlib import Path

import pytest

pytest.importorskip("pyterrier", reason='needs PyTerrier: pip install ".[pyterrier]"')

import pandas as pd
import pyterrier as pt
from adapter_properties import QUERY, THOUSAND, Got, Unchanged, assert_as_reranked, documents, quick, top_ks
from hypothesis import given
from pyterrier import testing

from rank_rerank import CascadeReranker, CascadeStage
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.integrations.pyterrier_transformer import RankRerankTransformer

# what PyTerrier does with pandas, not what is tested
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword", "ignore:.*Transf.*:UserWarning")

CLAIM = Path(__file__).resolve().parents[2] / "examples" / "data" / "scifact_claim.jsonl"


def frame_of(given, query=QUERY):
    rows = [
        {
            "qid": "1",
            "query": query,
            "docno": each.id,
            "text": each.text,
            "data": each.metadata,
            "score": 1.0,
            "rank": n,
        }
        for n, each in enumerate(given)
    ]
    return pd.DataFrame(rows, columns=["qid", "query", "docno", "text", "data", "score", "rank"])


def got(frame):
    ordered = frame.sort_values("rank")
    return [
        Got(row["text"], row["docno"], row["data"], score=row["score"]) for row in ordered.to_dict(orient="records")
    ]


@given(given=documents, top_k=top_ks)
@quick
def test_frames_come_back_as_reranked(reranker, given, top_k):
    frame = frame_of(given)
    before = frame.copy()
    result = RankRerankTransformer(top_k=top_k)(frame)
    assert_as_reranked(reranker, given, got(result), top_k)
    assert sorted(result["rank"]) == list(range(len(result)))
    pd.testing.assert_frame_equal(frame, before)


def test_a_thousand_documents(reranker):
    assert_as_reranked(reranker, THOUSAND, got(RankRerankTransformer()(frame_of(THOUSAND))))


@pytest.mark.parametrize("name", ["test_inspect_io", "test_schematic"])
def test_pyterriers_own_tests_of_a_transformer(name):
    class Case(testing.TransformerTestCase):
        @staticmethod
        def get_transformer():
            return RankRerankTransformer(top_k=5)

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromName(name, Case).run(result)
    assert result.testsRun == 1
    assert not result.errors + result.failures


def test_it_is_inspected_right():
    transformer = RankRerankTransformer(top_k=5, text_field="body")
    assert pt.inspect.transformer_inputs(transformer) == [["qid", "docno", "query", "body"]]
    outputs = pt.inspect.transformer_outputs(transformer, ["qid", "query", "docno", "body", "score"])
    assert set(outputs) == {"qid", "query", "docno", "body", "score", "rank"}
    attributes = {each.name: each.value for each in pt.inspect.transformer_attributes(transformer)}
    assert attributes == {"model": None, "text_field": "body", "top_k": 5, "reranker": None}
    changed = pt.inspect.transformer_apply_attributes(transformer, top_k=3)
    assert (changed.top_k, changed.text_field) == (3, "body")
    with pytest.raises(pt.validate.InputValidationError):
        transformer(pd.DataFrame([{"qid": "1", "query": "a", "docno": "d"}]))


def test_several_queries_are_ranked_each_for_itself(reranker):
    one, other = "capital of France", "a yellow fruit"
    texts = ["Paris is the capital of France.", "Bananas are yellow.", None, float("nan")]
    frame = pd.DataFrame(
        [{"qid": q, "query": q, "docno": f"d{n}", "text": text} for n, text in enumerate(texts) for q in (one, other)]
    )
    result = RankRerankTransformer(top_k=3)(frame)
    for query in (one, other):
        own = result[result["qid"] == query].sort_values("rank")
        expected = reranker.rerank(query, [text if isinstance(text, str) else "" for text in texts], top_k=3)
        assert own["docno"].tolist() == [f"d{hit.index}" for hit in expected]
        assert own["score"].tolist() == [hit.score for hit in expected]


class Everything(pt.Transformer):
    """A first stage without Java: all documents for each query, in the order of the file."""

    def __init__(self, corpus):
        self.corpus = corpus

    def transform(self, inp):
        pt.validate.query_frame(inp, extra_columns=["query"])
        rows = [
            {**topic, "docno": each["_id"], "text": f"{each['title']} {each['text']}", "score": -float(rank)}
            for topic in inp.to_dict(orient="records")
            for rank, each in enumerate(self.corpus)
        ]
        return pt.model.add_ranks(pd.DataFrame(rows, columns=[*inp.columns, "docno", "text", "score"]))


def test_in_a_pipeline_and_an_experiment(reranker):
    corpus = [json.loads(line) for line in CLAIM.read_text(encoding="utf-8").splitlines()]
    query = (
        "Increased vessel density along with a reduction in fibrosis decreases the efficacy of chemotherapy treatments."
    )
    topics = pd.DataFrame([{"qid": "q", "query": query}])
    qrels = pd.DataFrame([{"qid": "q", "docno": "20888849", "label": 1}])
    first = Everything(corpus)
    pipeline = first % 20 >> RankRerankTransformer() % 10
    found = pipeline(topics)
    assert len(found) == 10
    assert found.sort_values("rank")["docno"].iloc[0] == "20888849"
    table = pt.Experiment([first, pipeline], topics, qrels, ["recip_rank"], names=["first", "reranked"], plan="tree")
    assert table["recip_rank"].tolist() == [pytest.approx(1 / 7), 1.0]
    assert pipeline.search(query)["docno"].tolist()[:1] == ["20888849"]


def test_a_cutoff_is_taken_over():
    transformer = RankRerankTransformer()
    assert (transformer % 5).compile().top_k == 5
    assert RankRerankTransformer(top_k=3).fuse_rank_cutoff(5).top_k == 3


def test_options(reranker):
    cascade = CascadeReranker(reranker, [CascadeStage(reranker, keep=1)])
    with Unchanged([1]):
        result = copy.deepcopy(RankRerankTransformer(reranker=reranker))(frame_of(THOUSAND[:3]))
    assert len(result) == 3
    assert len(RankRerankTransformer(reranker=cascade)(frame_of(THOUSAND[:3]))) == 3
    with pytest.raises(InvalidArgumentError, match="top_k"):
        RankRerankTransformer(top_k=0)
    with pytest.raises(TypeError, match="no score depends on it"):
        RankRerankTransformer(batch_size=8)
