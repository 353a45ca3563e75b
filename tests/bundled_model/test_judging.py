import numpy as np
import pytest

pytest.importorskip("bm25s", reason='needs bm25s: pip install ".[evaluation]"')
pytest.importorskip("ir_measures", reason='needs ir-measures: pip install ".[evaluation]"')
import judge as judging
from training.corpora import Passage

from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.encoding.token_encoder import TokenEncoder


def test_first_dims_are_of_unit_length_and_keep_the_texts():
    vectors = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    short = judging.first_dims(TokenEmbeddings(vectors, np.array([0, 2, 5])), 3)
    np.testing.assert_allclose(np.linalg.norm(short.vectors, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(short.vectors[4] * np.linalg.norm(vectors[4, :3]), vectors[4, :3], rtol=1e-5)
    assert short.num_texts == 2


def test_the_interval_is_of_differences_query_by_query():
    generator = np.random.default_rng(0)
    hard = generator.uniform(size=200)
    base = judging.Judgement("a", 8, "set", {str(n): value for n, value in enumerate(hard)})
    better = judging.Judgement("b", 8, "set", {str(n): value + 0.01 for n, value in enumerate(hard)})
    low, high = judging.interval([base], [better])
    assert low == pytest.approx(0.01)
    assert high == pytest.approx(0.01)
    assert judging.interval([base, base], [better, base]) == pytest.approx((0.005, 0.005))


def test_a_model_is_judged_in_all_its_dims_and_in_fewer(capsys, tmp_path):
    passages = [Passage("", text, [query]) for query, text in PAIRS]
    collection = judging.as_collection("pairs", passages, [Passage("", "Something else stands here.")])
    assert set(collection.queries) == {query for query, _ in PAIRS}
    candidates, _ = judging.bm25_candidates(collection, 3)
    encoder = TokenEncoder.from_pretrained()
    task = judging.Task.of(encoder, collection, candidates)
    rows = [judging.judge_bm25(collection, candidates), *judging.judge("m", task, [32])]
    assert [row.dim for row in rows] == [0, encoder.dim, 32]
    assert rows[1].mean > 0.8
    weights = judging.weigh_tokens(encoder, collection)
    assert [len(row) for row in weights] == encoder.tokenizer.tokenize_queries(
        list(collection.queries)
    ).lengths.tolist()
    assert all(row.min() == row[0] < row.max() for row in weights)  # every document has the first token, [CLS]
    (unordered,) = judging.judge("m", task, [], [np.zeros_like(row) for row in weights])
    assert unordered.ndcg == rows[0].ndcg  # the order of the candidates
    assert judging.judge("m", task, [], weights)[0].mean > 0.8
    judging.report(rows, tmp_path / "rows.jsonl")
    assert "mean of the sets" in capsys.readouterr().out
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == 3


PAIRS = (
    ("how many legs has a spider", "A spider is an animal that walks on eight legs."),
    ("where does the Danube end", "The Danube is a river that flows into the Black Sea."),
    ("who painted the Mona Lisa", "The Mona Lisa is a picture by Leonardo da Vinci."),
)
