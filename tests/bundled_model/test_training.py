from itertools import pairwise
from typing import ClassVar

import numpy as np
import pytest
from model_folders import BERT_CONFIG, write_bert

torch = pytest.importorskip("torch", reason="training needs PyTorch")
pytest.importorskip("transformers", reason="training needs transformers")
pytest.importorskip("safetensors", reason="training needs safetensors")
pytest.importorskip("bm25s", reason='needs bm25s: pip install ".[evaluation]"')
import train as recipe
from training import batches, student
from training.corpora import Passage, Source
from training.lessons import Lessons
from training.token_weights import TokenWeights

import rank_rerank
from rank_rerank.encoding.token_encoder import TokenEncoder

pytestmark = pytest.mark.usefixtures("one_thread")
DIM = 8
PASSAGES = [Passage(f"title {n}", f"Words of text {n}. And more of it.", [f"question {n}"]) for n in range(12)]
TEXTS = ["a river bank", "the market", "a", "heart and blood vessels of the body"]


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setattr(student, "FROZEN_LAYERS", 1)
    return write_bert(tmp_path / "source", config={**BERT_CONFIG, "architectures": ["BertModel"]})


@pytest.fixture
def teacher(source):
    return TokenEncoder.from_pretrained(source, runtime="torch")


@pytest.fixture
def lessons(teacher, monkeypatch):
    monkeypatch.setattr(batches, "GROUPS", 2)
    monkeypatch.setattr(recipe, "DIMS", {8: 1.0, 4: 0.5})
    monkeypatch.setattr(recipe, "DIM", DIM)
    maker = batches.BatchMaker([Source("squad", PASSAGES, [])], 0)
    texts = [f"{passage.title} {passage.text}" for passage in PASSAGES]
    return Lessons(maker, teacher, TokenWeights(teacher.tokenizer, texts))


def new_student(source):
    torch.manual_seed(0)
    learner = student.Student(source, DIM)
    torch.nn.init.orthogonal_(learner.projection.weight)
    return learner


def test_buckets_hold_every_text_once_and_keep_to_the_budget(monkeypatch):
    monkeypatch.setattr(student, "TOKEN_BUDGET", 20)
    lengths = [3, 30, 5, 5, 1, 9]
    found = list(student.buckets(lengths))
    assert sorted(text for texts in found for text in texts) == list(range(6))
    assert all(len(texts) == 1 or len(texts) * max(lengths[text] for text in texts) <= 20 for texts in found)
    assert found[0] == [1]


def test_a_saved_student_is_a_model_that_load_reads_with_the_same_vectors(source, teacher, tmp_path):
    learner = new_student(source)
    learner.save(tmp_path / "model", source)
    model = rank_rerank.load(tmp_path / "model", runtime="torch")
    found = model.encoder.encode_documents(TEXTS)
    batch = teacher.tokenizer.tokenize_documents(TEXTS)
    with torch.no_grad():
        expected = torch.nn.functional.normalize(learner.encode(batch), dim=1).numpy()
    assert model.encoder.dim == DIM
    np.testing.assert_array_equal(found.offsets, batch.offsets)
    np.testing.assert_allclose(found.vectors, expected, atol=1e-5)
    assert model.encoder.encode_query("a river bank").num_tokens == 5  # no markers, no expansion


def test_the_projection_starts_at_orthonormal_directions(source, lessons, monkeypatch):
    monkeypatch.setattr(recipe, "FIT_STEPS", 1)
    monkeypatch.setattr(recipe, "FIT_RATE", 0.0)
    learner = student.Student(source, DIM)
    recipe.fit_projection(learner, lessons)
    weight = learner.projection.weight.detach()
    np.testing.assert_allclose(weight @ weight.T, np.eye(DIM), atol=1e-5)


