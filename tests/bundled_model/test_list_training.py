"""Training by lists, on a tiny encoder: what is computed, what is learned, what is written."""

import itertools
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_source import HIDDEN, LAYERS, make_bundle, make_tensors

torch = pytest.importorskip("torch", reason="training needs PyTorch")
pytest.importorskip("safetensors", reason="training needs safetensors")
import train_on_gpu
from training import trainee as training
from training.bundle import Bundle
from training.ranking_batches import RankingBatches
from training.ranking_losses import LossWeights, Vectors, best_matches, z_scores
from training.small_bert import SmallBert
from training.token_store import CLS, SEP, TokenStore
from training.trainee import Rates, Texts, Trainee

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def texts():
    bundle = make_bundle()
    source = SmallBert(make_tensors(), range(LAYERS))
    stores = [
        TokenStore(bundle.query_tokens, bundle.query_lengths, CPU),
        TokenStore(bundle.passage_tokens, bundle.passage_lengths, CPU),
    ]
    for store in stores:
        store.fill(source)
    return Texts(bundle, *stores)


@pytest.fixture
def steps(monkeypatch):
    """A clock that goes on by one each time it is read."""
    ticks = itertools.count()
    monkeypatch.setattr(training, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))


def test_a_bundle_is_read_as_it_was_written(tmp_path):
    bundle = make_bundle()
    bundle.save(tmp_path / "folder" / "bundle")
    found = Bundle.open(tmp_path / "folder" / "bundle")
    for name, array in vars(bundle).items():
        np.testing.assert_array_equal(getattr(found, name), array)
    passages = found.passages_of_lists()
    assert (passages[30:, :8] == bundle.lists[30:, :8].astype(int) + 40).all()
    assert (passages[:, 8:] == -1).all()


def test_the_encoder_computes_what_transformers_does():
    transformers = pytest.importorskip("transformers", reason='needs transformers: pip install ".[export]"')
    tensors = make_tensors()
    config = transformers.BertConfig(
        vocab_size=130,
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        intermediate_size=96,
        max_position_embeddings=64,
        layer_norm_eps=1e-12,
    )
    model = transformers.BertModel(config, add_pooling_layer=False).eval()
    model.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in tensors.items()}, strict=False)
    ids = torch.arange(32).view(2, 16)
    is_token = torch.ones(2, 16, dtype=torch.bool)
    is_token[1, 9:] = False
    with torch.no_grad():
        expected = model(ids, attention_mask=is_token.long()).last_hidden_state
        found = SmallBert(tensors, range(LAYERS))(ids, is_token)
    expected = torch.nn.functional.normalize(expected, dim=-1)
    torch.testing.assert_close(found[is_token], expected[is_token], atol=1e-5, rtol=1e-5)


def test_layers_are_given_back_under_their_new_numbers():
    tensors = make_tensors()
    found = SmallBert(tensors, (0, 2)).tensors()
    assert {name.split(".")[2] for name in found} == {"0", "1"}
    for name, tensor in found.items():
        source = tensors[name.replace("layer.1.", "layer.2.")]
        np.testing.assert_allclose(tensor, source, atol=1e-3)


def test_a_store_gives_every_text_its_own_vectors(texts):
    store = texts.passages
    source = SmallBert(make_tensors(), range(LAYERS))
    for text in (0, 7, 79):
        start, end = store.offsets[text : text + 2]
        tokens = store.tokens[start:end]
        assert tokens[0] == CLS
        assert tokens[-1] == SEP
        with torch.no_grad():
            expected = source(tokens[None], torch.ones(1, len(tokens), dtype=torch.bool))[0]
        torch.testing.assert_close(store.vectors[start:end].float(), expected, atol=2e-3, rtol=0)


def test_batches_show_lists_of_train_queries_with_their_answers(texts):
    bundle = texts.bundle
    batches = RankingBatches(bundle, texts.passages.lengths, 0)
    lists = bundle.passages_of_lists()
    for _ in range(6):
        batch = batches.make()
        assert not bundle.query_held_back[batch.queries].any()
        passages = np.concatenate(batch.parts)
        assert len(set(passages)) == len(passages)
        for row, query in enumerate(batch.queries):
            shown = passages[batch.places[row]][batch.is_candidate[row]]
            assert set(shown) == set(lists[query][:8])
            steps = np.rint(batch.first_stage[row][batch.is_candidate[row]] * 255)
            columns = [list(lists[query]).index(passage) for passage in shown]
            np.testing.assert_array_equal(steps, bundle.list_scores[query][columns])
            assert (batch.gold[row] >= 0) == bundle.relevant[query].any()
            if batch.gold[row] >= 0:
                assert shown[batch.gold[row]] == lists[query][3]


def test_padding_matches_nothing():
    values = torch.nn.functional.normalize(torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)), dim=-1)
    is_token = torch.tensor([[True, True, False], [True, False, False]])
    best = best_matches(
        Vectors(values, is_token), [Vectors(values[:1], is_token[:1]), Vectors(values[1:], is_token[1:])]
    )
    assert (best[~is_token] == 0).all()
    torch.testing.assert_close(best[0, :2, 0], torch.ones(2))
    torch.testing.assert_close(best[0, 0, 1], values[0, 0] @ values[1, 0])


def test_z_scores_leave_out_what_is_no_candidate():
    scores = z_scores(torch.tensor([[1.0, 3.0, 99.0]]), torch.tensor([[True, True, False]]))
    torch.testing.assert_close(scores, torch.tensor([[-1.0, 1.0, 0.0]]))


def test_the_source_itself_is_told_nothing_about_tokens_and_drift(texts):
    trainee = Trainee(SmallBert(make_tensors(), range(LAYERS)), torch.eye(HIDDEN))
    batch = RankingBatches(texts.bundle, texts.passages.lengths, 0).make()
    weights = LossWeights(ranking=0.0, tokens=1.0, gold=0.0, drift=1.0)
    with torch.no_grad():
        assert float(training.batch_loss(trainee, texts, batch, weights)) == pytest.approx(0, abs=1e-4)
        fewer = Trainee(SmallBert(make_tensors(), (0, 2)), None)
        assert float(training.batch_loss(fewer, texts, batch, weights)) > 0.01


@pytest.mark.parametrize("kind", ["projection", "encoder", "student"])
def test_training_lowers_the_loss(texts, steps, kind):
    torch.manual_seed(0)
    encoder = {"projection": None, "encoder": range(LAYERS), "student": (0, 2)}[kind]
    projection = None if kind == "student" else torch.nn.init.orthogonal_(torch.empty(16, HIDDEN))
    model = Trainee(None if encoder is None else SmallBert(make_tensors(), encoder), projection)
    weights = LossWeights(1.0, 10.0, 0.2, 0.0 if encoder is None else 2.0)
    batches = RankingBatches(texts.bundle, texts.passages.lengths, 0)
    history = training.train(model, texts, batches, (weights, Rates(3e-3, 1e-2)), 61)
    assert history[-1][0] == 60
    assert history[-1][1] < 0.8 * history[0][1]


def test_the_rate_goes_up_and_then_down_to_zero():
    rates = [training.rate_factor(done) for done in np.linspace(0, 1, 101)]
    assert rates[0] < rates[2] < rates[5] == pytest.approx(1)
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[5:]))
    assert rates[-1] == pytest.approx(0)


def test_ndcg_counts_answers_that_no_list_has():
    relevant = np.array([[True, False, True], [False, True, False]])
    scores = np.array([[1.0, 2.0, 3.0], [0.0, 5.0, -np.inf]])
    both = 1 + 1 / np.log2(3)
    assert training.ndcg(scores, relevant, np.array([2, 2])) == pytest.approx([(1 + 0.5) / both, 1 / both])


def test_the_script_writes_every_part_though_one_fails(texts, tmp_path, monkeypatch, capsys):
    make_bundle().save(tmp_path / "lists")
    monkeypatch.setattr(train_on_gpu, "read_source", lambda _: make_tensors())
    monkeypatch.setattr(train_on_gpu, "train_encoder", lambda *_: 1 / 0)
    arguments = ["--data", str(tmp_path / "lists"), "--output", str(tmp_path / "out"), "--device", "cpu"]
    monkeypatch.setattr(
        sys, "argv", ["train_on_gpu.py", *arguments, "--seconds", "0", "--dim", "16", "--layers", "0,2"]
    )
    train_on_gpu.main()
    log = json.loads((tmp_path / "out" / "log.json").read_text(encoding="utf-8"))
    assert "ZeroDivisionError" in log["encoder"]["error"]
    assert set(log["student"]["held_back"]["means"]) == {"source0", "source1", "mean"}
    with np.load(tmp_path / "out" / "student_0.npz") as layers:
        assert {name.split(".")[2] for name in layers.files} == {"0", "1"}
    with np.load(tmp_path / "out" / "projections.npz") as projections:
        assert projections["principal"].shape == (16, HIDDEN)
        np.testing.assert_allclose(projections["principal"] @ projections["principal"].T, np.eye(16), atol=1e-5)
    assert "student took" in capsys.readouterr().out