def test_a_saved_student_can_be_trained_further(source, tmp_path):
    learner = new_student(source)
    with torch.no_grad():
        learner.encoder.encoder.layer[1].output.dense.weight += 1
    learner.save(tmp_path / "model", source)
    again = student.Student(source, DIM)
    again.load(tmp_path / "model")
    for (name, ours), theirs in zip(again.state_dict().items(), learner.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name
    assert again.encoder.encoder.layer[1].output.dense.weight.requires_grad
    assert not again.encoder.encoder.layer[0].output.dense.weight.requires_grad


def test_fitting_lowers_the_loss_and_leaves_the_encoder_alone(source, lessons, monkeypatch):
    monkeypatch.setattr(recipe, "FIT_STEPS", 25)
    learner = student.Student(source, DIM)
    before = {key: value.clone() for key, value in learner.encoder.state_dict().items()}
    monkeypatch.setattr(recipe, "Progress", Losses)
    Losses.seen.clear()
    recipe.fit_projection(learner, lessons)
    assert np.mean(Losses.seen[-5:]) < np.mean(Losses.seen[:5])
    assert all(torch.equal(value, before[key]) for key, value in learner.encoder.state_dict().items())


def test_an_interrupted_training_goes_on_to_the_same_weights(source, lessons, tmp_path, monkeypatch):
    whole = new_student(source)
    recipe.train(whole, lessons, 4, tmp_path / "whole")
    monkeypatch.setattr(recipe, "SAVE_EVERY", 2)
    broken = new_student(source)
    monkeypatch.setattr(recipe, "Progress", Stopping)
    with pytest.raises(KeyboardInterrupt):
        recipe.train(broken, lessons, 4, tmp_path / "broken")
    monkeypatch.setattr(recipe, "Progress", Losses)
    again = student.Student(source, DIM)
    recipe.train(again, lessons, 4, tmp_path / "broken")
    for (name, ours), theirs in zip(again.state_dict().items(), whole.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name
    assert not list((tmp_path / "broken").iterdir())


def test_embeddings_stay_and_layers_move(source, lessons, tmp_path):
    learner = new_student(source)
    before = {key: value.clone() for key, value in learner.state_dict().items()}
    recipe.train(learner, lessons, 3, tmp_path)
    moved = {key for key, value in learner.state_dict().items() if not torch.equal(value, before[key])}
    assert not any("embeddings" in key or "layer.0." in key for key in moved)
    assert "projection.weight" in moved
    assert sum("encoder.layer.1." in key for key in moved) > 10


def test_bfloat16_gives_almost_the_same_vectors_and_trains_float32_weights(source, teacher):
    exact = new_student(source)
    rounded = student.Student(source, DIM, bfloat16=True)
    rounded.load_state_dict(exact.state_dict())
    batch = teacher.tokenizer.tokenize_documents([*TEXTS, " ".join(TEXTS) * 5])
    found, expected = rounded.encode(batch), exact.encode(batch)
    assert found.dtype == torch.float32
    assert not torch.equal(found, expected)
    assert torch.nn.functional.cosine_similarity(found, expected).min() > 0.999
    found.square().sum().backward()
    weight = rounded.encoder.encoder.layer[-1].output.dense.weight
    assert weight.dtype == weight.grad.dtype == torch.float32


def test_a_text_has_the_same_vectors_alone_and_padded(source, teacher):
    learner = new_student(source)
    batch = teacher.tokenizer.tokenize_documents(TEXTS)
    alone = [learner.encode(teacher.tokenizer.tokenize_documents([text])) for text in TEXTS]
    torch.testing.assert_close(learner.encode(batch), torch.cat(alone), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("share", ["-0.1", "2", "nan"])
def test_a_share_that_is_none_is_refused(share, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["train", "--data", "absent", "--output", "absent", "--topical", share])
    with pytest.raises(SystemExit):
        recipe.main()
    assert "--topical is a share from 0 to 1" in capsys.readouterr().err


def test_the_rate_warms_up_and_goes_to_zero():
    factors = [recipe.rate_factor(step, 100) for step in range(100)]
    assert factors[0] < factors[4] == 1
    assert all(one >= other for one, other in pairwise(factors[5:]))
    assert factors[-1] < 0.001


class Losses:
    seen: ClassVar[list[float]] = []

    def __init__(self, *_):
        pass

    def show(self, _, loss):
        self.seen.append(loss)


class Stopping(Losses):
    def show(self, step, _):
        if step == 2:
            raise KeyboardInterrupt
